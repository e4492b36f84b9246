"""`/api/risk`: limits, and what restrains trading now."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from app.accounts.dependencies import CurrentUser, FreshUser
from app.core.http import problems
from app.domain.limits import DEFAULTS
from app.domain.risk import Scope, ScopeKind
from app.trading import states
from app.trading.desk import Desk
from app.trading.limits import put_limits, read_limits
from app.trading.risk_schemas import (
    AccountLimitsOut,
    LimitsIn,
    LimitsOut,
    LimitsPage,
    RestraintOut,
    StateChange,
    StateLog,
    StatesOut,
)

router = APIRouter(prefix="/api/risk", tags=["risk"])


def desk_of(request: Request) -> Desk:
    """Return what trading works with."""
    desk: Desk = request.app.state.desk
    return desk


@router.get("/limits", summary="Risk limits", responses=problems(401))
async def get_limits(request: Request, principal: CurrentUser) -> LimitsPage:
    """Return what is set for all accounts together and for each account, and the defaults."""
    found = await read_limits(desk_of(request), principal.user_id)
    return LimitsPage(items=[AccountLimitsOut.of(item) for item in found], defaults=LimitsOut.of(DEFAULTS))


@router.put("/limits", summary="Set risk limits", responses=problems(401, 403, 404, 422))
async def set_limits(request: Request, principal: FreshUser, body: LimitsIn) -> AccountLimitsOut:
    """Set all limits of one account, or of all accounts together; the next order meets them."""
    desk = desk_of(request)
    await put_limits(desk, principal.user_id, body.limits(), broker_id=body.broker_id)
    found = await read_limits(desk, principal.user_id)
    return AccountLimitsOut.of(next(item for item in found if item.broker_id == body.broker_id))


@router.get("/states", summary="What restrains trading now", responses=problems(401))
async def get_states(request: Request, principal: CurrentUser) -> StatesOut:
    """Return the state that holds for everything of the user, and each cause, the strictest first."""
    desk = desk_of(request)
    found = await states.list_for(desk, principal.user_id)
    return StatesOut(state=await states.effective(desk, principal.user_id), items=[RestraintOut.of(item) for item in found])


@router.get("/log", summary="Who restrained or resumed trading", responses=problems(401, 422))
async def get_log(request: Request, principal: CurrentUser, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> StateLog:
    """Return the latest changes of what may be traded, newest first."""
    rows = await states.history(desk_of(request), principal.user_id, limit=limit)
    return StateLog(items=[_change(row) for row in rows])


def _change(row: Any) -> StateChange:
    scope = Scope(kind=ScopeKind(row["scope"]), key=row["key"])
    names = ("scope", "action", "state", "code", "reason", "by", "at")
    return StateChange(key=scope.name, **{name: row[name] for name in names})
