"""What happens to one bot happens to no other: work that fails, hangs, or is asked for twice."""

import asyncio

import pytest

from app.bots.apart import Apart, all_of, alone, as_they_come
from app.errors import Fenced

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("error", [Fenced("gone"), OSError("no database"), KeyError("odd")])
async def test_what_fails_ends_nothing_else(error: Exception) -> None:
    async def fails() -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        group.create_task(alone("fails", fails()))
        others = group.create_task(asyncio.sleep(0.01, "went on"))
    assert others.result() == "went on"


async def test_one_that_hangs_keeps_nobody_waiting_and_is_not_begun_twice() -> None:
    apart, hangs, begun = Apart(), asyncio.Event(), Iterated()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(apart.each("sale", {1: lambda: begun.and_wait(hangs)}))
        await asyncio.sleep(0.01)
        await apart.each("sale", {1: lambda: begun.and_wait(hangs), 2: begun.at_once})
        assert begun.count == 2
        hangs.set()
    await apart.each("sale", {1: begun.at_once})
    assert begun.count == 3


class Iterated:
    """Counts what was begun."""

    def __init__(self) -> None:
        self.count = 0

    async def and_wait(self, event: asyncio.Event) -> None:
        self.count += 1
        await event.wait()

    async def at_once(self) -> None:
        self.count += 1


async def test_answers_that_are_there_do_not_wait_for_one_that_hangs() -> None:
    hangs = asyncio.Event()

    async def answer(number: int) -> int:
        if number == 0:
            await hangs.wait()
        return number

    seen = []
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asked = {group.create_task(answer(number)) for number in range(4)}
        async for together in as_they_come(asked):
            seen.append(sorted(together))
            hangs.set()
    assert seen == [[1, 2, 3], [0]]


async def test_all_of_them_are_waited_for_though_one_fails() -> None:
    done = []

    async def works() -> None:
        await asyncio.sleep(0.01)
        done.append(True)

    async def fails() -> None:
        raise Fenced("gone")

    with pytest.raises(Fenced):
        await all_of(fails(), works())
    assert done == [True]
