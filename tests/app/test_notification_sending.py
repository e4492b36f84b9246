"""From the queue to the other end: at least once, never in a flood, and nothing twice that was answered."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.db import Database
from app.core.leases import LeaseHolder
from app.notifications import NoticeKind, Severity
from app.notifications.deliveries import MOST_ATTEMPTS, OLDEST, purge
from app.notifications.sender import ROLE
from app.notifications.targets import remove
from tests.app.conftest import make_user
from tests.app.telling import Post, posting

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def ada(database: Database) -> UUID:
    return await make_user(database)


@pytest_asyncio.fixture
async def post(database: Database, ada: UUID) -> AsyncIterator[Post]:
    async with posting(database, ada) as made:
        yield made


async def test_a_notice_reaches_every_target_and_each_attempt_is_in_the_log(post: Post) -> None:
    await post.target("One")
    await post.target("Two")
    await post.tell(url="/history/orders")
    await post.send_all()
    assert sorted(heard.path for heard in post.receiver.heard) == ["/One", "/Two"]
    told = post.receiver.heard[0].json
    assert told["title"] == "An order was lost track of"
    assert told["message"] == "BTC/USDT is lost.\n\n26 Nov 2026 12:00 (UTC)\nhttps://bot.example/history/orders"
    assert await post.states() == ["sent", "sent"]
    assert await post.log() == [("sent", 1, "It answers 200 OK.")] * 2
    assert await post.send() == 0


async def test_it_is_told_in_the_readers_language_and_time_zone(post: Post) -> None:
    await post.rows("UPDATE users SET language = 'fr' WHERE id = $1", post.user_id)
    await post.rows("INSERT INTO notification_settings (user_id, timezone) VALUES ($1, 'Europe/Paris')", post.user_id)
    await post.target()
    at = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    await post.tell(text="No fresh market data from %(exchange)s since %(since)s.", values={"exchange": "Binance", "since": at})
    await post.send_all()
    told = post.receiver.heard[0].json
    assert told["title"] == "Un ordre a été perdu de vue"
    assert told["message"].startswith("Aucune donnée de marché fraîche de Binance")
    assert "2 juil. 2026 00:30 (Europe/Paris)" in told["message"]


async def test_what_fails_is_tried_again_later_and_later_and_then_given_up(post: Post) -> None:
    await post.target()
    post.receiver.answer(500)
    await post.tell()
    waits = []
    for _ in range(MOST_ATTEMPTS):
        assert await post.send() == 1
        assert await post.send() == 0  # not at once
        (row,) = await post.rows("SELECT state, next_at FROM notice_deliveries")
        waits.append((row["next_at"] - post.clock.now()).total_seconds())
        post.clock.time = row["next_at"]
    assert waits[:-1] == sorted(waits[:-1])
    assert waits[0] == 5
    assert await post.states() == ["failed"]
    assert len(post.receiver.heard) == MOST_ATTEMPTS
    assert {heard.headers["idempotency-key"] for heard in post.receiver.heard} == {post.receiver.heard[0].headers["idempotency-key"]}
    assert await post.send() == 0


async def test_what_fails_once_arrives_later(post: Post) -> None:
    await post.target()
    post.receiver.answers = [(500, {}, b""), (200, {}, b"")]
    await post.tell()
    await post.send()
    post.clock.advance(6)
    await post.send()
    assert await post.states() == ["sent"]
    assert [state for state, _, _ in await post.log()] == ["failed", "sent"]


async def test_what_can_never_arrive_is_given_up_at_once(post: Post) -> None:
    await post.target()
    post.receiver.answer(401, b'{"error": "bad token"}')
    await post.tell()
    await post.send()
    assert await post.states() == ["failed"]
    assert await post.log() == [("failed", 1, "It answers 401 Unauthorized: bad token")]


async def test_a_service_that_wants_a_rest_gets_it_and_that_is_no_failure(post: Post) -> None:
    await post.target()
    post.receiver.answers = [*((429, {"Retry-After": "90"}, b"") for _ in range(MOST_ATTEMPTS)), (200, {}, b"")]
    await post.tell()
    for _ in range(MOST_ATTEMPTS):
        await post.send()
        post.clock.advance(89)
        assert await post.send() == 0
        post.clock.advance(1)
    await post.send()
    assert await post.states() == ["sent"]
    assert [state for state, _, _ in await post.log()] == ["limited"] * MOST_ATTEMPTS + ["sent"]


async def test_one_that_never_answers_holds_up_nobody_else(post: Post) -> None:
    await post.target("Slow")
    await post.target("Well")
    post.receiver.answers = [None, (200, {}, b"")]
    await post.tell()
    await post.send_all()
    assert sorted(await post.states()) == ["sent", "waiting"]


async def test_a_flood_ends_in_one_message_that_counts_the_rest(database: Database, ada: UUID) -> None:
    async with posting(database, ada, per_minute=4) as post:
        await post.target()
        await post.tell(20, kind=NoticeKind.ORDER_LOST)
        await post.send_all()
        assert post.titles()[:3] == ["An order was lost track of"] * 3
        assert post.titles()[3:] == ["17 more like this: An order was lost track of"]
        assert set(await post.states()) == {"sent"}
        assert [covers for _, covers, _ in await post.log()] == [1, 1, 1, 17]
        # And the minute after begins with what came meanwhile.
        await post.tell(2)
        post.clock.advance(1)
        await post.tell(3, kind=NoticeKind.AUDIT_FAILED, title="The books do not add up")
        assert await post.send() == 1
        assert len(post.receiver.heard) == 4
        post.clock.advance(61)
        await post.send_all()
        # Two at a time: which of them arrives first is chance.
        assert sorted(post.titles()[4:7]) == ["An order was lost track of"] * 2 + ["The books do not add up"]
        assert post.titles()[7:] == ["2 more like this: The books do not add up"]


async def test_a_summary_of_several_kinds_names_each_with_the_gravest_first(database: Database, ada: UUID) -> None:
    async with posting(database, ada, per_minute=2) as post:
        await post.target()
        await post.tell(3, kind=NoticeKind.SYMBOL_STOPPED, severity=Severity.WARNING, title="A symbol stopped trading", text="Stopped.")
        await post.tell(2)
        await post.send_all()
        assert post.titles() == ["An order was lost track of", "4 more notices"]
        lines = post.receiver.heard[1].json["message"].split("\n")
        assert lines[0] == "1 × An order was lost track of"
        assert "3 × A symbol stopped trading" in lines
        assert post.receiver.heard[1].json["type"] == "failure"


async def test_at_night_only_what_is_grave_wakes_anybody(post: Post) -> None:
    await post.rows(
        "INSERT INTO notification_settings (user_id, timezone, quiet_from, quiet_until) VALUES ($1, 'Asia/Tokyo', '22:00', '07:00')",
        post.user_id,
    )
    await post.target()
    post.clock.time = datetime(2027, 1, 26, 16, 0, tzinfo=UTC)  # one in the morning there
    await post.tell(severity=Severity.WARNING)
    await post.tell(severity=Severity.ERROR)
    await post.send_all()
    assert sorted(await post.states()) == ["quiet", "sent"]
    post.clock.time = datetime(2027, 1, 26, 22, 30, tzinfo=UTC)  # half past seven
    await post.tell(severity=Severity.WARNING)
    await post.send_all()
    assert sorted(await post.states()) == ["quiet", "sent", "sent"]


async def test_who_does_not_hold_the_role_sends_nothing(post: Post) -> None:
    await post.target()
    await post.tell()
    await post.rows("UPDATE leases SET owner = 'another', epoch = epoch + 1 WHERE role = $1", ROLE)
    await post.send()
    assert not post.receiver.heard
    assert not post.sender.lease.is_held
    assert await post.log() == []


async def test_what_was_not_written_down_is_sent_once_more_and_the_log_says_so(post: Post) -> None:
    """As after kill -9 between sending and writing down; the journey does it to a real process."""
    await post.target()
    await post.tell()
    await post.send()
    await post.rows("UPDATE notice_deliveries SET state = 'waiting', claimed_until = $1", post.clock.now() + timedelta(seconds=30))
    await post.rows("UPDATE notification_attempts SET state = 'sending', answer = '', ended_at = NULL")
    assert await post.send() == 0  # whoever lost the role may be at it still
    post.clock.advance(31)
    await post.send()
    assert await post.states() == ["sent"]
    assert [state for state, _, _ in await post.log()] == ["unknown", "sent"]
    assert len({heard.headers["idempotency-key"] for heard in post.receiver.heard}) == 1


async def test_an_answer_is_written_down_however_long_the_database_is_away(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    await post.target()
    await post.tell()
    real, broken = post.database.raw_transaction, iter([False, True, True])
    monkeypatch.setattr("app.notifications.sender._AGAIN_S", 0.01)

    def raw_transaction() -> object:
        if next(broken, False):
            raise OSError("the database is away")
        return real()

    monkeypatch.setattr(post.database, "raw_transaction", raw_transaction)
    await post.send()
    assert await post.states() == ["sent"]
    assert len(post.receiver.heard) == 1


async def test_two_processes_take_nothing_twice(post: Post) -> None:
    await post.target()
    await post.tell(5)
    other = LeaseHolder(post.database, ROLE)
    assert not await other.renew()
    await asyncio.gather(post.send_all(), post.send_all())
    assert len(post.receiver.heard) == 5


async def test_a_target_that_is_removed_takes_what_waits_along_and_leaves_its_log(post: Post) -> None:
    target_id = await post.target()
    await post.tell()
    await post.send()
    await post.tell()
    async with post.database.transaction() as session:
        await remove(session, post.user_id, target_id)
    assert await post.send() == 0
    assert await post.states() == []
    (row,) = await post.rows("SELECT target_id, target_name, service FROM notification_attempts")
    assert tuple(row) == (None, "Hook", "json")


async def test_what_waited_for_a_day_is_given_up_and_old_notices_are_forgotten(post: Post) -> None:
    await post.target()
    await post.tell()
    await post.rows("UPDATE notices SET put_at = now() - interval '25 hours'")
    async with post.database.connection() as connection:
        await purge(connection, post.clock.now(), keep=timedelta(days=30))
    assert timedelta(hours=25) > OLDEST
    assert await post.states() == ["failed"]
    async with post.database.connection() as connection:
        await purge(connection, post.clock.now(), keep=timedelta(hours=1))
    assert await post.rows("SELECT FROM notices") == []


async def test_the_address_stands_nowhere_in_the_clear(post: Post) -> None:
    await post.target("a-secret-path")
    (row,) = await post.rows("SELECT url, hint FROM notification_targets")
    assert row["url"].startswith("gAAAA")
    assert "secret" not in row["url"]
    assert row["hint"] == "path"
