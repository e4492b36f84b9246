"""Alerts that did not come, under a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.marketdata.status import FeedStatus
from app.trading.desk import Desk
from app.webhooks.events import DeliveryChanged
from app.webhooks.missed import MissedAlerts
from app.webhooks.models import Decision
from app.webhooks.service import change_webhook, create_webhook
from app.webhooks.settings import HookChanges
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 5, 1, 12, 1, tzinfo=UTC)
STEP = timedelta(seconds=20)


@dataclass
class Feed:
    """A feed whose venue's clock is ahead of ours."""

    clock: ManualClock
    ahead: timedelta = timedelta()
    is_fresh: bool = True

    async def status(self) -> FeedStatus:
        return FeedStatus(exchange="binance", is_fresh=self.is_fresh)

    def venue_now(self, feed: FeedStatus) -> datetime:
        del feed
        return self.clock.now() + self.ahead


@dataclass
class Watch:
    """A webhook that is expected to send every five minutes, and who looks whether it does."""

    pieces: Pieces
    clock: ManualClock
    feed: Feed
    desk: Desk
    missed: MissedAlerts
    webhook_id: UUID

    async def pass_until(self, hour: int, minute: int, second: int = 0, *, watchers: tuple[MissedAlerts, ...] = ()) -> None:
        """Let the clock go there, with a look every twenty seconds."""
        end = NOW.replace(hour=hour, minute=minute, second=second)
        while self.clock.now() < end:
            self.clock.advance(min(STEP, end - self.clock.now()))
            await asyncio.gather(*(each.once() for each in (self.missed, *watchers)))

    async def alert(self, **columns: Any) -> None:
        """An alert arrives now."""
        given = {"decision": "executed", "code": None, "is_test": False, "replay_of": None, **columns}
        await self.pieces.rows(
            "INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision, code, is_test, replay_of)"
            " VALUES ($1, $2, $3, $4, 'buy', 3, $5, $6, $7, $8)",
            new_id(), self.webhook_id, self.pieces.user_id, self.clock.now(), *given.values(),
        )  # fmt: skip

    async def lines(self) -> list[str]:
        """The closes of which the log says that no alert came."""
        rows = await self.pieces.rows("SELECT * FROM webhook_deliveries WHERE decision = 'missed' ORDER BY id")
        assert all((row["code"], row["raw"], row["user_id"]) == ("ALERT_MISSED", "", self.pieces.user_id) for row in rows)
        return [row["reason"].partition(" UTC")[0][-5:] for row in rows]

    async def change(self, **given: Any) -> None:
        changes: HookChanges = {**given}  # type: ignore[typeddict-item]  # whatever a test wants
        async with self.pieces.database.transaction() as session:
            await change_webhook(session, self.pieces.user_id, self.webhook_id, now=self.clock.now(), **changes)


@pytest_asyncio.fixture
async def watch(pieces: Pieces) -> AsyncIterator[Watch]:
    clock = ManualClock(NOW)
    desk = replace(pieces.desk, clock=clock)
    feed = Feed(clock)
    async with pieces.database.transaction() as session:
        created = await create_webhook(session, pieces.user_id, name="Every five", now=NOW, interval="5m")
    made = Watch(pieces, clock, feed, desk, MissedAlerts(desk, feed), created.webhook.id)
    await made.missed.once()
    yield made


async def test_close_without_an_alert_has_a_line_one_period_and_a_minute_later(watch: Watch) -> None:
    with watch.pieces.bus.subscribe(DeliveryChanged) as events:
        await watch.pass_until(12, 10, 59)
        assert await watch.lines() == []
        await watch.pass_until(12, 11, 1)
        assert await watch.lines() == ["12:05"]
        (row,) = await watch.pieces.rows("SELECT * FROM webhook_deliveries")
        assert "no alert came for the 5m candle that closed at 2026-05-01 12:05 UTC" in row["reason"]
        assert events.get_nowait() == DeliveryChanged(user_id=watch.pieces.user_id, delivery_id=row["id"], decision=Decision.MISSED)
        await watch.pass_until(12, 15, 59)
        assert await watch.lines() == ["12:05"]


async def test_alerts_at_each_close_are_not_missed_and_one_that_fails_is(watch: Watch) -> None:
    for minute in (5, 10, 20, 25):
        await watch.pass_until(12, minute, 2)
        await watch.alert()
    await watch.pass_until(12, 31)
    assert await watch.lines() == ["12:15"]


async def test_alert_that_comes_late_but_in_time_counts_for_its_candle_and_the_next_ones_does_not(watch: Watch) -> None:
    await watch.pass_until(12, 10, 2)
    await watch.alert()  # of 12:10
    await watch.pass_until(12, 10, 50)
    await watch.alert()  # of 12:05, 50 s before it is missed
    await watch.pass_until(12, 16, 30)
    assert await watch.lines() == []


@pytest.mark.parametrize(
    "columns",
    [
        {"decision": "denied", "code": "HOOK_SENDER"},
        {"decision": "denied", "code": "HOOK_SENDER_UNREADABLE"},
        {"is_test": True, "decision": "ping"},
        {"replay_of": new_id()},
    ],
)
async def test_strangers_tests_and_replays_are_no_sign_of_life(watch: Watch, columns: dict[str, Any]) -> None:
    await watch.pass_until(12, 5, 2)
    await watch.alert(**columns)
    await watch.pass_until(12, 11, 1)
    assert await watch.lines() == ["12:05"]


async def test_refused_and_repeated_alerts_are_signs_of_life(watch: Watch) -> None:
    await watch.pass_until(12, 5, 2)
    await watch.alert(decision="unreadable", code="NOT_JSON")
    await watch.pass_until(12, 10, 2)
    await watch.alert(decision="duplicate")
    await watch.pass_until(12, 16, 30)
    assert await watch.lines() == []


async def test_paused_webhook_is_not_expected_and_after_the_pause_only_anew(watch: Watch) -> None:
    await watch.pass_until(12, 6)
    await watch.change(is_active=False)
    await watch.pass_until(12, 21, 30)
    await watch.change(is_active=True)
    await watch.pass_until(12, 32)
    assert await watch.lines() == ["12:25"]
    await watch.change(interval=None)
    await watch.pass_until(13, 0)
    assert await watch.lines() == ["12:25"]


async def test_two_processes_and_a_restart_write_one_line_for_each_close(watch: Watch) -> None:
    second = MissedAlerts(watch.desk, watch.feed)
    await second.once()
    await watch.pass_until(12, 16, 1, watchers=(second,))
    assert await watch.lines() == ["12:05", "12:10"]
    watch.missed = MissedAlerts(watch.desk, watch.feed)
    await watch.missed.once()
    await watch.pass_until(12, 22, watchers=(second,))
    assert await watch.lines() == ["12:05", "12:10", "12:15"], (
        "what closed before its start the restarted one does not know, the other does"
    )


async def test_nothing_is_missed_of_the_time_in_which_nobody_looked(watch: Watch) -> None:
    await watch.pass_until(12, 6)
    watch.clock.advance(timedelta(hours=8))  # the machine slept
    await watch.missed.once()
    await watch.pass_until(20, 15)
    assert await watch.lines() == []
    await watch.pass_until(20, 16, 30)
    assert await watch.lines() == ["20:10"]


async def test_nothing_is_missed_of_the_time_in_which_the_database_was_away(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    await watch.pass_until(12, 6)
    looks = 0

    def beat() -> None:
        nonlocal looks
        looks += 1

    async def fails() -> FeedStatus:
        raise ConnectionError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(watch.feed, "status", fails)
        with pytest.raises(ConnectionError):
            await watch.missed.run(beat)
    watch.clock.advance(timedelta(seconds=50))  # less than would be noticed by the clock alone
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watch.missed.run(beat))
        async with asyncio.timeout(10):
            while not looks:  # noqa: ASYNC110  # the loop's own beat
                await asyncio.sleep(0.01)
        running.cancel()
    await watch.pass_until(12, 15, 30)
    assert await watch.lines() == [], "12:05 closed before the database was back"
    await watch.pass_until(12, 16, 30)
    assert await watch.lines() == ["12:10"]


async def test_venues_clock_counts_while_the_feed_is_fresh(watch: Watch) -> None:
    watch.feed.ahead = timedelta(seconds=30)
    await watch.pass_until(12, 10, 29)
    assert await watch.lines() == []
    await watch.pass_until(12, 10, 31)
    assert await watch.lines() == ["12:05"]
    watch.feed.is_fresh = False
    await watch.pass_until(12, 15, 59)
    assert await watch.lines() == ["12:05"]
    await watch.pass_until(12, 16, 1)
    assert await watch.lines() == ["12:05", "12:10"]


async def test_dead_alert_is_told_once_and_again_after_it_lived(watch: Watch) -> None:
    await watch.pass_until(12, 20, 2)
    await watch.alert()
    await watch.pass_until(12, 31, 30)
    assert await watch.lines() == ["12:05", "12:10", "12:15", "12:25"]
    notices = await watch.pieces.rows("SELECT * FROM outbox WHERE kind = 'alert_missed' ORDER BY id")
    assert [notice["body"]["text"].partition(" UTC")[0][-5:] for notice in notices] == ["12:05", "12:25"]
    assert all(notice["user_id"] == watch.pieces.user_id and "Every five" in notice["body"]["text"] for notice in notices)
