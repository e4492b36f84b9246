"""Tells an open page or a program how far one backtest is, until it is over."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import orjson

from app.backtests.events import BacktestChanged
from app.backtests.models import BacktestState
from app.core.db import Database
from app.core.events import EventBus

#: Events come at once where this process runs it; the row says it anyway, and of what another process runs.
_LOOK_S: Final = 1.0
_PING_S: Final = 15.0
_READ: Final = "SELECT number, state, progress FROM backtests WHERE id = $1 AND user_id = $2"


class BacktestStream:
    """One backtest as events: `progress` while it is under way, then `over`.

    Args:
        database: The platform's; rows are asked for by their owner.
        bus: Tells when to look.
        stopping: Set when this server is about to stop.
        user_id: Whose it is.
        backtest_id: Which one.
    """

    def __init__(self, database: Database, bus: EventBus, stopping: asyncio.Event, *, user_id: UUID, backtest_id: UUID) -> None:
        self._database = database
        self._bus = bus
        self._stopping = stopping
        self._user_id = user_id
        self._backtest_id = backtest_id

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield events until it is over, or is gone."""
        wanted, last, said_at = self._backtest_id, b"", time.monotonic()
        with self._bus.subscribe(BacktestChanged, size=1, wanted=lambda event: event.backtest_id == wanted) as heard:
            while not self._stopping.is_set():
                told, is_over = await self._told()
                if told != last:
                    last, said_at = told, time.monotonic()
                    yield told
                elif time.monotonic() - said_at > _PING_S:
                    said_at = time.monotonic()
                    yield b": still here\n\n"
                if is_over:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await heard.get()

    async def _told(self) -> tuple[bytes, bool]:
        """Return how far it is, as an event, and whether that is the last one."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_READ, self._backtest_id, self._user_id)
        if row is None:
            return _event("over", {"id": str(self._backtest_id)}), True
        is_over = BacktestState(row["state"]).is_over
        told = {"id": str(self._backtest_id), "number": row["number"], "state": row["state"]} | (row["progress"] or {})
        return _event("over" if is_over else "progress", told), is_over


def _event(name: str, value: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
