"""The library of strategies through the API and in the database: what is kept, what never changes, and who sees it."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.errors import StrategyNotValid, VersionInUse
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies import service, versions
from app.strategies.models import Origin
from app.strategies.report import Found, Outcome, Report, Step, StepReport
from app.strategies.service import MOST_STRATEGIES, Provenance
from app.strategies.sharing import MOST_UNTOUCHED, SHARES_PER_HOUR
from app.strategies.sources import digest
from app.strategies.templates import templates
from app.strategies.versions import MOST_VERSIONS
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Person, Site, log_in, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/strategies"
_NUMBERS = itertools.count()


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody without a strategy."""
    return await somebody(site)


async def somebody(site: Site) -> Person:
    name = f"author-{next(_NUMBERS)}"
    await site.app.state.accounts.create_user(name, PASSWORD)
    found = await log_in(site.app, site.http, name)
    found.ids["name"] = name
    found.ids["user_id"] = (await found.call("GET", "/api/auth/current")).json()["id"]
    return found


async def made(person: Person, name: str = "Mine", **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", URL, json={"name": name, **given})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def saved(person: Person, strategy: dict[str, Any], source: str, **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", f"{URL}/{strategy['id']}/versions", json={"source": source, **given})
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def names(person: Person, **params: Any) -> list[str]:
    return [one["name"] for one in (await person.call("GET", URL, params=params)).json()["items"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def report_of(source: str, *, is_valid: bool = True, has_look_ahead: bool = False) -> Report:
    """What a validation says, without one."""
    found = Found(code="LOOK_AHEAD_SERIES", severity="error", message="%(attribute)s looks ahead", values={"attribute": "mean"})
    failed = StepReport(step=Step.LOOK_AHEAD, outcome=Outcome.FAILED, findings=(found,))
    broken = StepReport(step=Step.SYNTAX, outcome=Outcome.FAILED, findings=(Found(code="E", severity="error", message="no Python"),))
    passed = StepReport(step=Step.SYNTAX, outcome=Outcome.PASSED)
    return Report(steps=(failed,) if has_look_ahead else (passed,) if is_valid else (broken,), seconds=0.1, sha256=digest(source))


async def keep(site: Site, person: Person, version: dict[str, Any], report: Report) -> None:
    async with site.app.state.platform_database.transaction() as session:
        await versions.keep_report(session, UUID(person.ids["user_id"]), UUID(version["id"]), report, now=site.app.state.clock.now())


async def use(site: Site, person: Person, version: dict[str, Any]) -> None:
    async with site.app.state.platform_database.transaction() as session:
        await versions.mark_used(session, UUID(person.ids["user_id"]), UUID(version["id"]), now=site.app.state.clock.now())


async def used(site: Site, person: Person, strategy: dict[str, Any]) -> dict[str, Any]:
    """The newest version of a strategy, used by something."""
    version = dict((await person.call("GET", f"{URL}/{strategy['id']}/versions/{strategy['newest']}")).json())
    await keep(site, person, version, report_of(version["source"]))
    await use(site, person, version)
    return version


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


async def test_what_looks_ahead_or_was_not_validated_cannot_be_activated(site: Site, person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    url = f"{URL}/{strategy['id']}/versions/1"
    version = (await person.call("GET", url)).json()
    assert version["why_not"] == "it was not validated yet"
    for report, why in (
        (report_of("a = 1\n", has_look_ahead=True), "mean looks ahead"),
        (report_of("a = 1\n", is_valid=False), "no Python"),
    ):
        with pytest.raises(StrategyNotValid):
            await use(site, person, version)
        await keep(site, person, version, report)
        told = (await person.call("GET", url)).json()
        assert (told["is_valid"], told["why_not"]) == (False, why)
    await keep(site, person, version, report_of("a = 1\n"))
    await use(site, person, version)
    assert (await person.call("GET", url)).json()["first_used_at"] is not None


async def test_a_report_of_another_source_is_not_kept(site: Site, person: Person) -> None:
    strategy = await made(person, source="a = 1\n")
    version = (await person.call("GET", f"{URL}/{strategy['id']}/versions/1")).json()
    with pytest.raises(ValueError, match="own source"):
        await keep(site, person, version, report_of("a = 2\n"))


async def test_a_used_version_stays_with_its_strategy(site: Site, person: Person) -> None:
    strategy = await made(person)
    await used(site, person, strategy)
    assert refusal(await person.call("DELETE", f"{URL}/{strategy['id']}")) == (409, "STRATEGY_IN_USE")
    url = f"{URL}/{strategy['id']}/versions/1"
    assert refusal(await person.call("PATCH", url, json={"note": "x"})) == (409, "VERSION_IN_USE")
    (await person.call("POST", f"{URL}/{strategy['id']}/archive")).raise_for_status()
    assert (await person.call("GET", url)).status_code == 200


async def test_a_used_version_that_is_found_to_look_ahead_cannot_be_activated_again(site: Site, person: Person) -> None:
    strategy = await made(person)
    version = await used(site, person, strategy)
    await keep(site, person, version, report_of(version["source"], has_look_ahead=True))
    with pytest.raises(StrategyNotValid, match="looks ahead"):
        await use(site, person, version)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE strategy_versions SET source = 'x', sha256 = encode(sha256('x'), 'hex') WHERE id = $1", "strategy_versions_source"),
        ("UPDATE strategy_versions SET number = 9 WHERE id = $1", "strategy_versions_source"),
        ("UPDATE strategy_versions SET note = 'x' WHERE id = $1", "strategy_versions_used"),
        ("UPDATE strategy_versions SET described = '{}' WHERE id = $1", "strategy_versions_used"),
        ("UPDATE strategy_versions SET first_used_at = NULL WHERE id = $1", "strategy_versions_used"),
        ("DELETE FROM strategy_versions WHERE id = $1", "strategy_versions_used"),
        ("DELETE FROM strategies WHERE id = (SELECT strategy_id FROM strategy_versions WHERE id = $1)", "strategies_used"),
        ("UPDATE strategy_versions SET has_look_ahead = true WHERE id = $1", "ck_strategy_versions_valid_is_validated"),
    ],
)
async def test_the_database_itself_keeps_what_was_used(site: Site, person: Person, statement: str, constraint: str) -> None:
    version = await used(site, person, await made(person))
    async with site.app.state.platform_database.connection() as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await connection.execute(statement, UUID(version["id"]))
    assert refused.value.constraint_name == constraint


async def test_the_database_itself_marks_nothing_as_used_that_is_not_valid(site: Site, person: Person) -> None:
    strategy = await made(person)
    async with site.app.state.platform_database.connection() as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await connection.execute("UPDATE strategy_versions SET first_used_at = now() WHERE strategy_id = $1", UUID(strategy["id"]))
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("INSERT INTO strategy_versions (id, user_id, strategy_id, number, source, sha256, created_at)"
                                     " SELECT $2, user_id, strategy_id, 2, 'x', sha256, now() FROM strategy_versions"
                                     " WHERE strategy_id = $1", UUID(strategy["id"]), new_id())  # fmt: skip
    assert refused.value.constraint_name == "strategy_versions_valid"


async def test_a_user_who_goes_takes_used_strategies_along(site: Site) -> None:
    gone = await somebody(site)
    await used(site, gone, await made(gone))
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("DELETE FROM users WHERE id = $1", UUID(gone.ids["user_id"]))
        assert await connection.fetchval("SELECT count(*) FROM strategies WHERE user_id = $1", UUID(gone.ids["user_id"])) == 0


async def test_a_note_is_written_to_a_version_that_was_not_used(person: Person) -> None:
    strategy = await made(person)
    url = f"{URL}/{strategy['id']}/versions/1"
    assert (await person.call("PATCH", url, json={"note": "the first"})).json()["note"] == "the first"


async def test_a_file_comes_back_as_it_went(person: Person) -> None:
    source = "# a comment\n\nclass A:\n    '''é'''\n"
    strategy = await made(person, "Ça va: the “best” one/../x", description="Two\nlines # here", source=source)
    file = await person.call("GET", f"{URL}/{strategy['id']}/export")
    assert file.headers["content-disposition"] == 'attachment; filename="ca-va-the-best-one-x-v1.py"'
    compile(file.content, "exported", "exec")
    back = await person.call("POST", f"{URL}/import", files={"file": ("whatever.py", file.content)})
    assert back.status_code == 201, back.text
    got = back.json()
    assert (got["name"], got["description"], got["source"]) == (f"{strategy['name']} 2", strategy["description"], source)
    assert (got["origin"], got["origin_name"]) == ("imported", "whatever.py")


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe\x00", b"a\x00b", b"x" * 600_000])
async def test_a_file_that_is_no_source_is_refused(person: Person, content: bytes) -> None:
    answer = await person.call("POST", f"{URL}/import", files={"file": ("x.py", content)})
    assert refusal(answer) == (422, "STRATEGY_FILE_UNREADABLE")


async def test_a_foreign_file_is_named_as_it_is_called(person: Person) -> None:
    answer = await person.call("POST", f"{URL}/import", files={"file": ("../../my_trend-v3.py", b"a = 1\r\n")})
    assert (answer.json()["name"], answer.json()["source"]) == ("my trend", "a = 1\n")


async def delivered(site: Site) -> None:
    """Wait until every wish to share is settled."""
    async with site.app.state.platform_database.connection() as connection, asyncio.timeout(20):
        while await connection.fetchval("SELECT count(*) FROM strategy_shares WHERE settled_at IS NULL"):  # noqa: ASYNC110  # a loop of the site
            await asyncio.sleep(0.02)


async def test_a_shared_copy_lies_in_the_others_library_and_goes_its_own_way(site: Site, person: Person) -> None:
    other = await somebody(site)
    await made(other, "Mine")
    strategy = await made(person, "Mine", source="a = 1\n", description="mine")
    await saved(person, strategy, "a = 2\n")
    answer = await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": other.ids["name"].upper(), "number": 1})
    assert answer.status_code == 202
    await delivered(site)
    got = (await other.call("GET", URL)).json()["items"][0]
    assert (got["name"], got["description"], got["newest"], got["is_valid"]) == ("Mine 2", "mine", 1, False)
    assert (got["origin"], got["origin_name"], got["origin_number"]) == ("shared", person.ids["name"], 1)
    assert (await other.call("GET", f"{URL}/{got['id']}")).json()["source"] == "a = 1\n"
    assert (await person.call("GET", f"{URL}/{got['id']}")).status_code == 404
    assert (await other.call("DELETE", f"{URL}/{got['id']}")).status_code == 204


async def test_sharing_tells_nothing_of_who_has_an_account(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person)
    told = []
    for name in (other.ids["name"], "nobody-at-all"):
        answer = await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": name})
        told.append((answer.status_code, answer.text))
    await delivered(site)
    assert told[0] == told[1]
    assert refusal(await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": person.ids["name"]})) == (
        422,
        "INVALID_INPUT",
    )


async def test_nobody_can_fill_the_library_of_another(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person)
    now = site.app.state.clock.now()
    async with site.app.state.platform_database.transaction() as session:
        for number in range(MOST_UNTOUCHED):
            await service.create_strategy(
                session, UUID(other.ids["user_id"]), name=f"Gift {number}", source="a = 1\n", now=now,
                came_from=Provenance(origin=Origin.SHARED, name="x"),
            )  # fmt: skip
    assert (await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": other.ids["name"]})).status_code == 202
    await delivered(site)
    assert len(await names(other, limit=200)) == MOST_UNTOUCHED


async def test_copies_are_given_away_so_many_times_an_hour(site: Site, person: Person) -> None:
    strategy = await made(person)
    clock = ManualClock(site.app.state.clock.now())
    with state_of(site, clock=clock):
        answers = [
            (await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": "nobody-at-all"})).status_code
            for _ in range(SHARES_PER_HOUR + 1)
        ]
        clock.advance(timedelta(minutes=61))
        later = await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": "nobody-at-all"})
    assert (answers, later.status_code) == ([202] * SHARES_PER_HOUR + [429], 202)


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


async def test_a_note_of_a_used_version_is_refused_by_the_service_too(site: Site, person: Person) -> None:
    version = await used(site, person, await made(person))
    async with site.app.state.platform_database.transaction() as session:
        with pytest.raises(VersionInUse):
            await versions.change_note(session, UUID(person.ids["user_id"]), UUID(version["strategy_id"]), 1, note="x")
        await session.rollback()
