"""A keeper with its zygote, and a jail with its sandboxd: the real ones, started once a module."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest
import pytest_asyncio

from app.sandbox import orders
from app.sandbox.cell import Cause, Cell, CellEnded, End
from app.sandbox.frames import Candles
from app.sandbox.jail import Jail
from app.sandbox.keeper import Keeper
from app.sandbox.messages import Answered, Asked, Failed, Frame, Load, Reply
from app.sandbox.orders import Layers, Order
from app.sandbox.quotas import Quotas
from app.sandbox.terms import JailConfig
from app.sandbox.violations import Violation

ID = 4_711
#: A strategy that buys and sells in turn, and one line for what a test wants it to do besides.
STRATEGY = """
from aristobot import Strategy

class Sample(Strategy):
    timeframe = "1h"

    def should_long(self):
        {doing}
        return self.candles.close[-1] > 100

    def should_exit(self):
        return self.candles.close[-1] < 100
"""


def strategy(doing: str = "pass") -> str:
    """Return a strategy's source that also does this at each candle."""
    return STRATEGY.format(doing=doing)


def candles(rows: int = 200) -> Candles:
    """Return candles around 100."""
    close = 100 + np.sin(np.arange(rows) / 5)
    return Candles(np.arange(rows, dtype=np.int64) * 3_600_000, close, close + 1, close - 1, close, np.ones(rows))


def frame(rows: int = 200) -> Frame:
    """Describe those candles."""
    return Frame(symbol="BTC/USDT", timeframe="1h", rows=rows)


def asked(source: str, request_id: int = ID) -> bytes:
    """Return the request to run a source."""
    return orders.encode(Asked(request_id=request_id, request=Load(source=source)))


async def reply_of(cell: Cell, source: str, *, wall_s: float = 5.0) -> Reply:
    """Ask a worker to run a source."""
    body = await cell.ask(asked(source), ID, wall_s=wall_s, cpu_s=wall_s + 1)
    return msgspec.msgpack.decode(body, type=Answered).reply


async def probed(keeper: Keeper, source: str, *, layers: Layers | None = None, wall_s: float = 5.0) -> str | End:
    """Run a source with all of Python in a locked worker: its `result`, the kind of its exception, or how the worker ended."""
    try:
        cell = await keeper.spawn(Order(is_probe=True, layers=layers or Layers()))
        reply = await reply_of(cell, source, wall_s=wall_s)
    except CellEnded as ended:
        return ended.end
    cell.kill(Cause.RELEASED)
    if isinstance(reply, Failed):
        return f"{reply.kind}: {reply.message}"
    return getattr(reply, "docstring", "")


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Wait for something that happens by itself; fail when it does not."""
    ends_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_at, "it never happened"
        await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module")
async def keeper() -> AsyncIterator[Keeper]:
    made = Keeper()
    watching = asyncio.get_running_loop().create_task(made.look())
    yield made
    watching.cancel()
    await made.close()


Notes = list[Violation]


@asynccontextmanager
async def running_jail(
    config: JailConfig | None = None, *, quotas: Quotas | None = None, notes: Notes | None = None
) -> AsyncIterator[Jail]:
    """Run a jail for as long as the block does."""

    async def note(violation: Violation) -> None:
        if notes is not None:
            notes.append(violation)

    jail = Jail(config or JailConfig(), on_violation=note, quotas=quotas)
    running = asyncio.get_running_loop().create_task(jail.run(lambda: None))
    try:
        yield jail
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled(), "its loop ended by itself"


@pytest.fixture(scope="module")
def notes() -> Notes:
    return []


@pytest_asyncio.fixture(scope="module")
async def jail(notes: Notes) -> AsyncIterator[Jail]:
    async with running_jail(notes=notes) as made:
        await made.ready()
        yield made
