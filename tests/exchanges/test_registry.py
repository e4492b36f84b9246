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
@pytest.mark.parametrize(
    ("config", "is_testnet", "url"),
    [
        (RegistryConfig(), False, "wss://ws-api.binance.com:443/ws-api/v3"),
        (RegistryConfig(), True, "wss://ws-api.testnet.binance.vision/ws-api/v3"),
        (RegistryConfig(binance_rest_url="http://127.0.0.1:8081"), False, "ws://127.0.0.1:8081/ws-api/v3"),
        (RegistryConfig(binance_rest_url="http://localhost:8081/api/v3/"), True, "ws://localhost:8081/ws-api/v3"),
        (RegistryConfig(binance_rest_url="https://mirror.example.com"), False, None),
        (RegistryConfig(binance_ws_api_url="wss://mirror.example.com/ws-api/v3"), False, "wss://mirror.example.com/ws-api/v3"),
    ],
)
async def test_accounts_events_come_from_where_their_orders_go(config: RegistryConfig, is_testnet: bool, url: str | None) -> None:  # noqa: FBT001
    registry = Registry(config, clock=SystemClock())
    access = (await registry.client("binance", KEYS, is_testnet=is_testnet)).user_stream()
    assert (access and access.url) == url
    assert access is None or access.has_rate_limit is access.url.startswith("wss")
    await registry.close()


@pytest.mark.asyncio
async def test_exchange_without_a_documented_stream_is_only_asked(registry: Registry) -> None:
    assert (await registry.client("binanceus", KEYS)).user_stream() is None


@pytest.mark.asyncio
async def test_a_user_id_and_a_sub_account_reach_the_venues_that_take_them_and_no_others(registry: Registry) -> None:
    keys = Credentials(api_key="the-key", api_secret="the-secret", api_uid="4711", subaccount="grid")

    coinmate = (await registry.client("coinmate", keys))._ccxt
    bullish = (await registry.client("bullish", keys))._ccxt
    binance = (await registry.client("binance", keys))._ccxt

    assert coinmate.uid == "4711"
    assert bullish.options["tradingAccountId"] == "grid"
    assert "grid" not in str(binance.options)
