"""The page of a strategy through the whole application: what is kept as a draft, what is saved, and what no tab may pass over."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from app.core.tenancy import working_for
from app.domain.candles import Candle, Timeframe
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore, Close
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies import service
from app.strategies.templates import BLANK, template
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = template(BLANK).source


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def strategy_id(site: Site) -> UUID:
    """A strategy of ada's with one version."""
    principal = await site.app.state.accounts.by_cookie(site.ada.cookie)
    with working_for(principal.user_id):
        async with site.app.state.database.transaction() as session:
            now = site.app.state.clock.now()
            made = await service.create_strategy(session, principal.user_id, name="Trend", source=SOURCE, now=now, is_renamed=True)
            return made.id


async def post(person: Person, path: str, *, is_scripted: bool = True, **form: Any) -> httpx.Response:
    headers = {"X-CSRF-Token": person.csrf, **({"HX-Request": "true"} if is_scripted else {})}
    # As a browser sends it: in parts, with the ends of lines that forms have.
    fields = {name: (None, str(value).replace("\n", "\r\n")) for name, value in form.items()}
    return await person.browse("POST", path, files=fields, headers=headers)


async def page(person: Person, strategy_id: UUID, **query: str) -> str:
    answer = await person.browse("GET", f"/strategies/{strategy_id}", params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.text


async def kept(person: Person, strategy_id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = (await person.browse("GET", f"/strategies/{strategy_id}/text")).json()
    return found


def written(html: str) -> str:
    """What stands in the page's text field, as a browser reads it."""
    found = re.search(r"<textarea[^>]* name=\"source\"[^>]*>\n?(.*?)</textarea>", html, re.DOTALL)
    assert found is not None
    return found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&#39;", "'").replace("&amp;", "&")


async def test_the_page_shows_the_newest_version_and_what_is_offered_while_typing(site: Site, strategy_id: UUID) -> None:
    html = await page(site.ada, strategy_id)
    assert written(html) == SOURCE
    offered = json.loads(re.search(r'id="sed-completions">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert {"EMA", "crossed_above"} <= {one["label"] for one in offered["ta"]}
    assert "def should_long" in {one["label"] for one in offered["methods"]}
    assert "position.entry_price" in {one["label"] for one in offered["members"]}


async def test_the_markets_offered_are_those_whose_candles_are_stored(site: Site, strategy_id: UUID) -> None:
    at = Timeframe.H1.floor(site.app.state.clock.now())
    candle = Candle(open_time=at, open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    store = CandleStore(site.app.state.platform_database, site.app.state.clock)
    closes = [Close(symbol, Timeframe.H1, candle) for symbol in ("XRP/USDT", "ADA/USDT")]
    await store.upsert("binance", closes, source=CandleSource.IMPORT)
    html = await page(site.ada, strategy_id)
    offered = re.findall(r'<option value="([A-Z]+/[A-Z]+)"', html)
    followed = list(site.app.state.heartbeat.symbols)
    assert offered == [*followed, "ADA/USDT", "XRP/USDT"]


async def test_a_draft_is_kept_and_comes_back_with_the_page(site: Site, strategy_id: UUID) -> None:
    draft = SOURCE + "\n# é and a change\n"
    answer = await post(site.ada, f"/strategies/{strategy_id}/draft", source=draft, revision=0)
    assert (answer.status_code, answer.json()["revision"], answer.json()["is_draft"]) == (200, 1, True)
    html = await page(site.ada, strategy_id)
    assert written(html) == draft
    assert 'name="revision" id="sed-revision" value="1"' in html
    assert "Draft kept" in html


async def test_a_draft_that_was_made_from_an_older_one_is_refused_and_nothing_is_lost(site: Site, strategy_id: UUID) -> None:
    path = f"/strategies/{strategy_id}/draft"
    await post(site.ada, path, source="first = 1\n", revision=0)
    refused = await post(site.ada, path, source="second = 2\n", revision=0)
    assert (refused.status_code, refused.json()["code"]) == (409, "DRAFT_CHANGED")
    assert (await kept(site.ada, strategy_id))["source"] == "first = 1\n"


async def test_saving_makes_a_version_and_lets_the_draft_go(site: Site, strategy_id: UUID) -> None:
    draft = SOURCE.replace("50", "60")
    await post(site.ada, f"/strategies/{strategy_id}/draft", source=draft, revision=0)
    answer = await post(site.ada, f"/strategies/{strategy_id}", name="Sixty", source=draft, revision=1, note="sixty")
    assert answer.status_code == 200
    events = json.loads(answer.headers["HX-Trigger"])
    assert events["strategy-saved"] == {"target": "body", "revision": 2, "number": 2, "name": "Sixty"}
    assert events["toast"]["text"] == "Version 2 is saved."
    assert 'id="sed-state"' in answer.text
    assert "sixty" in answer.text
    found = await kept(site.ada, strategy_id)
    assert (found["source"], found["is_draft"], found["number"]) == (draft, False, 2)
    assert 'value="Sixty"' in await page(site.ada, strategy_id)


async def test_saving_the_same_text_again_makes_no_version(site: Site, strategy_id: UUID) -> None:
    answer = await post(site.ada, f"/strategies/{strategy_id}", name="Same", source=SOURCE, revision=0)
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["text"] == "Nothing changed since version 1."


async def test_saving_over_what_another_tab_kept_is_refused(site: Site, strategy_id: UUID) -> None:
    await post(site.ada, f"/strategies/{strategy_id}/draft", source="other = 1\n", revision=0)
    answer = await post(site.ada, f"/strategies/{strategy_id}", name="Other", source="mine = 1\n", revision=0)
    assert answer.status_code == 409
    assert "strategy-conflict" in json.loads(answer.headers["HX-Trigger"])
    found = await kept(site.ada, strategy_id)
    assert (found["source"], found["number"]) == ("other = 1\n", 1)


async def test_a_draft_from_before_a_version_that_another_tab_saved_is_refused(site: Site, strategy_id: UUID) -> None:
    saved = await post(site.ada, f"/strategies/{strategy_id}", name="Before", source="theirs = 1\n", revision=0)
    assert saved.status_code == 200
    refused = await post(site.ada, f"/strategies/{strategy_id}/draft", source="mine = 1\n", revision=0)
    assert refused.status_code == 409
    assert (await kept(site.ada, strategy_id))["source"] == "theirs = 1\n"


async def test_a_name_that_is_taken_saves_nothing(site: Site, strategy_id: UUID) -> None:
    await post(site.ada, f"/strategies/{strategy_id}", name="Unique", source=SOURCE, revision=0)
    forked = await post(site.ada, f"/strategies/{strategy_id}/fork", version=1)
    other = forked.headers["HX-Redirect"].rpartition("/")[2]
    answer = await post(site.ada, f"/strategies/{other}", name="unique", source="x = 1\n", revision=0)
    assert answer.status_code == 422
    assert "you already have a strategy named unique" in answer.text
    assert (await kept(site.ada, UUID(other)))["number"] == 1


async def test_without_scripts_the_page_saves_and_shows_old_versions_and_templates(site: Site, strategy_id: UUID) -> None:
    path = f"/strategies/{strategy_id}"
    answer = await post(site.ada, path, is_scripted=False, name="Plain", source="a = 1\n", revision=0, csrf_token=site.ada.csrf)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert written(await page(site.ada, strategy_id)) == "a = 1\n"
    assert written(await page(site.ada, strategy_id, version="1")) == SOURCE
    assert written(await page(site.ada, strategy_id, template="signals")) == template("signals").source
    refused = await post(site.ada, path, is_scripted=False, name="Plain", source="b = 2\n", revision=7)
    assert refused.status_code == 409
    assert written(refused.text) == "b = 2\n", "what was typed is still there"
    assert "Nothing was saved" in refused.text


async def test_a_text_as_long_as_may_be_is_kept_and_a_longer_one_refused(site: Site, strategy_id: UUID) -> None:
    longest = "#\n" * (LONGEST_SOURCE // 2)
    path = f"/strategies/{strategy_id}/draft"
    assert (await post(site.ada, path, source=longest, revision=0)).status_code == 200
    assert (await post(site.ada, path, source=longest + "#", revision=1)).status_code == 422
    assert (await kept(site.ada, strategy_id))["source"] == longest


async def test_a_strategy_of_another_user_cannot_be_told_from_none(site: Site, strategy_id: UUID) -> None:
    form: Any = {"source": "x = 1\n", "revision": 0, "name": "Mine"}
    for one in (strategy_id, uuid4()):
        answers = [
            await site.eve.browse("GET", f"/strategies/{one}"),
            await site.eve.browse("GET", f"/strategies/{one}/text?version=1"),
            await post(site.eve, f"/strategies/{one}/draft", **form),
            await post(site.eve, f"/strategies/{one}", **form),
            await post(site.eve, f"/strategies/{one}/fork", version=1),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers), one
    assert (await kept(site.ada, strategy_id))["number"] == 1


async def test_nothing_is_kept_without_the_token_of_the_page(site: Site, strategy_id: UUID) -> None:
    answer = await site.ada.browse("POST", f"/strategies/{strategy_id}/draft", data={"source": "x", "revision": 0})
    assert answer.status_code == 403


async def test_a_name_and_a_note_have_no_sign_that_is_not_seen(site: Site, strategy_id: UUID) -> None:
    text = SOURCE + "# another\n"
    saved = await post(site.ada, f"/strategies/{strategy_id}", source=text, revision=0, name="Safe \u202eyrev\n one", note=" a\u2066b\n c ")
    assert saved.status_code == 200, saved.text
    strategy = (await site.ada.call("GET", f"/api/strategies/{strategy_id}")).json()
    version = (await site.ada.call("GET", f"/api/strategies/{strategy_id}/versions/2")).json()
    assert (strategy["name"], version["note"]) == ("Safe yrev one", "a b c")
