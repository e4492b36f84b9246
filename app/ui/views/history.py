"""The history: lists with their filter, one order and one round trip in full, and notes."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.enums import OrderState, OrderType, Side, Source
from app.ui.views.dashboard import OrderRow
from app.ui.views.deliveries import Said
from app.ui.views.shell import Choice, Region, Shell

Tab = Literal["orders", "attempts", "fills", "trades"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """What was paid in one asset."""

    amount: Decimal
    asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOrder:
    """One order of the list."""

    order: OrderRow
    fees: tuple[Fee, ...] = ()
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """An order, or an alert of which none came; `state` is a word of either. `href` opens it, `origin` names the webhook."""

    id: str
    at: datetime
    href: str
    state: str
    source: Source
    symbol: str = ""
    side: Side | None = None
    type: OrderType | None = None
    asked: str = ""
    quantity: Decimal | None = None
    filled_quantity: Decimal | None = None
    price: Decimal | None = None
    reason: str = ""
    code: str = ""
    origin: str = ""
    broker: str = ""
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFill:
    """One execution; `worth` is what its fee was worth in `quote`, None where nobody knew."""

    id: str
    order_id: str
    at: datetime
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Fee
    liquidity: str
    quote: str
    worth: Decimal | None = None
    type: OrderType | None = None
    source: Source | None = None
    broker: str = ""
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One round trip; `pnl` is in `quote`, `pnl_pct` a fraction, `duration` in words. `unvalued` are fees that are no part of `pnl`."""

    id: str
    symbol: str
    side: str
    quantity: Decimal
    opened_at: datetime
    closed_at: datetime
    duration: str
    pnl: Decimal
    quote: str
    source: Source
    pnl_pct: Decimal | None = None
    entry_price: Decimal | None = None
    exit_price: Decimal | None = None
    fees: tuple[Fee, ...] = ()
    unvalued: tuple[Fee, ...] = ()
    dust: Decimal = Decimal(0)
    broker: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteTotal:
    """What round trips of one quote currency come to."""

    quote: str
    pnl: Decimal
    fees: Decimal
    trades: int
    won: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeTotals:
    """What all round trips of the range come to; `win_rate` is a fraction, None when there are none."""

    trades: int = 0
    win_rate: Decimal | None = None
    quotes: tuple[QuoteTotal, ...] = ()
    unvalued: tuple[Fee, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryList(Region[HistoryOrder | AttemptRow | HistoryFill | TradeRow]):
    """A page of one list. `place` tells it from other pages of it, `more` fetches the next rows, `older` is their page; "" at the end.

    `first` is the newest page, "" where this is it. `totals` are given with the first page of round trips.
    """

    tab: Tab = "orders"
    place: str = "first"
    more: str = ""
    older: str = ""
    first: str = ""
    export: str = ""
    is_filtered: bool = False
    totals: TradeTotals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeLink:
    """A length of time that one click chooses."""

    label: str
    href: str
    is_current: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryForm:
    """What a list is filtered by, as it was typed. A field that the list does not have is None."""

    tab: Tab
    action: str
    timezone: str = "UTC"
    range: str = ""
    since: str = ""
    until: str = ""
    symbol: str = ""
    text: str | None = None
    tag: str | None = None
    selects: tuple["Select", ...] = ()
    ranges: tuple[RangeLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A closed choice of the filter."""

    name: str
    label: str
    choices: tuple[Choice, ...]
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteForm:
    """A note as it is kept, and the form that changes it. `address` takes it; `is_saved` once it was."""

    address: str
    text: str = ""
    tags: str = ""
    error: str = ""
    is_saved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """Something that happened to an order, in words."""

    at: datetime
    words: str
    state: OrderState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderInFull:
    """One order with everything that belongs to it. `origin` says who wished for it, `origin_href` opens that.

    `trip_ids` are the positions its fills went into. `latencies` are names with durations, `plan` how its position was to be guarded.
    """

    row: HistoryOrder
    events: tuple[OrderEvent, ...]
    fills: tuple[HistoryFill, ...]
    note: NoteForm
    code: str = ""
    origin: str = ""
    origin_href: str = ""
    facts: tuple[Said, ...] = ()
    plan: tuple[Said, ...] = ()
    latencies: tuple[Said, ...] = ()
    trip_ids: tuple[str, ...] = ()
    env: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeInFull:
    """One round trip with its orders and fills."""

    row: TradeRow
    orders: tuple[str, ...]
    fills: tuple[HistoryFill, ...]
    note: NoteForm
    worst: Decimal | None = None
    best: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryView:
    """Page `pages/history/history.html`."""

    shell: Shell
    form: HistoryForm
    list: HistoryList


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Page `pages/history/order.html`."""

    shell: Shell
    order: OrderInFull
    tab: Tab = field(default="orders")


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePage:
    """Page `pages/history/trade.html`."""

    shell: Shell
    trade: TradeInFull
    tab: Tab = field(default="trades")
