import asyncio
import socket
import time
from contextlib import AsyncExitStack, ExitStack

import pytest
from aiohttp import web

from app.core.clock import SystemClock
from app.errors import NotSent
from app.exchanges import http_session
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.port import Credentials
from app.exchanges.registry import Registry, RegistryConfig
from tests.exchanges.gated import place, read
from tests.exchanges.scripted_venue import FILLED_ORDER, ScriptedVenue
from tests.exchanges.test_ccxt_client import KEYS
from tests.fault_matrix import row


@pytest.mark.asyncio
async def test_accounts_of_one_venue_share_a_session_and_venues_do_not(registry: Registry) -> None:
    async with AsyncExitStack() as stack:
        made = [
            await registry.client("binance", KEYS),
            await registry.client("binance", Credentials(api_key="other", api_secret="s")),
            await registry.client("bybit", KEYS),
            await registry.client("bybit", KEYS, is_testnet=True),
        ]
        for client in made:
            stack.push_async_callback(client.close)
        sessions = [client._ccxt.session for client in made]

    assert sessions[0] is sessions[1]
    assert len({id(session) for session in sessions}) == 3


@pytest.mark.asyncio
async def test_no_cookie_of_one_account_reaches_the_venue_with_another(
    venue: ScriptedVenue, registry: Registry, client: CcxtClient
) -> None:
    cookies: list[str | None] = []

    async def sets_cookie(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        response = web.json_response(FILLED_ORDER)
        response.set_cookie("session", "of-the-first")
        return response

    venue.answers["POST /order"] = sets_cookie
    other = await registry.client("binance", Credentials(api_key="other", api_secret="s"))
    for one in (client, client, other):
        await place(one)
    await other.close()

    assert cookies == [None, None, None]


@row(9)
@pytest.mark.asyncio
async def test_a_proxy_in_the_environment_is_not_used(venue: ScriptedVenue, client: CcxtClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    await read(client)
    await place(client)

    assert venue.count("POST /order") == 1


@row(9)
@pytest.mark.asyncio
async def test_a_venue_that_speaks_no_tls_never_got_the_order(venue: ScriptedVenue, client: CcxtClient) -> None:
    client._ccxt.urls["api"]["private"] = venue.url.replace("http://", "https://") + "/api/v3"

    with pytest.raises(NotSent):
        await place(client)


@row(9, 10)
@pytest.mark.asyncio
async def test_a_host_that_takes_no_connection_is_given_up_sooner_than_one_that_does_not_answer(
    client: CcxtClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_session, "CONNECT_TIMEOUT_S", 0.2)
    client._ccxt.session._timeouts.clear()
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        client._ccxt.urls["api"]["private"] = f"http://127.0.0.1:{deaf.getsockname()[1]}/api/v3"
        for _ in range(3):  # nobody accepts them: the queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        started = time.monotonic()
        with pytest.raises(NotSent):
            await place(client)
        waited_s = time.monotonic() - started

    assert 0.2 <= waited_s < 2


@pytest.mark.asyncio
async def test_a_hundred_accounts_share_one_set_of_markets(venue: ScriptedVenue, registry: Registry) -> None:
    made = [await registry.client("binance", Credentials(api_key=f"k{index}", api_secret="s")) for index in range(100)]

    await asyncio.gather(*(read(client) for client in made))
    shared = made[0]._source.shared
    first = [client._ccxt.markets is shared.markets and client._ccxt.markets_by_id is shared.markets_by_id for client in made]
    await registry.listings("binance", max_age_s=0.0)
    await asyncio.gather(*(read(client) for client in made))
    again = [client._ccxt.markets is made[0]._source.shared.markets for client in made]
    for client in made:
        await client.close()

    assert all(first)
    assert all(again)
    assert made[0]._source.shared is not shared
    assert venue.count("GET /exchangeInfo") == 2


@pytest.mark.asyncio
async def test_a_registry_that_made_nothing_has_nothing_to_close() -> None:
    await Registry(RegistryConfig(), clock=SystemClock()).close()
