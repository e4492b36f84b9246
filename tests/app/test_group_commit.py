import asyncio
from collections.abc import Callable, Sequence

import pytest

from app.webhooks import group
from app.webhooks.group import GroupCommit, NotKept

pytestmark = pytest.mark.asyncio


class Table:
    """Writes batches one after the other, as many as the test lets it. A batch with the item `bad` fails as a whole, `odd` alone."""

    def __init__(self, batches: int = 0) -> None:
        self.batches: list[list[str]] = []
        self.allowed = asyncio.Semaphore(batches)
        self.before_it_returns: Callable[[], object] = bool
        self.commit: GroupCommit[str, str] = GroupCommit(self.write)

    async def write(self, items: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(items))
        await self.allowed.acquire()
        if "bad" in items:
            raise ConnectionError("gone")
        self.before_it_returns()
        return [ValueError(item) if item == "odd" else f"{item} kept" for item in items]

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self.allowed.release()

    async def put(self, item: str, *, size: int = 1) -> str:
        try:
            return await self.commit.put(item, size=size)
        except NotKept:
            return f"{item} not kept"


async def until_waiting(table: Table, count: int) -> None:
    """Let all tasks come to where they wait."""
    async with asyncio.timeout(5):
        while len(table.commit._waiting) < count:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0)


async def test_who_comes_alone_is_written_at_once() -> None:
    table = Table(2)
    assert [await table.put(item) for item in "ab"] == ["a kept", "b kept"]
    assert table.batches == [["a"], ["b"]]


async def test_who_comes_during_a_commit_is_written_with_the_next_one_in_order() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abcd"]
        await until_waiting(table, 3)
        table.let(9)
    assert table.batches == [["a"], ["b", "c", "d"]]
    assert [task.result() for task in told] == ["a kept", "b kept", "c kept", "d kept"]


async def test_batch_is_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_MOST", 3)
    monkeypatch.setattr(group, "_MOST_BYTES", 10)
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        for item, size in (("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 9), ("g", 99)):
            tasks.create_task(table.put(item, size=size))
        await until_waiting(table, 6)
        table.let(9)
    assert table.batches == [["a"], ["b", "c", "d"], ["e", "f"], ["g"]]


async def test_refusal_is_one_after_which_tradingview_sends_again() -> None:
    assert (NotKept().status, NotKept().code) == (503, "ALERT_NOT_KEPT")


async def test_commit_that_fails_is_told_to_each_of_its_senders_and_to_nobody_else() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in ("a", "b", "bad", "c")]
        await until_waiting(table, 3)
        table.let(2)
    assert [task.result() for task in told] == ["a kept", "b not kept", "bad not kept", "c not kept"]
    table.let(2)
    assert await table.put("bad") == "bad not kept"
    assert await table.put("later") == "later kept"


async def test_what_is_refused_by_itself_spoils_nobody_elses() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in ("a", "odd", "b")]
        await until_waiting(table, 2)
        table.let(9)
    assert [task.result() for task in told] == ["a kept", "odd not kept", "b kept"]
    table.let(1)
    assert await table.put("odd") == "odd not kept"


async def test_requests_that_are_given_up_hold_up_nobody() -> None:
    table = Table()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abcd"]
        await until_waiting(table, 3)
        told[2].cancel()  # while it waits
        table.before_it_returns = lambda: loop.call_soon(told[1].cancel)  # when it was chosen to write for the others and does not know
        table.let(2)
    assert [task.cancelled() for task in told] == [False, True, True, False]
    assert told[3].result() == "d kept"
    assert table.batches == [["a"], ["d"]]
    table.let(1)
    assert await table.put("later") == "later kept"


async def test_batch_whose_writer_is_cancelled_is_told_that_nobody_knows() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abc"]
        await until_waiting(table, 2)
        table.let(1)
        async with asyncio.timeout(5):
            while len(table.batches) < 2:  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0)
        told[1].cancel()
    assert told[1].cancelled()
    assert told[2].result() == "c not kept"
    table.let(1)
    assert await table.put("later") == "later kept"


async def test_more_than_can_wait_is_sent_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_MOST_WAITING", 2)
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abc"]
        await until_waiting(table, 2)
        assert await table.put("d") == "d not kept"
        table.let(9)
    assert [task.result() for task in told] == ["a kept", "b kept", "c kept"]
