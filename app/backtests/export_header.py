"""From a stored backtest to what a file about it is made of."""

import msgspec

from app.backtests.export_run import ExportedRun, RunHeader
from app.backtests.report import from_stored
from app.backtests.service import Listed
from app.backtests.wish import Rules, options_of
from app.domain.arrays import Floats, Times
from app.domain.outcome import FillColumns, TradeColumns


def header_of(listed: Listed) -> RunHeader:
    """Return what repeats a backtest."""
    backtest = listed.backtest
    options, rules = options_of(backtest.options), msgspec.convert(backtest.rules, Rules)
    known = (backtest.data or {}).get("parameters")
    return RunHeader(
        number=backtest.number, state=backtest.state, strategy=listed.strategy_name, version=listed.version_number,
        version_id=str(backtest.version_id), parameters=dict(known or backtest.parameters), exchange=backtest.exchange,
        symbol=backtest.symbol, timeframe=backtest.timeframe, start_at=backtest.start_at, end_at=backtest.end_at, capital=backtest.capital,
        fee=backtest.fee, maker_fee=backtest.maker_fee, slippage=backtest.slippage, volume_share=options.volume_share,
        funding_rate=options.funding_rate, detail=options.is_detailed, tick=rules.tick, step=rules.step,
        least_notional=rules.least_notional, engine_version=backtest.engine_version, seed=backtest.seed,
        candles_sha256=backtest.candles_sha256, finished_at=backtest.finished_at, note=backtest.note,
    )  # fmt: skip


def exported_run(listed: Listed, trades: TradeColumns, fills: FillColumns, times: Times, equity: Floats) -> ExportedRun | None:
    """Return a backtest with its result, for `export.exported`; None when it has none."""
    if listed.backtest.report is None:
        return None
    report = from_stored(listed.backtest.report)
    return ExportedRun(header=header_of(listed), report=report, trades=trades, fills=fills, times=times, equity=equity)
