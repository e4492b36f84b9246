"""Reads results: trades page by page in any order, and the equity in few points or all."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.models import BacktestResult
from app.backtests.packed import unpacked_equity, unpacked_fills, unpacked_trades
from app.backtests.service import get_backtest
from app.core.tenancy import owned
from app.domain.arrays import Floats, Times
from app.domain.candles import from_milliseconds
from app.domain.instruments import plain
from app.domain.metrics_tables import telling_rows
from app.domain.outcome import NO_REASON, REASONS, FillColumns, Rows, TradeColumns
from app.errors import InvalidInput, ResultMissing

MOST_POINTS: Final = 20_000


class TradeOrder(StrEnum):
    """In which order trades are listed."""

    RECENT = "recent"
    OLDEST = "oldest"
    BEST = "best"
    WORST = "worst"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A result, every figure as the engine gave it; `time` are open times in ms UTC, the rows that trades and fills name."""

    trades: TradeColumns
    fills: FillColumns
    time: Times
    equity: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTrade:
    """A round trip with its place in the order of ends, from 1. `exit_at` of an open one is the last candle. Amounts are quote units."""

    number: int
    side: str
    entry_at: datetime
    exit_at: datetime
    candles: int
    quantity: float
    entry_price: float
    exit_price: float
    fees: float
    slippage: float
    funding: float
    profit: float
    profit_fraction: float
    worst: float
    best: float
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePage:
    """Some round trips, of `total`; `next` is the cursor of those after them, None at the end."""

    trades: list[BacktestTrade]
    total: int
    next: str | None


async def result_of(session: AsyncSession, user_id: UUID, backtest_id: UUID) -> StoredResult:
    """Return the whole result of a backtest; of a canceled one, of the part that was done.

    Raises:
        BacktestNotFound: no such backtest of this user.
        ResultMissing: it has none.
    """
    row = await session.scalar(owned(BacktestResult, user_id).where(BacktestResult.backtest_id == backtest_id))
    if row is None:
        await get_backtest(session, user_id, backtest_id)
        raise ResultMissing
    # A million candles take a tenth of a second: no order waits for that.
    return await asyncio.to_thread(_read, row)


def page_of_trades(
    result: StoredResult, *, order: TradeOrder, limit: int, cursor: str | None = None, reason: str | None = None
) -> TradePage:
    """Return round trips in an order; `reason`: only those that ended for it, `open` those that have not.

    Raises:
        InvalidInput: the cursor is not one that a page gave.
    """
    rows = _ordered(result.trades, order, reason)
    place = 0 if cursor is None else _place(cursor)
    chosen = rows[place : place + limit]
    following = str(place + limit) if place + limit < len(rows) else None
    return TradePage(trades=[_trade(result, int(row)) for row in chosen], total=len(rows), next=following)


def equity_points(result: StoredResult, *, most: int) -> tuple[Times, Floats]:
    """Return open times in ms UTC and equity of at most so many candles, the extremes among them."""
    rows = telling_rows(result.equity, result.equity, max(most, 8))
    return result.time[rows], result.equity[rows]


def amount(value: float) -> str:
    """Return a figure exactly, as people write numbers."""
    return plain(Decimal(repr(float(value))))


def _read(row: BacktestResult) -> StoredResult:
    time, equity = unpacked_equity(row.equity)
    return StoredResult(trades=unpacked_trades(row.trades), fills=unpacked_fills(row.fills), time=time, equity=equity)


def _ordered(trades: TradeColumns, order: TradeOrder, reason: str | None) -> Rows:
    rows = np.arange(len(trades))
    if reason is not None:
        codes = [code for code, one in enumerate(REASONS) if one.value == reason] or [NO_REASON]
        rows = rows[trades.reason[rows] == codes[0]]
    match order:
        case TradeOrder.OLDEST:
            return rows
        case TradeOrder.RECENT:
            return rows[::-1]
        case TradeOrder.BEST:
            return rows[np.argsort(-trades.profit[rows], kind="stable")]
        case TradeOrder.WORST:
            return rows[np.argsort(trades.profit[rows], kind="stable")]


def _place(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 10:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor")
    return int(cursor)


def _trade(result: StoredResult, row: int) -> BacktestTrade:
    trades, code = result.trades, int(result.trades.reason[row])
    entry, left = int(trades.entry_candle[row]), int(trades.exit_candle[row])
    entered = float(trades.quantity[row] * trades.entry_price[row])
    return BacktestTrade(
        number=row + 1,
        side="long" if trades.side[row] > 0 else "short",
        entry_at=from_milliseconds(int(result.time[entry])),
        exit_at=from_milliseconds(int(result.time[left])),
        candles=left - entry,
        quantity=float(trades.quantity[row]),
        entry_price=float(trades.entry_price[row]),
        exit_price=float(trades.exit_price[row]),
        fees=float(trades.fees[row]),
        slippage=float(trades.slippage[row]),
        funding=float(trades.funding[row]),
        profit=float(trades.profit[row]),
        profit_fraction=float(trades.profit[row]) / entered if entered else 0.0,
        worst=float(trades.worst[row]),
        best=float(trades.best[row]),
        reason=None if code == NO_REASON else REASONS[code].value,
    )
