"""`/api/statistics`: what the trading of a user came to, as JSON and as files. No exchange is asked, nothing is kept between answers."""

from dataclasses import replace
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of, problems
from app.statistics import grouping
from app.statistics.columns import NO_TRIPS
from app.statistics.export import csv_of, json_of
from app.statistics.queries import Names
from app.statistics.rates import UNIT, Valued
from app.statistics.schemas import Asked, CalendarOut, CurveOut, Filtered, GroupsOut, HoursOut, SummaryOut
from app.statistics.summary import StatisticsReader, Summary, clock_over, groups_of
from app.statistics.telling import calendar_out, curve_out, groups_out, hours_out, summary_out
from app.statistics.trip_figures import trip_curve
from app.statistics.wish import StatisticsFilter

router = APIRouter(prefix="/api/statistics", tags=["statistics"])

_ERRORS: Final = problems(401, 422)
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}, "application/json": {"schema": {"type": "object"}}}}
}


def reader_of(request: Request) -> StatisticsReader:
    """Return the reader of this application."""
    state = request.app.state
    return StatisticsReader(database=database_of(request), exchange=state.settings.heartbeat_exchange, shadows=state.shadow_reader)


async def _asked(request: Request, user_id: UUID, asked: Asked) -> tuple[StatisticsReader, StatisticsFilter, Names]:
    reader = reader_of(request)
    names = await reader.names(user_id)
    which = asked.filter
    return reader, which if asked.has_mode else replace(which, mode=names.mode_of(which.broker_ids)), names


async def _summary(request: Request, user_id: UUID, asked: Asked) -> Summary:
    reader, which, names = await _asked(request, user_id, asked)
    return await reader.summary(user_id, which, names, now=request.app.state.clock.now())


async def _trips(request: Request, user_id: UUID, asked: Asked) -> tuple[Valued, StatisticsFilter, Names]:
    reader, which, names = await _asked(request, user_id, asked)
    return await reader.trips(user_id, which, names), which, names


@router.get("/summary", summary="All figures", responses=_ERRORS)
async def summary(request: Request, principal: CurrentUser, asked: Filtered) -> SummaryOut:
    """Return the metrics with their conventions, what trading cost, and the trades by month, source and account."""
    return summary_out(await _summary(request, principal.user_id, asked))


@router.get("/equity", summary="The curve with its drawdown", responses=_ERRORS)
async def equity(request: Request, principal: CurrentUser, asked: Filtered) -> CurveOut:
    """Return what the accounts were worth; where the filter leaves some of their trades out, the sum of profits instead."""
    reader, which, names = await _asked(request, principal.user_id, asked)
    now = request.app.state.clock.now()
    accounts = await reader.accounts(principal.user_id, which, names, until=min(which.until or now, now))
    told = await reader.trips(principal.user_id, which, names) if accounts is None else None
    return curve_out(accounts, trip_curve(told.trips if told else NO_TRIPS), told.unit if told else UNIT)


async def _groups(request: Request, user_id: UUID, asked: Asked, dimension: str) -> GroupsOut:
    told, _, names = await _trips(request, user_id, asked)
    return GroupsOut(currency=told.unit, items=groups_out(dimension, groups_of(told.trips, names)[dimension], names))


@router.get("/by-strategy", summary="Trades by strategy", responses=_ERRORS)
async def by_strategy(request: Request, principal: CurrentUser, asked: Filtered) -> GroupsOut:
    """Return the trades by the strategy of the bot that made them; those of no bot have no key."""
    return await _groups(request, principal.user_id, asked, "strategy")


@router.get("/by-symbol", summary="Trades by symbol", responses=_ERRORS)
async def by_symbol(request: Request, principal: CurrentUser, asked: Filtered) -> GroupsOut:
    """Return the trades by symbol."""
    return await _groups(request, principal.user_id, asked, "symbol")


@router.get("/by-webhook", summary="Trades by webhook", responses=_ERRORS)
async def by_webhook(request: Request, principal: CurrentUser, asked: Filtered) -> GroupsOut:
    """Return the trades by the webhook whose alert opened them; others have no key."""
    return await _groups(request, principal.user_id, asked, "webhook")


@router.get("/by-bot", summary="Trades by bot", responses=_ERRORS)
async def by_bot(request: Request, principal: CurrentUser, asked: Filtered) -> GroupsOut:
    """Return the trades by bot; others have no key."""
    return await _groups(request, principal.user_id, asked, "bot")


@router.get("/by-exit", summary="Trades by why they ended", responses=_ERRORS)
async def by_exit(request: Request, principal: CurrentUser, asked: Filtered) -> GroupsOut:
    """Return the trades by the role of the order that ended them."""
    return await _groups(request, principal.user_id, asked, "exit")


@router.get("/by-hour", summary="Trades by weekday and hour", responses=_ERRORS)
async def by_hour(request: Request, principal: CurrentUser, asked: Filtered) -> HoursOut:
    """Return the trades by the hour of the week in which they ended, on the clocks of `timezone`."""
    told, which, _ = await _trips(request, principal.user_id, asked)
    lines = grouping.by_weekday_hour(told.trips, clock_over(told.trips, which))
    return hours_out(lines, told.unit, str(which.zone))


@router.get("/calendar", summary="Trades by day", responses=_ERRORS)
async def calendar(request: Request, principal: CurrentUser, asked: Filtered) -> CalendarOut:
    """Return the trades by the day on which they ended, on the clocks of `timezone`."""
    told, which, _ = await _trips(request, principal.user_id, asked)
    return calendar_out(grouping.by_day(told.trips, clock_over(told.trips, which)), told.unit, str(which.zone))


@router.get("/export", summary="The figures as a file", response_class=Response, responses=_FILE | _ERRORS)
async def export(
    request: Request, principal: CurrentUser, asked: Filtered, format: Annotated[Literal["csv", "json"], Query()] = "csv"
) -> Response:
    """Return the metrics and every grouping as one file; the round trips themselves are at `/api/trades/export`."""
    found = await _summary(request, principal.user_id, asked)
    if format == "csv":
        content, media = csv_of(found).encode(), "text/csv; charset=utf-8"
    else:
        content, media = json_of(found), "application/json"
    headers = {"Content-Disposition": f'attachment; filename="aristobot-statistics.{format}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media, headers=headers)
