"""Keeps every guarded position guarded: look at what is, do the next step of `domain.guard`, look again, until nothing is to be done.

Looked at are those that something happened to, and all of them every few seconds. A look that fails is repeated; nothing is remembered
between looks but what the tables hold, so a restart goes on where it was.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.domain.guard import Action, ChangeMode, ChangePlan, Finish, decide, pause_s
from app.domain.guarded import Guarded
from app.domain.orders import TERMINAL
from app.domain.protection import ProtectionPlan
from app.errors import AppError, ExchangeError
from app.exchanges.port import ExchangeClient
from app.trading.border import Border
from app.trading.desk import Desk
from app.trading.events import FillRecorded, GuardWanted, OrderChanged, ProtectionChanged
from app.trading.legs import carry_out
from app.trading.outbox import NoticeKind, put
from app.trading.protections import LIVE, Protection, StaleLookError, change_plan, confirm, read

log = structlog.get_logger(__name__)

#: So many steps a look may take: a position with ten targets needs eleven.
_MOST_STEPS: Final = 40
_ROUND_S: Final = 5.0
_WAKE_S: Final = 0.25
_AFTER_TROUBLE_S: Final = 1.0
#: Unprotected for so long is worth a word to the owner.
ALERT_AFTER: Final = timedelta(seconds=5)
UNPROTECTED: Final = "UNPROTECTED"
#: And those that are done but of which a leg is live: one that was given up for lost has appeared.
_TO_LOOK_AT: Final = f"""
SELECT id, user_id, symbol, bot_id FROM protections WHERE status = 'active'
 UNION SELECT p.id, p.user_id, p.symbol, p.bot_id FROM orders o JOIN protections p ON p.id = o.group_id
        WHERE o.state IN {LIVE} AND o.role IN ('stop', 'target')
"""  # noqa: S608  # a constant
_FINISH: Final = """
UPDATE protections SET status = 'done', updated_at = $2, unprotected_since = NULL, code = NULL, detail = NULL, revision = revision + 1
 WHERE id = $1
"""
_MODE: Final = "UPDATE protections SET mode = $2, mode_since = $3, updated_at = $3, revision = revision + 1 WHERE id = $1"
_COVERAGE: Final = """
UPDATE protections SET unprotected_since = $2, alerted_at = $3, code = $4, detail = $5, updated_at = $6
 WHERE id = $1 AND revision = $7 AND status = 'active' RETURNING id
"""


async def guard(desk: Desk, protection_id: UUID) -> float | None:
    """Make the venue agree with one protection, as far as it can be done now.

    Returns:
        In how many seconds it must be looked at again because a refusal is to be waited out; None when there is no such reason.

    Raises:
        ExchangeError: the venue cannot be reached.
        Fenced: this process does not own the engine role.
    """
    async with desk.guarding[protection_id]:
        for _ in range(_MOST_STEPS):
            protection = await read(desk, protection_id)
            if not protection.is_active and not [leg for leg in protection.legs if leg.state not in TERMINAL]:
                desk.guarding.pop(protection_id, None)
                return None
            client, look = await _look(desk, protection)
            actions = decide(look)
            if not actions:
                return pause_s(look) or None
            with suppress(StaleLookError):
                for action in actions:
                    await _step(desk, protection, action, look=look, client=client)
        log.error("guard_never_rests", protection_id=str(protection_id))
        return _ROUND_S


async def _look(desk: Desk, protection: Protection) -> tuple[ExchangeClient, Guarded]:
    """Look at a protection, and note whether its stop covers the position: that too when its account cannot be reached."""
    now = desk.clock.now()
    try:
        client = await desk.connections.client(protection.broker_id)
        instrument = (await desk.instruments.all(protection.exchange))[protection.symbol]
    except AppError:
        known = desk.instruments.cached(protection.exchange, protection.symbol)
        if known is not None and protection.is_active:
            await _note_coverage(desk, protection, protection.guarded(known, None, last_price=None, now=now), now)
        raise
    price = await last_price(desk, client, protection.symbol) if protection.is_active else None
    look = protection.guarded(instrument, client.capabilities, last_price=price, now=now)
    if not protection.is_active:
        return client, replace(look, plan=ProtectionPlan())  # nothing is to be guarded any more
    await _note_coverage(desk, protection, look, now)
    return client, look


async def last_price(desk: Desk, client: ExchangeClient, symbol: str) -> Decimal | None:
    """Return the market's last price, from the feed or else asked of the venue; None when neither knows."""
    price = desk.quotes.last_price(client.exchange, symbol)
    if price is not None:
        return price
    try:
        return (await client.fetch_ticker(symbol)).last
    except ExchangeError:
        return None


async def _step(desk: Desk, protection: Protection, action: Action, *, look: Guarded, client: ExchangeClient) -> None:
    if isinstance(action, Finish | ChangeMode | ChangePlan):
        async with desk.database.raw_transaction() as connection:
            await _write(desk, connection, protection, action)
        desk.bus.publish(ProtectionChanged(user_id=protection.user_id, broker_id=protection.broker_id, symbol=protection.symbol))
    else:
        await carry_out(desk, protection, action, instrument=look.instrument, client=client)


async def _write(desk: Desk, connection: Any, protection: Protection, action: Finish | ChangeMode | ChangePlan) -> None:
    now = desk.clock.now()
    if isinstance(action, ChangePlan):
        # It compares the revision itself: it must lock the position before the protection.
        await change_plan(connection, protection, action.plan, now=now)
        return
    await confirm(desk, connection, protection)
    if isinstance(action, Finish):
        await connection.execute(_FINISH, protection.id, now)
    else:
        log.warning("protection_mode_changed", protection_id=str(protection.id), mode=action.mode.value)
        await connection.execute(_MODE, protection.id, action.mode.value, now)


async def _note_coverage(desk: Desk, protection: Protection, look: Guarded, now: datetime) -> None:
    """Since when the stop does not cover the position, and what the owner is told about it."""
    is_covered = not look.has_stop or not look.is_tradable(look.exposed - look.covered)
    since = None if is_covered else protection.unprotected_since or now
    is_alarming = since is not None and now - since > ALERT_AFTER
    code = UNPROTECTED if is_alarming else None
    alerted_at = protection.alerted_at if protection.code == UNPROTECTED and is_alarming else (now if is_alarming else None)
    if (since, code, alerted_at) == (protection.unprotected_since, protection.code, protection.alerted_at):
        return
    detail = _in_words(protection, look) if is_alarming else None
    if is_alarming and protection.code != UNPROTECTED:
        log.error("position_unprotected", protection_id=str(protection.id), symbol=protection.symbol, since=since)
    async with desk.database.raw_transaction() as connection:
        noted = await connection.fetchval(_COVERAGE, protection.id, since, alerted_at, code, detail, now, protection.revision)
        if noted is not None and detail is not None and protection.code != UNPROTECTED:
            user_id, broker_id = protection.user_id, protection.broker_id
            about = {"symbol": protection.symbol} | ({} if protection.bot_id is None else {"bot_id": str(protection.bot_id)})
            await put(connection, NoticeKind.POSITION_UNPROTECTED, detail, user_id=user_id, broker_id=broker_id, at=now, **about)
    desk.bus.publish(ProtectionChanged(user_id=protection.user_id, broker_id=protection.broker_id, symbol=protection.symbol))


def _in_words(protection: Protection, look: Guarded) -> str:
    if look.leaving > 0:
        return (
            f"Position {protection.symbol} has no stop while an order that closes it is open: the exchange keeps its units for one of them."
        )
    refused = [leg for leg in protection.legs if leg.detail and leg.code]
    reason = f" ({refused[-1].detail})" if refused else ""
    return f"Position {protection.symbol} has no stop at the exchange{reason}. Retrying; you can close it now."


class Guardian:
    """The loop that looks at protections, each in a task of its own: a slow account delays no other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._border = Border()
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._again: set[UUID] = set()
        self._places: dict[tuple[UUID, str, UUID | None], set[UUID]] = {}
        self._due: dict[UUID, float] = {}
        self._next_round_at = 0.0

    async def run(self, beat: Beat) -> None:
        """Guard until cancelled, while the role is ours. It never waits for an exchange."""
        with self._desk.bus.subscribe(FillRecorded, OrderChanged, GuardWanted, size=10_000) as changes:
            async with asyncio.TaskGroup() as group:
                while True:
                    beat()
                    if self._desk.lease.is_held:
                        await self._start(group)
                    await self._wait(changes)

    async def once(self) -> None:
        """Look at every active protection once, and wait until that is done."""
        self._next_round_at = 0.0
        async with asyncio.TaskGroup() as group:
            await self._round(group)

    async def _wait(self, changes: Any) -> None:
        try:
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with an event.
            async with asyncio.timeout(_WAKE_S):
                event = await changes.get()
        except TimeoutError:
            return
        while event is not None:
            if isinstance(event, GuardWanted):
                self._again.add(event.protection_id)
                event = changes.get_nowait()
                continue
            self._again.update(self._places.get((event.user_id, event.symbol, event.bot_id), ()))
            if isinstance(event, FillRecorded) and event.is_guarded:
                # It may have opened a position whose protection is not known here yet.
                self._next_round_at = 0.0
            event = changes.get_nowait()

    async def _start(self, group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_round_at:
            await self._round(group)
            return
        due = {protection_id for protection_id, at in self._due.items() if at <= now}
        for protection_id in self._again | due:
            self._begin(group, protection_id)

    async def _round(self, group: asyncio.TaskGroup) -> None:
        self._next_round_at = asyncio.get_running_loop().time() + _ROUND_S
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_TO_LOOK_AT)
        places: dict[tuple[UUID, str, UUID | None], set[UUID]] = defaultdict(set)
        for row in rows:
            places[row["user_id"], row["symbol"], row["bot_id"]].add(row["id"])
            self._begin(group, row["id"])
        self._places = places

    def _begin(self, group: asyncio.TaskGroup, protection_id: UUID) -> None:
        if protection_id in self._working:
            return  # its task looks again before it ends, if it must
        self._again.discard(protection_id)
        self._due.pop(protection_id, None)
        task = group.create_task(self._look(protection_id), name=f"guard:{protection_id}")
        self._working[protection_id] = task
        task.add_done_callback(lambda _: self._working.pop(protection_id, None))

    async def _look(self, protection_id: UUID) -> None:
        again_in_s: float | None = _AFTER_TROUBLE_S
        with self._border.around("guard_failed", protection_id, protection_id=str(protection_id)):
            again_in_s = await guard(self._desk, protection_id)
        if again_in_s is not None:
            self._due[protection_id] = asyncio.get_running_loop().time() + again_in_s
