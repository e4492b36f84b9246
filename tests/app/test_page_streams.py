"""The streams of open pages: forty of one user and no more, and none that shows what its user may not see any more."""

import asyncio

import pytest
from fastapi import Request

from app.accounts.administration import change_user
from app.accounts.principal import Principal
from app.core.streams import counted
from app.core.tenancy import working_for
from app.ui import stream
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Site

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
            async for message in page(site, principal, "log").messages():
                shown += message
                if b"event: ping" in message and b"deliveries" in shown:
                    await change_user(state.platform_database, root.id, boss.id, is_active=None, is_admin=False, now=state.clock.now())
