from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.errors import Unsupported
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry, RegistryConfig

KEYS = Credentials(api_key="the-key", api_secret="the-secret")


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry(RegistryConfig(), clock=SystemClock())
    yield registry
    await registry.close()


@pytest.mark.asyncio
async def test_an_exchange_that_does_not_exist_is_unsupported(registry: Registry) -> None:
    with pytest.raises(Unsupported):
        await registry.client("nosuchexchange", KEYS)
    with pytest.raises(Unsupported):
        await registry.client("kraken", KEYS, is_testnet=True)


@pytest.mark.asyncio
async def test_exchanges_beyond_the_catalogue_tell_what_they_need(registry: Registry) -> None:
    assert (await registry.describe("kucoin")).required_credentials == ("api_key", "api_secret", "api_password")
    bitstamp = await registry.describe("bitstamp")
    assert (bitstamp.name, bitstamp.required_credentials) == ("Bitstamp", ("api_key", "api_secret"))
