"""Carry out what the kill switch was pulled for. Level-triggered: each look reads what is still open in the scope, and does the next step.

Every exit is an order of its own under a key made of the command and the position, so a step that is done twice, or by the process that
takes over after a crash, is done once. Its role lets it pass the halt, makes the position's stops step aside just before it, and gives
it the protective lane. What the exchange refuses is tried again after a growing pause; what is too small to be sold is left and said.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.intents import OrderIntent
from app.domain.orders import TERMINAL
from app.domain.risk import KillAction
from app.errors import DenialReason, ExchangeError, Fenced, OrderDenied, OrderNotCancellable
from app.trading.border import Border
from app.trading.cancel import cancel
from app.trading.desk import Desk
from app.trading.events import KillSwitchChanged
from app.trading.kill_switch import OPEN_ORDERS, OPEN_POSITIONS, Command, scope_values, tell
from app.trading.submit import submit

log = structlog.get_logger(__name__)

T = TypeVar("T")

_EVERY_S: Final = 0.5
_AT_ONCE: Final = 8
_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 30.0
_LONGEST_PAUSE: Final = timedelta(seconds=60)
_RUNNING: Final = "SELECT * FROM kill_commands WHERE state = 'running' ORDER BY id"
_ATTEMPTS: Final = "SELECT state, attempt, updated_at FROM orders WHERE broker_id = $1 AND key = $2 ORDER BY attempt DESC"
_PROGRESS: Final = """
UPDATE kill_commands SET progress = $2, state = CASE WHEN $3 THEN 'done' ELSE state END, done_at = CASE WHEN $3 THEN $4 ELSE done_at END
 WHERE id = $1 AND state = 'running' AND ($3 OR progress <> $2) RETURNING *
"""
#: Too little to be sold: no later attempt will do better.
_TOO_SMALL: Final = frozenset({DenialReason.QUANTITY_BELOW_MINIMUM, DenialReason.NOTIONAL_BELOW_MINIMUM})
#: The orders that guard a position. A halt leaves them; when all is closed they go with their position.
_GUARDS: Final = ("stop", "target")


@dataclass(slots=True)
class _Rest:
    """What kept a position from being sold, and until when (monotonic seconds) it is not tried again."""

    obstacle: dict[str, str]
    delay_s: float
    until: float


class KillLoop:
    """Works off the kill switch's commands while this process holds the engine role; `run` is a supervised loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._border = Border()
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._rests: dict[tuple[UUID, UUID], _Rest] = {}

    async def run(self, beat: Beat) -> None:
        """Work until cancelled. Each command is a task of its own, so that no slow exchange delays another's."""
        with self._desk.bus.subscribe(KillSwitchChanged) as pulled:
            async with asyncio.TaskGroup() as group:
                while True:
                    beat()
                    if self._desk.lease.is_held:
                        await self._start(group)
                    await _pause(pulled)

    async def once(self) -> None:
        """Do the next step of every command, and wait for it."""
        async with asyncio.TaskGroup() as group:
            await self._start(group)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        async with self._desk.database.connection() as connection:
            commands = [Command.of(row) for row in await connection.fetch(_RUNNING)]
        for command in commands:
            if command.id not in self._working:
                task = group.create_task(self._work(command), name=f"kill:{command.id}")
                self._working[command.id] = task
                task.add_done_callback(partial(self._done, command.id))

    def _done(self, command_id: UUID, _task: asyncio.Task[None]) -> None:
        del self._working[command_id]

    async def _work(self, command: Command) -> None:
        try:
            with self._border.around("kill_switch_failed", command.id, command_id=str(command.id)):
                await self._step(command)
        except* Fenced:
            log.warning("kill_switch_fenced", role=self._desk.lease.role)

    async def _step(self, command: Command) -> None:
        """Cancel what is open, close what is held, and note how far it is; done when nothing is left."""
        desk, values = self._desk, scope_values(command.scope)
        async with desk.database.connection() as connection:
            orders = await connection.fetch(OPEN_ORDERS, *values, list(TERMINAL))
        await self._each([row for row in orders if _is_to_cancel(row)], self._cancel)
        left: list[dict[str, str]] = []
        if command.action is KillAction.FLATTEN:
            async with desk.database.connection() as connection:
                positions = await connection.fetch(OPEN_POSITIONS, *values)
            left = [note for note in await self._each(positions, lambda row: self._exit(command, row)) if note is not None]
        await self._note(command, left)

    async def _each(self, rows: list[Any], work: Callable[[Any], Awaitable[T]]) -> list[T]:
        """Do `work` for each row, a few at once."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(row: Any) -> T:
            async with gate:
                return await work(row)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(row), name=f"kill:{row['id']}") for row in rows]
        return [task.result() for task in tasks]

    async def _cancel(self, row: Any) -> None:
        """Ask for one order's end. What cannot be reached now stays wished for, and reconcile repeats it."""
        with self._border.around("kill_cancel_postponed", row["id"], order_id=str(row["id"])), suppress(OrderNotCancellable):
            await cancel(self._desk, row["user_id"], row["id"])

    async def _exit(self, command: Command, row: Any) -> dict[str, str] | None:
        """Sell one position at the market, unless that is under way; what keeps it from being sold, or None."""
        place = (command.id, row["id"])
        rest = self._rests.get(place)
        if rest is not None and time.monotonic() < rest.until:
            return rest.obstacle
        # Whatever is odd about one account, the others' positions are sold.
        obstacle: dict[str, str] | None = _obstacle(
            row, "INTERNAL", "it could not be sold because of an error of this server, which tries again"
        )
        with self._border.around("kill_exit_failed", row["id"], position_id=str(row["id"])):
            obstacle = await self._sell(command, row)
        if obstacle is None:
            self._rests.pop(place, None)
            return None
        delay_s = _FIRST_REST_S if rest is None else min(rest.delay_s * 2, _LONGEST_REST_S)
        self._rests[place] = _Rest(obstacle, delay_s, time.monotonic() + delay_s)
        return obstacle

    async def _sell(self, command: Command, row: Any) -> dict[str, str] | None:
        key = f"kill:{command.id}:{row['id']}"
        attempt = await self._next_attempt(row["broker_id"], key)
        if attempt is None:
            return None
        intent = OrderIntent(
            symbol=row["symbol"],
            side=Side.SELL,
            source=Source.MANUAL,
            key=key,
            type=OrderType.MARKET,
            close_position=True,
            role=Role.FLATTEN,
            attempt=attempt,
            bot_id=row["bot_id"],
        )
        try:
            await submit(self._desk, row["user_id"], intent, broker_id=row["broker_id"])
        except OrderDenied as error:
            if error.reason is DenialReason.NO_POSITION:
                return None  # it is being closed already
            return _obstacle(row, error.reason.value, error.message, is_final=error.reason in _TOO_SMALL)
        except ExchangeError as error:
            return _obstacle(row, error.code, error.message)
        return None

    async def _next_attempt(self, broker_id: UUID, key: str) -> int | None:
        """The number of the next exit of a position; None while one is under way, or was refused a moment ago."""
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_ATTEMPTS, broker_id, key)
        if not rows:
            return 0
        last = rows[0]
        if OrderState(last["state"]) not in TERMINAL:
            return None
        if OrderState(last["state"]) is not OrderState.FILLED:
            pause = min(timedelta(seconds=2 ** min(len(rows), 6)), _LONGEST_PAUSE)
            if self._desk.clock.now() < last["updated_at"] + pause:
                return None
        return int(last["attempt"]) + 1

    async def _note(self, command: Command, obstacles: list[dict[str, str]]) -> None:
        """Count anew what is left, and write it down."""
        desk, values = self._desk, scope_values(command.scope)
        is_all = command.action is KillAction.FLATTEN
        async with desk.database.connection() as connection:
            orders = await connection.fetch(OPEN_ORDERS, *values, list(TERMINAL))
            positions = await connection.fetch(OPEN_POSITIONS, *values) if is_all else []
            final = {note["position_id"] for note in obstacles if note["final"] == "yes"}
            orders_left = sum(1 for row in orders if is_all or row["role"] not in _GUARDS)
            positions_left = sum(1 for row in positions if str(row["id"]) not in final)
            progress = {"orders_left": orders_left, "positions_left": positions_left, "obstacles": obstacles}
            is_done = orders_left == 0 and positions_left == 0
            row = await connection.fetchrow(_PROGRESS, command.id, progress, is_done, desk.clock.now())
        if row is not None:
            log.info("kill_switch_progress", command_id=str(command.id), done=is_done, orders=orders_left, positions=positions_left)
            tell(desk, Command.of(row))


def _is_to_cancel(row: Any) -> bool:
    return row["role"] not in (*_GUARDS, Role.FLATTEN.value) and row["cancel_requested_at"] is None


def _obstacle(row: Any, code: str, message: str, *, is_final: bool = False) -> dict[str, str]:
    return {
        "position_id": str(row["id"]),
        "symbol": row["symbol"],
        "code": code,
        "reason": message,
        "final": "yes" if is_final else "no",
    }


async def _pause(pulled: Any) -> None:
    try:
        await asyncio.wait_for(pulled.get(), _EVERY_S)
    except TimeoutError:
        return
