"""What became of one wish, and of a message of several. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from app.core.i18n import N_
from app.domain.enums import OrderState
from app.trading.records import OrderRecord
from app.webhooks.models import Decision

#: No order came of it.
_REFUSED: Final = frozenset({OrderState.REJECTED, OrderState.DENIED, OrderState.LOST})
#: Of several wishes the first of these that one of them came to names the whole.
_RANK: Final = (Decision.EXECUTED, Decision.DENIED, Decision.STALE, Decision.UNREADABLE, Decision.DUPLICATE, Decision.PING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The moment of an alert that was acted on in a symbol of an account."""

    broker_id: UUID
    symbol: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The decision, its code and reason, the orders it made and the account. `marks` are the moments that were acted on.

    `latencies` are milliseconds from the arrival, by step.
    """

    decision: Decision
    code: str | None = None
    reason: str | None = None
    orders: tuple[OrderRecord, ...] = ()
    broker_id: UUID | None = None
    marks: tuple[Mark, ...] = ()
    latencies: dict[str, float] = field(default_factory=dict)

    @property
    def is_failure(self) -> bool:
        """Whether what was wished for was not done, or only in part."""
        return self.decision in (Decision.DENIED, Decision.STALE) or self.code is not None


def of_order(order: OrderRecord, *, delivery_id: UUID, notes: Sequence[str] = ()) -> Outcome:
    """Return what an order that is settled says of its alert."""
    if order.delivery_id != delivery_id:
        reason = N_("this client_intent_id was traded before; it was not traded again")
        return Outcome(decision=Decision.DUPLICATE, reason=reason, broker_id=order.broker_id)
    if order.state in _REFUSED:
        code = "LOST" if order.state is OrderState.LOST else order.code
        return Outcome(decision=Decision.DENIED, code=code, reason=order.detail, orders=(order,), broker_id=order.broker_id)
    told = [order.detail, *notes] if order.detail else list(notes)
    return Outcome(decision=Decision.EXECUTED, reason="; ".join(told) or None, orders=(order,), broker_id=order.broker_id)


def followed(first: Outcome, then: Outcome) -> Outcome:
    """Return what two steps of one wish came to: done as far as orders went out, and with the code of what did not."""
    return _joined([first, then])


def whole(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what a message of several wishes came to: executed if one of them was, with the code and reason of what was not."""
    if not outcomes:
        return Outcome(decision=Decision.PING, reason=N_("a message that asks for nothing; nothing to trade"))
    return outcomes[0] if len(outcomes) == 1 else _joined(outcomes)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    first = min(outcomes, key=lambda each: _RANK.index(each.decision))
    failed = next((each for each in outcomes if each.is_failure), None)
    told = list(dict.fromkeys(each.reason.rstrip(".") for each in outcomes if each.reason))
    latencies: dict[str, float] = {}
    for each in outcomes:
        latencies |= each.latencies
    return Outcome(
        decision=first.decision,
        code=failed.code if failed is not None else first.code,
        reason="; ".join(told) or None,
        orders=tuple(order for each in outcomes for order in each.orders),
        broker_id=next((each.broker_id for each in outcomes if each.broker_id is not None), None),
        marks=tuple(mark for each in outcomes for mark in each.marks),
        latencies=latencies,
    )
