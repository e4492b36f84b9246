"""Tells an open page or a program how far a backtest, or what is asked of it, is, until it is over."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
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
_BACKTEST: Final = "SELECT number, state, progress FROM backtests WHERE id = $1 AND user_id = $2"


class RowStream:
    """One row as events: `progress` while it is under way, then `over`.

    Args:
        state: Of the application: its platform database (rows are asked for by their owner), its bus, and whether it is about to stop.
        query: Reads the row of `key` and its user.
        key: Which one, and whose.
        heard: What tells when to look: a type of event, and whether one of them is about this row.
        is_over: Whether a state is the last one.
        shown: What is told of the row; all of it when left out.
    """

    def __init__(
        self,
        state: Any,
        query: str,
        key: tuple[UUID, UUID],
        *,
        heard: tuple[type, Callable[[Any], bool]],
        is_over: Callable[[str], bool],
        shown: Callable[[Any], dict[str, Any]] = dict,
    ) -> None:
        self._database: Database = state.platform_database
        self._bus: EventBus = state.bus
        self._stopping: asyncio.Event = state.stopping
        self._query = query
        self._key = key
        self._heard = heard
        self._is_over = is_over
        self._shown = shown

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield events until it is over, or is gone."""
        kind, is_about_it = self._heard
        last, said_at = b"", time.monotonic()
        with self._bus.subscribe(kind, size=1, wanted=is_about_it) as heard:
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
            row = await connection.fetchrow(self._query, *self._key)
        if row is None:
            return _event("over", {"id": str(self._key[0])}), True
        is_over = self._is_over(row["state"])
        return _event("over" if is_over else "progress", self._shown(row) | {"id": str(self._key[0])}), is_over


def backtest_stream(state: Any, user_id: UUID, backtest_id: UUID) -> RowStream:
    """Return the events of one backtest: `{"number", "state"}` and, while it runs, the fields of `events.Progress`."""
    return RowStream(
        state,
        _BACKTEST,
        (backtest_id, user_id),
        heard=(BacktestChanged, lambda event: event.backtest_id == backtest_id),
        is_over=lambda state: BacktestState(state).is_over,
        shown=lambda row: {"number": row["number"], "state": row["state"]} | (row["progress"] or {}),
    )


def _event(name: str, value: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
