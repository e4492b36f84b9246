"""A venue that cannot be reached, over a real wire."""

import asyncio
import socket
import time
from typing import Any

import aiohttp
import pytest

from app.core.clock import SystemClock
from app.domain.enums import Lane
from app.errors import ExchangeUnavailable, NotSent, OutcomeUnknown
from app.exchanges import venue_class
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.circuit import CircuitState, Reason
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry, RegistryConfig
from tests.exchanges.gated import gate_of, place
from tests.exchanges.scripted_venue import ScriptedVenue, waits
from tests.fault_matrix import row


class _Enough(Exception):
    """Ends a loop that runs for ever."""


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each connection was asked for."""
    made: list[float] = []
    connect = aiohttp.TCPConnector.connect

    async def counting(self: aiohttp.TCPConnector, *arguments: Any, **options: Any) -> Any:
        made.append(time.monotonic())
        return await connect(self, *arguments, **options)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", counting)
    return made


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@row(9)
@pytest.mark.asyncio
@pytest.mark.parametrize("failure", ["refused", "no such name"])
async def test_a_venue_that_cannot_be_reached_is_not_stormed(failure: str, attempts: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if failure == "no such name":
        monkeypatch.setattr(socket, "getaddrinfo", no_name)
    url = f"http://127.0.0.1:{free_port()}" if failure == "refused" else "http://binance.invalid"
    registry = Registry(RegistryConfig(binance_rest_url=url), clock=SystemClock())
    clients = [await registry.client("binance", Credentials(api_key=f"k{index}", api_secret="s")) for index in range(20)]

    until = time.monotonic() + 1.5
    refused = 0
    while time.monotonic() < until:
        outcomes = await asyncio.gather(*(client.fetch_balances() for client in clients), return_exceptions=True)
        assert all(isinstance(outcome, ExchangeUnavailable) for outcome in outcomes), outcomes
        refused += len(outcomes)
        await asyncio.sleep(0.01)
    with pytest.raises(NotSent) as caught:
        await place(clients[0])
    gauge = registry.limits()[0]
    for client in clients:
        await client.close()
    await registry.close()

    assert refused > 200
    assert 5 <= len(attempts) <= 7  # five, then a question after one second
    assert caught.value.code in {"EXCHANGE_UNREACHABLE", "NOT_SENT"}
    assert (gauge.circuit, gauge.reason) == (CircuitState.OPEN, Reason.UNREACHABLE)
    assert gauge.open_since is not None


@row(9)
@pytest.mark.asyncio
async def test_while_a_venue_is_away_a_stop_is_still_tried_and_an_entry_is_not(
    venue: ScriptedVenue, client: CcxtClient, attempts: list[float]
) -> None:
    gate_of(client).circuit.trip(Reason.UNREACHABLE, 60)

    with pytest.raises(NotSent, match="Binance cannot be reached from this server") as caught:
        await place(client, lane=Lane.ENTRY)
    assert venue.count("POST /order") == 0
    await place(client, lane=Lane.PROTECTIVE)

    assert caught.value.code == "EXCHANGE_UNREACHABLE"
    assert venue.count("POST /order") == 1
    assert gate_of(client).circuit.is_closed  # it was answered
    assert attempts


@row(10)
@pytest.mark.asyncio
async def test_a_connection_that_went_silent_is_given_up_and_after_some_the_venue_counts_as_away(
    venue: ScriptedVenue, client: CcxtClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue_class, "WRITE_TIMEOUT_MS", 50)
    released = asyncio.Event()
    venue.answers["POST /order"] = waits(released)

    outcomes = await asyncio.gather(*(place(client) for _ in range(5)), return_exceptions=True)
    released.set()

    assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
    assert gate_of(client).gauge().reason is Reason.UNREACHABLE


@pytest.mark.asyncio
async def test_the_loop_closes_a_circuit_that_nobody_asks_through(venue: ScriptedVenue, registry: Registry, client: CcxtClient) -> None:
    gate_of(client).circuit.trip(Reason.RATE_LIMITED, 0.01)
    rounds = 0

    def beat() -> None:
        nonlocal rounds
        rounds += 1
        if gate_of(client).circuit.is_closed:
            raise _Enough

    with pytest.raises(_Enough):
        await asyncio.wait_for(registry.run(beat), 5)

    assert rounds <= 2
    assert venue.count("GET /time") == 1
