"""What can be done with the attempt log over the API: take it away as a file, repeat an attempt on paper, try a message out."""

import json
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.webhooks.log import LogFilter, csv_of_log
from app.webhooks.models import Decision
from app.webhooks.rehearsal import rehearse
from app.webhooks.replay import replay_on_paper
from app.webhooks.schemas import Accepted
from app.webhooks.service import get_webhook

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Search = Annotated[str, Query(max_length=100)]


class MessageIn(BaseModel):
    """A message to try out."""

    model_config = ConfigDict(extra="forbid")

    message: Annotated[str, Field(max_length=65_536, description="The message as TradingView would send it, placeholders filled in.")]


class RehearsalOut(BaseModel):
    """What the message would do. Nothing was sent; the attempt stands in the log as a test."""

    delivery_id: UUID
    decision: Decision
    code: str | None
    reason: str
    parsed: dict[str, Any] | None


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


@router.post("/deliveries/{delivery_id}/replay", status_code=202, summary="Repeat an attempt on paper", responses=problems(401, 404, 422))
async def replay_delivery(request: Request, principal: CurrentUser, delivery_id: UUID) -> Accepted:
    """Put the message into the inbox once more, for a paper account. It is traded there alone."""
    state = request.app.state
    made = await replay_on_paper(database_of(request), state.bus, principal.user_id, delivery_id, now=state.clock.now())
    state.inbox.offer(made)
    return Accepted(delivery_id=made.id, decision=Decision.PENDING)


@router.post("/{webhook_id}/test", summary="Try a message out", responses=problems(401, 404, 422))
async def test_message(request: Request, principal: CurrentUser, webhook_id: UUID, body: MessageIn) -> RehearsalOut:
    """Read a message as the webhook would and tell what it would do. Nothing is traded."""
    state = request.app.state
    async with state.database.transaction() as session:
        webhook = await get_webhook(session, principal.user_id, webhook_id)
    found = await rehearse(
        database_of(request), state.bus, state.instruments, webhook, body.message.encode(errors="replace"), now=state.clock.now()
    )
    parsed = None if found.reading is None else json.loads(json.dumps(found.reading.parsed, default=str))
    return RehearsalOut(delivery_id=found.delivery_id, decision=found.decision, code=found.code, reason=found.reason, parsed=parsed)
