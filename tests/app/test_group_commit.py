import asyncio
from collections.abc import Sequence

import pytest

from app.webhooks import group
from app.webhooks.group import GroupCommit, NotKept

pytestmark = pytest.mark.asyncio


class Table:
    """Writes batches one after the other; each waits until the test lets it end."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.fails: Exception | None = None
        self.commit: GroupCommit[str, str] = GroupCommit(self.write)

    async def write(self, items: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(items))
        await self.gate.wait()
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        return [ValueError(item) if item == "odd" else f"{item} kept" for item in items]

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
    table = Table()
    table.gate.set()
    assert [await table.put(item) for item in "ab"] == ["a kept", "b kept"]
    assert table.batches == [["a"], ["b"]]


async def test_who_comes_during_a_commit_is_written_with_the_next_one_in_order() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abcd"]
        await until_waiting(table, 3)
        table.gate.set()
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
        table.gate.set()
    assert table.batches == [["a"], ["b", "c", "d"], ["e", "f"], ["g"]]


async def test_refusal_is_one_after_which_tradingview_sends_again() -> None:
    assert (NotKept().status, NotKept().code) == (503, "ALERT_NOT_KEPT")


async def test_commit_that_fails_is_told_to_each_of_its_senders_and_to_nobody_else() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abcd"]
        await until_waiting(table, 3)
        table.fails = ConnectionError("gone")
        table.gate.set()
    assert [task.result() for task in told] == ["a not kept", "b kept", "c kept", "d kept"]
    table.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abc"]
        await until_waiting(table, 2)
        table.gate.set()
        assert await told[0] == "a kept"
        table.fails = ConnectionError("gone")
    assert [task.result() for task in told[1:]] == ["b not kept", "c not kept"]
    assert await table.put("later") == "later kept"


async def test_what_is_refused_by_itself_spoils_nobody_elses() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in ("a", "odd", "b")]
        await until_waiting(table, 2)
        table.gate.set()
    assert [task.result() for task in told] == ["a kept", "odd not kept", "b kept"]
    assert await table.put("odd") == "odd not kept"


async def test_requests_that_are_given_up_hold_up_nobody() -> None:
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abcd"]
        await until_waiting(table, 3)
        told[2].cancel()  # while it waits
        await asyncio.sleep(0)
        table.gate.set()
        await told[0]
        told[1].cancel()  # just chosen to write for the others
    assert [task.cancelled() for task in told] == [False, True, True, False]
    assert told[3].result() == "d kept"
    assert table.batches == [["a"], ["d"]]
    assert await table.put("later") == "later kept"


async def test_batch_whose_writer_is_cancelled_is_told_that_nobody_knows() -> None:
    table = Table()
    table.gate.set()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abc"]
        await until_waiting(table, 2)
        await told[0]
        table.gate.clear()
        async with asyncio.timeout(5):
            while len(table.batches) < 2:  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0)
        told[1].cancel()
        await asyncio.sleep(0)
        table.gate.set()
    assert told[1].cancelled()
    assert told[2].result() == "c not kept"
    assert await table.put("later") == "later kept"


async def test_more_than_can_wait_is_sent_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_MOST_WAITING", 2)
    table = Table()
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(table.put(item)) for item in "abc"]
        await until_waiting(table, 2)
        assert await table.put("d") == "d not kept"
        table.gate.set()
    assert [task.result() for task in told] == ["a kept", "b kept", "c kept"]
