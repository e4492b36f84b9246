"""One connection to Binance's websocket API: the accounts subscribed on it, and whether it still answers.

An account may be silent for days, so the age of its data says nothing: requests that must be answered are the sign of life.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import orjson
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from app.core.clock import Clock
from app.domain.candles import to_milliseconds
from app.errors import BadCredentials
from app.exchanges.binance_user_messages import AccountEvent, Answer, EventBody, ServerShutdown, StreamTerminated, UserMessage, parse
from app.exchanges.errors import is_binance_credentials
from app.exchanges.user_stream_access import Signer
from app.exchanges.user_stream_pace import Pace, UserStreamConfig

log = structlog.get_logger(__name__)
#: The library's own log holds frames at DEBUG, and with them keys and signatures.
_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)

_RECV_WINDOW_MS: Final = 5_000
_HANDSHAKE_TIMEOUT_S: Final = 10.0
_PING_S: Final = 20.0
_FRAMES_IN_QUEUE: Final = 4096
_BANNED: Final = 418
_TOO_MUCH: Final = frozenset({_BANNED, 429})
_TOO_MUCH_PAUSE_S: Final = 60.0
_CLOCK: Final = -1021
_WEIGHT: Final = -1003
_ALREADY_ACTIVE: Final = -2035
_NO_MORE_IDS: Final = -2042
_RETRY_S: Final = 1.0
#: Two clocks in whole milliseconds, compared: waiting that much longer is never too early.
_ROUNDING_MS: Final = 2
_LONGEST_RETRY_S: Final = 60.0
#: After so many failures in a row an account counts as lost; it is tried further.
_PATIENCE: Final = 3


class Owner(Protocol):
    """Who has the accounts of a connection and hears what becomes of them."""

    @property
    def signers(self) -> Mapping[UUID, Signer]:
        """The accounts to be subscribed, now."""

    async def opened(self, link: "Link") -> None:
        """The connection is open and has answered."""

    async def subscribed(self, link: "Link", account: UUID) -> None:
        """The account's events come over `link` from now on."""

    async def lost(self, link: "Link", account: UUID, *, reason: str, is_credentials: bool = False) -> None:
        """The account's events do not come over `link`, or not any more. With `is_credentials` it is not asked for again."""

    async def occupied(self, link: "Link", account: UUID) -> None:
        """Another of the accounts on `link` is the same account at the venue: this one needs a connection of its own."""

    async def told(self, account: UUID, body: EventBody) -> None:
        """The account has news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request under way: when (monotonic, and by our clock in ms), and whose; no account for the time."""

    method: str
    at: float
    at_ms: int
    account: UUID | None = None
    signer: Signer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsubscribe:
    subscription_id: int


class Link:
    """A connection from its handshake to its end. It makes no second one: its owner does."""

    def __init__(self, url: str, owner: Owner, *, config: UserStreamConfig, clock: Clock, pace: Pace) -> None:
        self.subscriptions: dict[UUID, int] = {}
        self.has_ended = False
        self.is_retiring = False
        self.opened_at: float | None = None
        self._url = url
        self._owner = owner
        self._config = config
        self._clock = clock
        self._shared_pace = pace
        self._pace = Pace(config.between_requests_s)
        self._accounts: dict[int, UUID] = {}
        self._asked: dict[int, _Asked] = {}
        self._failures: dict[UUID, int] = {}
        self._todo: asyncio.Queue[UUID | _Unsubscribe] = asyncio.Queue()
        self._unsettled = set(owner.signers)
        self._request_ids = itertools.count(1)
        # Connections that were made together are not replaced together.
        self._rotate_after_s = config.rotate_after_s * random.uniform(0.9, 1.0)  # noqa: S311  # spreading load, not a secret
        self._offset_ms = 0
        self._clock_known = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_blocked = False
        self._free_since = 0.0
        self._probed_at = 0.0
        self._connection: ClientConnection | None = None
        self._reason: str | None = None
        for account in owner.signers:
            self._todo.put_nowait(account)

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self._reason or "closed"

    @property
    def is_settled(self) -> bool:
        """Whether every account it began with has an answer."""
        return self._clock_known.is_set() and not self._unsettled

    @property
    def has_lived_s(self) -> float:
        """Seconds since the handshake; 0 before it."""
        return 0.0 if self.opened_at is None else time.monotonic() - self.opened_at

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for something that changes with this connection; for its owner alone."""
        while not is_true():
            self._changed.clear()
            await self._changed.wait()

    def subscribe(self, account: UUID) -> None:
        """Ask for the events of an account that its owner has just got."""
        self._todo.put_nowait(account)

    def unsubscribe(self, account: UUID) -> None:
        """Let go of an account; what still comes of it is not passed on."""
        self._settle(account)
        subscription_id = self.subscriptions.pop(account, None)
        if subscription_id is not None:
            self._accounts.pop(subscription_id, None)
            self._todo.put_nowait(_Unsubscribe(subscription_id=subscription_id))

    def retire(self, reason: str) -> None:
        """Ask the owner for a successor; this one works on until it is closed."""
        if not self.is_retiring:
            log.info("user_stream_retires", reason=reason, accounts=len(self.subscriptions))
            self.is_retiring = True
            self._changed.set()

    async def close(self, reason: str = "closed") -> None:
        """Hang up, or do not begin."""
        self._end(reason)
        if self._connection is not None:
            await self._connection.close()

    async def run(self) -> None:
        """Connect, subscribe and pass on events until the connection ends; `reason` then says why."""
        try:
            await self._talk()
        except* InvalidStatus as errors:
            self._refused(errors)
        except* (OSError, TimeoutError, WebSocketException) as errors:
            self._end(_in_words(errors))
        finally:
            self._connection = None
            self.has_ended = True
            self._changed.set()

    async def _talk(self) -> None:
        # Answers are shorter without the rate limits in each.
        async with connect(
            f"{self._url}?returnRateLimits=false",
            open_timeout=_HANDSHAKE_TIMEOUT_S,
            close_timeout=1.0,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            compression=None,
            proxy=None,
            max_queue=_FRAMES_IN_QUEUE,
            logger=_wire_log,
        ) as connection:
            if self._reason is not None:
                return
            self._connection = connection
            self.opened_at = time.monotonic()
            await self._ask_time(connection)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._send(connection), name="user-stream:send"),
                    group.create_task(self._watch(connection), name="user-stream:watch"),
                ]
                await self._read(connection)
                for task in tasks:
                    task.cancel()

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            try:
                frame: Any = await connection.recv(decode=False)
            except ConnectionClosed as error:
                self._end(str(error)[:200])
                return
            try:
                message = parse(frame)
            except ValueError as error:
                # Nobody can tell whose news it was: a new connection makes everybody ask.
                log.warning("user_stream_unreadable", error=str(error)[:100])
                self._end("a message could not be read")
                return
            self._is_blocked = True
            await self._take(connection, message)
            self._is_blocked = False
            self._free_since = time.monotonic()

    async def _take(self, connection: ClientConnection, message: UserMessage | None) -> None:
        match message:
            case AccountEvent():
                await self._pass_on(message)
            case Answer():
                await self._answered(connection, message)
            case ServerShutdown():
                self.retire("the server is shutting down")

    async def _pass_on(self, event: AccountEvent) -> None:
        account = None if event.subscription_id is None else self._accounts.get(event.subscription_id)
        if account is None:
            return
        if isinstance(event.body, StreamTerminated):
            del self._accounts[self.subscriptions.pop(account)]
            await self._owner.lost(self, account, reason="the exchange ended the account's stream")
            self._todo.put_nowait(account)
            return
        await self._owner.told(account, event.body)

    async def _answered(self, connection: ClientConnection, answer: Answer) -> None:
        asked = None if answer.request_id is None else self._asked.pop(answer.request_id, None)
        if answer.status in _TOO_MUCH or answer.code == _WEIGHT:
            self._shared_pace.hold(self._until(answer), is_banned=answer.status == _BANNED)
        if asked is None:
            return
        if asked.method == "time":
            await self._know_time(asked, answer)
        elif asked.account is not None and asked.signer is not None:
            await self._subscription_answered(connection, asked.account, asked.signer, answer)

    def _until(self, answer: Answer) -> float:
        if answer.retry_at is None:
            return _TOO_MUCH_PAUSE_S
        away_ms = to_milliseconds(answer.retry_at) - to_milliseconds(self._clock.now()) - self._offset_ms + _ROUNDING_MS
        return min(max(away_ms / 1000, _RETRY_S), 3 * 86_400.0)

    async def _know_time(self, asked: _Asked, answer: Answer) -> None:
        if answer.server_time is None:
            return
        ours_ms = (asked.at_ms + to_milliseconds(self._clock.now())) // 2
        self._offset_ms = to_milliseconds(answer.server_time) - ours_ms
        if not self._clock_known.is_set():
            self._clock_known.set()
            self._changed.set()
            await self._owner.opened(self)

    async def _subscription_answered(self, connection: ClientConnection, account: UUID, signer: Signer, answer: Answer) -> None:
        is_wanted = self._owner.signers.get(account) is signer
        if answer.is_success and answer.subscription_id is not None:
            if not is_wanted:
                self._todo.put_nowait(_Unsubscribe(subscription_id=answer.subscription_id))
                return
            self._accounts[answer.subscription_id] = account
            self.subscriptions[account] = answer.subscription_id
            self._failures.pop(account, None)
            await self._owner.subscribed(self, account)
            self._settle(account)
        elif is_wanted:
            await self._not_subscribed(connection, account, answer)

    async def _not_subscribed(self, connection: ClientConnection, account: UUID, answer: Answer) -> None:
        if answer.code is not None and is_binance_credentials(str(answer.code)):
            self._settle(account)
            await self._owner.lost(self, account, reason=answer.message or "refused", is_credentials=True)
            return
        failures = self._failures[account] = self._failures.get(account, 0) + 1
        if answer.code == _ALREADY_ACTIVE and failures > 1:
            self._settle(account)
            await self._owner.occupied(self, account)
            return
        if answer.code == _CLOCK:
            await self._ask_time(connection)
        elif answer.code == _NO_MORE_IDS:
            self.retire("the connection has made all the subscriptions it may")
            return
        if failures == _PATIENCE:
            self._settle(account)
            await self._owner.lost(self, account, reason=f"the exchange answers {answer.code} {answer.message}")
        delay_s = min(_RETRY_S * 2 ** (failures - 1), _LONGEST_RETRY_S)
        asyncio.get_running_loop().call_later(delay_s, self._todo.put_nowait, account)

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason

    def _settle(self, account: UUID) -> None:
        self._unsettled.discard(account)
        self._changed.set()

    async def _send(self, connection: ClientConnection) -> None:
        await self._clock_known.wait()
        while True:
            todo = await self._todo.get()
            if isinstance(todo, _Unsubscribe):
                await self._pace.turn()
                await self._ask(connection, "userDataStream.unsubscribe", {"subscriptionId": todo.subscription_id})
                continue
            await self._shared_pace.turn()
            await self._pace.turn()
            await self._ask_for(connection, todo)

    async def _ask_for(self, connection: ClientConnection, account: UUID) -> None:
        signer = self._owner.signers.get(account)
        if signer is None or account in self.subscriptions:
            self._settle(account)
            return
        if any(asked.signer is signer for asked in self._asked.values()):
            return
        stamped = {"recvWindow": _RECV_WINDOW_MS, "timestamp": to_milliseconds(self._clock.now()) + self._offset_ms}
        try:
            signed = signer.signed(stamped)
        except BadCredentials as error:
            self._settle(account)
            await self._owner.lost(self, account, reason=error.message, is_credentials=True)
            return
        await self._ask(connection, "userDataStream.subscribe.signature", signed, account=account, signer=signer)

    async def _watch(self, connection: ClientConnection) -> None:
        config = self._config
        step_s = min(1.0, config.answer_timeout_s / 4, config.probe_every_s / 4, config.rotate_after_s / 4)
        while True:
            await asyncio.sleep(step_s)
            now = time.monotonic()
            oldest = min((asked.at for asked in self._asked.values()), default=now)
            if not self._is_blocked and now - max(oldest, self._free_since) > config.answer_timeout_s:
                await self.close(f"a request had no answer for {config.answer_timeout_s:g} s")
                return
            if now - self._probed_at >= config.probe_every_s:
                await self._ask_time(connection)
            if self.has_lived_s >= self._rotate_after_s:
                self.retire(f"the connection is {self.has_lived_s / 3600:.1f} h old")

    async def _ask_time(self, connection: ClientConnection) -> None:
        self._probed_at = time.monotonic()
        await self._ask(connection, "time", {})

    async def _ask(
        self,
        connection: ClientConnection,
        method: str,
        parameters: Mapping[str, str | int],
        *,
        account: UUID | None = None,
        signer: Signer | None = None,
    ) -> None:
        request_id = next(self._request_ids)
        self._asked[request_id] = _Asked(
            method=method, at=time.monotonic(), at_ms=to_milliseconds(self._clock.now()), account=account, signer=signer
        )
        await connection.send(orjson.dumps({"id": request_id, "method": method, "params": dict(parameters)}).decode())

    def _refused(self, errors: BaseExceptionGroup[InvalidStatus]) -> None:
        """The handshake was answered with an HTTP error."""
        self._end(_in_words(errors))
        for error in errors.exceptions:
            if isinstance(error, InvalidStatus) and error.response.status_code in _TOO_MUCH:
                text = error.response.headers.get("Retry-After", "")
                pause_s = float(text) if text.isdecimal() else _TOO_MUCH_PAUSE_S
                self._shared_pace.hold(pause_s, is_banned=error.response.status_code == _BANNED)


def _in_words(errors: BaseExceptionGroup[Any]) -> str:
    error = errors.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (str(error) or type(error).__name__)[:200]
