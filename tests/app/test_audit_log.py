"""The audit log of accounts: what is written into it, that nobody changes it, and how it is read."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.audit_log import Action, Entry, as_csv, entries, first_broken, note
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.ids import new_id
from app.core.origin import Origin, coming_from
from tests.app.conftest import PASSWORD, make_user
from tests.app.whole_site import Person, Site, log_in
from tests.postgres import PostgresForTests, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def own(person: Person, **query: Any) -> list[dict[str, Any]]:
    answer = await person.call("GET", "/api/account/audit", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_what_is_done_to_an_account_is_written_down_with_who_and_from_where(site: Site) -> None:
    await site.app.state.accounts.create_user("mary", PASSWORD)
    mary = await log_in(site.app, site.http, "mary")
    wrong = {"username": "mary", "password": "wrong password here"}
    assert (await site.http.post("/api/auth/login", json=wrong, headers={"User-Agent": "Evil\tAgent"})).status_code == 401
    broker = await mary.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Play"})
    path = f"/api/brokers/{broker.json()['id']}"
    assert (await mary.call("PATCH", path, json={"description": "for tests"})).status_code == 200
    assert (await mary.call("DELETE", path)).status_code == 204
    assert (await mary.call("PUT", "/api/risk/limits", json={"max_open_orders": 3})).status_code == 200
    assert (await mary.call("POST", "/api/kill-switch", json={"scope": "user", "action": "stop", "confirm": True})).status_code == 202
    assert (await mary.call("POST", "/api/kill-switch/rearm", json={"scope": "user"})).status_code == 200
    key = await mary.call("POST", "/api/auth/tokens", json={"name": "x", "scopes": ["read"]})
    assert (await mary.call("DELETE", f"/api/auth/tokens/{key.json()['id']}")).status_code == 204
    assert (await mary.browse("POST", "/logout", headers={"X-CSRF-Token": mary.csrf})).status_code == 303

    rows = await own(mary)
    assert [(row["action"], row["result"]) for row in reversed(rows)] == [
        ("user_made", "done"),
        ("login", "done"),
        ("login", "done"),
        ("login", "refused"),
        ("broker_made", "done"),
        ("broker_changed", "done"),
        ("broker_deleted", "done"),
        ("limits_changed", "done"),
        ("kill_switch", "done"),
        ("trading_resumed", "done"),
        ("token_made", "done"),
        ("token_revoked", "done"),
        ("logout", "done"),
    ]
    refused = next(row for row in rows if row["result"] == "refused")
    assert (refused["name"], refused["ip_address"], refused["user_agent"]) == ("mary", "127.0.0.1", "EvilAgent")
    assert {row["name"] for row in rows} == {"mary"}
    assert next(row for row in rows if row["action"] == "broker_made")["object"] == f"broker:{broker.json()['id']}"
    assert next(row for row in rows if row["action"] == "limits_changed")["detail"] == {"max_open_orders": "3"}


async def test_of_a_name_that_nobody_has_nothing_is_kept_but_that_it_was_tried(site: Site) -> None:
    typed = "a-password-in-the-wrong-field"
    await site.http.post("/api/auth/login", json={"username": typed, "password": "x"})
    admin = await log_in(site.app, site.http, "admin")
    items = (await admin.call("GET", "/api/admin/audit", params={"action": "login"})).json()["items"]
    refused = next(item for item in items if item["result"] == "refused")
    assert (refused["user_id"], refused["name"], refused["detail"]) == (None, None, {})
    assert typed not in str(items)


async def test_everybody_reads_their_own_part_and_administrators_all(site: Site) -> None:
    for person in (site.ada, site.eve):
        me = (await person.call("GET", "/api/auth/current")).json()["id"]
        assert {row["user_id"] for row in await own(person)} == {me}
        assert (await person.call("GET", "/api/admin/audit")).status_code == 403
    admin = await log_in(site.app, site.http, "admin")
    everybody = (await admin.call("GET", "/api/admin/audit", params={"limit": 500})).json()["items"]
    assert {"ada", "eve", "admin"} <= {row["name"] for row in everybody}
    ada = (await site.ada.call("GET", "/api/auth/current")).json()["id"]
    hers = (await admin.call("GET", "/api/admin/audit", params={"user_id": ada, "limit": 500})).json()["items"]
    assert hers == await own(site.ada, limit=500)


async def test_pages_follow_each_other_without_gap_or_repetition(site: Site) -> None:
    whole = [row["number"] for row in await own(site.ada, limit=500)]
    assert len(whole) >= 4
    found: list[int] = []
    before: int | None = None
    while True:
        query = {"limit": 2} | ({} if before is None else {"before": before})
        answer = (await site.ada.call("GET", "/api/account/audit", params=query)).json()
        found += [row["number"] for row in answer["items"]]
        before = answer["next"]
        if before is None:
            break
    assert found == whole == sorted(whole, reverse=True)
    for bad in ({"limit": 0}, {"limit": 501}, {"before": 0}, {"before": 2**63}, {"action": "unheard-of"}):
        assert (await site.ada.call("GET", "/api/account/audit", params=bad)).status_code == 422, bad


async def test_the_export_holds_the_same_rows_and_is_itself_written_down(site: Site) -> None:
    admin = await log_in(site.app, site.http, "admin")
    answer = await admin.call("GET", "/api/admin/audit/export")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    newest = (await admin.call("GET", "/api/admin/audit")).json()["items"]
    assert newest[0]["action"] == "audit_exported"
    assert [row["number"] for row in rows[:10]] == [str(item["number"]) for item in newest[1:11]]
    mine = list(csv.DictReader(io.StringIO((await site.ada.call("GET", "/api/account/audit/export")).text)))
    assert [row["number"] for row in mine] == [str(row["number"]) for row in await own(site.ada, limit=500)]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_of_the_export_is_a_formula(start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    row = Entry(
        number=1,
        at=SystemClock().now(),
        user_id=None,
        name=evil,
        action="login",
        object=evil,
        result="done",
        detail={evil: evil},
        ip_address=evil,
        user_agent=evil,
    )
    (cells,) = csv.DictReader(io.StringIO(as_csv([row])))
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells.values())
    assert cells["user_agent"] == f"'{evil}"


@given(text=st.text(max_size=40))
async def test_any_text_goes_through_the_export_as_one_cell(text: str) -> None:
    row = Entry(
        number=1, at=SystemClock().now(), user_id=None, name=text, action="", object="", result="", detail={}, ip_address="", user_agent=""
    )
    (cells,) = csv.DictReader(io.StringIO(as_csv([row]), newline=""))
    assert cells["name"] in (text, f"'{text}")
    assert not cells["name"].startswith(("=", "+", "-", "@", "\t", "\r"))


async def test_the_application_cannot_change_or_remove_a_row(site: Site) -> None:
    async with site.app.state.platform_database.connection() as connection:
        for change in ("UPDATE audit_log SET result = 'done'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)


@pytest_asyncio.fixture(loop_scope="module")
async def emptied(postgres: PostgresForTests) -> AsyncIterator[tuple[Database, str]]:
    urls = await postgres.create_database()
    database = Database(urls.app)
    await database.open()
    yield database, urls.owner
    await database.close()
    await postgres.drop_database(urls)


async def test_the_owner_of_the_tables_is_refused_too_and_a_row_that_was_changed_all_the_same_shows(emptied: tuple[Database, str]) -> None:
    database, owner_url = emptied
    user_id = await make_user(database)
    async with database.connection() as connection:
        for _ in range(5):
            await note(connection, Action.LOGIN, user_id=user_id)
    assert await first_broken(database) is None
    async with connected(owner_url) as owner:
        await owner.execute("SET app.scope = 'platform'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute("UPDATE audit_log SET result = 'refused' WHERE number = 3")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute("DELETE FROM audit_log WHERE number = 3")
        await owner.execute("ALTER TABLE audit_log DISABLE TRIGGER refuse")
        async with owner.transaction():
            await owner.execute("UPDATE audit_log SET result = 'refused' WHERE number = 3")
        assert await first_broken(database) == 3
        await owner.execute("UPDATE audit_log SET hash = audit_log_digest(audit_log) WHERE number = 3")
        assert await first_broken(database) == 4, "what follows no longer follows"
        await owner.execute("DELETE FROM audit_log WHERE number = 1")
        assert await first_broken(database) == 2


async def test_rows_written_at_once_make_one_chain_and_a_rollback_leaves_no_gap(emptied: tuple[Database, str]) -> None:
    database, _ = emptied
    people = [await make_user(database, name) for name in ("ada", "eve", "bob")]

    async def write(place: int) -> None:
        with coming_from(Origin(ip_address="192.0.2.7", user_agent=f"program {place}")):
            async with database.transaction() as session:
                await note(session, Action.LOGIN, user_id=people[place % 3], detail={"place": place})
                if place % 4 == 0:
                    await session.rollback()

    await asyncio.gather(*(write(place) for place in range(24)))
    rows = await entries(database, limit=100)
    assert [row.number for row in rows] == list(range(18, 0, -1))
    assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
    assert {row.ip_address for row in rows} == {"192.0.2.7"}
    assert await first_broken(database) is None


async def test_nobody_writes_in_anothers_name_and_nothing_of_a_forged_row_is_believed(site: Site) -> None:
    ada = UUID((await site.ada.call("GET", "/api/auth/current")).json()["id"])
    put = (
        "INSERT INTO audit_log (number, at, user_id, name, action, result, previous_hash, hash)"
        " VALUES (1, '2020-01-01T00:00Z', $1, 'root', 'login', 'done', '\\x00', '\\x00')"
    )
    async with site.app.state.database.connection() as connection:
        await connection.work_for(str(ada))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(put, new_id())
        await connection.execute(put, ada)
        assert await connection.fetchval("SELECT current_setting('app.scope', true)") in (None, "")
    (newest, *_) = await own(site.ada)
    assert (newest["name"], newest["at"] > "2026", newest["number"] > 1) == ("ada", True, True)
    assert await first_broken(site.app.state.platform_database) is None
