"""A user has forty pages open and no more: each holds a connection of the process."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import Request

from app.ui.stream import PageStream, counted
from app.ui.surroundings import regions_of, templating_of
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


async def test_the_forty_first_page_gets_no_stream_and_one_that_closes_makes_room(site: Site) -> None:
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    streams = site.app.state.page_streams
    request = Request({"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": []})

    def page() -> PageStream:
        regions, templating = regions_of(request, principal), templating_of(request)
        return PageStream(request, frozenset(), principal=principal, regions=regions, templating=templating)

    opened = [counted(streams, principal.user_id, page()) for _ in range(41)]
    assert [bool(await anext(one, b"")) for one in opened] == [True] * 40 + [False]
    refused = await site.eve.browse("GET", "/events?topics=status")
    assert (refused.status_code, "very many pages" in refused.text) == (429, True)
    for one in opened[:2]:
        await one.aclose()
    assert streams[principal.user_id] == 38
    for one in opened:
        await one.aclose()
    assert principal.user_id not in streams
