"""The trading page: one account, one symbol, and what there is of both."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.domain.enums import Side
from app.ui.views.dashboard import Balances, FillMark, OrderRow, PositionRow
from app.ui.views.oversight import ExternalOrderRow
from app.ui.views.shell import Choice, Environment, Region, Shell
from app.ui.views.ticket import TicketView

#: What the list of symbols is narrowed to: the person's own, a quote asset, or nothing.
QuoteFilter = Literal["favourites", "USDT", "USDC", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRow:
    """One symbol of the list. `last`, `change` (a fraction, of 24 hours) and `day_open` are None for what nobody watches."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    href: str
    is_favourite: bool = False
    is_current: bool = False
    broker_id: str = ""
    last: Decimal | None = None
    change: Decimal | None = None
    day_open: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketList:
    """A page of the list, region of `fragments/terminal/_market_rows.html`.

    `total` is how many trade at the exchange, None when nothing is known of it; `next` is the address of the following page, "" at the end.
    """

    rows: tuple[MarketRow, ...] = ()
    filter: QuoteFilter = "all"
    search: str = ""
    total: int | None = None
    next: str = ""
    broker_id: str = ""
    is_first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """Fragment `fragments/terminal/_star.html`: whether a symbol is a favourite, and the button that changes it."""

    symbol: str
    broker_id: str = ""
    is_favourite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFacts:
    """What the chart's head says of the last 24 hours; None is not known. `turnover` and `spread` are in the quote asset."""

    last: Decimal | None = None
    change: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    volume: Decimal | None = None
    turnover: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None

    @property
    def spread(self) -> Decimal | None:
        """The distance between the best prices."""
        return None if self.bid is None or self.ask is None else self.ask - self.bid


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartLine:
    """A price that the chart draws. What can be moved has an id and says what it is: an order's price or trigger, a stop, a target.

    `label` is already translated. `order` counts a position's targets.
    """

    kind: Literal["order", "external", "entry", "stop", "target"]
    price: Decimal
    label: str
    id: str = ""
    side: Side | None = None
    is_movable: bool = False
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalChart:
    """The chart's panel. `exchange` is whose prices it shows, `venue` whose the account is; `is_live` when they move by themselves.

    `account` is the id of the account that lines are of, among `accounts`.
    """

    exchange: str
    exchange_name: str
    venue: str
    venue_name: str
    symbol: str
    base: str
    quote: str
    tick: Decimal = Decimal("0.01")
    step: Decimal = Decimal("0.00000001")
    timeframe: Timeframe = Timeframe.M1
    timeframes: tuple[Timeframe, ...] = LIVE_TIMEFRAMES
    facts: MarketFacts = field(default_factory=MarketFacts)
    fills: tuple[FillMark, ...] = ()
    lines: tuple[ChartLine, ...] = ()
    is_live: bool = True
    account: str = ""
    accounts: tuple[Choice, ...] = ()

    @property
    def is_of_another_exchange(self) -> bool:
        """Whether the prices are not of the exchange where orders go."""
        return self.exchange != self.venue


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRow:
    """One execution. `notional` is price × quantity in `quote`."""

    id: str
    at: datetime
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    notional: Decimal
    quote: str
    fee: Decimal | None = None
    fee_asset: str = ""
    is_maker: bool = False
    broker: str = ""
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveField:
    """One value of the form that changes a price; what `is_shown` can still be typed, and `is_moved` is what the line was."""

    name: str
    value: str
    is_shown: bool = False
    is_moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveQuestion:
    """Fragment `fragments/terminal/_move.html`: whether an order's price, a stop or a target is to be where its line was put.

    `address` is where the form goes, and `target` what its answer replaces; `old` and `new` are prices in `quote`. `error` says why it was
    or would be refused; where one `can_retry`, with another value.
    """

    kind: Literal["order", "stop", "target"]
    symbol: str
    quote: str
    broker: str
    what: str
    old: Decimal | None
    new: Decimal
    address: str
    target: str = "#positions"
    fields: tuple[MoveField, ...] = ()
    env: Environment = "live"
    tick: Decimal | None = None
    error: str = ""
    can_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRow:
    """One order or position among all that are to go. `side` is buy, sell, long or short; `id` a position's."""

    symbol: str
    side: str
    quantity: Decimal
    broker: str = ""
    step: Decimal | None = None
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllQuestion:
    """Fragment `fragments/terminal/_all_question.html`: whether all positions are to be closed, or all open orders canceled.

    `symbol` is "" for all; `key` makes one order each of several clicks.
    """

    action: Literal["close", "cancel"]
    rows: tuple[AllRow, ...] = ()
    symbol: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalAccount:
    """The account that orders of this page go to."""

    id: str
    name: str
    exchange_name: str
    env: Environment = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalView:
    """Page `pages/terminal/terminal.html`. Without an `account` there is nothing to trade with yet."""

    shell: Shell
    chart: TerminalChart | None
    markets: MarketList
    account: TerminalAccount | None = None
    ticket: TicketView | None = None
    positions: Region[PositionRow] = field(default_factory=Region)
    open_orders: Region[OrderRow] = field(default_factory=Region)
    external: Region[ExternalOrderRow] = field(default_factory=Region)
    balances: Balances = field(default_factory=Balances)
    orders: Region[OrderRow] = field(default_factory=Region)
    fills: Region[FillRow] = field(default_factory=Region)
