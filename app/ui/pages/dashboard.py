"""The dashboard."""

from decimal import Decimal

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.i18n import use_language
from app.domain.candles import Timeframe
from app.errors import ExchangeError
from app.ui.bot_cards import Monitor
from app.ui.bot_stream import RUNNING
from app.ui.regions import Regions
from app.ui.surroundings import page, reader_of, regions_of, shell_of
from app.ui.views import CHART_TIMEFRAMES, ChartView, DashboardView

router = APIRouter(include_in_schema=False)

_TOPICS = ("kpis", "positions", "orders", "external", "audit", "deliveries", "balances", "equity", "chart", RUNNING)


@router.get("/")
async def dashboard(request: Request, principal: CurrentUser, symbol: str = "", timeframe: str = "1m") -> Response:
    """Equity, price, positions, orders and alerts, all live."""
    regions = regions_of(request, principal)
    with use_language(reader_of(request, principal).language):
        view = DashboardView(
            shell=await shell_of(request, principal, page="dashboard", topics=_TOPICS),
            chart=await _chart(request, regions, symbol=symbol, timeframe=timeframe),
            kpis=await regions.kpis(),
            equity=await regions.equity(),
            balances=await regions.balances(),
            positions=await regions.positions(),
            bots=await Monitor(regions=regions).running(),
            orders=await regions.orders(),
            external=await regions.external(),
            audit=await regions.audit(),
            deliveries=await regions.deliveries(with_strangers=principal.is_admin),
            checklist=await regions.checklist(),
        )
    return page(request, "pages/dashboard/dashboard.html", view)


async def _chart(request: Request, regions: Regions, *, symbol: str, timeframe: str) -> ChartView:
    state = request.app.state
    watched: tuple[str, ...] = state.heartbeat.symbols
    chosen = symbol if symbol in watched else watched[0]
    shown = Timeframe(timeframe) if timeframe in set(CHART_TIMEFRAMES) else Timeframe.M1
    quote = state.quotes.latest(chosen)
    try:
        rules = await state.instruments.get(state.heartbeat.status.exchange, chosen)
    except ExchangeError:
        rules = None
    return ChartView(
        exchange=state.heartbeat.status.exchange,
        symbol=chosen,
        timeframe=shown,
        symbols=watched,
        last_price=quote.last if quote is not None else None,
        fills=await regions.fills(chosen),
        tick=rules.tick_size if rules is not None else Decimal("0.01"),
    )
