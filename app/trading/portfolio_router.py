"""`/api/portfolio`: what a user has and earned, what came and went, as JSON and as files. No exchange is asked, so answers are quick."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.http import database_of, problems
from app.domain.currencies import Currency
from app.trading import queries
from app.trading.flow_queries import FlowLine, label_flow, list_flows, list_waiting
from app.trading.portfolio_files import csv_of_balances, csv_of_flows
from app.trading.portfolio_schemas import (
    BalanceLine,
    EquityOut,
    EquityPointOut,
    FeeOut,
    FlowOut,
    FlowPage,
    FlowPatch,
    PortfolioOut,
    ProfitLines,
    ProfitOut,
    ProfitsOut,
    RealizedOut,
)
from app.trading.rates import Rate, read_rates
from app.trading.schemas import PositionOut
from app.trading.worth import read_curve, read_profits, read_realised

router = APIRouter(prefix="/api/portfolio", tags=["portfolio"])

Accounts = Annotated[list[UUID] | None, Query(description="one or several accounts; all when left out", max_length=100)]
Limit = Annotated[int, Query(ge=1, le=500)]
Spelled = Literal["1d", "7d", "30d", "1y", "all"]
_SPANS: Final[dict[str, timedelta | None]] = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
    "all": None,
}
_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("", summary="Balances, positions and profit", responses=problems(401, 422))
async def portfolio(request: Request, principal: CurrentUser, broker_id: Accounts = None, currency: Currency | None = None) -> PortfolioOut:
    """Return what the user has, as the exchanges last told."""
    database, user_id = database_of(request), principal.user_id
    rate = await _rate(request, principal, currency)
    balances = [row for row in await queries.list_balances(database, user_id) if broker_id is None or row["broker_id"] in broker_id]
    positions = [
        position
        for position in await queries.list_positions(database, request.app.state.desk.quotes, user_id)
        if broker_id is None or position.row["broker_id"] in broker_id
    ]
    realized = await queries.realized_pnl(database, user_id, broker_ids=broker_id)
    now = request.app.state.clock.now()
    fees = await request.app.state.fees.read(database, user_id, now=now, broker_ids=broker_id)
    lines = await read_realised(database, user_id, today=now, broker_ids=broker_id)
    names = ("broker_id", "asset", "free", "locked", "value_usdt")
    total = sum((row["value_usdt"] for row in balances if row["value_usdt"] is not None), Decimal(0))
    return PortfolioOut(
        user=principal.username,
        total_usdt=total,
        currency=rate.currency,
        rate=rate.usdt,
        rate_missing=rate.missing,
        total=rate.exactly(total),
        balances=[BalanceLine(value=rate.of(row["value_usdt"]), **{name: row[name] for name in names}) for row in balances],
        positions=[PositionOut.of(position) for position in positions],
        pnls=ProfitLines(realized=realized, unrealized=sum((p.unrealized_pnl or Decimal(0) for p in positions), Decimal(0))),
        profit=await _profits(request, principal, broker_id, rate),
        realized_by_quote=[RealizedOut(quote=line.quote, day=line.day, week=line.week, month=line.month, all=line.total) for line in lines],
        fees=[FeeOut(asset=asset, amount=amount) for asset, amount in fees.items()],
        as_of=max((row["updated_at"] for row in balances), default=None),
    )


async def _rate(request: Request, principal: Principal, currency: Currency | None) -> Rate:
    rates = await read_rates(database_of(request), now=request.app.state.clock.now())
    return rates.into(currency or principal.currency)


async def _profits(request: Request, principal: Principal, broker_ids: Sequence[UUID] | None, rate: Rate) -> ProfitsOut:
    profits = await read_profits(database_of(request), principal.user_id, now=request.app.state.clock.now(), broker_ids=broker_ids)
    return ProfitsOut(
        **{
            name: ProfitOut(amount=rate.of(profit.amount), fraction=profit.fraction, flows=rate.exactly(profit.flows))
            for name, profit in profits.items()
        }
    )


@router.get("/equity", summary="The equity curve", responses=problems(401, 422))
async def equity(
    request: Request, principal: CurrentUser, broker_id: Accounts = None, period: Spelled = "30d", currency: Currency | None = None
) -> EquityOut:
    """Return what the accounts were worth together, with what was put in and taken out; 1,500 points at most."""
    now = request.app.state.clock.now()
    span = _SPANS[period]
    since = None if span is None else now - span
    points = await read_curve(database_of(request), principal.user_id, since=since, now=now, broker_ids=broker_id)
    rate = await _rate(request, principal, currency)
    items = [
        EquityPointOut(at=point.at, equity=rate.exactly(point.equity), flow=rate.exactly(point.flow), earned=point.earned)
        for point in points
    ]
    return EquityOut(currency=rate.currency, rate_missing=rate.missing, period=period, items=items)


@router.get("/flows", summary="Deposits and withdrawals, newest first", responses=problems(401, 422))
async def flows(
    request: Request, principal: CurrentUser, broker_id: Accounts = None, limit: Limit = 50, cursor: str | None = None
) -> FlowPage:
    """Return one page of what came and went without a trade, as the balances show it."""
    database, user_id = database_of(request), principal.user_id
    lines, following = await list_flows(database, user_id, broker_ids=broker_id, limit=limit, cursor=cursor)
    waiting = await list_waiting(database, user_id, broker_ids=broker_id) if cursor is None else []
    return FlowPage(items=[_flow(line) for line in lines], waiting=[_flow(line) for line in waiting], next=following)


def _flow(line: FlowLine) -> FlowOut:
    values = asdict(line)
    return FlowOut(**{name: values[name] for name in FlowOut.model_fields})


@router.patch("/flows/{flow_id}", summary="Say what a flow was", responses=problems(401, 404, 422))
async def change_flow(request: Request, principal: CurrentUser, flow_id: UUID, body: FlowPatch) -> FlowOut:
    """Change the note of a flow; nothing else of it ever changes."""
    return _flow(await label_flow(database_of(request), principal.user_id, flow_id, body.note))


@router.get("/balances/export", summary="Balances as CSV", response_class=StreamingResponse, responses=_CSV | problems(401, 422))
async def export_balances(
    request: Request, principal: CurrentUser, broker_id: Accounts = None, currency: Currency | None = None
) -> StreamingResponse:
    """Return the balances as a file for a spreadsheet; no cell of it is a formula."""
    rate = await _rate(request, principal, currency)
    return _file("balances", csv_of_balances(database_of(request), principal.user_id, broker_ids=broker_id, rate=rate))


@router.get("/flows/export", summary="Flows as CSV", response_class=StreamingResponse, responses=_CSV | problems(401, 422))
async def export_flows(request: Request, principal: CurrentUser, broker_id: Accounts = None) -> StreamingResponse:
    """Return all that came and went as a file for a spreadsheet, newest first; no cell of it is a formula."""
    return _file("flows", csv_of_flows(database_of(request), principal.user_id, broker_ids=broker_id))


def _file(name: str, lines: Any) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="aristobot-{name}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
