"""`/api/backtests/{id}/export`: a result as a file."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.backtests.export import ExportKind, file_name
from app.backtests.export_task import exported_packed, packed_run
from app.backtests.pool import Computing
from app.core.http import database_of, problems

router = APIRouter(prefix="/api/backtests", tags=["backtests"])

_FILES = {kind.media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in ExportKind}


@router.get(
    "/{backtest_id}/export",
    summary="A result as a file",
    response_class=Response,
    responses={200: {"content": _FILES}, **problems(401, 404, 409, 422)},
)
async def export_backtest(
    request: Request,
    principal: CurrentUser,
    backtest_id: UUID,
    *,
    kind: Annotated[ExportKind, Query(alias="format", description="Which file: docs/metrics.md tells what is in each")] = ExportKind.JSON,
    language: Annotated[Literal["en", "fr"], Query(description="Of the HTML report")] = "en",
) -> Response:
    """Return a result as a file; of a canceled backtest, the part that was done."""
    run = await packed_run(database_of(request), principal.user_id, backtest_id)
    pool: Computing = request.app.state.backtest_tools.pool
    content = await pool.run(exported_packed, run, kind, language)
    headers = {"Content-Disposition": f'attachment; filename="{file_name(run.header, kind)}"', "Cache-Control": "no-store"}
    return Response(content, media_type=kind.media_type, headers=headers)
