from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.domain.enums import OrderType, Side, TimeInForce
from app.errors import Unsupported
from app.exchanges.ccxt_client import _TRIGGER_PARAMETERS
from app.exchanges.port import Credentials, OrderRequest
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


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", list(_TRIGGER_PARAMETERS))
async def test_a_stop_is_never_sent_where_it_might_become_a_market_order(registry: Registry, kind: OrderType) -> None:
    client = await registry.client("mexc", KEYS)
    stop = OrderRequest(
        client_order_id="q00000000000000001",
        symbol="BTC/USDT",
        side=Side.SELL,
        type=kind,
        quantity=Decimal(1),
        price=Decimal(1),
        trigger_price=Decimal(2),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    with pytest.raises(Unsupported, match="not sent to mexc"):
        client._order_arguments(stop)
    await client.close()
