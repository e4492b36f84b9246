"""Strategies that leave a library: as files, and as copies for others, without telling who has an account."""

from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.strategies import service
from app.strategies.models import Origin
from app.strategies.service import MOST_STRATEGIES, Provenance
from app.strategies.sharing import MOST_UNTOUCHED, SHARES_PER_HOUR
from tests.app.library import URL, delivered, made, names, refusal, saved, somebody
from tests.app.whole_site import Person, Site, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody without a strategy."""
    return await somebody(site)


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


async def test_a_full_library_takes_no_copy_and_nobody_is_told(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person)
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO strategies (id, user_id, name, created_at, changed_at, archived_at)
               SELECT gen_random_uuid(), $1, 'Old ' || n, now(), now(), now() FROM generate_series(1, $2) n""",
            UUID(other.ids["user_id"]), MOST_STRATEGIES,
        )  # fmt: skip
    answer = await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": other.ids["name"]})
    await delivered(site)
    assert answer.status_code == 202
    assert await names(other) == []


async def test_a_user_who_was_disabled_receives_nothing(site: Site, person: Person) -> None:
    other = await somebody(site)
    strategy = await made(person)
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE users SET is_active = false WHERE id = $1", UUID(other.ids["user_id"]))
        await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": other.ids["name"]})
        await delivered(site)
        assert await connection.fetchval("SELECT count(*) FROM strategies WHERE user_id = $1", UUID(other.ids["user_id"])) == 0


async def test_copies_of_a_strategy_that_was_deleted_since_still_count(site: Site, person: Person) -> None:
    for number in range(2):
        strategy = await made(person)
        for place in range(SHARES_PER_HOUR // 2):
            answer = await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": f"nobody-{number}-{place}"})
            assert answer.status_code == 202, answer.text
        await delivered(site)
        assert (await person.call("DELETE", f"{URL}/{strategy['id']}")).status_code == 204
    strategy = await made(person)
    assert refusal(await person.call("POST", f"{URL}/{strategy['id']}/share", json={"username": "nobody"})) == (429, "STRATEGY_SHARE_RATE")
