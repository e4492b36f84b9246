"""What monitoring hears of orders: how many came to which state, how long exchanges take to answer, and who owns the engine."""

from collections import OrderedDict
from typing import Final
from uuid import UUID

from app.core.metrics import Metrics
from app.domain.enums import OrderState
from app.trading.desk import Desk
from app.trading.events import OrderChanged

#: The state of so many orders is remembered. One forgotten and told again counts once more.
_REMEMBERED: Final = 10_000


def publish_trading(metrics: Metrics, desk: Desk) -> None:
    """Count this process's orders from now on. No label tells whose they are."""
    came_to = metrics.counter("order_transitions_total", "Orders that came to a state.", "state")
    counters = {state: came_to.labels(state.value) for state in OrderState}
    answered = metrics.histogram("order_acknowledgement_seconds", "From an order's leaving to the exchange's answer being written down.")
    known: OrderedDict[UUID, OrderState] = OrderedDict()

    def count(event: OrderChanged) -> None:
        if known.get(event.order_id) is not event.state:
            # An order is told of whenever anything about it changes.
            counters[event.state].inc()
            known[event.order_id] = event.state
            known.move_to_end(event.order_id)
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        if event.answered_after_s is not None:
            answered.observe(event.answered_after_s)

    desk.bus.count(OrderChanged, count)
    metrics.read("engine_lease_held", "Whether this process owns the order engine.", values=lambda: [((), desk.lease.is_held)])
