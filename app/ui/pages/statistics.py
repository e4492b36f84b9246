"""The page of statistics, and the points of its chart."""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of
from app.core.i18n import use_language
from app.statistics.columns import NO_TRIPS
from app.statistics.queries import read_symbols
from app.statistics.rates import UNIT
from app.statistics.router import reader_of as statistics_of_app
from app.statistics.trip_figures import trip_curve
from app.ui.statistics import nothing_of, points_of, statistics_of, today_of
from app.ui.statistics_form import StatisticsQuestion, api_query, form_of
from app.ui.surroundings import page, reader_of, shell_of
from app.ui.views.statistics import StatisticsView

router = APIRouter(include_in_schema=False)

_EXPORT: Final = "/api/statistics/export"
Text = Annotated[str, Query(max_length=100)]


def _asked(
    range: Text = "",
    since: Text = "",
    until: Text = "",
    mode: Text = "",
    broker: Text = "",
    strategy: Text = "",
    symbol: Text = "",
    source: Text = "",
    bot: Text = "",
    webhook: Text = "",
) -> StatisticsQuestion:
    return StatisticsQuestion(
        range=range,
        since=since,
        until=until,
        mode=mode,
        broker=broker,
        strategy=strategy,
        symbol=symbol,
        source=source,
        bot=bot,
        webhook=webhook,
    )


Question = Annotated[StatisticsQuestion, Depends(_asked)]


@router.get("/statistics")
async def show_statistics(request: Request, principal: CurrentUser, question: Question) -> Response:
    """What the trades came to that the address asks for."""
    statistics, reader, now = statistics_of_app(request), reader_of(request, principal), request.app.state.clock.now()
    names = await statistics.names(principal.user_id)
    asked = question.which(names, reader, now)
    summary = await statistics.summary(principal.user_id, asked, names, now=now)
    symbols = await read_symbols(database_of(request), principal.user_id)
    query = api_query(asked)
    with use_language(reader.language):
        nothing = nothing_of(summary, question)
        view = StatisticsView(
            shell=await shell_of(request, principal, page="statistics"),
            form=form_of(question, asked, names, symbols, reader),
            csv=f"{_EXPORT}?format=csv&{query}",
            json=f"{_EXPORT}?format=json&{query}",
            found=None if nothing else statistics_of(summary, question, today=today_of(now, summary)),
            nothing=nothing,
        )
    return page(request, "pages/statistics/statistics.html", view)


@router.get("/statistics/curve")
async def show_curve(request: Request, principal: CurrentUser, question: Question) -> Response:
    """The points of the chart."""
    statistics, now = statistics_of_app(request), request.app.state.clock.now()
    names = await statistics.names(principal.user_id)
    asked = question.which(names, reader_of(request, principal), now)
    accounts = await statistics.accounts(principal.user_id, asked, names, until=min(asked.until or now, now))
    told = await statistics.trips(principal.user_id, asked, names) if accounts is None else None
    points = points_of(accounts, trip_curve(NO_TRIPS if told is None else told.trips), UNIT if told is None else told.unit)
    return Response(orjson.dumps(points), media_type="application/json", headers={"Cache-Control": "no-store"})
