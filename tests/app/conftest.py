"""The pieces of the application, built as bootstrap builds them, on a real database and a real emulator process."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.accounts.service import Accounts, SessionPolicy
from app.brokers.connections import Connections
from app.brokers.schemas import BrokerIn
from app.brokers.service import create_broker
from app.core.clock import Clock, SystemClock
from app.core.crypto import Vault
from app.core.database_url import DatabaseUrls, with_database
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.leases import LeaseHolder
from app.core.security import PasswordHasher
from app.core.supervisor import Supervisor
from app.domain.enums import OrderType, Side, Source
from app.domain.intents import OrderIntent
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.quotes import Quotes
from app.trading.desk import ENGINE_ROLE, Desk
from app.trading.prices import FeedPrices
from app.trading.records import OrderRecord
from app.trading.submit import Submission, submit
from tests.emulator_process import EmulatorProcess, steps, write_candles
from tests.postgres import Emptying, PostgresForTests, connected

if TYPE_CHECKING:
    from tests.app.whole_site import Site

SYMBOL = "BTC/USDT"
PASSWORD = "correct horse battery"
JWT_SECRET = "0123456789-abcdefghijklmnopqrstuvwxyz"
FERNET_KEY = "3nYHqGJXm0Jm3dM0mE0b0c9Zk0f7WfQGf8m3x8Yx1bE="
API_SECRET = "api-secret-of-a-test"
ORDER_PATH = "/api/v3/order"
# Flat at 60000 for an hour of history and a while beyond, down to 59000, up to 61000, flat.
PRICES = [*([60000.0] * 70), *range(59900, 58900, -100), *range(59100, 61100, 100), *([61000.0] * 40)]
NOW_MINUTE = 60
OUTAGE_DEADLINE_S = 30.0

_numbers = itertools.count(1)
#: Rows of orders are committed, and then the commit waits for a second server that does not exist: who is cut off there is not told.
_COMMIT_THAT_WAITS = """
CREATE FUNCTION wait_for_a_standby() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM set_config(''synchronous_commit'', ''on'', true); RETURN NULL; END';
CREATE TRIGGER waits AFTER INSERT ON orders EXECUTE FUNCTION wait_for_a_standby()
"""


@dataclass(kw_only=True)
class Pieces:
    """A user with a broker account at the emulator, and everything an order passes on its way there."""

    database: Database
    vault: Vault
    registry: Registry
    connections: Connections
    quotes: Quotes
    bus: EventBus
    desk: Desk
    emulator: EmulatorProcess
    user_id: UUID
    broker_id: UUID
    api_key: str
    _keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def intent(self, side: Side = Side.BUY, quantity: str | None = "0.01", **fields: Any) -> OrderIntent:
        """A market order, unless the fields say otherwise; each with a key of its own unless one is given."""
        fields.setdefault("key", f"test:{next(self._keys)}")
        amount = None if quantity is None else Decimal(quantity)
        return OrderIntent(symbol=fields.pop("symbol", SYMBOL), side=side, source=Source.MANUAL, quantity=amount, **fields)

    def limit(self, price: str, side: Side = Side.BUY, quantity: str = "0.01", **fields: Any) -> OrderIntent:
        """A limit order."""
        return self.intent(side, quantity, type=OrderType.LIMIT, price=Decimal(price), **fields)

    async def submit(self, intent: OrderIntent | None = None, **fields: Any) -> Submission:
        """Submit an intent (a small market buy by default) for the user."""
        return await submit(self.desk, self.user_id, intent or self.intent(), **fields)

    async def filled(self, side: Side = Side.BUY, quantity: str = "0.01") -> OrderRecord:
        """A market order that was filled at once."""
        order = (await self.submit(self.intent(side, quantity))).order
        assert order.state.value == "filled", order
        return order

    async def order(self, order_id: UUID) -> OrderRecord:
        """The order as the database has it."""
        return OrderRecord.of((await self.rows("SELECT * FROM orders WHERE id = $1", order_id))[0])

    async def rows(self, sql: str, *values: object) -> list[Any]:
        """Rows of the database."""
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def backdate(self, order_id: UUID, *, seconds: int) -> None:
        """Let an order have been made and sent that long ago."""
        await self.rows(
            "UPDATE orders SET created_at = created_at - $2::interval, sent_at = sent_at - $2::interval WHERE id = $1",
            order_id,
            timedelta(seconds=seconds),
        )

    def with_clock(self, clock: Clock) -> Desk:
        """The same desk under another clock."""
        return replace(self.desk, clock=clock)

    def placed(self) -> list[Any]:
        """The account's orders as the emulator has them."""
        return [order for order in self.emulator.orders() if order["api_key"] == self.api_key]

    def fault(self, do: str, *, method: str = "POST", path: str = ORDER_PATH, **fields: object) -> None:
        """Break the next request of that kind."""
        self.emulator.fault(do, method=method, path=path, **fields)


def make_accounts(database: Database, clock: Clock | None = None) -> Accounts:
    """The accounts service with hashes that cost next to nothing."""
    policy = SessionPolicy(token_lifetime=timedelta(minutes=10), idle=timedelta(minutes=30), absolute=timedelta(hours=12))
    return Accounts(
        database, clock or SystemClock(), hasher=PasswordHasher(cost=4), policy=policy, jwt_secret=JWT_SECRET, vault=Vault((FERNET_KEY,))
    )


async def make_user(database: Database, name: str = "ada") -> UUID:
    """A user without a password; only tests of logging in need one."""
    user_id = new_id()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO users (id, username) VALUES ($1, $2)", user_id, name)
    return user_id


async def make_broker(database: Database, vault: Vault, user_id: UUID, *, api_key: str, name: str = "Main") -> UUID:
    """A Binance account of that user."""
    given = BrokerIn.model_validate({"exchange": "binance", "name": name, "api_key": api_key, "api_secret": API_SECRET})
    async with database.transaction() as session:
        return (await create_broker(session, vault, user_id, given)).id


def open_account(emulator: EmulatorProcess) -> str:
    """Open an account with play money at the emulator and return its key."""
    api_key = f"key-of-a-test-{next(_numbers)}"
    emulator.open_account(api_key, API_SECRET, {"USDT": "1000000", "BTC": "1"})
    return api_key


def script(folder: Path) -> Path:
    """A recorded market whose every price is known."""
    return write_candles(folder / "binance-BTCUSDT-1m-script.csv", steps(PRICES))


@pytest.fixture(scope="session")
def standing_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for all tests that leave the market where it stands: at 60000."""
    path = script(tmp_path_factory.mktemp("standing"))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused") as process:
        # All tests of the run come from one address within a few minutes; what a real exchange allows one would not do.
        process.set_limits(weight_1m=1_000_000_000, orders_10s=1_000_000, orders_1d=1_000_000_000)
        yield process


@pytest.fixture
def moving_emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator whose market stands at 60000 until a test moves it."""
    with EmulatorProcess("--replay", str(script(tmp_path)), "--history", str(NOW_MINUTE), "--paused") as process:
        yield process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    """One migrated database for all tests that need nothing but empty tables."""
    urls = await postgres.create_database()
    yield urls
    await postgres.drop_database(urls)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def emptying(postgres: PostgresForTests, shared_urls: DatabaseUrls) -> AsyncIterator[Emptying]:
    """Empties that database."""
    async with postgres.emptying(shared_urls) as emptying:
        yield emptying


@pytest_asyncio.fixture
async def emptied_urls(emptying: Emptying, shared_urls: DatabaseUrls) -> AsyncIterator[DatabaseUrls]:
    """That database, emptied afterwards: a twentieth of the time that a new one takes."""
    yield shared_urls
    await emptying()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_database(shared_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The application's pools on that database: whatever becomes of their connections, they open others."""
    database = Database(shared_urls.app)
    await database.open()
    yield database
    await database.close()


@pytest_asyncio.fixture
async def database(shared_database: Database, emptied_urls: DatabaseUrls) -> Database:
    """The application's pools on a database with empty tables."""
    del emptied_urls
    return shared_database


async def build(database: Database, emulator: EmulatorProcess, supervisor: Supervisor) -> Pieces:
    """Everything, with the engine role held by this process."""
    clock, bus, vault = SystemClock(), EventBus(), Vault((FERNET_KEY,))
    registry = Registry(RegistryConfig(binance_rest_url=emulator.url), clock=clock)
    connections = Connections(database, vault, registry)
    quotes = Quotes("binance")
    lease = LeaseHolder(database, ENGINE_ROLE)
    assert await lease.renew()
    supervisor.start("lease", lease.run)
    desk = Desk(
        database=database,
        connections=connections,
        instruments=InstrumentBook(database, registry, clock=clock),
        quotes=FeedPrices(quotes),
        bus=bus,
        lease=lease,
        clock=clock,
    )
    api_key = open_account(emulator)
    user_id = await make_user(database)
    return Pieces(
        database=database,
        vault=vault,
        registry=registry,
        connections=connections,
        quotes=quotes,
        bus=bus,
        desk=desk,
        emulator=emulator,
        user_id=user_id,
        broker_id=await make_broker(database, vault, user_id, api_key=api_key),
        api_key=api_key,
    )


async def _pieces(database: Database, emulator: EmulatorProcess) -> AsyncIterator[Pieces]:
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        pieces = await build(database, emulator, supervisor)
        yield pieces
    emulator.control("DELETE", "/_fault")
    await pieces.connections.close()
    await pieces.registry.close()


@pytest_asyncio.fixture
async def pieces(database: Database, standing_emulator: EmulatorProcess) -> AsyncIterator[Pieces]:
    """The pieces on the emulator whose market stands still."""
    async for built in _pieces(database, standing_emulator):
        yield built


@pytest_asyncio.fixture
async def moving(database: Database, moving_emulator: EmulatorProcess) -> AsyncIterator[Pieces]:
    """The pieces on an emulator whose market the test moves."""
    async for built in _pieces(database, moving_emulator):
        yield built


@dataclass(frozen=True, slots=True)
class Outage:
    """Ends connections of the application, as the superuser."""

    admin: Any
    owner: Any
    admin_url: str

    async def end_the_one_that_waits(self, wait: str) -> None:
        """Wait until a connection to our database waits for this event type, end it, and wait until it is gone."""
        await self._until_one_waits("pg_terminate_backend(pid, 5000)", wait)

    async def until_one_waits(self, wait: str = "Lock") -> None:
        """Wait until a connection to our database waits for this event type."""
        await self._until_one_waits("1", wait)

    async def _until_one_waits(self, counted: str, wait: str) -> None:
        query = f"""
            SELECT count({counted}) FROM pg_stat_activity
             WHERE datname = $1 AND pid <> $2 AND usename = 'aristobot_app' AND $3 IN (wait_event_type, wait_event)
        """  # constants
        name, own = await self.owner.fetchval("SELECT current_database()"), self.owner.get_server_pid()
        async with asyncio.timeout(OUTAGE_DEADLINE_S):
            while not await self.admin.fetchval(query, name, own, wait):  # noqa: ASYNC110  # in another process
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def locked(self, table: str, mode: str = "SHARE") -> AsyncIterator[None]:
        """Let everybody who writes to the table wait; everybody who reads it too under ACCESS EXCLUSIVE."""
        async with self.owner.transaction():
            await self.owner.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield

    @asynccontextmanager
    async def patient(self) -> AsyncIterator[Any]:
        """A transaction that never is the one to end a deadlock: it leaves that to whoever it is in one with."""
        name = await self.owner.fetchval("SELECT current_database()")
        async with connected(with_database(self.admin_url, name)) as connection, connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '10min'")
            yield connection


@pytest_asyncio.fixture
async def outage(postgres: PostgresForTests, emptied_urls: DatabaseUrls) -> AsyncIterator[Outage]:
    async with connected(postgres.admin_url) as admin, connected(emptied_urls.owner) as owner:
        yield Outage(admin, owner, postgres.admin_url)


@pytest_asyncio.fixture
async def waiting_commits(outage: Outage) -> AsyncIterator[None]:
    """Commits of new orders count and never return."""
    await outage.owner.execute(_COMMIT_THAT_WAITS)
    await outage.admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await outage.admin.execute("SELECT pg_reload_conf()")
    yield
    await outage.admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await outage.admin.execute("SELECT pg_reload_conf()")
    await outage.owner.execute("DROP FUNCTION wait_for_a_standby CASCADE")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator["Site"]:
    """The whole application with two users, one for all tests of a module."""
    # That module is built on this one.
    from tests.app.whole_site import running_site

    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running
