"""Workers for trials: what one user tries at once waits for its turn, instead of being refused by the jail's quota."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from app.domain.arrays import Candles
from app.errors import JailBusy
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import Frame
from app.sandbox.quotas import Purpose

_PATIENCE_S: Final = 20.0
#: Of one user, those that have their turn among them: an editor checks while one types, validates and backtests.
_MOST_WAITING: Final = 12


@dataclass(slots=True)
class _Queue:
    turns: asyncio.Semaphore
    waiting: int = field(default=0)


class TrialWorkers:
    """Gives out workers for trials, of each user as many at a time as the jail allows.

    Args:
        jail: Where strategies run.
    """

    def __init__(self, jail: Jail) -> None:
        self._jail = jail
        self._queues: dict[UUID, _Queue] = {}

    async def ready(self) -> None:
        """Wait until strategies can be run. Raises JailClosed where they may not."""
        await self._jail.ready()

    @asynccontextmanager
    async def worker(self, user_id: UUID, *, frames: Sequence[tuple[Frame, Candles]] = (), result_rows: int = 0) -> AsyncIterator[Worker]:
        """Give out a worker when it is its turn. Arguments as of `Jail.worker`.

        Raises:
            JailBusy: the user has very many waiting, or others take all there are.
            JailClosed: strategies may not be run here.
            StrategyPaused: the user's strategies were killed too often just now.
        """
        async with (
            self._turn(user_id),
            self._jail.worker(user_id=user_id, purpose=Purpose.VALIDATION, frames=frames, result_rows=result_rows) as worker,
        ):
            yield worker

    @asynccontextmanager
    async def _turn(self, user_id: UUID) -> AsyncIterator[None]:
        queue = self._queues.setdefault(user_id, _Queue(asyncio.Semaphore(self._jail.quotas.limits.validations)))
        if queue.waiting >= _MOST_WAITING:
            raise JailBusy
        queue.waiting += 1
        try:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await queue.turns.acquire()
            except TimeoutError as error:
                raise JailBusy from error
            try:
                yield
            finally:
                queue.turns.release()
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[user_id]
