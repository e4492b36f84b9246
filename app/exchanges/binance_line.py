"""One part of the wanted streams and the connection that carries it, or two of them while one takes over from the other.

A successor is made beside the old connection, with the same streams. The old one is left only when the successor delivers all of them and
the old one has delivered everything from before that; so a change of connection costs nothing but some messages that come twice.
"""

import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

import structlog

from app.core.backoff import backoff
from app.exchanges.binance_connection import Owner, StreamConnection
from app.exchanges.stream_health import Verdict, judge

log = structlog.get_logger(__name__)


class Pool(Owner, Protocol):
    """Who has the lines."""

    def may_connect(self, now: float) -> bool:
        """Take one of the attempts that the venue allows, if there is one."""

    def start(self, connection: StreamConnection) -> None:
        """Let it run."""

    def next_number(self) -> int:
        """Count attempts."""

    def hosts(self, *, of_doubles: bool) -> frozenset[str]:
        """Return where the connections of the one kind of line go."""

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """For wss."""


class Line:
    """Keeps `streams` coming. With `is_double` they come over another line too, and it keeps to another host where there is one."""

    def __init__(self, pool: Pool, *, is_double: bool) -> None:
        self.streams: dict[str, None] = {}
        self.connections: list[StreamConnection] = []
        self.is_double = is_double
        self._pool = pool
        self._config = pool.config
        self._delays: Iterator[float] = backoff()
        self._retry_at = 0.0
        self._host = -1
        self._is_bare = False
        self._lag_patience_s = pool.config.lag_for_s

    @property
    def room(self) -> int:
        """How many more streams it may have."""
        return self._config.streams_per_connection - len(self.streams)

    @property
    def living(self) -> list[StreamConnection]:
        """The connections that are not on their way out, the oldest first."""
        return [connection for connection in self.connections if not connection.is_leaving]

    def begin(self) -> None:
        """Forget what another run left behind."""
        self.connections = []
        self._delays, self._retry_at, self._host = backoff(), 0.0, -1

    def add(self, streams: Iterable[str]) -> None:
        """Keep these too."""
        names = list(streams)
        self.streams.update(dict.fromkeys(names))
        for connection in self.living:
            connection.want(names)

    def remove(self, streams: Iterable[str]) -> None:
        """Keep these no longer."""
        gone = [name for name in streams if name in self.streams]
        for name in gone:
            del self.streams[name]
        if gone:
            for connection in self.connections:
                connection.want_no_more(gone)

    def look(self, now: float) -> float:
        """Do what there is to do; return in how many seconds to look again at the latest."""
        if not self.streams:
            for connection in self.living:
                connection.leave("nothing is wanted of it")
            return self._config.watch_every_s
        self._hand_over(now)
        verdict = self._judge(now)
        living = self.living
        is_needed = not living or (len(living) == 1 and verdict is not None)
        if not is_needed:
            return self._config.watch_every_s
        if now < self._retry_at:
            return min(self._config.watch_every_s, self._retry_at - now)
        if self._pool.may_connect(now):
            self._open(verdict)
        return self._config.watch_every_s

    def ended(self, connection: StreamConnection, *, is_lost: bool) -> None:
        """A connection is gone; `is_lost` says that it was not left for its successor."""
        self.connections.remove(connection)
        if not is_lost:
            return
        if connection.speaks:
            self._delays = backoff()
        self._is_bare = self._is_bare or connection.is_address_refused
        self._retry_at = time.monotonic() + next(self._delays)

    def _judge(self, now: float) -> Verdict | None:
        """Drop what is dead; return why the only connection, if there is one, needs a successor."""
        verdict = None
        for connection in self.living:
            vitals = connection.vitals(now)
            verdict = judge(vitals, self._config) if vitals is not None else None
            if verdict is not None and verdict.is_dead:
                log.warning("stream_dropped", url=connection.url, reason=verdict.reason, streams=len(self.streams))
                connection.kill(verdict.reason)
                verdict = None
        return verdict

    def _hand_over(self, now: float) -> None:
        living = self.living
        if len(living) < 2:
            return
        old, new = living[0], living[-1]
        if not new.is_complete or new.complete_at is None:
            return
        if old.silent_s(now) > self._config.silence_standby_s or not old.speaks:
            old.kill(f"no data for {self._config.silence_standby_s:g} s")
        elif old.is_covered_by(new) or now - new.complete_at > self._config.overlap_s:
            log.info("stream_handed_over", url=new.url, streams=len(self.streams))
            old.leave("its successor has taken over")

    def _open(self, verdict: Verdict | None) -> None:
        if verdict is None or not verdict.is_host_well:
            self._move()
        self._lag_patience_s = min(self._lag_patience_s * 2, 3600.0) if verdict is not None and verdict.is_lag else self._config.lag_for_s
        connection = StreamConnection(
            self._pool.next_number(),
            self._address(),
            self.streams,
            owner=self._pool,
            is_bare=self._is_bare,
            lag_patience_s=self._lag_patience_s,
            ssl_context=self._pool.ssl_context,
        )
        if verdict is not None:
            log.info("stream_needs_successor", reason=verdict.reason, url=connection.url, streams=len(self.streams))
        self.connections.append(connection)
        self._pool.start(connection)

    def _move(self) -> None:
        """Go to the next host; the first one is the first, or for a double the second."""
        is_first = self._host < 0
        self._host = int(self.is_double) if is_first else self._host + 1
        if self.is_double and not is_first and self._address() in self._pool.hosts(of_doubles=False):
            self._host += 1

    def _address(self) -> str:
        urls = self._config.urls
        return urls[self._host % len(urls)].rstrip("/").removesuffix("/ws").removesuffix("/stream")
