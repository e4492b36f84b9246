"""The streams of open pages: forty of one user and no more, and none that shows what its user may not see any more."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fastapi import Request

from app.accounts.administration import change_user
from app.accounts.principal import Principal
from app.core.streams import counted
from app.core.tenancy import working_for
from app.marketdata.events import FeedAlert
from app.marketdata.feed_health import FeedReader
from app.ui import stream
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Site, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def page(site: Site, principal: Principal, *topics: str) -> PageStream:
    request = Request({"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": []})
    regions, templating = regions_of(request, principal), templating_of(request)
    return PageStream(request, frozenset(topics), principal=principal, regions=regions, templating=templating)


async def test_the_forty_first_page_gets_no_stream_and_one_that_closes_makes_room(site: Site) -> None:
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    streams = site.app.state.page_streams
    opened = [counted(streams, principal.user_id, page(site, principal)) for _ in range(41)]
    assert [bool(await anext(one, b"")) for one in opened] == [True] * 40 + [False]
    refused = await site.eve.browse("GET", "/events?topics=status")
    assert (refused.status_code, "very many pages" in refused.text) == (429, True)
    for one in opened[:2]:
        await one.aclose()
    assert streams[principal.user_id] == 38
    for one in opened:
        await one.aclose()
    assert principal.user_id not in streams


async def test_who_is_no_administrator_any_more_is_not_shown_what_strangers_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PING_S", 0.1)
    state = site.app.state
    root = await state.accounts.create_user("root", PASSWORD, is_admin=True)
    boss = await state.accounts.create_user("boss", PASSWORD, is_admin=True)
    login = await state.accounts.log_in("boss", PASSWORD)
    principal = await state.accounts.by_session(login.session_id)
    shown = b""
    with working_for(boss.id):
        async with asyncio.timeout(10):
            async for message in page(site, principal, "deliveries").messages():
                shown += message
                if b"event: ping" in message and b"deliveries" in shown:
                    await change_user(state.platform_database, root.id, boss.id, is_active=None, is_admin=False, now=state.clock.now())


async def test_an_open_page_is_told_once_that_the_market_fell_silent_and_once_that_it_speaks_again(site: Site) -> None:
    state = site.app.state
    principal = await state.accounts.by_cookie(site.eve.cookie)
    silent = FeedAlert(exchange="binance", symbol=None, is_over=False, since=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    overdue_no_more = replace(silent, symbol="ETH/USDT", is_over=True)
    told: list[str] = []
    async with state.platform_database.connection() as connection:
        await connection.execute("UPDATE users SET language = 'fr' WHERE id = $1", principal.user_id)
    with working_for(principal.user_id):
        async with asyncio.timeout(20), aclosing(page(site, principal, "status").messages()) as messages:
            async for message in messages:
                if b"status-items" in message and not told:
                    state.bus.publish(silent)
                    state.bus.publish(overdue_no_more)
                if b"event: toast" in message:
                    told.append(message.decode())
                    if len(told) == 2:
                        break

    assert '"level":"error","text":"Aucune donnée de marché fraîche de Binance depuis' in told[0]
    assert '"level":"success","text":"Les bougies de ETH/USDT sur Binance ne sont plus en retard."' in told[1]


async def test_the_bar_says_what_is_silent(site: Site) -> None:
    state = site.app.state
    feed = FeedReader("binance", live=state.heartbeat, database=state.platform_database, clock=state.clock)
    feed.alerts = (FeedAlert(exchange="binance", symbol="ETH/USDT", is_over=False, since=datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),)
    with state_of(site, feed=feed):
        shown = (await site.ada.browse("GET", "/")).text
    assert "ETH/USDT since 1 Mar 12:00" in shown
    assert '<b class="num">1</b> feed is silent' in shown
    assert "is silent" not in (await site.ada.browse("GET", "/")).text
