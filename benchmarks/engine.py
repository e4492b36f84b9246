"""The order engine in this process, as bootstrap builds it, without pages and API: for benchmarks that measure or kill it."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.brokers.connections import Connections
from app.brokers.schemas import BrokerIn
from app.brokers.service import create_broker
from app.core.clock import SystemClock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.leases import LeaseHolder
from app.core.outage import is_database_gone
from app.core.supervisor import Supervisor
from app.domain.limits import RiskLimits
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.quotes import Quotes
from app.trading.desk import ENGINE_ROLE, Desk
from app.trading.gates import close_all
from app.trading.guardian import Guardian
from app.trading.limits import put_limits
from app.trading.outbox import Outbox
from app.trading.portfolio import PortfolioLoop
from app.trading.prices import FeedPrices
from app.trading.reconcile import Pace, Reconciler
from app.trading.user_stream import UserStreams
from app.trading.watch import TriggerWatch

FERNET_KEY = "3nYHqGJXm0Jm3dM0mE0b0c9Zk0f7WfQGf8m3x8Yx1bE="


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine with one account."""

    desk: Desk
    quotes: Quotes
    reconciler: Reconciler
    portfolio: PortfolioLoop
    user_id: UUID
    broker_id: UUID


async def make_account(database: Database, *, api_key: str, api_secret: str) -> tuple[UUID, UUID]:
    """Make a user with a Binance account, and return both ids; they are found again when they are there already."""
    vault = Vault((FERNET_KEY,))
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT user_id, id FROM brokers LIMIT 1")
        if row is not None:
            return row["user_id"], row["id"]
        user_id = new_id()
        await connection.execute("INSERT INTO users (id, username) VALUES ($1, 'benchmark')", user_id)
    given = BrokerIn.model_validate({"exchange": "binance", "name": "Main", "api_key": api_key, "api_secret": api_secret})
    async with database.transaction() as session:
        return user_id, (await create_broker(session, vault, user_id, given)).id


@asynccontextmanager
async def running_engine(
    database_url: str, emulator_url: str, *, api_key: str, api_secret: str, reconcile_s: float = 5.0, follows: bool = True
) -> AsyncIterator[Engine]:
    """The engine with its loops at work, holding the engine role. With `follows` it hears its account's events as they happen."""
    clock, bus, vault = SystemClock(), EventBus(), Vault((FERNET_KEY,))
    async with AsyncExitStack() as stack:
        database = Database(database_url)
        await database.open()
        stack.push_async_callback(database.close)
        registry = Registry(RegistryConfig(binance_rest_url=emulator_url), clock=clock)
        stack.push_async_callback(registry.close)
        connections = Connections(database, vault, registry)
        stack.push_async_callback(connections.close)
        user_id, broker_id = await make_account(database, api_key=api_key, api_secret=api_secret)
        quotes = Quotes("binance")
        desk = Desk(
            database=database,
            connections=connections,
            instruments=InstrumentBook(database, registry, clock=clock),
            quotes=FeedPrices(quotes),
            bus=bus,
            lease=LeaseHolder(database, ENGINE_ROLE),
            clock=clock,
        )
        # A benchmark sends more in a minute than a trader's default allows.
        limits = RiskLimits(orders_per_minute=1_000_000, max_daily_orders=1_000_000)
        await put_limits(desk, user_id, limits, broker_id=broker_id)
        reconciler = Reconciler(desk, pace=Pace(interval_s=reconcile_s, settle_s=1.0))
        portfolio = PortfolioLoop(desk, interval_s=60.0)
        supervisor = await stack.enter_async_context(Supervisor(is_outage=is_database_gone, on_fatal=lambda: None))
        desk.lease.on_taken = partial(close_all, desk)
        with suppress(TimeoutError):  # somebody froze while writing under the lease: its loop asks again
            await desk.lease.renew()
        supervisor.start("lease", desk.lease.run)
        supervisor.start("reconcile", reconciler.run, limit_s=60)
        if follows:
            supervisor.start("userstream", UserStreams(desk).run, limit_s=60)
        supervisor.start("outbox", Outbox(desk).run, limit_s=60)
        supervisor.start("guardian", Guardian(desk).run, limit_s=60)
        supervisor.start("triggers", TriggerWatch(desk).run, limit_s=60)
        supervisor.start("portfolio", portfolio.run, limit_s=120)
        gc.freeze()  # as the server does when it has started
        stack.callback(gc.unfreeze)
        yield Engine(desk=desk, quotes=quotes, reconciler=reconciler, portfolio=portfolio, user_id=user_id, broker_id=broker_id)
