"""The order ticket: what was typed, what it comes to on each account, the question before it is sent, and what became of it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.enums import OrderType, Side
from app.domain.ticket import Figures
from app.ui.views.guarding import TargetField
from app.ui.views.shell import Environment, Shell

#: The field that was typed last: it is what is meant, the others follow.
Source = Literal["quantity", "amount", "percent", "risk"]
Tone = Literal["ok", "info", "warn", "err"]
#: The kinds of order a ticket offers; a stop and a take-profit have a limit if one is wanted.
Kind = Literal["market", "limit", "stop", "take_profit", "trailing", "oco"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFields:
    """What was typed, as text; what was left empty is empty. `bracket_…` belong to the stop of what a buy opens."""

    kind: Kind = "market"
    side: Side = Side.BUY
    source: Source = "quantity"
    quantity: str = ""
    amount: str = ""
    percent: str = ""
    risk: str = ""
    risk_unit: Literal["money", "equity"] = "equity"
    price: str = ""
    trigger_price: str = ""
    has_limit: bool = False
    stop_limit_price: str = ""
    trailing_percent: str = ""
    time_in_force: str = "gtc"
    post_only: bool = False
    stop_loss: str = ""
    bracket_limit: str = ""
    bracket_trailing: str = ""
    targets: tuple[TargetField, ...] = ()
    break_even_after: str = ""

    @property
    def has_bracket(self) -> bool:
        """Whether anything is said of stops and targets."""
        return bool(self.stop_loss or self.bracket_trailing or any(target.price or target.percent for target in self.targets))


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketAccount:
    """An account the order may go to, at `venue`, as people call the exchange. `reason` says why it takes none now; empty where it does."""

    id: str
    name: str
    exchange: str
    env: Environment
    venue: str = ""
    is_chosen: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketKind:
    """A kind of order. One that is `watched` is watched by this server, and `note` says why."""

    value: Kind
    label: str
    is_watched: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketOption:
    """A choice that the account's exchange may not have; `reason` says so, empty where it has."""

    value: str
    label: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketLine:
    """What the order comes to on one account. `denial` is a sentence, `field` the form's field it is about; `is_missing` only lacks input.

    `free` is what can be spent; `words` say what is placed after the fill; `ready` means it would be sent as it is.
    """

    account: TicketAccount
    figures: Figures | None = None
    free: Decimal | None = None
    is_ready: bool = False
    is_missing: bool = False
    denial: str = ""
    field: str = ""
    is_watched: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFigures:
    """Region of `fragments/terminal/_ticket_figures.html`. The first line is the account whose rules the ticket shows."""

    side: Side
    base: str
    quote: str
    env: Environment
    lines: tuple[TicketLine, ...] = ()
    source: Source = "quantity"
    confirms: bool = True
    tick: Decimal | None = None
    step: Decimal | None = None
    min_notional: Decimal | None = None
    #: What the form's fields that were not typed become, as text that can be typed.
    quantity_text: str = ""
    amount_text: str = ""
    percent_text: str = ""

    @property
    def first(self) -> TicketLine | None:
        """The line whose figures fill the form's other fields."""
        return self.lines[0] if self.lines else None

    @property
    def spends(self) -> str:
        """The asset that the order spends."""
        return self.quote if self.side is Side.BUY else self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketView:
    """Region of `fragments/terminal/_ticket.html`: the whole ticket. `intent` makes one order of several clicks.

    `last` is the market's price; `errors` maps a field of the form to a sentence. Without accounts there is only the way to one.
    """

    symbol: str
    base: str
    quote: str
    intent: str
    fields: TicketFields
    figures: TicketFigures
    accounts: tuple[TicketAccount, ...] = ()
    kinds: tuple[TicketKind, ...] = ()
    times: tuple[TicketOption, ...] = ()
    post_only_reason: str = ""
    confirms: bool = True
    last: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None
    errors: dict[str, str] = field(default_factory=dict)
    #: Why there is no ticket: the symbol or the exchange is not known now.
    problem: str = ""

    @property
    def chosen(self) -> tuple[TicketAccount, ...]:
        """The accounts the order goes to."""
        return tuple(account for account in self.accounts if account.is_chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFact:
    """One line of the question: what, and its value as text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAccount:
    """One account in the question: the exact order there, or why none is sent. `sized` is how much, as the form gives it back."""

    line: TicketLine
    facts: tuple[ReviewFact, ...] = ()
    sized: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReview:
    """Region of `fragments/terminal/_ticket_review.html`: the exact orders, and the form's fields, which are sent on as they are."""

    symbol: str
    side: Side
    title: str
    accounts: tuple[ReviewAccount, ...]
    hidden: tuple[tuple[str, str], ...]
    base: str
    quote: str

    @property
    def is_any_ready(self) -> bool:
        """Whether at least one account would send it."""
        return any(account.line.is_ready for account in self.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketResult:
    """What became of an order on one account: `order_id` is empty where none was made. One that is `open_question` is asked for again.

    `since` is when it was sent, where its outcome is in doubt.
    """

    account: str
    tone: Tone
    text: str
    order_id: str = ""
    is_open_question: bool = False
    since: datetime | None = None
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketResults:
    """Region of `fragments/terminal/_ticket_result.html`."""

    rows: tuple[TicketResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketIntent:
    """Region of `fragments/terminal/_ticket_intent.html`: what names the next order."""

    intent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPage:
    """Page `pages/terminal/ticket.html`: the ticket alone."""

    shell: Shell
    ticket: TicketView


#: The order types that each kind is, without and with a limit.
TYPES: dict[Kind, tuple[OrderType, OrderType]] = {
    "market": (OrderType.MARKET, OrderType.MARKET),
    "limit": (OrderType.LIMIT, OrderType.LIMIT),
    "stop": (OrderType.STOP_MARKET, OrderType.STOP_LIMIT),
    "take_profit": (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT),
    "trailing": (OrderType.TRAILING_STOP, OrderType.TRAILING_STOP),
    "oco": (OrderType.LIMIT, OrderType.LIMIT),
}
