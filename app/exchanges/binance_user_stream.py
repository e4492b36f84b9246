"""The events of many accounts at Binance as one endless iterator. It reconnects by itself and says when it did; it knows no database.

Accounts share connections, up to a number each. A connection is replaced before the venue cuts it: its successor takes over first, so
that nothing is missed. What it says is a hint, and may come twice: asking the venue decides.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.core.backoff import backoff
from app.core.clock import Clock
from app.domain.orders import Reported
from app.exchanges.binance_user_link import Link
from app.exchanges.binance_user_messages import BalanceChanged, EventBody, ExecutionReport, StreamTerminated, Unreadable
from app.exchanges.user_stream_access import Signer
from app.exchanges.user_stream_pace import Pace, Turnstile, UserStreamConfig

log = structlog.get_logger(__name__)

_EVENTS_IN_QUEUE: Final = 10_000
#: A connection that lived so long was well; what ended it does not make the next one wait longer.
_STEADY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSubscribed:
    """The account's events come from now on. What happened before is missing: ask."""

    account: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLost:
    """The account's events do not come any more. With `is_credentials` its key is refused, and it is given up until it is added anew."""

    account: UUID
    reason: str
    is_credentials: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdate:
    """An order of the account has changed. `market` is the venue's name (BTCUSDT), `client_order_id` the one it was placed under."""

    account: UUID
    market: str
    client_order_id: str
    venue_order_id: str
    report: Reported
    created_at: datetime
    event_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceUpdate:
    """What the account holds has changed."""

    account: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """The account has news that could not be read: ask."""

    account: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnected:
    """A connection was made again after one was lost; its accounts follow, each with an `AccountSubscribed`."""

    accounts: int


UserEvent = AccountSubscribed | AccountLost | OrderUpdate | BalanceUpdate | Missed | Reconnected


class UserStream:
    """The accounts and their connections. `run` keeps the connections, `events` tells what they say; accounts may come and go.

    Args:
        url: Address of the websocket API, such as `user_stream_access.DEFAULT_USER_STREAM_URL`.
        clock: Dates requests; the venue's clock is measured on each connection.
        config: Limits and deadlines.
        turnstile: Where connections and subscriptions take their place among all other requests to the venue; None counts them nowhere.
    """

    def __init__(self, url: str, *, clock: Clock, config: UserStreamConfig | None = None, turnstile: Turnstile | None = None) -> None:
        self.url = url
        self.clock = clock
        self.config = config or UserStreamConfig()
        self.pace = Pace(self.config.between_subscriptions_s, turnstile)
        self._lines: list[_Line] = []
        self._queue: asyncio.Queue[UserEvent] = asyncio.Queue(_EVENTS_IN_QUEUE)
        self._has_new_line = asyncio.Event()

    @property
    def accounts(self) -> frozenset[UUID]:
        """The accounts it has; those whose key was refused are not among them."""
        return frozenset(account for line in self._lines for account in line.signers)

    @property
    def connection_count(self) -> int:
        """How many connections are open or being made."""
        return sum(len(line.links) for line in self._lines)

    def is_live(self, account: UUID) -> bool:
        """Whether the account's events come now."""
        return any(line.is_live(account) for line in self._lines)

    def add(self, account: UUID, signer: Signer) -> None:
        """Follow an account from now on; one that is there already with another signer is subscribed anew."""
        self.remove(account)
        self._place(account, signer, unless=None)

    def remove(self, account: UUID) -> None:
        """Follow an account no longer; no event of it comes any more, except those that wait already."""
        for line in self._lines:
            line.remove(account)

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for line in self._lines:
                    if not line.has_begun:
                        line.has_begun = True
                        group.create_task(line.keep(), name="user-stream:line")
                self._has_new_line.clear()
                await self._has_new_line.wait()

    async def events(self) -> AsyncGenerator[UserEvent, None]:
        """Yield events for ever. The reader must keep up: beyond 10,000 waiting events the venue is slowed down, and hangs up at last."""
        while True:
            yield await self._queue.get()

    async def tell(self, event: UserEvent) -> None:
        """Give an event to the reader; for the lines."""
        await self._queue.put(event)

    def move(self, account: UUID, signer: Signer, *, away_from: "_Line") -> None:
        """Put an account on another connection than that line's; for the lines."""
        self._place(account, signer, unless=away_from)

    def forget(self, line: "_Line") -> None:
        """Drop a line that has no account left; for the lines."""
        self._lines.remove(line)

    def _place(self, account: UUID, signer: Signer, *, unless: "_Line | None") -> None:
        line = next((line for line in self._lines if line is not unless and line.has_room_for(account)), None)
        if line is None:
            line = _Line(self)
            self._lines.append(line)
            self._has_new_line.set()
        line.add(account, signer)


class _Line:
    """The accounts that share a connection, and the connections that one after another serve them."""

    def __init__(self, stream: UserStream) -> None:
        self.signers: dict[UUID, Signer] = {}
        #: The newest last. There are two while one takes over from the other.
        self.links: list[Link] = []
        self.has_begun = False
        self._stream = stream
        self._barred: set[UUID] = set()
        self._is_ending = False
        self._was_open = False

    def has_room_for(self, account: UUID) -> bool:
        return len(self.signers) < self._stream.config.accounts_per_connection and account not in self._barred and not self._is_ending

    def is_live(self, account: UUID) -> bool:
        return any(account in link.subscriptions for link in self.links)

    def add(self, account: UUID, signer: Signer) -> None:
        self.signers[account] = signer
        if self.links:
            self.links[-1].subscribe(account)

    def remove(self, account: UUID) -> None:
        self._barred.discard(account)
        if self.signers.pop(account, None) is None:
            return
        for link in self.links:
            link.unsubscribe(account)

    async def keep(self) -> None:
        """One connection after another, until no account is left."""
        delays = backoff()
        async with asyncio.TaskGroup() as group:
            while self.signers:
                await self._stream.pace.turn()
                link = Link(self._stream.url, self, config=self._stream.config, clock=self._stream.clock, pace=self._stream.pace)
                self.links.append(link)
                group.create_task(self._run(link), name="user-stream:link")
                await self._until(link, lambda link: link.is_settled or link.is_retiring)
                if link.is_settled and not link.has_ended:
                    for old in self.links[:-1]:
                        await old.close("replaced")
                await self._until(link, lambda link: link.is_retiring)
                if link.has_lived_s >= _STEADY_S:
                    delays = backoff()
                elif self.signers:
                    await asyncio.sleep(next(delays))
            self._is_ending = True
            for link in self.links:
                await link.close()
        self._stream.forget(self)

    async def _until(self, link: Link, is_true: Callable[[Link], bool]) -> None:
        await link.until(lambda: is_true(link) or link.has_ended or not self.signers)

    async def _run(self, link: Link) -> None:
        await link.run()
        self.links.remove(link)
        log.info("user_stream_closed", reason=link.reason, accounts=len(link.subscriptions))
        for account in link.subscriptions:
            if not self.is_live(account):
                await self._stream.tell(AccountLost(account=account, reason=link.reason, is_credentials=False))

    async def opened(self, link: Link) -> None:
        others = sum(bool(other.subscriptions) for other in self.links if other is not link)
        if self._was_open and not others:
            await self._stream.tell(Reconnected(accounts=len(self.signers)))
        self._was_open = True

    async def subscribed(self, link: Link, account: UUID) -> None:
        if not any(account in other.subscriptions for other in self.links if other is not link):
            await self._stream.tell(AccountSubscribed(account=account))

    async def lost(self, link: Link, account: UUID, *, reason: str, is_credentials: bool = False) -> None:
        del link
        if is_credentials:
            self.remove(account)
        if not self.is_live(account):
            await self._stream.tell(AccountLost(account=account, reason=reason, is_credentials=is_credentials))

    async def occupied(self, link: Link, account: UUID) -> None:
        del link
        signer = self.signers[account]
        self.remove(account)
        self._barred.add(account)
        self._stream.move(account, signer, away_from=self)

    async def told(self, account: UUID, body: EventBody) -> None:
        match body:
            case ExecutionReport():
                event: UserEvent = OrderUpdate(
                    account=account,
                    market=body.market,
                    client_order_id=body.client_order_id,
                    venue_order_id=body.venue_order_id,
                    report=body.report,
                    created_at=body.created_at,
                    event_time=body.event_time,
                )
            case BalanceChanged():
                event = BalanceUpdate(account=account)
            case Unreadable():
                event = Missed(account=account, reason=body.reason)
            case StreamTerminated():
                return  # the connection asks again by itself
        await self._stream.tell(event)
