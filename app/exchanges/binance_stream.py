"""Binance's market streams as one endless iterator over as many connections as they need. It reconnects by itself and says what was missed.

A connection that grows old, lags, falls silent or is told that its server goes gets a successor before it is left (`binance_line`). Streams
may be doubled: they then come over two connections, to different hosts where there are some, and outlive either of them. No database here.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.core.clock import Clock
from app.exchanges.binance_connection import MarketEvent, StreamConnection
from app.exchanges.binance_line import Line
from app.exchanges.stream_funnel import Funnel
from app.exchanges.stream_health import DEFAULT_STREAM_URLS, AttemptLimit, ConnectionHealth, StreamConfig

__all__ = ["DEFAULT_STREAM_URLS", "BinanceStreams", "Connected", "ConnectionHealth", "Disconnected", "StreamConfig", "StreamEvent"]

log = structlog.get_logger(__name__)

#: The watchdog was that late: the whole process stood still, and nobody's silence means anything.
_STALL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """Events of these streams come from now on, and some of those before may be missing: fetch them.

    It also follows a connection that fell silent and was replaced in time, without a `Disconnected` before it. `attempt` is the number of
    the connection since the start.
    """

    streams: frozenset[str]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """These streams have no living connection now, and why. The next one is on its way; each attempt that fails says so again."""

    streams: frozenset[str]
    reason: str


StreamEvent = Connected | Disconnected | MarketEvent


def _unknown() -> datetime | None:
    return None


class BinanceStreams:
    """The wanted streams and their connections.

    Args:
        config: Hosts, limits and deadlines.
        streams: Names such as `btcusdt@kline_1m`; more may be added while it runs.
        clock: Dates connections.
        venue_time: Tells the venue's present time, None while it is not known; without it no connection is replaced for its lag.
    """

    def __init__(
        self, config: StreamConfig, streams: Iterable[str] = (), *, clock: Clock, venue_time: Callable[[], datetime | None] = _unknown
    ) -> None:
        self.config = config
        self.venue_time = venue_time
        self.ssl_context = ssl.create_default_context() if any(url.startswith("wss:") for url in config.urls) else None
        self.funnel: Funnel[StreamEvent] = Funnel(config.events_waiting)
        self._clock = clock
        self._wanted: dict[str, None] = {}
        self._doubled: dict[str, None] = {}
        self._lines: list[Line] = []
        self._attempts = AttemptLimit(config.attempts_per_5_min)
        self._count = 0
        self._losses = 0
        self._changed = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._add(self._wanted, streams, is_double=False)

    @property
    def streams(self) -> tuple[str, ...]:
        """The wanted names."""
        return tuple(self._wanted)

    @property
    def live(self) -> frozenset[str]:
        """The wanted names that come over at least one connection now."""
        return frozenset(self._carried_by(self._connections()) & self._wanted.keys())

    @property
    def reconnects(self) -> int:
        """How many connections were lost since the start, and made again. Those that were replaced in time do not count."""
        return self._losses

    @property
    def connections(self) -> tuple[ConnectionHealth, ...]:
        """The open connections."""
        now = time.monotonic()
        return tuple(
            ConnectionHealth(
                url=connection.url,
                streams=len(connection.carried),
                opened_at=self._clock.now() - timedelta(seconds=now - connection.opened_at),
                age_s=connection.silent_s(now),
                lag_ms=None if connection.lag_s is None else connection.lag_s * 1000,
                received=connection.received,
                is_double=line.is_double,
            )
            for line in self._lines
            for connection in line.connections
            if connection.opened_at is not None
        )

    async def subscribe(self, streams: Iterable[str]) -> None:
        """Want these too. `Connected` says when they come; one that is wanted already is left alone."""
        self._add(self._wanted, streams, is_double=False)

    async def unsubscribe(self, streams: Iterable[str]) -> None:
        """Want these no longer; what is under way may still come."""
        names = list(streams)
        for name in names:
            self._wanted.pop(name, None)
        self._remove(self._lines, names)
        for name in names:
            self._doubled.pop(name, None)

    async def double(self, streams: Iterable[str]) -> None:
        """Have these over a second connection as well, and want them. Their events come twice."""
        names = list(streams)
        self._add(self._wanted, names, is_double=False)
        self._add(self._doubled, names, is_double=True)

    async def undouble(self, streams: Iterable[str]) -> None:
        """Have these over one connection only."""
        names = list(streams)
        for name in names:
            self._doubled.pop(name, None)
        self._remove([line for line in self._lines if line.is_double], names)

    async def reconnect(self) -> None:
        """Drop all connections; new ones are made."""
        for connection in self._connections():
            connection.kill("asked to reconnect")

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield events for ever, for one consumer. Leaving the iterator closes all connections.

        The consumer must keep up: beyond some thousands of waiting messages the venue is slowed down, and in the end it hangs up.
        """
        self.funnel = Funnel(self.config.events_waiting)
        for line in self._lines:
            line.begin()
        async with asyncio.TaskGroup() as group:
            runner = group.create_task(self._run(), name="binance-streams")
            # A task group would wrap the GeneratorExit of a consumer that leaves.
            with suppress(GeneratorExit):
                try:
                    async with aclosing(self.funnel.drain()) as events:
                        async for event in events:
                            yield event
                finally:
                    runner.cancel()

    # What connections and lines call.

    def carries(self, connection: StreamConnection, streams: set[str]) -> None:
        """Tell of streams that come again, or for the first time."""
        there = self._carried_by(other for other in self._connections() if other is not connection)
        new = (streams & self._wanted.keys()) - there
        if new:
            self.funnel.push(Connected(streams=frozenset(new), attempt=connection.number))

    def ended(self, connection: StreamConnection) -> None:
        """Tell of streams that do not come any more, and of those that something is missing of."""
        line = next(line for line in self._lines if connection in line.connections)
        if self._group is None:
            line.ended(connection, is_lost=False)  # all of them are being closed
            return
        others = [other for other in self._connections() if other is not connection]
        there = self._carried_by(others)
        covered = self._carried_by(other for other in others if connection.is_covered_by(other))
        missing = line.streams.keys() - there - connection.refused
        holed = (connection.carried & there) - covered
        is_lost = bool(missing or holed or connection.was_killed or not connection.is_leaving)
        line.ended(connection, is_lost=is_lost)
        self._attempts.hold(time.monotonic(), connection.pause_s)
        if connection.speaks and is_lost:
            self._losses += 1
        if missing:
            self.funnel.push(Disconnected(streams=frozenset(missing), reason=connection.reason))
        for other in others:
            again = holed & other.carried
            if again:
                self.funnel.push(Connected(streams=frozenset(again), attempt=other.number))
                holed -= again
        self.changed()

    def changed(self) -> None:
        """Look at everything now."""
        self._changed.set()

    def may_connect(self, now: float) -> bool:
        """Take one of the attempts that the venue allows, if there is one."""
        if self._attempts.wait_s(now) > 0:
            return False
        self._attempts.take(now)
        return True

    def start(self, connection: StreamConnection) -> None:
        """Let a connection run."""
        if self._group is not None:
            self._group.create_task(connection.run(), name=f"stream:{connection.number}")

    def next_number(self) -> int:
        """Count attempts."""
        self._count += 1
        return self._count

    def hosts(self, *, of_doubles: bool) -> frozenset[str]:
        """Return where the connections of the one kind of line go."""
        return frozenset(connection.url for line in self._lines if line.is_double is of_doubles for connection in line.living)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    await self._keep()
                finally:
                    self._group = None
        except* Exception as errors:
            log.exception("streams_failed")
            self.funnel.fail(errors)

    async def _keep(self) -> None:
        due = time.monotonic()
        while True:
            self._changed.clear()
            now = time.monotonic()
            if now - due > _STALL_S:
                for connection in self._connections():
                    connection.excuse(now - due, now=now)
            wait_s = min([line.look(now) for line in self._lines], default=self.config.watch_every_s)
            self._lines = [line for line in self._lines if line.streams or line.connections]
            due = time.monotonic() + wait_s
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            due = min(due, time.monotonic())

    def _connections(self) -> Iterator[StreamConnection]:
        return (connection for line in self._lines for connection in line.connections)

    def _carried_by(self, connections: Iterable[StreamConnection]) -> set[str]:
        return set().union(*(connection.carried for connection in connections))

    def _add(self, to: dict[str, None], streams: Iterable[str], *, is_double: bool) -> None:
        new = [name for name in dict.fromkeys(streams) if name not in to]
        to.update(dict.fromkeys(new))
        lines = [line for line in self._lines if line.is_double is is_double]
        while new:
            line = next((line for line in lines if line.room > 0), None)
            if line is None:
                line = Line(self, is_double=is_double)
                self._lines.append(line)
                lines.append(line)
            line_new, new = new[: line.room], new[line.room :]
            line.add(line_new)
        self.changed()

    def _remove(self, lines: Iterable[Line], streams: list[str]) -> None:
        for line in lines:
            line.remove(streams)
        self.changed()
