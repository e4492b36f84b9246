"""What an alert means, whatever way it was written: the common ground of those who read messages and those who act on them."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from app.domain.candles import Timeframe
from app.domain.enums import OrderType, TimeInForce


class Action(StrEnum):
    """What is wanted.

    SELL sells what was said of what is held; CLOSE sells what is held, or the fraction of it that the size says. TARGET: the position is to
    become what a strategy has by now (`Alert.position`). REVERSE closes and, once that has filled, opens the other side. PROTECT changes
    the stop and the targets of the position that is open. NONE asks for something that needs nothing here, such as the end of a short on a
    spot account; `Alert.note` says what.
    """

    BUY = "buy"
    SELL = "sell"
    CLOSE = "close"
    TARGET = "target"
    REVERSE = "reverse"
    CANCEL = "cancel"
    PROTECT = "protect"
    PING = "ping"
    NONE = "none"


class SizeKind(StrEnum):
    """What a size is counted in: base units, quote units, or a fraction.

    Fractions (0 < x ≤ 1) are of the free balance, of the account's equity, of that equity to be lost if the stop is reached, or of the
    position.
    """

    BASE = "base"
    QUOTE = "quote"
    FREE = "free"
    EQUITY = "equity"
    RISK = "risk"
    POSITION = "position"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much. `value` is in what `kind` says; always above zero."""

    kind: SizeKind
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A price: as such, in quote per base, or as a fraction off the entry (−0.02: two percent below). Exactly one is given."""

    price: Decimal | None = None
    offset: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLevel:
    """Where a part of the position is to be sold; `fraction` of the whole, 0 < fraction ≤ 1."""

    level: Level
    fraction: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One wish of a message.

    `symbol` is as the sender spelled it, without what only names a venue; `exchange` is that venue's name if one was given. `price` is that
    of a limit order. `position` is the signed number of base units that a strategy holds after its order (TARGET only), and
    `moves_from` what it held before, if the message says so. `account` names one of the user's broker accounts, by name or id. `key`
    names the signal for ever; `at` is the moment of the alert, `bar_time` the opening of its candle and `interval` its length; `max_age_s`
    the sender's own patience. `dialect` names the way of writing. `ignored` are members that were understood and have no bearing here,
    such as a leverage on a spot account.
    """

    action: Action
    dialect: str
    symbol: str | None = None
    exchange: str | None = None
    type: OrderType = OrderType.MARKET
    price: Level | None = None
    size: Size | None = None
    position: Decimal | None = None
    moves_from: Decimal | None = None
    stop: Level | None = None
    stop_limit: Level | None = None
    trailing_delta: Decimal | None = None
    targets: tuple[TargetLevel, ...] = ()
    break_even_after: int | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    account: str | None = None
    key: str | None = None
    at: datetime | None = None
    bar_time: datetime | None = None
    interval: Timeframe | None = None
    max_age_s: int | None = None
    indicator: str | None = None
    note: str | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a message asks for, in its order; `parsed` is what was understood of it, for the log, without secrets."""

    alerts: tuple[Alert, ...]
    parsed: dict[str, Any] = field(default_factory=dict)
