"""The door to comparisons for pages and the API: the newest one, those of earlier days, and asking for one now."""

from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.service import get_bot
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.tenancy import owned
from app.errors import BotNotFound, ShadowNotFound, ShadowTooEarly
from app.shadow.events import ShadowAsked, ShadowChanged
from app.shadow.models import BotShadow, ShadowState
from app.shadow.queue import ask
from app.shadow.reading import life_of, read_bot

MOST_DAYS: Final = 400


async def newest(session: AsyncSession, user_id: UUID, bot_id: UUID) -> BotShadow | None:
    """Return the newest comparison of a bot, whatever its state; None where there is none.

    Raises:
        BotNotFound: no such bot of this user.
    """
    await get_bot(session, user_id, bot_id)
    found: BotShadow | None = await session.scalar(
        owned(BotShadow, user_id).where(BotShadow.bot_id == bot_id).order_by(BotShadow.day.desc()).limit(1)
    )
    return found


async def with_result(session: AsyncSession, user_id: UUID, bot_id: UUID, *, day: date | None = None) -> BotShadow | None:
    """Return the newest comparison that has a result, or that of a day; None where there is none."""
    query = owned(BotShadow, user_id).where(BotShadow.bot_id == bot_id, BotShadow.finished_at.is_not(None))
    if day is not None:
        query = query.where(BotShadow.day == day)
    found: BotShadow | None = await session.scalar(query.order_by(BotShadow.day.desc()).limit(1))
    return found


async def of_day(session: AsyncSession, user_id: UUID, bot_id: UUID, day: date | None) -> BotShadow:
    """Return the newest comparison of a bot, or that of a day.

    Raises:
        BotNotFound: no such bot of this user.
        ShadowNotFound: it was not compared, or not on that day.
    """
    await get_bot(session, user_id, bot_id)
    query = owned(BotShadow, user_id).where(BotShadow.bot_id == bot_id)
    if day is not None:
        query = query.where(BotShadow.day == day)
    found: BotShadow | None = await session.scalar(query.order_by(BotShadow.day.desc()).limit(1))
    if found is None:
        raise ShadowNotFound
    return found


async def days(session: AsyncSession, user_id: UUID, bot_id: UUID, *, limit: int = MOST_DAYS) -> list[BotShadow]:
    """Return comparisons that have a result, the newest first."""
    query = owned(BotShadow, user_id).where(BotShadow.bot_id == bot_id, BotShadow.finished_at.is_not(None))
    return list(await session.scalars(query.order_by(BotShadow.day.desc()).limit(limit)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """Asks for comparisons; on `app.state.shadows`."""

    bus: EventBus
    clock: Clock

    async def compare_now(self, database: Database, user_id: UUID, bot_id: UUID) -> UUID:
        """Ask for a comparison now, and return its id; while one waits or runs that one is asked for again.

        Raises:
            BotNotFound: no such bot of this user.
            ShadowTooEarly: no candle of it has closed yet.
        """
        now = self.clock.now()
        async with database.raw_transaction() as connection:
            row = await read_bot(connection, user_id, bot_id)
            if row is None:
                raise BotNotFound
            if life_of(row, now) is None:
                raise ShadowTooEarly
            shadow_id = await ask(connection, user_id, bot_id, now)
        if shadow_id is None:
            raise BotNotFound
        self.bus.publish(ShadowAsked(bot_id=bot_id))
        self.bus.publish(ShadowChanged(user_id=user_id, bot_id=bot_id, state=ShadowState.QUEUED.value))
        return shadow_id
