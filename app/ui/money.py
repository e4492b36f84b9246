"""Totals in the currency a person counts in: the dashboard's headline figures, balances and equity curve. The tables stay in USDT."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI

from app.core.db import Database
from app.domain.currencies import Currency
from app.domain.limits import DOLLARS
from app.trading import queries as trading
from app.trading.desk import Desk
from app.trading.portfolio import start_of_day
from app.trading.rates import Rate, Rates, read_rates
from app.trading.worth import read_curve, read_profit
from app.ui.views import BalanceRow, Balances, EquityPoint, EquityView, Kpis

_DAY: Final = timedelta(days=1)
_OPEN_ORDERS: Final = """
SELECT count(*) FROM orders WHERE user_id = $1 AND state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
"""
_REALISED: Final = "SELECT quote, sum(realized) AS realized FROM daily_results WHERE user_id = $1 AND day = $2::date GROUP BY quote"


async def rates_of(app: FastAPI) -> Rates:
    """Return the rates that are known now."""
    database: Database = app.state.database
    return await read_rates(database, now=app.state.clock.now())


def labels_of(rate: Rate) -> dict[str, Any]:
    """Return what every view of amounts says about them: the currency, its decimals, and the one whose rate is missing."""
    return {
        "currency": rate.currency.value,
        "decimals": rate.currency.decimals,
        "missing": "" if rate.missing is None else rate.missing.value,
    }


def decimals_of(asset: str) -> int:
    """Return how many digits after the mark an amount of an asset is shown with; all, of one that is no currency here."""
    if asset in DOLLARS:
        return 2
    return Currency(asset).decimals if asset in set(Currency) else 8


async def kpis_of(app: FastAPI, user_id: UUID, currency: Currency) -> Kpis:
    """Return the dashboard's headline figures."""
    database, desk = _parts(app)
    midnight = start_of_day(app.state.clock.now())
    positions = await trading.list_positions(database, desk.quotes, user_id)
    profit = await read_profit(database, user_id, since=midnight)
    async with database.connection() as connection:
        open_orders = await connection.fetchval(_OPEN_ORDERS, user_id)
        results = await connection.fetch(_REALISED, user_id, midnight.date())
    rates = await rates_of(app)
    rate = rates.into(currency)
    unrealised = {position.row["quote"]: Decimal(0) for position in positions if position.unrealized_pnl is not None}
    costs = dict.fromkeys(unrealised, Decimal(0))
    for position in positions:
        if position.unrealized_pnl is not None:
            unrealised[position.row["quote"]] += position.unrealized_pnl
            costs[position.row["quote"]] += abs(position.row["quantity"]) * position.row["average_price"]
    total = rates.sum_usdt(unrealised) if unrealised or not positions else None
    cost = rates.sum_usdt(costs)
    return Kpis(
        **labels_of(rate),
        equity=rate.of(profit.now),
        day_change=rate.of(profit.amount),
        day_change_pct=profit.fraction,
        realised_today=rate.of(rates.sum_usdt({row["quote"]: row["realized"] for row in results})),
        open_positions=len(positions),
        open_orders=open_orders,
        unrealised=rate.of(total),
        unrealised_pct=total / cost if total is not None and cost else None,
    )


async def balances_of(app: FastAPI, user_id: UUID, currency: Currency) -> Balances:
    """Return what the accounts hold, as the exchanges last told."""
    database, _ = _parts(app)
    rows = await trading.list_balances(database, user_id)
    rate = (await rates_of(app)).into(currency)
    return Balances(
        **labels_of(rate),
        rows=tuple(
            BalanceRow(asset=row["asset"], total=row["free"] + row["locked"], locked=row["locked"], value=rate.of(row["value_usdt"]))
            for row in rows
        ),
        total=rate.exactly(sum((row["value_usdt"] for row in rows if row["value_usdt"] is not None), Decimal(0))) if rows else None,
    )


async def equity_of(app: FastAPI, user_id: UUID, currency: Currency) -> EquityView:
    """Return the equity curve of the last day, a point a minute at most."""
    database, _ = _parts(app)
    now = app.state.clock.now()
    curve = await read_curve(database, user_id, since=now - _DAY, now=now)
    rate = (await rates_of(app)).into(currency)
    return EquityView(**labels_of(rate), points=tuple(EquityPoint(time=point.at, value=rate.exactly(point.equity)) for point in curve))


def _parts(app: FastAPI) -> tuple[Database, Desk]:
    return app.state.database, app.state.desk
