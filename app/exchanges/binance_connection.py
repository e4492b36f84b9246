"""One connection to Binance's combined streams, from its handshake to its end: what it delivers, and how it is.

Pings do not show that a stream went silent (they were answered for seconds while no data came), so only data counts as life. We send none:
an answer that waits behind data which our consumer has not taken yet would be mistaken for death. The venue's are answered by the library.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from app.exchanges.binance_messages import Acknowledged, AggTrade, BookTicker, KlineEvent, PartialDepth, ServerShutdown, parse
from app.exchanges.stream_funnel import Funnel
from app.exchanges.stream_health import StreamConfig, Vitals
from app.exchanges.stream_subscriptions import Subscriptions

log = structlog.get_logger(__name__)

_FRAMES_IN_QUEUE: Final = 4096
_CLOSE_TIMEOUT_S: Final = 1.0
_LAG_EVERY_S: Final = 0.1
_TOO_MUCH: Final = frozenset({418, 429})
_TOO_MUCH_PAUSE_S: Final = 60.0
_BAD_ADDRESS: Final = frozenset({400, 414})

MarketEvent = KlineEvent | AggTrade | BookTicker | PartialDepth


class Owner(Protocol):
    """Who has the connections and hears what becomes of them."""

    @property
    def config(self) -> StreamConfig:
        """Limits and deadlines."""

    @property
    def funnel(self) -> Funnel[Any]:
        """Where events go."""

    @property
    def venue_time(self) -> Callable[[], datetime | None]:
        """Tells the venue's present time, None while it is not known."""

    def carries(self, connection: "StreamConnection", streams: set[str]) -> None:
        """These come over `connection` from now on."""

    def changed(self) -> None:
        """Something is to be decided."""

    def ended(self, connection: "StreamConnection") -> None:
        """It has ended; `reason` says why."""


class StreamConnection:
    """One connection. It makes no second one: its owner does.

    Args:
        number: Which attempt of its owner's it is, from 1.
        url: Base without a path.
        streams: What it shall carry, besides the canary.
        owner: See `Owner`.
        is_bare: Ask for nothing by the address but for the canary.
        lag_patience_s: For how long it may lag, in seconds.
        ssl_context: For wss.
    """

    def __init__(
        self,
        number: int,
        url: str,
        streams: Iterable[str],
        *,
        owner: Owner,
        is_bare: bool,
        lag_patience_s: float,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.number = number
        self.url = url
        self.lag_patience_s = lag_patience_s
        self.carried: set[str] = set()
        """What it delivers: wanted, confirmed by the venue, and there is data."""
        self.speaks = False
        self.is_leaving = False
        self.was_killed = False
        self.opened_at: float | None = None
        self.received = 0
        self.lag_s: float | None = None
        self.complete_at: float | None = None
        """When it began to deliver everything that it should, monotonic seconds."""
        self.pause_s = 0.0
        """How long the venue wants to be left alone."""
        self.is_address_refused = False
        self._owner = owner
        self._config = owner.config
        self._funnel = owner.funnel
        self._venue_time = owner.venue_time
        self._subscriptions = Subscriptions(streams, canary=self._config.canary)
        self._canary_market = self._config.canary.partition("@")[0].upper()
        self._hidden = b""
        self._is_bare = is_bare
        self._ssl = ssl_context if url.startswith("wss:") else None
        self._todo = asyncio.Event()
        self._hang_up = asyncio.Event()
        self._is_shutting_down = False
        self._is_waiting = False
        self._data_at = self._free_at = 0.0
        self._newest_event: datetime | None = None
        #: When it got its last stream, and the time of the first event after that: what is older may be missing here.
        self._took_up_at = 0.0
        self._mark: datetime | None = None
        self._lag_at = 0.0
        self._lag_since: float | None = None
        self._unreadable = 0
        self._reason: str | None = None
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[Any] | None = None
        self._hide_canary()

    @property
    def reason(self) -> str:
        """Why it ended, or is to end."""
        return self._reason or "closed"

    @property
    def refused(self) -> frozenset[str]:
        """The streams that the venue does not know."""
        return frozenset(self._subscriptions.refused)

    @property
    def is_complete(self) -> bool:
        """Whether it delivers everything that it should, but for what the venue has refused."""
        return self.speaks and self._subscriptions.is_settled

    def vitals(self, now: float) -> Vitals | None:
        """Return how it is at `now`, monotonic seconds; None before the handshake is done."""
        if self.opened_at is None:
            return None
        asked_at = self._subscriptions.unanswered_since()
        return Vitals(
            age_s=now - self.opened_at,
            silent_s=self.silent_s(now),
            unanswered_s=0.0 if self._is_waiting or asked_at is None else now - max(asked_at, self._free_at),
            lagging_s=0.0 if self._lag_since is None else now - self._lag_since,
            lag_patience_s=self.lag_patience_s,
            is_shutting_down=self._is_shutting_down,
        )

    def silent_s(self, now: float) -> float:
        """Return how old its last data is, in seconds; 0 while what it has delivered waits for the consumer."""
        return 0.0 if self._is_waiting else now - self._data_at

    def is_covered_by(self, other: "StreamConnection") -> bool:
        """Whether everything that `other` came too late for has been delivered here."""
        if other._mark is not None:
            return self._newest_event is not None and self._newest_event >= other._mark
        return other._newest_event is None and self._data_at >= other._took_up_at

    def excuse(self, stalled_s: float, *, now: float) -> None:
        """The whole process stood still for so long: what came meanwhile is not read yet."""
        self._data_at = min(now, self._data_at + stalled_s)
        self._free_at = min(now, self._free_at + stalled_s)

    def want(self, streams: Iterable[str]) -> None:
        """Carry these too."""
        there = self._subscriptions.add(streams)
        self._hide_canary()
        self._take_up(there)
        self._todo.set()

    def want_no_more(self, streams: Iterable[str]) -> None:
        """Carry these no longer; what is under way still comes."""
        names = list(streams)
        self._subscriptions.remove(names)
        self.carried.difference_update(names)
        self._hide_canary()
        self._todo.set()

    def leave(self, reason: str) -> None:
        """Hang up; what has been received is still delivered."""
        if not self.is_leaving:
            self.is_leaving = True
            self._reason = self._reason or reason
            if self._socket is None and self._task is not None:
                self._task.cancel()
            self._hang_up.set()

    def kill(self, reason: str) -> None:
        """Drop it without a word: it does not answer."""
        self.leave(reason)
        self.was_killed = True
        if self._socket is not None:
            self._socket.transport.abort()

    async def run(self) -> None:
        """Connect, ask, read and pass on until it ends."""
        self._task = asyncio.current_task()
        try:
            if not self.is_leaving:
                await self._talk()
        except InvalidStatus as error:
            self._refuse(error)
        except (OSError, TimeoutError, WebSocketException) as error:
            self._end(error)
        finally:
            self._socket = None
            self._owner.ended(self)

    async def _talk(self) -> None:
        first = self._subscriptions.in_address(is_bare=self._is_bare)
        async with connect(
            f"{self.url}/stream?streams={'/'.join(first)}",
            open_timeout=self._config.handshake_timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None,
            compression=None,
            proxy=None,
            max_queue=_FRAMES_IN_QUEUE,
            ssl=self._ssl,
        ) as socket:
            self._socket = socket
            self.opened_at = self._data_at = self._free_at = time.monotonic()
            self._subscriptions.opened(first)
            self._owner.changed()
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._send(socket), name="stream:send"),
                    group.create_task(self._close_when_told(socket), name="stream:close"),
                ]
                await self._read(socket)
                for helper in helpers:
                    helper.cancel()

    async def _send(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._todo.clear()
                while (text := self._subscriptions.next_request(time.monotonic())) is not None:
                    await socket.send(text)
                    await asyncio.sleep(self._config.between_requests_s)
                await self._todo.wait()
        except ConnectionClosed:
            return  # the reader says why

    async def _close_when_told(self, socket: ClientConnection) -> None:
        await self._hang_up.wait()
        await socket.close()

    # Reading: no database, no REST, no waiting but for the consumer.

    async def _read(self, socket: ClientConnection) -> None:
        receive, funnel = socket.recv, self._funnel
        while True:
            try:
                frame: Any = await receive(decode=False)
            except ConnectionClosed as error:
                self._end(error)
                return
            self.received += 1
            if self._hidden and frame.startswith(self._hidden):
                self._heard()
                continue
            try:
                message = parse(frame)
            except ValueError as error:
                self._could_not_read(error)
                continue
            if isinstance(message, (Acknowledged, ServerShutdown)):
                self._take_notice(message)
                continue
            now = self._heard()
            event = self._wanted(message, now)
            if event is None:
                continue
            funnel.push(event)
            if funnel.is_full:
                await self._wait_for_consumer()

    def _wanted(self, message: MarketEvent | None, now: float) -> MarketEvent | None:
        """Return what the consumer is to have; whatever says when it happened also says how far behind the connection is."""
        if isinstance(message, BookTicker):
            return None if self._hidden and message.market == self._canary_market else message
        if message is not None and not isinstance(message, PartialDepth):
            self._look_at_time(message.event_time, now)
        return message

    def _heard(self) -> float:
        now = self._data_at = time.monotonic()
        if not self.speaks:
            self.speaks = True
            self._take_up(self._subscriptions.confirmed & self._subscriptions.wanted.keys())
            self._settle()
        return now

    async def _wait_for_consumer(self) -> None:
        self._is_waiting = True
        await self._funnel.room()
        self._is_waiting = False
        self._data_at = self._free_at = time.monotonic()
        self._lag_since = None

    def _could_not_read(self, error: ValueError) -> None:
        self._unreadable += 1
        if self._unreadable & (self._unreadable - 1) == 0:  # the 1st, 2nd, 4th, 8th, …: one that sends nothing else fills no disk
            log.warning("stream_message_unreadable", error=str(error)[:200], count=self._unreadable)

    def _look_at_time(self, event_time: datetime, now: float) -> None:
        if self._newest_event is None or event_time > self._newest_event:
            self._newest_event = event_time
        if self._mark is None:
            self._mark = event_time
        if now < self._lag_at:
            return
        self._lag_at = now + _LAG_EVERY_S
        venue_now = self._venue_time()
        if venue_now is None:
            self.lag_s = self._lag_since = None
            return
        self.lag_s = (venue_now - event_time).total_seconds()
        if abs(self.lag_s) <= self._config.lag_s:
            self._lag_since = None
        elif self._lag_since is None:
            self._lag_since = now

    def _take_notice(self, message: Acknowledged | ServerShutdown) -> None:
        if isinstance(message, ServerShutdown):
            log.info("stream_server_shuts_down", url=self.url)
            self._is_shutting_down = True
            self._owner.changed()
            return
        refused = set(self._subscriptions.refused)
        confirmed = self._subscriptions.answered(message)
        if message.error is not None:
            refused = self._subscriptions.refused - refused
            log.warning("subscription_refused", error=message.error, request=message.request_id, streams=sorted(refused) or "some of many")
        if self.speaks:
            self._take_up(confirmed)
            self._settle()
        self._todo.set()

    def _take_up(self, streams: set[str]) -> None:
        if self.speaks and streams:
            self.carried |= streams
            self._mark, self._took_up_at = None, time.monotonic()
            self._owner.carries(self, streams)

    def _settle(self) -> None:
        if self.is_complete:
            self.complete_at = time.monotonic()
        self._owner.changed()

    def _hide_canary(self) -> None:
        self._hidden = b"" if self._subscriptions.is_canary_wanted else b'{"stream":"%s",' % self._config.canary.encode()

    # Ending.

    def _refuse(self, error: InvalidStatus) -> None:
        self._end(error)
        status = error.response.status_code
        if status in _TOO_MUCH:
            text = error.response.headers.get("Retry-After", "")
            self.pause_s = float(text) if text.isdecimal() else _TOO_MUCH_PAUSE_S
        self.is_address_refused = status in _BAD_ADDRESS

    def _end(self, error: Exception) -> None:
        said = "the server is shutting down: " if self._is_shutting_down else ""
        self._reason = self._reason or (said + (str(error) or type(error).__name__))[:200]
