"""Numbers for a monitoring system, in Prometheus' text format: a thin layer over prometheus_client, one registry per application.

Whoever has something to count makes its counter once, at the start, and adds to it: half a microsecond. What is a state and not a count
(an age, a pool) is read when somebody asks. Names and labels come from closed lists: no tenant, no account, no text from outside.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.core.db import Database
from app.core.loop_lag import LoopLag
from app.core.supervisor import Supervisor

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Seconds. Fine where the platform's own work lies (milliseconds), coarse where a network or an exchange does.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PREFIX: Final = "aristobot_"
#: What has to be asked of the database is asked at most so often, and waited for at most so long.
_REFRESH_EVERY_S: Final = 15.0
_REFRESH_TIMEOUT_S: Final = 2.0

#: A value for each combination of labels, in the order in which the labels were named.
Values = Iterable[tuple[Sequence[str], float]]

# A second series with the moment of its birth beside each counter would double them, and nobody reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without types


class Metrics:
    """The numbers of one application. Its parts get it handed down, and never ask it anything."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._refreshes: list[Callable[[], Awaitable[None]]] = []
        self._refreshed_at = float("-inf")
        self._lock = asyncio.Lock()
        self._failures = self.counter("metrics_failures_total", "Numbers that could not be read for an answer of /metrics.")
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, words: str, *labels: str) -> Counter:
        """Return a new counter; with labels it is `counter.labels(…)` that counts. Names end in `_total`."""
        return Counter(_PREFIX + name, words, labels, registry=self._registry)

    def histogram(self, name: str, words: str, *labels: str, buckets: Sequence[float] = BUCKETS_S) -> Histogram:
        """Return a new histogram of seconds; names end in `_seconds`."""
        return Histogram(_PREFIX + name, words, labels, buckets=buckets, registry=self._registry)

    def read(self, name: str, words: str, *labels: str, values: Callable[[], Values], kind: Literal["gauge", "counter"] = "gauge") -> None:
        """Ask `values` for its numbers with each answer. It must be quick and touch no database. No value: the series is left out."""
        self._registry.register(_Read(_PREFIX + name, words, labels, values, kind, self._failures))

    def before_answers(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Await `refresh` before an answer, at most every 15 s and for at most 2 s: for what is counted in the database."""
        self._refreshes.append(refresh)

    async def render(self) -> bytes:
        """Return everything in Prometheus' text format (`CONTENT_TYPE`)."""
        await self._refresh()
        return generate_latest(self._registry)

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._refreshed_at < _REFRESH_EVERY_S:
                return
            for refresh in self._refreshes:
                try:
                    async with asyncio.timeout(_REFRESH_TIMEOUT_S):
                        await refresh()
                except Exception as error:  # noqa: BLE001  # monitoring must answer above all when something else does not
                    self._failures.inc()
                    log.warning("metrics_not_refreshed", error=type(error).__name__)
            self._refreshed_at = time.monotonic()


class _Read(Collector):
    """Numbers that are read when they are asked for."""

    def __init__(
        self,
        name: str,
        words: str,
        labels: Sequence[str],
        values: Callable[[], Values],
        kind: Literal["gauge", "counter"],
        failures: Counter,
    ) -> None:
        self._name, self._words, self._labels = name, words, labels
        self._values = values
        self._kind = kind
        self._failures = failures

    def describe(self) -> Iterable[Metric]:
        """Return the name alone: nothing is read when it is registered."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """Yield the family with what is read now; when that fails, without anything."""
        family = self._family()
        try:
            for labels, value in self._values():
                family.add_metric(labels, value)
        except Exception:  # one number that cannot be read must not take the others with it
            self._failures.inc()
            log.exception("metric_not_read", metric=self._name)
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        made = CounterMetricFamily if self._kind == "counter" else GaugeMetricFamily
        return made(self._name, self._words, labels=self._labels)


def publish_process(metrics: Metrics, *, supervisor: Supervisor, loop_lag: LoopLag, databases: dict[str, Database]) -> None:
    """Publish what every process has: loops, how late the event loop is, and its connections to the database."""
    metrics.read(
        "event_loop_lag_seconds",
        "How late the event loop was: at its last tick, and at worst within five minutes.",
        "which",
        values=lambda: [(("last",), loop_lag.last_ms / 1000), (("worst",), loop_lag.max_ms / 1000)],
    )
    health = supervisor.health
    metrics.read(
        "loop_restarts_total",
        "Restarts of a background loop; reset when it ran steadily.",
        "loop",
        values=lambda: [((name,), loop.restarts) for name, loop in health.items()],
        kind="counter",
    )
    metrics.read(
        "loop_alive",
        "Whether a background loop beat within its limit.",
        "loop",
        values=lambda: [((name,), loop.is_alive) for name, loop in health.items()],
    )

    def connections() -> Values:
        for name, database in databases.items():
            for pool, counts in database.usage().items():
                for state, count in zip(("in_use", "open", "most"), counts, strict=True):
                    yield (name, pool, state), count

    metrics.read(
        "database_connections", "Connections of each pool: in use, open, at most.", "database", "pool", "state", values=connections
    )
