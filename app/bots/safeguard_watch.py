"""Watches the safeguards of live bots between candles: on price moves, on fills, and now and then anyway.

What is stored is read when something happened, else every fifteen seconds; in between the prices alone are looked at, in memory. What
seems to have tripped is read anew before it trips.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.bots import words
from app.bots.events import BotAsked, BotChanged
from app.bots.lifecycle import rearm, start
from app.bots.safeguard_state import BotStanding, UserStanding, bots_standing, judged, midnight, users_standing
from app.bots.safeguards import look
from app.core.supervisor import Beat
from app.domain.candles import Timeframe
from app.domain.safeguards import Rule, read_safeguards
from app.errors import AppError
from app.trading.desk import Desk
from app.trading.events import FillRecorded

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
READ_S: Final = 15.0
#: Who arms a rule again that does so by itself.
BY_ITSELF: Final = "safeguard"
#: Bots that somebody has to watch: with safeguards of their own, of users that have some, or with something that has tripped.
_WATCHED: Final = """
SELECT b.id, b.user_id FROM bots b
 WHERE b.state IN ('running', 'suspended', 'faulted')
   AND (b.safeguards <> '{}' OR EXISTS (SELECT 1 FROM user_safeguards u WHERE u.user_id = b.user_id AND u.safeguards <> '{}')
        OR EXISTS (SELECT 1 FROM bot_trips t WHERE t.user_id = b.user_id AND t.rearmed_at IS NULL))
"""
#: What was bought by an entry that was on its way when the safeguard tripped, or whose bot held it then, is sold as well.
_FINISH: Final = """
UPDATE bots b SET sell_asked_at = $1, revision = revision + 1
 WHERE b.state IN ('running', 'suspended', 'faulted') AND b.sell_asked_at IS NULL
   AND EXISTS (SELECT 1 FROM bot_trips t WHERE t.user_id = b.user_id AND (t.bot_id = b.id OR t.bot_id IS NULL)
                  AND t.rearmed_at IS NULL AND t.action = 'flatten')
   AND EXISTS (SELECT 1 FROM positions p WHERE p.user_id = b.user_id AND p.bot_id = b.id AND p.status <> 'closed')
RETURNING b.id, b.user_id
"""
_DUE: Final = """
SELECT t.id, t.user_id, t.bot_id, t.rule, t.at, b.safeguards, b.timeframe,
       b.state = 'suspended' AND b.state_reason ->> 'message' <> ALL ($1::text[]) AS may_start
  FROM bot_trips t JOIN bots b ON b.id = t.bot_id
 WHERE t.rearmed_at IS NULL AND b.state IN ('running', 'suspended') AND (b.safeguards->t.rule->>'rearm_after')::int > 0
"""
#: Who suspended it so had not a safeguard's reason, which passes by itself.
_OTHERS_SUSPENDED: Final = (words.SUSPENDED_BY, words.SHORTFALL)


class SafeguardWatch:
    """Looks at the safeguards of all live bots; `run` is a supervised loop.

    Args:
        desk: Of the engine.
        now: The time by the clock of the venue whose candles bots follow, as candles and fills have it.
    """

    def __init__(self, desk: Desk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now
        self._own: Mapping[UUID, BotStanding] = {}
        self._together: Mapping[UUID, UserStanding] = {}
        self._bots: dict[UUID, UUID] = {}
        self._read_at: datetime | None = None

    async def run(self, beat: Beat) -> None:
        """Look each second, and soon after a fill, while the role is ours, until cancelled."""
        with self._desk.bus.subscribe(FillRecorded, BotChanged, wanted=_is_about_a_bot) as events:
            while True:
                beat()
                happened = False
                while events.get_nowait() is not None:
                    happened = True
                if not self._desk.lease.is_held:
                    self._read_at = None
                elif happened:
                    await self.once()
                else:
                    await self.between()
                await asyncio.sleep(LOOK_S)

    async def between(self) -> None:
        """Look at the prices alone, where what was read is young enough and of today."""
        now = self._now()
        read_at = self._read_at
        if read_at is None or now - read_at >= timedelta(seconds=READ_S) or midnight(now) != midnight(read_at):
            await self.once()
        elif seen := self._seen():
            await look(self._desk, seen, now=now)
            await self._read(now)

    async def once(self) -> None:
        """Read how everything stands, and do what follows from it."""
        now = self._now()
        await self._finish(now)
        await self._rearm(now)
        await self._read(now)
        if seen := self._seen():
            await look(self._desk, seen, now=now)

    async def _read(self, now: datetime) -> None:
        price = self._desk.quotes.last_price
        async with self._desk.database.connection() as connection:
            self._bots = {row["id"]: row["user_id"] for row in await connection.fetch(_WATCHED)}
            self._own, self._together = {}, {}
            if self._bots:
                self._own = await bots_standing(connection, list(self._bots), now=now, price=price)
                self._together = await users_standing(connection, set(self._bots.values()), now=now, price=price)
        self._read_at = now

    def _seen(self) -> dict[UUID, UUID]:
        """Return the bots of which something trips at the prices of now."""
        price = self._desk.quotes.last_price
        users = {
            user_id
            for user_id, one in self._together.items()
            if any(state.capital > 0 and judged(one, state) for state in one.at(price).values())
        }
        return {
            bot_id: user_id
            for bot_id, user_id in self._bots.items()
            if user_id in users or (bot_id in self._own and judged(self._own[bot_id], self._own[bot_id].at(price)))
        }

    async def _finish(self, now: datetime) -> None:
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_FINISH, now)
        for row in rows:
            self._desk.bus.publish(BotAsked(bot_id=row["id"]))
            self._desk.bus.publish(BotChanged(user_id=row["user_id"], bot_id=row["id"]))

    async def _rearm(self, now: datetime) -> None:
        """Arm again what does so by itself, and let its bot go on where nothing else keeps it and nobody else had suspended it."""
        async with self._desk.database.connection() as connection:
            rows = [row for row in await connection.fetch(_DUE, list(_OTHERS_SUSPENDED)) if is_due(row, now)]
        for row in rows:
            await rearm(self._desk, row["user_id"], row["id"], by=BY_ITSELF)
            if not row["may_start"]:
                continue
            try:
                await start(self._desk, row["user_id"], row["bot_id"], by=BY_ITSELF)
            except AppError as error:
                # Another safeguard keeps it, or its account does: its owner starts it when that is over.
                log.info("a bot stays suspended after its safeguard was armed again", bot_id=str(row["bot_id"]), code=error.code)


def is_due(row: Any, now: datetime) -> bool:
    """Whether a trip has lasted for as many candles as its rule says, from the close of the one in which it tripped."""
    one = read_safeguards(row["safeguards"]).tripping(Rule(row["rule"]))
    timeframe = Timeframe(row["timeframe"])
    return one is not None and now >= timeframe.floor(row["at"]) + timeframe.duration * (1 + one.rearm_after)


def _is_about_a_bot(event: Any) -> bool:
    return isinstance(event, BotChanged) or event.bot_id is not None
