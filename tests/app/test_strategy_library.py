"""The library of strategies through the API: what is kept, what it is called, and where it ends."""

import asyncio
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies.service import MOST_STRATEGIES
from app.strategies.templates import templates
from app.strategies.versions import MOST_VERSIONS
from tests.app.library import URL, delivered, keep, made, names, refusal, report_of, saved, somebody
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody without a strategy."""
    return await somebody(site)


async def test_a_strategy_begins_with_a_first_version_of_its_template(person: Person) -> None:
    strategy = await made(person, template="older")
    assert (strategy["newest"], strategy["origin"], strategy["origin_name"]) == (1, "template", "older")
    source = next(one.source for one in templates() if one.name == "older")
    assert strategy["source"] == source
    blank = await made(person, "Other")
    assert blank["source"] == next(one.source for one in templates() if one.name == "blank")
    assert refusal(await person.call("POST", URL, json={"name": "x", "template": "none"})) == (404, "TEMPLATE_NOT_FOUND")


async def test_a_name_is_unique_whatever_its_case_but_for_the_archive(person: Person) -> None:
    first = await made(person, "EMA")
    assert refusal(await person.call("POST", URL, json={"name": "ema"})) == (409, "NAME_TAKEN")
    await person.call("POST", f"{URL}/{first['id']}/archive")
    second = await made(person, "ema")
    assert (await names(person), await names(person, archived=True)) == (["ema"], ["EMA"])
    back = await person.call("POST", f"{URL}/{first['id']}/unarchive")
    assert back.json()["name"] == "EMA 2"
    assert refusal(await person.call("PATCH", f"{URL}/{second['id']}", json={"name": "Ema 2"})) == (409, "NAME_TAKEN")


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\u202eb", "a\x00b"])
async def test_a_name_that_cannot_be_shown_is_refused(person: Person, name: str) -> None:
    assert refusal(await person.call("POST", URL, json={"name": name})) == (422, "INVALID_INPUT")


async def test_a_list_is_searched_and_paged(person: Person) -> None:
    for number in range(5):
        await made(person, f"Trend {number}", description="follows it" if number == 3 else "")
    assert await names(person, search="FOLLOWS") == ["Trend 3"]
    assert await names(person, search="%") == []
    first = (await person.call("GET", URL, params={"limit": 3})).json()
    second = (await person.call("GET", URL, params={"limit": 3, "cursor": first["next"]})).json()
    assert [one["name"] for one in first["items"] + second["items"]] == [f"Trend {number}" for number in (4, 3, 2, 1, 0)]
    assert second["next"] is None
    for cursor in ("x", "2026-01-01T00:00:00.x", "9999-12-31T23:59:59+00:00." + str(new_id())):
        assert refusal(await person.call("GET", URL, params={"cursor": cursor})) == (422, "INVALID_INPUT")


async def test_saving_makes_versions_and_the_same_source_makes_none(person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    second = await saved(person, strategy, "a = 2\n", note="doubled")
    again = await saved(person, strategy, "a = 2\r\n")
    assert (second["number"], second["is_new"], again["number"], again["is_new"]) == (2, True, 2, False)
    listed = (await person.call("GET", f"{URL}/{strategy['id']}/versions")).json()["items"]
    assert [(one["number"], one["note"]) for one in listed] == [(2, "doubled"), (1, "")]
    assert (await person.call("GET", f"{URL}/{strategy['id']}/versions/1")).json()["source"] == "a = 1\n"
    assert refusal(await person.call("GET", f"{URL}/{strategy['id']}/versions/3")) == (404, "VERSION_NOT_FOUND")


async def test_of_saves_at_once_each_is_a_version_without_a_gap(person: Person) -> None:
    strategy = await made(person, source="a = 0\n")
    found = await asyncio.gather(*(saved(person, strategy, f"a = {number + 1}\n") for number in range(8)))
    assert sorted(one["number"] for one in found) == list(range(2, 10))


async def test_a_version_is_restored_as_a_new_one_and_forked_as_another_strategy(person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    await saved(person, strategy, "a = 2\n")
    restored = await person.call("POST", f"{URL}/{strategy['id']}/versions/1/restore")
    assert (restored.status_code, restored.json()["number"], restored.json()["source"]) == (201, 3, "a = 1\n")
    fork = (await person.call("POST", f"{URL}/{strategy['id']}/fork", json={"number": 2})).json()
    assert (fork["name"], fork["source"], fork["newest"]) == ("Mine 2", "a = 2\n", 1)
    assert (fork["origin"], fork["origin_name"], fork["origin_number"]) == ("forked", "Mine", 2)
    await saved(person, fork, "a = 3\n")
    assert (await person.call("GET", f"{URL}/{strategy['id']}")).json()["newest"] == 3


async def test_a_difference_is_told_as_diff_tells_it(person: Person) -> None:
    strategy = await made(person, source="a = 1\nb = 2\n")
    await saved(person, strategy, "a = 1\nb = 3\nc = 4\n")
    told = (await person.call("GET", f"{URL}/{strategy['id']}/versions/2/diff")).json()
    assert (told["old"], told["new"], told["added"], told["removed"]) == (1, 2, 2, 1)
    assert told["unified"] == "--- v1\n+++ v2\n@@ -1,3 +1,4 @@\n a = 1\n-b = 2\n+b = 3\n+c = 4\n \n"
    same = (await person.call("GET", f"{URL}/{strategy['id']}/versions/1/diff", params={"against": 1})).json()
    assert same["unified"] == ""


async def test_a_draft_of_an_older_tab_overwrites_nothing(person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    url = f"{URL}/{strategy['id']}/draft"
    kept = await person.call("PUT", url, json={"source": "a = 2\n", "revision": 0})
    assert kept.json()["revision"] == 1
    assert refusal(await person.call("PUT", url, json={"source": "a = 3\n", "revision": 0})) == (409, "DRAFT_CHANGED")
    body = {"source": "a = 3\n", "draft_revision": 0}
    assert refusal(await person.call("POST", f"{URL}/{strategy['id']}/versions", json=body)) == (409, "DRAFT_CHANGED")
    opened = (await person.call("GET", f"{URL}/{strategy['id']}")).json()
    assert (opened["source"], opened["has_draft"], opened["newest"]) == ("a = 2\n", True, 1)
    await saved(person, strategy, "a = 2\n", draft_revision=1)
    opened = (await person.call("GET", f"{URL}/{strategy['id']}")).json()
    assert (opened["source"], opened["has_draft"], opened["newest"], opened["draft_revision"]) == ("a = 2\n", False, 2, 2)


async def test_a_draft_that_is_let_go_leaves_the_newest_version(person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    await person.call("PUT", f"{URL}/{strategy['id']}/draft", json={"source": "a = 2\n", "revision": 0})
    left = (await person.call("DELETE", f"{URL}/{strategy['id']}/draft")).json()
    assert (left["source"], left["has_draft"], left["draft_revision"]) == ("a = 1\n", False, 2)


async def test_a_source_that_is_too_long_is_refused_wherever_it_comes(person: Person) -> None:
    strategy = await made(person, source="é" * LONGEST_SOURCE)
    long = "é" * (LONGEST_SOURCE + 1)
    for method, path, body in (
        ("POST", URL, {"name": "Long", "source": long}),
        ("PUT", f"{URL}/{strategy['id']}/draft", {"source": long, "revision": 0}),
        ("POST", f"{URL}/{strategy['id']}/versions", {"source": long}),
        ("POST", f"{URL}/validate", {"source": long}),
        ("POST", f"{URL}/quick", {"source": long}),
    ):
        assert refusal(await person.call(method, path, json=body)) == (422, "SOURCE_TOO_LONG"), path


async def test_there_is_an_end_to_strategies_and_to_versions(site: Site, person: Person) -> None:
    user_id, strategy = UUID(person.ids["user_id"]), await made(person, source="a = 0\n")
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO strategies (id, user_id, name, created_at, changed_at, archived_at)
               SELECT gen_random_uuid(), $1, 'Old ' || n, now(), now(), now() FROM generate_series(2, $2) n""",
            user_id, MOST_STRATEGIES,
        )  # fmt: skip
        await connection.execute(
            """INSERT INTO strategy_versions (id, user_id, strategy_id, number, source, sha256, created_at)
               SELECT gen_random_uuid(), $1, $2, n, n::text, encode(sha256(convert_to(n::text, 'UTF8')), 'hex'), now()
                 FROM generate_series(2, $3) n""",
            user_id, UUID(strategy["id"]), MOST_VERSIONS,
        )  # fmt: skip
    assert refusal(await person.call("POST", URL, json={"name": "One more"})) == (409, "STRATEGY_LIMIT")
    answer = await person.call("POST", f"{URL}/{strategy['id']}/versions", json={"source": "a = 1\n"})
    assert refusal(answer) == (409, "STRATEGY_LIMIT")


async def test_every_change_stands_in_the_audit_log(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person, "Seen", source="a = 1\n")
    url = f"{URL}/{strategy['id']}"
    await person.call("PATCH", url, json={"description": "changed"})
    second = await saved(person, strategy, "a = 2\n")
    await keep(site, person, second, report_of("a = 2\n"))
    await person.call("POST", f"{url}/share", json={"username": other.ids["name"]})
    await delivered(site)
    await person.call("POST", f"{url}/archive")
    await person.call("POST", f"{url}/unarchive")
    await person.call("DELETE", url)
    query = "SELECT action, object FROM audit_log WHERE user_id = $1 AND action LIKE 'strategy%' ORDER BY number"
    async with site.app.state.platform_database.connection() as connection:
        mine = await connection.fetch(query, UUID(person.ids["user_id"]))
        theirs = await connection.fetch(query, UUID(other.ids["user_id"]))
    assert [row["action"] for row in mine] == [
        "strategy_made", "strategy_changed", "strategy_saved", "strategy_validated", "strategy_shared", "strategy_archived",
        "strategy_unarchived", "strategy_deleted",
    ]  # fmt: skip
    assert {row["object"] for row in mine} == {f"strategy:{strategy['id']}"}
    assert [row["action"] for row in theirs] == ["strategy_received"]


async def test_an_api_token_that_may_only_read_changes_nothing(site: Site, person: Person) -> None:
    strategy = await made(person)
    token = (await person.call("POST", "/api/auth/tokens", json={"name": "Reader", "scopes": ["read"]})).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await site.http.get(f"{URL}/{strategy['id']}", headers=headers)).status_code == 200
    assert (await site.http.post(URL, headers=headers, json={"name": "Other"})).status_code == 403


@pytest.mark.parametrize("name", ["İstanbul", "ΣΑΣ", "ÉMA", "Ema", "Ǆ" * 60])
async def test_a_copy_gets_a_number_whatever_letters_its_name_has(person: Person, name: str) -> None:
    strategy = await made(person, name)
    for number in (2, 3):
        forked = await person.call("POST", f"{URL}/{strategy['id']}/fork", json={})
        assert forked.status_code == 201, forked.text
        assert forked.json()["name"] == f"{name[:58]} {number}"
