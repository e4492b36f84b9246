"""The implementations that the contract is run against. All of them live in one loop and one market each, for the whole run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.supervisor import Supervisor
from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.paper.prices import Venue
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.quotes import Quotes
from tests.emulator_process import EmulatorProcess, steps, write_candles
from tests.exchanges.contract.venue import FLAT, HIGH, LOW, START, SYMBOL, ContractVenue
from tests.exchanges.paper_parts import open_paper_account
from tests.postgres import PostgresForTests

SECRET = "secret-of-the-contract"
_TICK = Decimal("0.01")
_OFFERED = Decimal("0.5")
_HISTORY = 60

MakeVenue = Callable[[], Awaitable[ContractVenue]]


@dataclass
class EmulatedMarket:
    """The emulator's market, which trades only as the test says."""

    process: EmulatorProcess

    async def fall(self) -> None:
        self._go(int(FLAT), int(LOW))

    async def rise(self) -> None:
        self._go(int(LOW), int(HIGH))

    def stand(self) -> None:
        self.process.price(str(FLAT))

    def _go(self, start: int, end: int) -> None:
        for price in steps_between(start, end):
            self.process.price(price, quantity="10")


def steps_between(start: int, end: int) -> range:
    """The prices on the way from `start` to `end`, both included."""
    return range(start, end + (1 if end > start else -1), 100 if end > start else -100)


@dataclass
class PaperMarket:
    """A feed that the test speaks through."""

    quotes: Quotes

    async def fall(self) -> None:
        self._go(int(FLAT), int(LOW))

    async def rise(self) -> None:
        self._go(int(LOW), int(HIGH))

    def stand(self, price: Decimal = FLAT) -> None:
        self.quotes.put(
            SYMBOL,
            at=SystemClock().now(),
            bid=price - _TICK,
            ask=price,
            last=price,
            bid_quantity=_OFFERED,
            ask_quantity=_OFFERED,
        )

    def _go(self, start: int, end: int) -> None:
        for price in steps_between(start, end):
            self.stand(Decimal(price))


@pytest.fixture(scope="session")
def emulated_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedMarket]:
    """The emulator, its market standing at 60000."""
    path = write_candles(tmp_path_factory.mktemp("contract") / "binance-BTCUSDT-1m-script.csv", steps([float(FLAT)] * 3000))
    with EmulatorProcess("--replay", str(path), "--history", str(_HISTORY), "--paused") as process:
        yield EmulatedMarket(process)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def registry(emulated_market: EmulatedMarket) -> AsyncIterator[Registry]:
    """Clients of the emulator."""
    registry = Registry(RegistryConfig(binance_rest_url=emulated_market.process.url), clock=SystemClock())
    yield registry
    await registry.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def contract_urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    """The paper exchange's database."""
    urls = await postgres.create_database()
    yield urls
    await postgres.drop_database(urls)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def make_paper(contract_urls: DatabaseUrls, registry: Registry) -> AsyncIterator[MakeVenue]:
    """The paper exchange with its loop running; candles come from the emulator, everything else from the test's own feed."""
    async with AsyncExitStack() as stack:
        database = Database(contract_urls.app)
        await database.open()
        stack.push_async_callback(database.close)
        market = PaperMarket(Quotes("binance"))
        public = await registry.public("binance")
        rules = await public.instruments()

        async def instruments() -> dict[str, Instrument]:
            return rules

        async def public_client() -> object:
            return public

        venue = Venue(feed=market.quotes, public=public_client, instruments=instruments)  # type: ignore[arg-type]  # a CcxtClient
        exchange = PaperExchange(database, venue, clock=SystemClock())
        supervisor = await stack.enter_async_context(Supervisor(on_fatal=lambda: None))
        supervisor.start("paper.market", exchange.run)

        async def offered(_side: Side) -> Decimal:
            return _OFFERED

        async def make() -> ContractVenue:
            market.stand()
            broker_id = await open_paper_account(database, START)
            return ContractVenue(name="paper", client=exchange.client(broker_id), fall=market.fall, rise=market.rise, offered=offered)

        yield make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def make_emulated(registry: Registry, emulated_market: EmulatedMarket) -> MakeVenue:
    """The real client of a real exchange's protocol, on the emulator's process."""
    numbers = count(1)

    async def offered(side: Side) -> Decimal:
        depth = emulated_market.process.get("/api/v3/depth", symbol="BTCUSDT", limit=5)
        return Decimal(depth["asks" if side is Side.BUY else "bids"][0][1])

    async def make() -> ContractVenue:
        emulated_market.stand()
        api_key = f"key-of-the-contract-{next(numbers)}"
        emulated_market.process.open_account(api_key, SECRET, {asset: str(amount) for asset, amount in START.items()})
        client = await registry.client("binance", Credentials(api_key=api_key, api_secret=SECRET))
        (rules,) = emulated_market.process.get("/api/v3/exchangeInfo")["symbols"]
        return ContractVenue(
            name="emulator",
            client=client,
            fall=emulated_market.fall,
            rise=emulated_market.rise,
            offered=offered,
            symbol_takes_pairs=rules["ocoAllowed"],
            symbol_takes_replacing=rules["cancelReplaceAllowed"],
        )

    return make


@pytest_asyncio.fixture(loop_scope="session", params=["paper", "emulator"])
async def venue(request: pytest.FixtureRequest, make_paper: MakeVenue, make_emulated: MakeVenue) -> AsyncIterator[ContractVenue]:
    """One implementation, with an account of its own."""
    made = await (make_paper if request.param == "paper" else make_emulated)()
    yield made
    await made.client.close()
