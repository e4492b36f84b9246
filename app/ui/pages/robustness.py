"""The page that answers how robust a backtest is."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.backtests.robustness import service as robust_service
from app.backtests.search.events import SearchAsked
from app.backtests.search.models import Robustness
from app.backtests.service import Listed, backtest_numbered, listed
from app.core.http import database_of
from app.core.i18n import use_language
from app.errors import RobustnessNotFound
from app.ui.backtests import period_of
from app.ui.pages.searches import Number
from app.ui.robustness import robustness_region
from app.ui.surroundings import fragment, page, reader_of, shell_of
from app.ui.views.searches import RobustnessView

router = APIRouter(include_in_schema=False)

_REGION: Final = "fragments/searches/_robustness.html"


async def _found(request: Request, principal: Principal, number: int) -> tuple[Listed, Robustness | None]:
    """Return a backtest and what was found out about it.

    Raises:
        BacktestNotFound: no such backtest of this user.
    """
    async with database_of(request).transaction() as session:
        backtest = await backtest_numbered(session, principal.user_id, number)
        one = await listed(session, principal.user_id, backtest.id)
        try:
            return one, await robust_service.get_robustness(session, principal.user_id, backtest.id)
        except RobustnessNotFound:
            return one, None


@router.get("/backtests/{number}/robustness")
async def show_robustness(request: Request, principal: CurrentUser, number: Number) -> Response:
    """What was found out, how far that is, or the button that asks."""
    one, found = await _found(request, principal, number)
    backtest = one.backtest
    with use_language(reader_of(request, principal).language):
        view = RobustnessView(
            shell=await shell_of(request, principal, page="backtests"),
            id=str(backtest.id),
            number=number,
            strategy=one.strategy_name,
            market=f"{backtest.symbol} {backtest.timeframe} · {period_of(backtest)}",
            region=robustness_region(number, found),
        )
    return page(request, "pages/searches/robustness.html", view)


@router.get("/backtests/{number}/robustness/live")
async def show_live(request: Request, principal: CurrentUser, number: Number) -> Response:
    """How far it is."""
    _, found = await _found(request, principal, number)
    with use_language(reader_of(request, principal).language):
        return fragment(request, principal, _REGION, robustness_region(number, found))


@router.post("/backtests/{number}/robustness")
async def ask(request: Request, principal: CurrentUser, number: Number) -> Response:
    """Ask, once more if it was answered before."""
    one, _ = await _found(request, principal, number)
    async with database_of(request).transaction() as session:
        await robust_service.ask_robustness(session, principal.user_id, one.backtest.id, now=request.app.state.clock.now())
    request.app.state.bus.publish(SearchAsked())
    return await show_live(request, principal, number)
