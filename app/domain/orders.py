"""The order's life: one transition table and one `apply`. Reports may come late, twice or out of order; the end state is the same.

Merge rule: filled quantity never shrinks, a finished order never reopens, and fills are counted by venue trade id, never inferred.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from app.domain.enums import Liquidity, OrderState
from app.errors import InvalidTransition

S = OrderState

#: Every allowed step and why it may happen. Staying in a state is always allowed.
TRANSITIONS: Final[dict[tuple[OrderState, OrderState], str]] = {
    (S.INTENT, S.SUBMITTING): "claimed by the owner of the broker's shard, committed before the request leaves",
    (S.INTENT, S.DENIED): "refused here: a rule, the deadline or a halt",
    (S.SUBMITTING, S.OPEN): "acknowledged",
    (S.SUBMITTING, S.PARTIAL): "acknowledged, part filled at once",
    (S.SUBMITTING, S.FILLED): "acknowledged, filled at once (market, crossing limit)",
    (S.SUBMITTING, S.CANCELED): "acknowledged and canceled at once (IOC, FOK)",
    (S.SUBMITTING, S.EXPIRED): "acknowledged and expired at once (IOC, FOK)",
    (S.SUBMITTING, S.REJECTED): "the venue definitely said no",
    (S.SUBMITTING, S.UNKNOWN): "no usable answer, a crash, or a lost lease",
    (S.SUBMITTING, S.DENIED): "proved unsent: our own guard stopped the request before it left",
    (S.UNKNOWN, S.OPEN): "found at the venue",
    (S.UNKNOWN, S.PARTIAL): "found at the venue",
    (S.UNKNOWN, S.FILLED): "found at the venue",
    (S.UNKNOWN, S.CANCELED): "found at the venue",
    (S.UNKNOWN, S.EXPIRED): "found at the venue",
    (S.UNKNOWN, S.REJECTED): "found at the venue as rejected",
    (S.UNKNOWN, S.LOST): "not found after the venue's window has passed: it never arrived",
    (S.LOST, S.OPEN): "appeared late",
    (S.LOST, S.PARTIAL): "appeared late",
    (S.LOST, S.FILLED): "appeared late",
    (S.LOST, S.CANCELED): "appeared late",
    (S.LOST, S.EXPIRED): "appeared late",
    (S.LOST, S.REJECTED): "appeared late, as rejected",
    (S.OPEN, S.PARTIAL): "part filled",
    (S.OPEN, S.FILLED): "filled",
    (S.OPEN, S.CANCELED): "canceled",
    (S.OPEN, S.EXPIRED): "expired",
    (S.OPEN, S.REJECTED): "the venue withdrew its acceptance (a triggered stop that failed a filter)",
    (S.PARTIAL, S.FILLED): "filled",
    (S.PARTIAL, S.CANCELED): "the rest was canceled",
    (S.PARTIAL, S.EXPIRED): "the rest expired",
    (S.CANCELED, S.FILLED): "a late fill completed it: real venues do this",
    (S.EXPIRED, S.FILLED): "a late fill completed it",
    (S.REJECTED, S.OPEN): "the venue shows an order it had refused: the venue is the truth",
    (S.REJECTED, S.PARTIAL): "the venue shows an order it had refused",
    (S.REJECTED, S.FILLED): "the venue shows an order it had refused",
    (S.REJECTED, S.CANCELED): "the venue shows an order it had refused",
    (S.REJECTED, S.EXPIRED): "the venue shows an order it had refused",
    **{
        (before, after): "the venue shows an order whose claim was lost here: the database was brought back from an earlier moment"
        for before in (S.INTENT, S.DENIED)
        for after in (S.OPEN, S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)
    },
}

#: Nothing more can happen to the remaining quantity, except that LOST may come back.
TERMINAL: Final = frozenset({S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.DENIED, S.LOST})
#: Money may be at the venue: these orders are what reconcile asks about.
UNSETTLED: Final = frozenset({S.SUBMITTING, S.UNKNOWN, S.OPEN, S.PARTIAL})
#: By our books the venue does not have the order. When it shows it after all, the venue is right.
NOT_AT_VENUE: Final = frozenset({S.INTENT, S.DENIED, S.LOST, S.REJECTED})
_FINISHED_AT_VENUE: Final = frozenset({S.FILLED, S.CANCELED, S.EXPIRED})
#: The venue has the order, or had it.
SHOWN: Final = _FINISHED_AT_VENUE | {S.OPEN, S.PARTIAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. `price` is quote per base, `quantity` base units > 0, `fee` in units of `fee_asset` ≥ 0."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Liquidity
    executed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """The part of an order that events change.

    With `is_by_notional`, `quantity` is only an estimate, and the venue alone says when the order is filled. `is_working` is False while
    the venue keeps a stop that is not triggered.
    """

    state: OrderState
    quantity: Decimal
    is_by_notional: bool = False
    is_working: bool = True
    is_overfilled: bool = False
    filled_quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    venue_order_id: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The order is ours to send; nothing has left yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Refused by us before anything was sent."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Refused by the venue, definitely."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """The request may or may not have arrived."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFoundAfterWindow:
    """The venue does not know the order, and can no longer accept the request we sent."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the venue says of the order, by whichever road it came.

    `filled_quantity` is cumulative in base units; `average_price` is quantity-weighted, None while nothing is filled. `is_working` is
    False for a stop that waits for its trigger.
    """

    state: OrderState
    venue_order_id: str
    filled_quantity: Decimal
    average_price: Decimal | None
    fills: tuple[Fill, ...] = ()
    code: str | None = None
    detail: str | None = None
    is_working: bool = True


OrderEvent = Claimed | Denied | Rejected | InDoubt | NotFoundAfterWindow | Reported


def apply(order: OrderStatus, event: OrderEvent) -> OrderStatus:
    """Return `order` after `event`; the same object when the event brings nothing new.

    Raises:
        InvalidTransition: the step is not in TRANSITIONS.
    """
    match event:
        case Claimed():
            return _step(order, S.SUBMITTING)
        case Denied():
            return _step(order, S.DENIED, code=event.code, detail=event.detail)
        case Rejected():
            # The refusal of a request says nothing of an order that the venue has shown.
            is_known = order.state is S.REJECTED or order.state in SHOWN
            return order if is_known else _step(order, S.REJECTED, code=event.code, detail=event.detail)
        case InDoubt():
            return order if order.state is not S.SUBMITTING else _step(order, S.UNKNOWN, detail=event.detail)
        case NotFoundAfterWindow():
            # A venue forgets old orders: not finding a finished or open one says nothing.
            return order if order.state is not S.UNKNOWN else _step(order, S.LOST, detail=event.detail)
        case Reported():
            return _merge(order, event)


def _merge(order: OrderStatus, report: Reported) -> OrderStatus:
    # A report with less filled is older than what we know, except that it may still bring the venue's id.
    newer = report.filled_quantity >= order.filled_quantity
    filled = max(order.filled_quantity, report.filled_quantity)
    average = report.average_price if newer and report.average_price is not None else order.average_price
    state = _merged_state(order, report.state, filled)
    merged = replace(
        order,
        state=state,
        filled_quantity=filled,
        average_price=average,
        venue_order_id=order.venue_order_id or report.venue_order_id,
        detail=report.detail if state is not order.state else order.detail,
        code=report.code if state is not order.state else order.code,
        # A triggered stop never sleeps again: an older report may still say so.
        is_working=report.is_working or (order.is_working and order.state in (S.OPEN, S.PARTIAL)) or filled > 0,
        is_overfilled=order.is_overfilled or (not order.is_by_notional and filled > order.quantity),
    )
    if merged == order:
        return order
    _check(order.state, state)
    return merged


def _merged_state(order: OrderStatus, reported: OrderState, filled: Decimal) -> OrderState:
    # Of an order by notional the venue alone says when it is filled, also after it had called it finished.
    if S.FILLED in (order.state, reported) or (filled >= order.quantity and not order.is_by_notional):
        return S.FILLED
    if order.state in _FINISHED_AT_VENUE:
        return order.state
    if reported in TERMINAL:
        return reported
    return S.PARTIAL if filled > 0 else S.OPEN


def _step(order: OrderStatus, state: OrderState, *, code: str | None = None, detail: str | None = None) -> OrderStatus:
    _check(order.state, state)
    return replace(order, state=state, code=code, detail=detail)


def _check(before: OrderState, after: OrderState) -> None:
    if before is not after and (before, after) not in TRANSITIONS:
        raise InvalidTransition(f"an order cannot go from {before} to {after}")


def average_of(fills: Iterable[Fill]) -> tuple[Decimal, Decimal | None]:
    """Return the filled quantity and its quantity-weighted mean price (None when nothing is filled)."""
    quantity = notional = Decimal(0)
    for fill in fills:
        quantity += fill.quantity
        notional += fill.quantity * fill.price
    return quantity, (notional / quantity if quantity else None)
