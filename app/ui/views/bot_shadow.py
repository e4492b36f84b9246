"""A bot beside its shadow, on the bot's page."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

ShadowState = Literal["none", "queued", "running", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """What one cause makes of the difference, in quote, and how many times it was found; `share` is of the largest, 0 to 100."""

    code: str
    label: str
    money: Decimal
    count: int
    share: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """One thing that went differently, in plain words. `orders` are ids of the bot's orders, `money` 0 where it cost nothing."""

    at: datetime
    cause: str
    label: str
    words: str
    money: Decimal
    code: str = ""
    orders: tuple[str, ...] = ()
    signal: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The two curves as points of lines in a box of 600 by 160; the highest and the lowest amount, and when they begin and end."""

    live: str
    shadow: str
    highest: Decimal
    lowest: Decimal
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BotShadow:
    """A bot beside its shadow, region of `fragments/bots/_shadow.html`.

    `live` and `shadow` are what both made, in quote; None where it was not compared yet. `rest` is what no cause was found for. `state`
    is that of the newest comparison, `problem` why it failed. `is_loud` says that a decision differs, which must never be.
    `can_compare` says whether a candle of it has closed.
    """

    number: int
    quote: str
    state: ShadowState = "none"
    can_compare: bool = False
    problem: str = ""
    compared_at: datetime | None = None
    until_at: datetime | None = None
    live: Decimal | None = None
    shadow: Decimal | None = None
    rest: Decimal = Decimal(0)
    live_trades: int = 0
    shadow_trades: int = 0
    taker: Decimal = Decimal(0)
    maker: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)
    capital: Decimal = Decimal(0)
    is_loud: bool = False
    causes: tuple[CauseRow, ...] = ()
    differences: tuple[DifferenceRow, ...] = ()
    curves: Curves | None = None
    more: int = 0

    @property
    def off(self) -> Decimal:
        """By how much the bot did better than its shadow; below 0: worse."""
        return (self.live or Decimal(0)) - (self.shadow or Decimal(0))
