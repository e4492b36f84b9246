"""From a stored backtest to a file about it: read here, made in a process of the pool."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from app.backtests.export import ExportKind, exported
from app.backtests.export_run import ExportedRun, RunHeader
from app.backtests.models import BacktestResult
from app.backtests.packed import unpacked_equity, unpacked_fills, unpacked_trades
from app.backtests.report import from_stored
from app.backtests.service import Listed, listed
from app.backtests.wish import Rules, options_of
from app.core.db import Database
from app.core.tenancy import owned
from app.errors import ResultMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRun:
    """A run as the database has it: small enough to be handed to another process."""

    header: RunHeader
    report: dict[str, Any]
    trades: bytes
    fills: bytes
    equity: bytes


async def packed_run(database: Database, user_id: UUID, backtest_id: UUID) -> PackedRun:
    """Return a backtest with its result.

    Raises:
        BacktestNotFound: no such backtest of this user.
        ResultMissing: it has none.
    """
    async with database.transaction() as session:
        found = await listed(session, user_id, backtest_id)
        result = await session.scalar(owned(BacktestResult, user_id).where(BacktestResult.backtest_id == backtest_id))
    if result is None or found.backtest.report is None:
        raise ResultMissing
    return PackedRun(
        header=header_of(found), report=found.backtest.report, trades=result.trades, fills=result.fills, equity=result.equity
    )  # fmt: skip


def exported_packed(run: PackedRun, kind: ExportKind, language: str) -> bytes:
    """Return a file; for a process of the pool."""
    times, equity = unpacked_equity(run.equity)
    whole = ExportedRun(
        header=run.header,
        report=from_stored(run.report),
        trades=unpacked_trades(run.trades),
        fills=unpacked_fills(run.fills),
        times=times,
        equity=equity,
    )
    return exported(whole, kind, language=language)


def header_of(found: Listed) -> RunHeader:
    """Return what repeats a backtest."""
    backtest = found.backtest
    options, rules = options_of(backtest.options), msgspec.convert(backtest.rules, Rules)
    known = (backtest.data or {}).get("parameters")
    return RunHeader(
        number=backtest.number, state=backtest.state, strategy=found.strategy_name, version=found.version_number,
        version_id=str(backtest.version_id), parameters=dict(known or backtest.parameters), exchange=backtest.exchange,
        symbol=backtest.symbol, timeframe=backtest.timeframe, start_at=backtest.start_at, end_at=backtest.end_at, capital=backtest.capital,
        fee=backtest.fee, maker_fee=backtest.maker_fee, slippage=backtest.slippage, volume_share=options.volume_share,
        funding_rate=options.funding_rate, detail=options.is_detailed, tick=rules.tick, step=rules.step,
        least_notional=rules.least_notional, engine_version=backtest.engine_version, seed=backtest.seed,
        candles_sha256=backtest.candles_sha256, finished_at=backtest.finished_at, note=backtest.note,
    )  # fmt: skip
