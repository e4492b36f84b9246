"""What was used never changes, and what may not trade is never used: in the services and in the database."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.errors import StrategyInUse, StrategyNotValid, VersionInUse
from app.strategies import service, versions
from tests.app.library import URL, keep, made, refusal, report_of, somebody, use, used
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody without a strategy."""
    return await somebody(site)


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


async def test_a_note_of_a_used_version_is_refused_by_the_service_too(site: Site, person: Person) -> None:
    version = await used(site, person, await made(person))
    async with site.app.state.platform_database.transaction() as session:
        with pytest.raises(VersionInUse):
            await versions.change_note(session, UUID(person.ids["user_id"]), UUID(version["strategy_id"]), 1, note="x")
        await session.rollback()


async def test_a_version_that_is_used_while_its_strategy_is_deleted_stays(site: Site) -> None:
    person = await somebody(site)
    strategy = await made(person)
    path = f"{URL}/{strategy['id']}/versions/1"
    version = (await person.call("GET", path)).json()
    await keep(site, person, version, report_of(version["source"]))
    user_id, database = UUID(person.ids["user_id"]), site.app.state.platform_database

    async def delete() -> None:
        async with database.transaction() as session:
            with pytest.raises(StrategyInUse):
                await service.delete_strategy(session, user_id, UUID(strategy["id"]))

    async with asyncio.timeout(20), asyncio.TaskGroup() as both, database.transaction() as session:
        await versions.mark_used(session, user_id, UUID(version["id"]), now=site.app.state.clock.now())
        deleting = both.create_task(delete())
        await asyncio.sleep(0.3)
        assert not deleting.done()
    assert (await person.call("GET", path)).status_code == 200
