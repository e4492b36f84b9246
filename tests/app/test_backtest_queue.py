"""The queue of backtests as several workers see it: who is next, leases and epochs, and what does not fit yet."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.backtests.events import Progress
from app.backtests.memory import MemoryRoom
from app.backtests.models import BacktestState
from app.backtests.queue import MOST_ATTEMPTS, Claimed, Ended, Later, Queue
from app.backtests.work import Finished
from app.core.db import Database
from app.core.ids import new_id
from app.core.leases import process_name
from tests.app.conftest import make_user

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1 << 20
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLENTY = 1 << 40
DONE = Finished(engine_version="1", report={"a": 1}, summary={"net": "1"}, trades=b"t", fills=b"f", equity=b"e")


class Bench:
    """Backtests of users in an otherwise empty database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queue = Queue(database, process_name())
        self.users: dict[str, tuple[UUID, UUID, UUID]] = {}
        self.names: dict[UUID, str] = {}
        self._made = 0

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def user(self, name: str) -> tuple[UUID, UUID, UUID]:
        if name not in self.users:
            user_id, strategy_id, version_id = await make_user(self.database, name), new_id(), new_id()
            await self.rows(
                "INSERT INTO strategies (id, user_id, name, created_at, changed_at) VALUES ($1, $2, 'Mine', now(), now())",
                strategy_id,
                user_id,
            )
            await self.rows(
                """INSERT INTO strategy_versions (id, user_id, strategy_id, number, source, sha256, created_at)
                   VALUES ($1, $2, $3, 1, '', encode(sha256(''), 'hex'), now())""",
                version_id, user_id, strategy_id,
            )  # fmt: skip
            await self.rows("INSERT INTO backtest_counters (user_id, last_number) VALUES ($1, 0)", user_id)
            self.users[name] = user_id, strategy_id, version_id
        return self.users[name]

    async def put(self, name: str, label: str, *, memory: int = MIB) -> UUID:
        user_id, strategy_id, version_id = await self.user(name)
        backtest_id = new_id()
        self._made += 1
        await self.rows(
            """INSERT INTO backtests (id, user_id, number, strategy_id, version_id, parameters, exchange, symbol, timeframe, start_at,
                                      end_at, capital, fee, maker_fee, slippage, options, rules, seed, memory_bytes, created_at)
               VALUES ($1, $2, $3, $4, $5, '{}', 'binance', 'BTC/USDT', '1m', $6, $7, $8, 0, 0, 0, '{}', '{}', 1, $9, $10)""",
            backtest_id, user_id, self._made, strategy_id, version_id, NOW, NOW + timedelta(days=1), Decimal(1), memory,
            NOW + timedelta(seconds=self._made),
        )  # fmt: skip
        self.names[backtest_id] = label
        return backtest_id

    async def claim(self, *, queue: Queue | None = None, of_user: int = 2, free: int = PLENTY) -> Claimed | None:
        return await (queue or self.queue).claim(of_user=of_user, free_bytes=free)

    async def order(self, count: int, *, at_once: int = 1) -> list[str]:
        """The names in the order in which they are begun, when each ends as soon as another could begin."""
        begun: list[str] = []
        running: list[Claimed] = []
        while len(begun) < count:
            if len(running) == at_once:
                assert await self.queue.end(running.pop(0), Ended(state=BacktestState.COMPLETED, finished=DONE))
            claimed = await self.claim()
            assert claimed is not None
            running.append(claimed)
            begun.append(self.names[claimed.id])
        return begun


async def test_users_take_turns_and_each_ones_oldest_is_first(database: Database) -> None:
    bench = Bench(database)
    for label in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        await bench.put(label[0], label)
    assert await bench.order(7) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_whoever_has_the_fewest_running_is_next(database: Database) -> None:
    bench = Bench(database)
    for label in ("a1", "a2", "b1", "b2", "a3"):
        await bench.put(label[0], label)
    assert await bench.order(5, at_once=2) == ["a1", "b1", "a2", "b2", "a3"]


async def test_a_user_has_no_more_running_than_one_may(database: Database) -> None:
    bench = Bench(database)
    for label in ("a1", "a2", "a3"):
        await bench.put("a", label)
    first, second = await bench.claim(), await bench.claim()
    assert first is not None
    assert second is not None
    assert await bench.claim() is None
    await bench.queue.end(first, Ended(state=BacktestState.FAILED, error={"code": "X"}))
    assert await bench.claim() is not None


async def test_one_that_needs_more_memory_than_is_free_is_waited_for(database: Database) -> None:
    bench = Bench(database)
    await bench.put("a", "large", memory=100 * MIB)
    await bench.put("b", "small", memory=MIB)
    assert await bench.claim(free=50 * MIB) is None, "a small one does not go before it, or it would wait for ever"
    claimed = await bench.claim(free=100 * MIB)
    assert claimed is not None
    assert bench.names[claimed.id] == "large"


async def test_many_workers_never_take_the_same_one(database: Database) -> None:
    bench = Bench(database)
    for number in range(40):
        await bench.put(f"user{number % 8}", str(number))
    workers = [Queue(database, process_name()) for _ in range(6)]

    async def work(queue: Queue) -> list[UUID]:
        taken = []
        misses = 0
        while misses < 3:  # a row that another is looking at is passed over
            claimed = await bench.claim(queue=queue, of_user=40)
            if claimed is None:
                misses += 1
                continue
            taken.append(claimed.id)
            await queue.end(claimed, Ended(state=BacktestState.COMPLETED, finished=DONE))
        return taken

    taken = [backtest_id for part in await asyncio.gather(*map(work, workers)) for backtest_id in part]
    assert sorted(taken) == sorted(bench.names)
    assert len(await bench.rows("SELECT FROM backtest_results")) == 40


async def test_a_lease_that_is_over_is_taken_up_and_its_last_owner_writes_nothing_any_more(database: Database) -> None:
    bench = Bench(database)
    await bench.put("a", "a1")
    before = await bench.claim()
    assert before is not None
    await bench.rows("UPDATE backtests SET lease_until = now() - interval '1 second'")
    other = Queue(database, process_name())
    now = await bench.claim(queue=other)
    assert now is not None
    assert (now.id, now.epoch, now.attempts) == (before.id, before.epoch + 1, 2)
    await bench.queue.tell(before, Progress(phase="deciding"))
    assert not await bench.queue.running(before, data={}, sha256="")
    assert not await bench.queue.end(before, Ended(state=BacktestState.COMPLETED, finished=DONE))
    await bench.queue.later(before, Later())
    assert await bench.queue.renew([before.id]) == {}
    (row,) = await bench.rows("SELECT state, progress, report FROM backtests")
    assert tuple(row) == ("fetching", None, None)
    assert await bench.rows("SELECT FROM backtest_results") == []
    assert await other.renew([now.id]) == {now.id: (now.epoch, False)}
    assert await other.end(now, Ended(state=BacktestState.COMPLETED, finished=DONE))


async def test_a_worker_that_is_proved_dead_is_replaced_at_once(database: Database) -> None:
    bench = Bench(database)
    await bench.put("a", "a1")
    place, *_ = process_name().split(":")
    dead = Queue(database, f"{place}:999999999:1:dead")
    assert await bench.claim(queue=dead) is not None
    assert await bench.claim() is None
    await bench.queue.inherit()
    claimed = await bench.claim()
    assert claimed is not None
    assert claimed.attempts == 2 <= MOST_ATTEMPTS


async def test_one_that_is_put_back_waits_its_time_and_its_attempt_counts_or_not(database: Database) -> None:
    bench = Bench(database)
    await bench.put("a", "a1")
    claimed = await bench.claim()
    assert claimed is not None
    await bench.queue.later(claimed, Later(wait_s=60, is_free=True, memory_bytes=7 * MIB))
    (row,) = await bench.rows("SELECT state, attempts, memory_bytes, lease_owner FROM backtests")
    assert tuple(row) == ("queued", 0, 7 * MIB, None)
    assert await bench.claim() is None
    await bench.rows("UPDATE backtests SET wait_until = now()")
    claimed = await bench.claim()
    assert claimed is not None
    await bench.queue.later(claimed, Later())
    assert [row[0] for row in await bench.rows("SELECT attempts FROM backtests")] == [1]


async def test_one_that_is_to_be_canceled_is_not_begun_and_ends_where_nobody_runs_it(database: Database) -> None:
    bench = Bench(database)
    backtest_id = await bench.put("a", "a1")
    claimed = await bench.claim()
    assert claimed is not None
    await bench.rows("UPDATE backtests SET cancel_asked_at = now()")
    assert await bench.queue.renew([backtest_id]) == {backtest_id: (claimed.epoch, True)}
    assert await bench.queue.close_abandoned() == [], "its worker keeps what it has come to"
    await bench.rows("UPDATE backtests SET lease_until = now() - interval '1 second'")
    assert await bench.claim() is None
    assert [found[0] for found in await bench.queue.close_abandoned()] == [backtest_id]
    assert [row[0] for row in await bench.rows("SELECT state FROM backtests")] == ["canceled"]


async def test_a_result_lands_whole_or_not_at_all(database: Database) -> None:
    bench = Bench(database)
    backtest_id = await bench.put("a", "a1")
    claimed = await bench.claim()
    assert claimed is not None
    broken = Finished(engine_version="1", report={}, summary={}, trades=None, fills=b"", equity=b"")  # type: ignore[arg-type]  # NOT NULL
    with pytest.raises(Exception, match="null value"):
        await bench.queue.end(claimed, Ended(state=BacktestState.COMPLETED, finished=broken))
    (row,) = await bench.rows("SELECT state, report, finished_at FROM backtests WHERE id = $1", backtest_id)
    assert tuple(row) == ("fetching", None, None)
    assert await bench.queue.end(claimed, Ended(state=BacktestState.COMPLETED, finished=DONE))


async def test_a_removed_user_takes_strategies_and_backtests_along(database: Database) -> None:
    bench = Bench(database)
    await bench.put("a", "a1")
    await bench.put("b", "b1")
    claimed = await bench.claim()
    assert claimed is not None
    await bench.queue.end(claimed, Ended(state=BacktestState.COMPLETED, finished=DONE))
    await bench.rows("DELETE FROM users WHERE id = $1", claimed.user_id)
    assert [bench.names[row[0]] for row in await bench.rows("SELECT id FROM backtests")] == ["b1"]
    assert await bench.rows("SELECT FROM backtest_results") == []
    # Whoever ran it meanwhile finds nothing to write to.
    assert not await bench.queue.end(claimed, Ended(state=BacktestState.COMPLETED, finished=DONE))


async def test_memory_is_given_out_in_the_order_of_asking_and_comes_back() -> None:
    room, order = MemoryRoom(100), []

    async def hold(name: str, size: int, until: asyncio.Event) -> None:
        async with room.held(size):
            order.append(name)
            await until.wait()

    first, rest = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hold("a", 60, first))
        await asyncio.sleep(0)
        group.create_task(hold("large", 80, rest))
        group.create_task(hold("small", 10, rest))
        await asyncio.sleep(0.01)
        assert (order, room.free) == (["a"], 40)
        first.set()
        await asyncio.sleep(0.01)
        assert (order, room.free) == (["a", "large", "small"], 10)
        rest.set()
    async with room.held(1_000):
        assert room.free == 0
    assert room.free == 100
