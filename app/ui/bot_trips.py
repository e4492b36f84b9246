"""Safeguards of bots that have tripped, in the reader's language."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.models import BotTrip
from app.bots.queries import active_trips
from app.core.sentences import said_with
from app.ui.views.bot_safeguards import TripRow, UserTrips


def trip_row(trip: BotTrip) -> TripRow:
    """Return one as pages show it."""
    return TripRow(
        id=str(trip.id),
        rule=trip.rule,
        words=_words(trip),
        at=trip.at,
        action=trip.action,  # type: ignore[arg-type]  # the column has a check
        is_all=trip.bot_id is None,
        rearmed_at=trip.rearmed_at,
        rearmed_by=trip.rearmed_by or "",
    )


async def trips_of_all(session: AsyncSession, user_id: UUID) -> UserTrips:
    """Return what has tripped for all bots of a user together and was not armed again."""
    return UserTrips(rows=tuple(trip_row(trip) for trip in await active_trips(session, user_id, None)))


def _words(trip: BotTrip) -> str:
    message, values = str(trip.values.get("message", "")), trip.values.get("values", {})
    return said_with(message, {name: str(value) for name, value in values.items()})
