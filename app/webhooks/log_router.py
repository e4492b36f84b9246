"""The attempt log as a file."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.core.http import problems
from app.webhooks.log import LogFilter, csv_of_log
from app.webhooks.models import Decision

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Search = Annotated[str, Query(max_length=100)]


@router.get(
    "/deliveries/export",
    summary="The attempt log as CSV",
    response_class=StreamingResponse,
    responses=_CSV | problems(401, 422),
)
async def export_deliveries(
    request: Request,
    principal: CurrentUser,
    webhook_id: UUID | None = None,
    decision: Decision | None = None,
    text: Search = "",
    symbol: Search = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> StreamingResponse:
    """Return all attempts that the filter lets through, newest first, as a file for a spreadsheet; no cell of it is a formula."""
    which = log_filter(webhook_id, decision, text, symbol, since, until)
    state = request.app.state
    database = state.platform_database if principal.is_admin else state.database
    lines = csv_of_log(database, principal.user_id, which=which, with_strangers=principal.is_admin)
    headers = {"Content-Disposition": 'attachment; filename="aristobot-webhooks.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def log_filter(
    webhook_id: UUID | None, decision: Decision | None, text: str, symbol: str, since: datetime | None, until: datetime | None
) -> LogFilter:
    """Return the filter of what a query asks for."""
    return LogFilter(
        webhook_id=webhook_id,
        decision=None if decision is None else decision.value,
        text=text.replace("\x00", ""),
        symbol=symbol.replace("\x00", ""),
        since=since,
        until=until,
    )
