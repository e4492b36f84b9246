"""The server's side of a sweep: what a worker decided for many sets of parameters."""

import asyncio

from app.errors import StrategyKilled
from app.sandbox.asking import Worker
from app.sandbox.cell import Cause
from app.sandbox.jail import Jail
from app.sandbox.messages import Packed
from app.sandbox.packed import PackedDecisions, unpacked


async def packed_decisions(jail: Jail, worker: Worker, sets: list[Packed], candles: int) -> list[PackedDecisions | None]:
    """Return a copy of what a worker decided for each set that `Sweep` tried, checked; see `packed.unpacked`.

    Raises:
        StrategyKilled: the memory holds what no decision can be.
    """
    if worker.results is None:
        raise ValueError("the worker was made without results")
    try:
        return await asyncio.to_thread(unpacked, *worker.results, sets, candles)
    except StrategyKilled as error:
        raise jail.condemn(worker, Cause.PROTOCOL, error.message) from error
