"""Telling people something: who gets it is decided where it is written, in the writer's transaction."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.db import Database
from app.notifications import Notice, NoticeKind, Severity, put
from app.notifications.kinds import GROUPS, KINDS
from tests.app.conftest import make_user
from tests.app.telling import target_row

pytestmark = pytest.mark.asyncio
AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def ada(database: Database) -> UUID:
    return await make_user(database)


def _notice(kind: NoticeKind = NoticeKind.ORDER_LOST, severity: Severity = Severity.ERROR, **fields: Any) -> Notice:
    return Notice(
        kind=kind, severity=severity, title="Order lost", text="%(symbol)s is lost.", values={"symbol": "BTC/USDT"}, at=AT, **fields
    )


async def _target(database: Database, user_id: UUID, **fields: Any) -> UUID:
    row = target_row(user_id, **fields)
    listed, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    async with database.connection() as connection:
        await connection.execute(f"INSERT INTO notification_targets ({listed}) VALUES ({places})", *row.values())
    target_id: UUID = row["id"]
    return target_id


async def _put(database: Database, notice: Notice, user_id: UUID) -> bool:
    async with database.raw_transaction() as connection:
        return await put(connection, notice, user_id=user_id)


async def _rows(database: Database, table: str) -> list[Any]:
    async with database.connection() as connection:
        return list(await connection.fetch(f"SELECT * FROM {table}"))


async def test_a_notice_is_in_the_bell_of_whoever_has_no_target_at_all(database: Database, ada: UUID) -> None:
    assert await _put(database, _notice(url="/trading"), ada)
    (row,) = await _rows(database, "notices")
    assert (row["kind"], row["severity"], row["values"], row["url"], row["is_in_bell"]) == (
        "order_lost", "error", {"symbol": "BTC/USDT"}, "/trading", True,
    )  # fmt: skip
    assert not await _rows(database, "notice_deliveries")


async def test_what_is_rolled_back_was_never_said(database: Database, ada: UUID) -> None:
    await _target(database, ada)
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await put(connection, _notice(), user_id=ada)
        await transaction.rollback()
    assert not await _rows(database, "notices")
    assert not await _rows(database, "notice_deliveries")


async def test_what_was_told_under_a_key_is_not_told_again(database: Database, ada: UUID) -> None:
    await _target(database, ada)
    assert await _put(database, _notice(key="order:1"), ada)
    assert not await _put(database, _notice(key="order:1"), ada)
    assert await _put(database, _notice(), ada)
    assert await _put(database, _notice(), ada)
    assert len(await _rows(database, "notice_deliveries")) == 3
    other = await make_user(database, "grace")
    assert await _put(database, _notice(key="order:1"), other)


async def test_a_target_gets_what_is_grave_enough_and_of_a_kind_it_wants(database: Database, ada: UUID) -> None:
    wanting = {
        await _target(database, ada),
        await _target(database, ada, least_severity="warning"),
        await _target(database, ada, kinds=["order_lost", "order_filled"]),
    }
    await _target(database, ada, least_severity="error")
    await _target(database, ada, is_enabled=False)
    await _target(database, ada, kinds=["order_filled"])
    await _target(database, await make_user(database, "grace"))
    await _put(database, _notice(severity=Severity.WARNING), ada)
    assert {row["target_id"] for row in await _rows(database, "notice_deliveries")} == wanting


async def test_what_is_off_by_default_leaves_no_row_until_somebody_wants_it(database: Database, ada: UUID) -> None:
    filled = _notice(NoticeKind.ORDER_FILLED, Severity.INFO)
    assert not await _put(database, filled, ada)
    assert not await _rows(database, "notices")
    target = await _target(database, ada, kinds=["order_filled"])
    assert await _put(database, filled, ada)
    (row,) = await _rows(database, "notices")
    assert not row["is_in_bell"]
    assert [row["target_id"] for row in await _rows(database, "notice_deliveries")] == [target]


async def test_the_bell_shows_the_kinds_that_its_user_chose(database: Database, ada: UUID) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO notification_settings (user_id, bell_kinds) VALUES ($1, $2)", ada, ["order_filled"])
    assert not await _put(database, _notice(), ada)
    assert await _put(database, _notice(NoticeKind.ORDER_FILLED, Severity.INFO), ada)


async def test_a_moment_among_the_values_stays_one(database: Database, ada: UUID) -> None:
    notice = Notice(kind=NoticeKind.FEED_STALE, severity=Severity.WARNING, title="t", text="%(at)s", values={"at": AT, "n": 3}, at=AT)
    await _put(database, notice, ada)
    assert (await _rows(database, "notices"))[0]["values"] == {"at": {"at": AT.isoformat()}, "n": "3"}


@pytest.mark.parametrize("url", ["https://elsewhere.example", "//elsewhere.example", "javascript:alert(1)"])
async def test_a_notice_leads_to_a_page_of_this_server(url: str) -> None:
    with pytest.raises(ValueError, match="leads to a page"):
        _notice(url=url)


async def test_every_kind_has_its_words_and_its_group() -> None:
    assert set(KINDS) == set(NoticeKind)
    assert {words.group for words in KINDS.values()} == set(GROUPS)
