"""The paper exchange of one process: a venue with real prices and play money, whose books are our own tables.

Any process may place and cancel; the one that owns the engine runs `run`, which lets the market trade with all accounts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.errors import ExchangeError
from app.exchanges.paper.accounts import Listener, PaperAccounts
from app.exchanges.paper.client import PaperClient, VenueClock
from app.exchanges.paper.prices import Prices, Venue
from app.exchanges.paper.store import PaperStore

log = structlog.get_logger(__name__)

#: Trades of the market that come within this time are matched together.
_PACE_S: Final = 0.02
_WAIT_S: Final = 1.0
_AT_ONCE: Final = 8


class PaperExchange:
    """All paper accounts. Made by bootstrap.

    `keep_every_s` is how often the market's place is written and other processes' doings are noticed; `ask_every_s` is how often symbols
    that the feed does not watch are asked for.
    """

    def __init__(self, database: Database, venue: Venue, *, clock: Clock, keep_every_s: float = 1.0, ask_every_s: float = 3.0) -> None:
        self._keep_every_s = keep_every_s
        self._ask_every_s = ask_every_s
        self._venue = venue
        self._clock = clock
        self._store = PaperStore(database)
        self._prices = Prices(venue)
        self._accounts = PaperAccounts(self._store, self._prices, clock=clock)
        self._fence = VenueClock(self._store, clock)
        self._troubled: dict[UUID, str] = {}
        self._few = asyncio.Semaphore(_AT_ONCE)

    def client(self, broker_id: UUID) -> PaperClient:
        """Return a client of the account of that broker."""
        return PaperClient(
            broker_id,
            venue=self._venue,
            store=self._store,
            prices=self._prices,
            accounts=self._accounts,
            clock=self._clock,
            fence=self._fence,
        )

    async def reset(self, broker_id: UUID) -> None:
        """Cancel all open orders of an account and give it its starting balance again. What was traded stays in its lists.

        Raises:
            BrokerNotFound: there is no such paper account.
        """
        await self._accounts.act(broker_id, lambda account: account.restart(at=self._clock.now()))

    def holds(self, broker_id: UUID) -> int:
        """Return how many open orders of an account this process watches the market for."""
        return self._accounts.open_orders(broker_id)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every change that the market made, once it is committed: a hint, as a venue's user stream gives."""
        self._accounts.listen(listener)

    async def run(self, beat: Beat) -> None:
        """Let the market trade with the accounts until cancelled. A supervised loop, for one process at a time."""
        while not await self._knows_rules():
            beat()
            await asyncio.sleep(_WAIT_S)
        self._prices.restore(await self._store.markets(self._prices.exchange))
        self._accounts.begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._match(), name="paper:match")
                group.create_task(self._keep(beat), name="paper:keep")
                group.create_task(self._ask(), name="paper:ask")
        finally:
            self._accounts.end()

    async def _knows_rules(self) -> bool:
        try:
            return bool(await self._prices.instruments())
        except ExchangeError as error:
            log.warning("paper_market_waits", exchange=self._prices.exchange, code=error.code)
            return False

    async def _match(self) -> None:
        settling: dict[UUID, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._prices.changed.wait()
                for broker_id in self._accounts.trade(self._prices.take_ticks()):
                    task = settling.get(broker_id)
                    if task is None or task.done():
                        settling[broker_id] = group.create_task(self._around(broker_id, self._accounts.settle), name=f"paper:{broker_id}")
                await asyncio.sleep(_PACE_S)

    async def _keep(self, beat: Beat) -> None:
        """Write how far the market was matched, and notice what other processes did."""
        while True:
            for broker_id in await self._accounts.stale():
                await self._around(broker_id, self._accounts.renew)
            await self._accounts.keep_watermarks()
            await self._store.keep_markets(self._prices.exchange, self._prices.matched())
            beat()
            await asyncio.sleep(self._keep_every_s)

    async def _ask(self) -> None:
        while True:
            await self._prices.ask_for_unfed()
            await asyncio.sleep(self._ask_every_s)

    async def _around(self, broker_id: UUID, work: Callable[[UUID], Awaitable[None]]) -> None:
        """Let one account's trouble be nobody else's, unless the database is away: then there is nothing to do for anybody."""
        async with self._few:
            try:
                await work(broker_id)
            except Exception as error:  # whatever is wrong with the account, the others go on
                if is_database_gone(error):
                    raise
                self._accounts.forget(broker_id)
                if self._troubled.get(broker_id) != (name := type(error).__name__):
                    self._troubled[broker_id] = name
                    log.exception("paper_account_troubled", broker_id=str(broker_id))
            else:
                self._troubled.pop(broker_id, None)
