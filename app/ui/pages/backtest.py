"""The page of one backtest: its progress while it runs, its result, and what is done with it. Its charts read their data here."""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import orjson
from fastapi import APIRouter, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.backtests import results, service
from app.backtests.events import Progress
from app.backtests.models import Backtest, BacktestState
from app.backtests.report import from_stored
from app.backtests.results import StoredResult
from app.backtests.service import BacktestFilter, Listed
from app.brokers.service import get_broker
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.errors import BacktestNotFound, NotFound, ResultMissing
from app.ui.backtest_events import told_of
from app.ui.backtest_result import curve_of, failure_of, head_of, notes_of, output_of, progress_of, quote_of, result_of, tick_of
from app.ui.backtest_trades import Sort, marks, trade_list
from app.ui.pages.backtests import backtests_of
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views.backtest import BacktestQuestion, BacktestView
from app.ui.views.backtest import BacktestResult as ShownResult
from app.ui.views.shell import Choice

router = APIRouter(include_in_schema=False)

_PROGRESS: Final = "fragments/backtests/_progress.html"
_TRADES: Final = "fragments/backtests/_trades.html"
_TRADE_ROWS: Final = "fragments/backtests/_trade_rows.html"
_DELETE: Final = "fragments/backtests/_delete.html"
_MOST_BESIDE: Final = 30
_MOST_ROWS: Final = 10_000_000
#: Milliseconds since 1970 that a date can be made of.
_LAST_MOMENT: Final = 253_402_300_799_999
_Moment = Annotated[int, Query(ge=0, le=_LAST_MOMENT)]

#: A number, #142, or the id.
Name = Annotated[str, Path(max_length=40)]


async def _backtest(session: AsyncSession, principal: Principal, name: str) -> Backtest:
    """Return a backtest by its number or its id.

    Raises:
        BacktestNotFound: no such backtest of this user.
    """
    if name.isdecimal() and name.isascii():
        number = int(name)
        if not 1 <= number < 2**31:
            raise BacktestNotFound
        return await service.backtest_numbered(session, principal.user_id, number)
    try:
        return await service.get_backtest(session, principal.user_id, UUID(name))
    except ValueError as error:
        raise BacktestNotFound from error


async def _named(request: Request, principal: Principal, name: str) -> Backtest:
    """Return a backtest for what its page reads. Raises as `_backtest`."""
    async with database_of(request).transaction() as session:
        return await _backtest(session, principal, name)


async def _found(request: Request, principal: Principal, name: str) -> Listed:
    """Return a backtest with the names of its strategy and version. Raises as `_backtest`."""
    async with database_of(request).transaction() as session:
        return await service.listed(session, principal.user_id, (await _backtest(session, principal, name)).id)


@router.get("/backtests/{backtest_id}")
async def show_backtest(
    request: Request, principal: CurrentUser, backtest_id: Name, beside: Annotated[str, Query(max_length=12)] = ""
) -> Response:
    """One backtest: how far it is, or what came of it, beside another run if one is named."""
    found = await _found(request, principal, backtest_id)
    backtest = found.backtest
    is_over = BacktestState(backtest.state).is_over
    topics = () if is_over else (f"backtest:{backtest.id}",)
    with use_language(reader_of(request, principal).language):
        other = await _beside(request, principal, beside, backtest)
        view = BacktestView(
            shell=await shell_of(request, principal, page="backtests", topics=topics),
            head=head_of(found, account=await _account(request, principal, backtest)),
            progress=None if is_over else progress_of(backtest),
            failure=failure_of(backtest, found.version_number),
            output=output_of(backtest),
            result=await _result(request, principal, backtest, other) if is_over and backtest.report is not None else None,
            others=await _others(request, principal, backtest) if backtest.report is not None else (),
            beside=0 if other is None else other.number,
        )
    return page(request, "pages/backtests/backtest.html", view)


async def _account(request: Request, principal: Principal, backtest: Backtest) -> str:
    if backtest.broker_id is None:
        return ""
    async with database_of(request).transaction() as session:
        try:
            return (await get_broker(session, principal.user_id, backtest.broker_id)).name
        except NotFound:
            return gettext("a removed account")


async def _beside(request: Request, principal: Principal, given: str, backtest: Backtest) -> Backtest | None:
    """Return the run that is laid beside; None where there is none, or none with a result."""
    if not given or given == str(backtest.number):
        return None
    try:
        other = await _named(request, principal, given)
    except BacktestNotFound:
        return None
    return other if other.report is not None else None


async def _others(request: Request, principal: Principal, backtest: Backtest) -> tuple[Choice, ...]:
    """Return the newest runs with a result in the same currency."""
    async with database_of(request).transaction() as session:
        rows = await service.list_backtests(session, principal.user_id, which=BacktestFilter(), limit=_MOST_BESIDE)
    return tuple(
        Choice(value=str(one.backtest.number), label=f"#{one.backtest.number} · {one.strategy_name} · {one.backtest.symbol}")
        for one in rows
        if one.backtest.summary and one.backtest.id != backtest.id and quote_of(one.backtest) == quote_of(backtest)
    )


async def _result(request: Request, principal: Principal, backtest: Backtest, other: Backtest | None) -> ShownResult:
    stored = await _stored(request, principal, backtest)
    report = from_stored(backtest.report or {})
    listed = trade_list(stored, backtest.number, quote=quote_of(backtest), tick=tick_of(backtest))
    beside = None if other is None else (other.number, from_stored(other.report or {}))
    return result_of(report, number=backtest.number, trades=listed, beside=beside, state=backtest.state, notes=notes_of(backtest, report))


@router.get("/backtests/{backtest_id}/progress")
async def show_progress(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """How far it is, as the stream tells it."""
    backtest = await _named(request, principal, backtest_id)
    progress = msgspec.convert(backtest.progress, Progress) if backtest.progress else None
    with use_language(reader_of(request, principal).language):
        return _json(told_of(backtest.id, backtest.state, progress))


@router.get("/backtests/{backtest_id}/curve")
async def show_curve(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """The points of its curves."""
    backtest = await _named(request, principal, backtest_id)
    if backtest.report is None:
        raise ResultMissing
    return _json(curve_of(from_stored(backtest.report)))


@router.get("/backtests/{backtest_id}/marks")
async def show_marks(
    request: Request, principal: CurrentUser, backtest_id: Name, first: _Moment = 0, last: _Moment = _LAST_MOMENT
) -> Response:
    """The trades of a stretch of the price chart."""
    backtest = await _named(request, principal, backtest_id)
    return _json({"items": marks(await _stored(request, principal, backtest), first, last)})


@router.get("/backtests/{backtest_id}/trades")
async def show_trades(
    request: Request,
    principal: CurrentUser,
    backtest_id: Name,
    sort: Sort = "recent",
    after: Annotated[int, Query(ge=0, le=_MOST_ROWS)] = 0,
) -> Response:
    """The trades in one order, or the rows behind the first ones."""
    backtest = await _named(request, principal, backtest_id)
    stored = await _stored(request, principal, backtest)
    listed = trade_list(stored, backtest.number, sort=sort, after=after, quote=quote_of(backtest), tick=tick_of(backtest))
    return fragment(request, principal, _TRADE_ROWS if after else _TRADES, listed)


async def _stored(request: Request, principal: Principal, backtest: Backtest) -> StoredResult:
    """Return the result of a run.

    Raises:
        ResultMissing: it has none.
    """
    async with database_of(request).transaction() as session:
        return await results.result_of(session, principal.user_id, backtest.id)


# ---- what is done with it


@router.post("/backtests/{backtest_id}/cancel")
async def cancel(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """Stop it; what it has come to is kept, and the page shows it as soon as it has stopped."""
    backtest = await _named(request, principal, backtest_id)
    canceled = await backtests_of(request).cancel(database_of(request), principal.user_id, backtest.id)
    with use_language(reader_of(request, principal).language):
        return fragment(request, principal, _PROGRESS, progress_of(canceled))


@router.post("/backtests/{backtest_id}/again")
async def run_again(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """Run it once more with all that it was made of, and go there."""
    backtest = await _named(request, principal, backtest_id)
    made = await backtests_of(request).repeat(database_of(request), principal.user_id, backtest.id)
    return see_other(request, f"/backtests/{made.number}")


@router.get("/backtests/{backtest_id}/delete")
async def ask_delete(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """The question before it is deleted."""
    found = await _found(request, principal, backtest_id)
    return fragment(request, principal, _DELETE, BacktestQuestion(number=found.backtest.number, strategy=found.strategy_name))


@router.post("/backtests/{backtest_id}/delete")
async def delete(request: Request, principal: CurrentUser, backtest_id: Name) -> Response:
    """Delete it with its trades, and go to the list."""
    backtest = await _named(request, principal, backtest_id)
    await backtests_of(request).delete(database_of(request), principal.user_id, backtest.id)
    return see_other(request, "/backtests")


def _json(content: dict[str, Any]) -> Response:
    # Thousands of points: the standard library would hold the loop for twenty milliseconds.
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"})
