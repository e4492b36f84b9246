"""A scripted venue behind the gate that a process has for it. Test modules may have fixtures of their own under these names."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.registry import Registry, RegistryConfig
from tests.exchanges.gated import UNKNOWN_ORDER, SettableClock, read
from tests.exchanges.scripted_venue import FILLED_ORDER, ScriptedVenue, says, scripted_venue
from tests.exchanges.test_ccxt_client import KEYS


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[ScriptedVenue]:
    async with scripted_venue() as venue:
        venue.answers["GET /order"] = UNKNOWN_ORDER
        venue.answers["POST /order"] = says(FILLED_ORDER)
        yield venue


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest_asyncio.fixture
async def registry(venue: ScriptedVenue, clock: SettableClock) -> AsyncIterator[Registry]:
    registry = Registry(RegistryConfig(binance_rest_url=venue.url), clock=clock)
    yield registry
    await registry.close()


@pytest_asyncio.fixture
async def client(registry: Registry, venue: ScriptedVenue) -> AsyncIterator[CcxtClient]:
    """An account whose symbols and clock are known."""
    client = await registry.client("binance", KEYS)
    await read(client)
    venue.requests.clear()
    yield client
    await client.close()
