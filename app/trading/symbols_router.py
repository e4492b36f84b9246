"""The symbols of an account's exchange (`/api/brokers/{id}/update_symbols`): accounts and market data do not know each other."""

from uuid import UUID

from fastapi import APIRouter

from app.accounts.dependencies import CurrentUser
from app.brokers.service import get_broker
from app.core.http import SessionDep, problems
from app.marketdata.schemas import UpdateOut
from app.marketdata.symbols_router import UpdatesDep

router = APIRouter(prefix="/api/brokers", tags=["brokers"])


@router.post(
    "/{broker_id}/update_symbols", status_code=202, summary="Update the symbols of an account's exchange", responses=problems(404, 422, 429)
)
async def update_symbols(broker_id: UUID, session: SessionDep, updates: UpdatesDep, principal: CurrentUser) -> UpdateOut:
    """Begin an update of what the account's exchange lists, as `POST /api/symbols/updates` does, or join the one that runs."""
    account = await get_broker(session, principal.user_id, broker_id)
    return UpdateOut.of(await updates.begin(account.exchange, started_by=principal.user_id), principal.user_id)
