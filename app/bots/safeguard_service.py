"""The safeguards that all bots of a user keep together, and what has tripped."""

from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.bots.models import BotTrip, UserSafeguards
from app.core.tenancy import owned
from app.domain.safeguards import Safeguards, plain_safeguards, read_safeguards

#: What the audit log calls all bots together.
ALL_BOTS: Final = "bots"


async def get_safeguards(session: AsyncSession, user_id: UUID) -> Safeguards:
    """Return the rules that all bots of a user keep together."""
    row = await session.scalar(owned(UserSafeguards, user_id))
    return Safeguards() if row is None else read_safeguards(row.safeguards)


async def set_safeguards(session: AsyncSession, user_id: UUID, safeguards: Safeguards) -> Safeguards:
    """Set them; what has tripped stays so until it is armed again."""
    before, plain = await get_safeguards(session, user_id), plain_safeguards(safeguards)
    if before != safeguards:
        made = insert(UserSafeguards).values(user_id=user_id, safeguards=plain)
        await session.execute(made.on_conflict_do_update(index_elements=["user_id"], set_={"safeguards": plain}))
        detail = {"before": plain_safeguards(before), "after": plain}
        await note(session, Action.SAFEGUARDS_CHANGED, user_id=user_id, object=ALL_BOTS, detail=detail)
    return safeguards


async def list_trips(
    session: AsyncSession, user_id: UUID, *, bot_id: UUID | None = None, is_active: bool = False, limit: int = 100
) -> list[BotTrip]:
    """Return what has tripped, the newest first: of one bot with what all trip together, or of every bot.

    Args:
        session: Of the tenant.
        user_id: Whose.
        bot_id: Only of that one, and of all together.
        is_active: Only what was not armed again.
        limit: How many at most.
    """
    query = owned(BotTrip, user_id)
    if bot_id is not None:
        query = query.where((BotTrip.bot_id == bot_id) | BotTrip.bot_id.is_(None))
    if is_active:
        query = query.where(BotTrip.rearmed_at.is_(None))
    return list(await session.scalars(query.order_by(BotTrip.at.desc(), BotTrip.id.desc()).limit(limit)))
