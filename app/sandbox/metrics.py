"""Numbers of the jail."""

from app.core.metrics import Metrics
from app.sandbox.jail import Jail
from app.sandbox.link import Level


def publish_jail(metrics: Metrics, jail: Jail) -> None:
    """Publish how well strategies are locked in, how many run, and what they were killed for."""
    metrics.read(
        "jail_level",
        "1 for the level at which strategies are locked in; all 0 while no sandboxd is known.",
        "level",
        values=lambda: [((level.value,), jail.level is level) for level in Level],
    )
    metrics.read("jail_workers", "Strategies that have a worker now.", values=lambda: [((), jail.workers)])
    metrics.read(
        "jail_restarts_total", "Times that sandboxd ended or could not be started.", values=lambda: [((), jail.restarts)], kind="counter"
    )
    metrics.read(
        "jail_kills_total",
        "Strategies that were killed, by cause.",
        "cause",
        values=lambda: [((cause.value,), count) for cause, count in jail.violations.counts.items() if count],
        kind="counter",
    )
