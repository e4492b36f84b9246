"""The gate against the emulated exchange as a process of its own, which counts and refuses as Binance documents."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.domain.enums import Lane, OrderType, Side
from app.errors import ExchangeRateLimited, NotSent
from app.exchanges import gate as gate_module
from app.exchanges.budgets import Kind
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.circuit import CircuitState, Reason
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry, RegistryConfig
from tests.emulator_process import EmulatorProcess
from tests.exchanges.gated import gate_of
from tests.exchanges.test_ccxt_client import go, request
from tests.fault_matrix import row


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--paused") as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def fresh(emulator: EmulatorProcess) -> None:
    emulator.control("DELETE", "/_limits")
    emulator.control("DELETE", "/_fault")
    emulator.set_limits(weight_1m=None, orders_10s=None)


@asynccontextmanager
async def accounts(emulator: EmulatorProcess, count: int) -> AsyncIterator[list[CcxtClient]]:
    """Clients of so many accounts in one process."""
    registry = Registry(RegistryConfig(binance_rest_url=emulator.url), clock=SystemClock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(registry.close)
        made = []
        for index in range(count):
            key = f"{index:064d}"
            emulator.open_account(key, "secret", {"USDT": "1000000"})
            made.append(await registry.client("binance", Credentials(api_key=key, api_secret="secret")))
            stack.push_async_callback(made[-1].close)
        yield made


def here(emulator: EmulatorProcess) -> Any:
    """What the exchange has counted for this machine."""
    (usage,) = emulator.control("GET", "/_limits")["ips"].values()
    return usage


async def read(client: CcxtClient) -> None:
    assert await client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None) is None


async def place(
    client: CcxtClient, number: int, *, lane: Lane = Lane.ENTRY, kind: OrderType = OrderType.MARKET, claimed_ago_s: float = 3.9
) -> None:
    """Place an order that may hardly wait any more."""
    price = Decimal(50000) if kind is OrderType.LIMIT else None
    sent_at = client._clock.now() - timedelta(seconds=claimed_ago_s)
    order = request(
        client_order_id=f"q{number:017d}", side=Side.BUY, type=kind, price=price, quantity=Decimal("0.001"), lane=lane, sent_at=sent_at
    )
    await client.place_order(order, guard=go)


@row(6)
@pytest.mark.asyncio
async def test_a_hundred_accounts_never_use_more_than_the_exchange_allows_their_address(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gate_module._WAIT_S, Kind.READ, 0.2)
    emulator.set_limits(weight_1m=300)
    async with accounts(emulator, 100) as clients:
        outcomes = await asyncio.gather(*(read(client) for client in clients), return_exceptions=True)
        refused = [outcome for outcome in outcomes if outcome is not None]
        await place(clients[0], 1, lane=Lane.PROTECTIVE)
        gauge = gate_of(clients[0]).gauge()

    assert all(isinstance(outcome, ExchangeRateLimited) for outcome in refused)
    assert 10 <= len(refused) <= 70
    assert (here(emulator)["refusals_1m"], here(emulator)["bans"]) == (0, 0)
    assert here(emulator)["used_weight_1m"] <= 300
    assert (gauge.budget, gauge.circuit) == (300, CircuitState.CLOSED)


@pytest.mark.asyncio
async def test_an_account_keeps_to_its_unfilled_orders_and_filled_ones_make_room(emulator: EmulatorProcess) -> None:
    emulator.set_limits(orders_10s=10)
    async with accounts(emulator, 2) as (client, other):
        for number in range(30):
            await place(client, number)  # each fills at once
        outcomes = await asyncio.gather(
            *(place(client, 100 + number, kind=OrderType.LIMIT) for number in range(20)), return_exceptions=True
        )
        await place(other, 200, kind=OrderType.LIMIT)

    refused = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, NotSent) and outcome.code == "RATE_LIMIT" for outcome in refused)
    assert 4 <= len(refused) <= 13
    assert here(emulator)["refusals_1m"] == 0


@pytest.mark.asyncio
async def test_without_a_limit_an_emulator_is_as_quick_as_it_is(emulator: EmulatorProcess) -> None:
    emulator.set_limits(weight_1m=1_000_000_000, orders_10s=1_000_000_000)
    async with accounts(emulator, 1) as (client,):
        await asyncio.gather(*(place(client, 300 + number, kind=OrderType.LIMIT) for number in range(150)))


@row(6)
@pytest.mark.asyncio
async def test_a_ban_is_kept_to_until_it_ends(emulator: EmulatorProcess) -> None:
    async with accounts(emulator, 2) as (client, other):
        await read(client)
        emulator.fault("ban", code=418, retry_after=60)
        with pytest.raises(ExchangeRateLimited):
            await read(client)
        before = len(emulator.log("GET")) + len(emulator.log("POST"))
        for one in (client, other):
            with pytest.raises(ExchangeRateLimited, match="Binance has blocked this server until"):
                await read(one)
            with pytest.raises(NotSent):
                await place(one, 400)
        gauge = gate_of(client).gauge()

    assert len(emulator.log("GET")) + len(emulator.log("POST")) == before
    assert (gauge.circuit, gauge.reason) == (CircuitState.OPEN, Reason.BANNED)


@row(24)
@pytest.mark.asyncio
async def test_after_a_standstill_the_old_order_is_refused_and_the_next_one_goes(emulator: EmulatorProcess) -> None:
    async with accounts(emulator, 1) as (client,):
        await read(client)
        with pytest.raises(NotSent, match="too old"):
            await place(client, 500, claimed_ago_s=10)
        await place(client, 501)

    ours = [order["clientOrderId"] for order in emulator.orders()]
    assert f"q{500:017d}" not in ours
    assert f"q{501:017d}" in ours


@row(37)
@pytest.mark.asyncio
@pytest.mark.parametrize("skew_ms", [7_000, -7_200_000])
async def test_an_exchange_whose_clock_moved_is_asked_for_it_again_and_nothing_is_sent_twice(
    emulator: EmulatorProcess, skew_ms: int
) -> None:
    number = 600 + abs(skew_ms)
    async with accounts(emulator, 1) as (client,):
        await read(client)
        gate_of(client).clock._tried_at = 0.0
        emulator.fault("clock_skew", clock_skew_ms=skew_ms)
        with pytest.raises(NotSent, match="clock"):
            await place(client, number)
        await place(client, number + 1)
        gauge = gate_of(client).gauge()

    ours = [order["clientOrderId"] for order in emulator.orders()]
    assert (ours.count(f"q{number:017d}"), ours.count(f"q{number + 1:017d}")) == (0, 1)
    assert gauge.clock_offset_ms == pytest.approx(-skew_ms, abs=500)
