"""`/api/bots/safeguards` and `/api/bots/trips`: the safeguards of all of a user's bots together, and what has tripped.

`bots.router` includes its routes before those of `/api/bots/{bot_id}`.
"""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator

from app.accounts.dependencies import CurrentUser
from app.bots import safeguard_service
from app.bots.schemas import TripOut
from app.core.http import SessionDep, problems
from app.domain.safeguards import checked, plain_safeguards, read_safeguards

router = APIRouter(prefix="/api/bots", tags=["bots"])

_Together = Annotated[dict[str, Any], BeforeValidator(partial(checked, is_together=True))]


class SafeguardsOut(BaseModel):
    """Safeguards of all bots together: docs/safeguards.md says what each rule is."""

    safeguards: dict[str, Any]


class TripList(BaseModel):
    """What has tripped, the newest first."""

    items: list[TripOut]


@router.get("/safeguards", summary="Safeguards of all bots together", responses=problems(401))
async def get_safeguards(principal: CurrentUser, session: SessionDep) -> SafeguardsOut:
    """Return the rules that all the user's bots keep together."""
    found = await safeguard_service.get_safeguards(session, principal.user_id)
    return SafeguardsOut(safeguards=plain_safeguards(found))


@router.put("/safeguards", summary="Set the safeguards of all bots together", responses=problems(401, 422))
async def put_safeguards(principal: CurrentUser, session: SessionDep, body: _Together) -> SafeguardsOut:
    """Set the rules that all the user's bots keep together; those that are left out are taken away. What has tripped stays so."""
    kept = await safeguard_service.set_safeguards(session, principal.user_id, read_safeguards(body))
    return SafeguardsOut(safeguards=plain_safeguards(kept))


@router.get("/trips", summary="Safeguards that tripped", responses=problems(401, 422))
async def list_trips(
    principal: CurrentUser,
    session: SessionDep,
    *,
    bot_id: UUID | None = None,
    active: Annotated[bool, Query(description="Only those that were not armed again")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> TripList:
    """Return what has tripped: of one bot and of all together, or of every bot."""
    rows = await safeguard_service.list_trips(session, principal.user_id, bot_id=bot_id, is_active=active, limit=limit)
    return TripList(items=[TripOut.of(row) for row in rows])
