"""What monitoring hears of alerts."""

from app.core.events import EventBus
from app.core.metrics import Metrics
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision


def publish_webhooks(metrics: Metrics, bus: EventBus) -> None:
    """Count what became of the deliveries that this process received or decided. No label tells whose they are."""
    decided = metrics.counter(
        "deliveries_total", "Alerts by what was decided; pending ones came in and are counted again when decided.", "decision"
    )
    counters = {decision: decided.labels(decision.value) for decision in Decision}
    bus.count(DeliveryChanged, lambda event: counters[event.decision].inc())
