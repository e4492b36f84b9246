"""Gives copies of strategies to other users of this server, without telling whose names there are.

Whoever shares writes a wish, and is told the same whether somebody has that name or not. A loop delivers it later, so that not even the
time of the answer tells. The copy lies in the other's library, not yet validated and marked with whom it comes from; they may delete it.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action
from app.core.clock import Clock
from app.core.db import Database
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.supervisor import Beat
from app.core.waiting import happens_within
from app.errors import InvalidInput, NameTaken, ShareRate, StrategyLimit
from app.strategies.models import Origin, StrategyShare
from app.strategies.service import Provenance, create_strategy, get_strategy, note_change
from app.strategies.versions import get_version

log = structlog.get_logger(__name__)

#: Copies that a user may give away in an hour.
SHARES_PER_HOUR: Final = 20
#: Copies from others that wait in a library as they came; beyond that nobody can add one, so that a library cannot be filled from outside.
MOST_UNTOUCHED: Final = 20
_POLL_S: Final = 5.0
_AN_HOUR: Final = timedelta(hours=1)
_KEPT: Final = timedelta(days=7)
_TAKE: Final = text("""
SELECT h.id, h.version_id, h.to_name, h.user_id, f.username AS from_name, s.name, s.description, v.number, v.source, t.id AS to_id
  FROM strategy_shares h JOIN users f ON f.id = h.user_id
  JOIN strategy_versions v ON v.id = h.version_id JOIN strategies s ON s.id = v.strategy_id
  LEFT JOIN users t ON lower(t.username) = lower(h.to_name) AND t.is_active
 WHERE h.settled_at IS NULL ORDER BY h.id LIMIT 1 FOR UPDATE OF h SKIP LOCKED
""")
_UNTOUCHED: Final = text("""
SELECT count(*) FROM strategies
 WHERE user_id = :user_id AND origin = 'shared' AND archived_at IS NULL AND changed_at = created_at
""")
_SETTLE: Final = text("UPDATE strategy_shares SET settled_at = :now WHERE id = :id")
_FORGET: Final = text("DELETE FROM strategy_shares WHERE created_at < :before")


async def share_strategy(
    session: AsyncSession, user_id: UUID, strategy_id: UUID, *, to_name: str, own_name: str, now: datetime, number: int | None = None
) -> None:
    """Wish that whoever has that name gets a copy of a version, the newest one without a number.

    Raises:
        StrategyNotFound: no such strategy of this user.
        VersionNotFound: it has no version of that number.
        InvalidInput: it is the user's own name.
        ShareRate: the user gave away very many lately.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    version = await get_version(session, user_id, strategy_id, number)
    if to_name.lower() == own_name.lower():
        raise InvalidInput(N_("that is your own name: fork the strategy to have a copy of it"), field="username")
    await _check_rate(session, user_id, now)
    session.add(StrategyShare(id=new_id(), user_id=user_id, version_id=version.id, to_name=to_name, created_at=now))
    await session.flush()
    await note_change(session, Action.STRATEGY_SHARED, strategy, number=version.number, to=to_name)


async def _check_rate(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"shares:{user_id}"})
    query = text("SELECT count(*), min(created_at) FROM strategy_shares WHERE user_id = :user_id AND created_at > :since")
    count, oldest = (await session.execute(query, {"user_id": user_id, "since": now - _AN_HOUR})).one()
    if count >= SHARES_PER_HOUR:
        words = N_("Too many copies were given away within an hour. Try again in %(seconds)d seconds.")
        raise ShareRate(words, retry_after_s=max((oldest + _AN_HOUR - now).total_seconds(), 1.0))


class Delivery:
    """Delivers copies.

    Args:
        database: The platform's: a copy goes from one tenant to another.
        clock: Tells when.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now: somebody has shared something at this process."""
        self._wake.set()

    async def run(self, beat: Beat) -> None:
        """Deliver until cancelled."""
        forget_at = 0.0
        while True:
            self._wake.clear()
            while await self.once():
                beat()
            now = asyncio.get_running_loop().time()
            if now >= forget_at:
                forget_at = now + _AN_HOUR.total_seconds()
                await self._forget()
            beat()
            await happens_within(self._wake, _POLL_S)

    async def once(self) -> bool:
        """Settle the oldest wish that no other process has in hand; return whether there was one."""
        now = self._clock.now()
        async with self._database.transaction() as session:
            row: Any = (await session.execute(_TAKE)).mappings().first()
            if row is None:
                return False
            await session.execute(_SETTLE, {"id": row["id"], "now": now})
            if row["to_id"] is not None and row["to_id"] != row["user_id"]:
                await self._deliver(session, row, now)
        return True

    async def _deliver(self, session: AsyncSession, row: Any, now: datetime) -> None:
        if await session.scalar(_UNTOUCHED, {"user_id": row["to_id"]}) >= MOST_UNTOUCHED:
            return
        try:
            async with session.begin_nested():
                await create_strategy(
                    session,
                    row["to_id"],
                    name=row["name"],
                    source=row["source"],
                    description=row["description"],
                    came_from=Provenance(origin=Origin.SHARED, name=row["from_name"], number=row["number"]),
                    now=now,
                    is_renamed=True,
                    action=Action.STRATEGY_RECEIVED,
                )
        except (StrategyLimit, NameTaken):
            # A full library takes nothing; whoever shared learns nothing of that.
            return

    async def _forget(self) -> None:
        async with self._database.transaction() as session:
            await session.execute(_FORGET, {"before": self._clock.now() - _KEPT})
