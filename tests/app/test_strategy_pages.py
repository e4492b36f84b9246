"""The page of the library: the list, and what is done with a strategy as a whole."""

import html
import re
from typing import Any

import pytest
import pytest_asyncio

from tests.app.library import URL, delivered, made, somebody, used
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody without a strategy."""
    return await somebody(site)


async def page(person: Person, path: str = "/strategies", **options: Any) -> str:
    answer = await person.browse("GET", path, **options)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


async def send(person: Person, path: str, **options: Any) -> Any:
    return await person.browse("POST", path, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"}, **options)


def names(text: str) -> list[str]:
    return re.findall(r'class="entry-head"><a [^>]*><b>(.*?)</b>', text)


async def test_an_empty_library_says_what_to_do_first(person: Person) -> None:
    text = await page(person)
    assert "No strategy yet" in text
    assert "Begin with one that works" in text
    assert 'aria-current="page"' in text
    assert "EMA cross" in text, "the templates stand in the dialog"


async def test_a_new_strategy_of_a_template_opens_in_the_editor(person: Person) -> None:
    answer = await send(person, "/strategies", data={"name": "  My   cross ", "chosen": "ema_cross"})
    (strategy,) = (await person.call("GET", URL)).json()["items"]
    assert answer.headers["hx-redirect"] == f"/strategies/{strategy['id']}"
    assert (strategy["name"], strategy["origin_name"]) == ("My cross", "ema_cross")
    text = await page(person)
    assert names(text) == ["My cross"]
    assert "from the template EMA cross" in text
    assert "Not validated" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "a name needs 1 to 60 signs"),
        ({"name": "x" * 61}, "a name needs 1 to 60 signs"),
        ({"name": "taken"}, "You already have a strategy of that name."),
        ({"name": "x", "chosen": "none"}, "There is no such template."),
    ],
)
async def test_what_cannot_be_made_comes_back_in_the_form(person: Person, fields: dict[str, str], words: str) -> None:
    await made(person, "Taken")
    answer = await send(person, "/strategies", data=fields)
    assert answer.status_code == 422
    assert words in html.unescape(answer.text)


async def test_a_file_is_imported_and_opens(person: Person) -> None:
    answer = await send(person, "/strategies/import", files={"file": ("trend.py", b"a = 1\n")})
    assert answer.headers["hx-redirect"].startswith("/strategies/")
    assert "imported from trend.py" in await page(person)
    refused = await send(person, "/strategies/import", files={"file": ("trend.py", b"\xff\xfe")})
    assert (refused.status_code, "the file is no text in UTF-8" in refused.text) == (422, True)


async def test_a_fork_an_archive_and_the_way_back(person: Person) -> None:
    strategy = await made(person, "Trend")
    forked = await send(person, f"/strategies/{strategy['id']}/copy")
    assert names(forked.text) == ["Trend 2", "Trend"]
    assert "A copy was made" in forked.headers["hx-trigger"]
    archived = await send(person, f"/strategies/{strategy['id']}/archive")
    assert names(archived.text) == ["Trend 2"]
    assert "1 in the archive" in archived.text
    archive = await page(person, "/strategies?archived=1")
    assert (names(archive), "Back to 1 strategy" in archive) == (["Trend"], True)
    back = await send(person, f"/strategies/{strategy['id']}/unarchive")
    assert sorted(names(back.text)) == ["Trend", "Trend 2"]


async def test_the_list_is_searched(person: Person) -> None:
    await made(person, "Trend")
    await made(person, "Range", description="trades <i>inside</i>")
    assert names(await page(person, "/strategies/list", params={"search": "INSIDE"})) == ["Range"]
    nothing = await page(person, "/strategies/list", params={"search": "none <b>"})
    assert "No strategy has “none <b>” in its name or description." in nothing


async def test_a_strategy_is_shared_and_lies_with_the_other_one_as_new(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person, "Given")
    asked = await page(person, f"/strategies/{strategy['id']}/share")
    assert "You are not told whether there is such a user." in asked
    for name in (other.ids["name"], "nobody-at-all"):
        answer = await send(person, f"/strategies/{strategy['id']}/share", data={"username": name, "number": "1"})
        assert (answer.status_code, "If this server has a user of that name" in answer.headers["hx-trigger"]) == (200, True)
    await delivered(site)
    text = await page(other)
    assert (names(text), f"shared by {person.ids['name']}" in text, "New to you" in text) == (["Given"], True, True)
    own = await send(person, f"/strategies/{strategy['id']}/share", data={"username": person.ids["name"]})
    assert (own.status_code, "that is your own name" in own.text) == (422, True)
    empty = await send(person, f"/strategies/{strategy['id']}/share", data={"username": " "})
    assert (empty.status_code, "type the name by which they log in" in empty.text) == (422, True)


async def test_a_strategy_is_deleted_after_a_question_and_a_used_one_is_not_offered_it(site: Site, person: Person) -> None:
    strategy, kept = await made(person, "Gone"), await made(person, "Kept")
    await used(site, person, kept)
    text = await page(person)
    assert f'id="strategy-{strategy["id"]}-delete"' in text
    assert f'id="strategy-{kept["id"]}-delete"' not in text
    asked = await page(person, f"/strategies/{strategy['id']}/delete")
    assert "“Gone” is deleted with its 1 version." in asked
    answer = await send(person, f"/strategies/{strategy['id']}/delete")
    assert names(answer.text) == ["Kept"]
    assert (await send(person, f"/strategies/{kept['id']}/delete")).status_code == 409


async def test_the_page_speaks_french_and_shows_markup_as_text(person: Person) -> None:
    await made(person, "<script>alert(1)</script>", description="{{ 7 * 7 }}")
    raw = (await person.browse("GET", "/strategies")).text
    assert "<script>alert(1)" not in raw
    assert "{{ 7 * 7 }}" in html.unescape(raw)
    await person.call("PUT", "/api/auth/preferences", json={"language": "fr"})
    text = await page(person)
    assert "Stratégies" in text
    assert "Nouvelle stratégie" in text
    assert "Non validée" in text


async def test_without_the_pages_token_nothing_changes(person: Person) -> None:
    answer = await person.browse("POST", "/strategies", data={"name": "x"})
    assert answer.status_code == 403
    assert (await person.call("GET", URL)).json()["items"] == []
