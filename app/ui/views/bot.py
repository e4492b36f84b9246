"""The page of one bot: what it is, how it stands, what it decided, what it traded, and what asks before something is done with it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.enums import Side
from app.ui.views.bot_safeguards import TripRow
from app.ui.views.bot_shadow import BotShadow
from app.ui.views.bots import BotCard, BotLog, BotPosition, BotTitle, SignalAction, SignalState
from app.ui.views.shell import Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFault:
    """Why its strategy failed. `href` leads to the line in the editor; `line` is 0 where it is not known."""

    message: str
    line: int = 0
    href: str = ""
    traceback: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """A decision that waits for its owner until `until`; quantity and `worth` are what it would come to now."""

    id: str
    at: datetime
    until: datetime
    action: SignalAction
    words: str
    price: Decimal | None = None
    quantity: Decimal | None = None
    worth: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactLine:
    """Something that was set, as it is written."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BotLive:
    """How a bot stands, region of `fragments/bots/_live.html`: everything of its page that changes by itself but the lists."""

    card: BotCard
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    drawdown: Decimal | None = None
    fault: BotFault | None = None
    approvals: tuple[ApprovalRow, ...] = ()
    trips: tuple[TripRow, ...] = ()
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    end_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """What a bot was made of, region of `fragments/bots/_settings.html`. `feed` is the exchange whose candles it decides on.

    `venue` is that of its account, where that is another one. Safeguards are those of the bot, then those of its owner.
    """

    title: BotTitle
    strategy_id: str
    capital: Decimal
    feed: str
    created_at: datetime
    venue: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None
    backtest: int = 0
    parameters: tuple[FactLine, ...] = ()
    safeguards: tuple[FactLine, ...] = ()
    of_user: tuple[FactLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLink:
    """An order that came of a decision."""

    id: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """What was decided at the close of one candle; `words` is the reason.

    `latency_ms` is from the candle's arrival to the last acknowledged order.
    """

    id: str
    open_time: datetime
    action: SignalAction
    state: SignalState
    words: str = ""
    price: Decimal | None = None
    tick: Decimal | None = None
    orders: tuple[OrderLink, ...] = ()
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalList(Region[SignalRow]):
    """Decisions, newest first, region of `fragments/bots/_signals.html`. `show` is "acted" when candles without an entry are left out."""

    number: int = 0
    show: str = "all"
    next: str = ""
    newest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTrade:
    """A round trip that is over; `reason` is what ended it."""

    id: str
    quantity: Decimal
    entry: Decimal
    exit: Decimal | None
    profit: Decimal
    share: Decimal | None
    opened_at: datetime
    closed_at: datetime
    reason: str = ""
    side: Side = Side.BUY
    fees: Decimal = Decimal(0)
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeList(Region[BotTrade]):
    """Its trades, newest first, region of `fragments/bots/_trades.html`."""

    number: int = 0
    quote: str = ""
    next: str = ""
    newest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotQuestion:
    """The question before something is done with a bot, region of `fragments/bots/_question.html`. `key` makes one of several clicks.

    `price` and `worth` estimate what selling brings; `typed` was typed into the new name.
    """

    action: Literal["start", "stop", "sell", "delete", "rename", "approve"]
    title: BotTitle
    key: str = ""
    capital: Decimal | None = None
    position: BotPosition | None = None
    approval: ApprovalRow | None = None
    typed: str = ""
    error: str = ""
    page: Literal["bots", "bot"] = "bots"


@dataclass(frozen=True, slots=True, kw_only=True)
class BotView:
    """The page of one bot."""

    shell: Shell
    live: BotLive
    settings: BotSettings
    signals: SignalList = field(default_factory=SignalList)
    trades: TradeList = field(default_factory=TradeList)
    log: BotLog = field(default_factory=BotLog)
    shadow: BotShadow
    tab: str = "signals"
