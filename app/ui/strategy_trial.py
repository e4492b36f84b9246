"""A quick backtest as its page shows it: numbers, and what the script of its chart reads."""

from decimal import Decimal
from typing import Any, Final

from app.core.sentences import said_with
from app.domain.arrays import Candles
from app.domain.candles import from_milliseconds
from app.strategies.quick import QuickResult, QuickTrade
from app.ui.views import TrialNumbers, TrialView

_USUAL_TICK: Final = "0.01"


def trial_view(result: QuickResult) -> TrialView:
    """Return what a quick backtest came to."""
    times = result.series.time
    numbers = TrialNumbers(
        symbol=result.tried_on.symbol,
        timeframe=result.tried_on.timeframe,
        candles=result.candles,
        since=from_milliseconds(int(times[0])),
        until=from_milliseconds(int(times[-1])),
        trades=result.trade_count,
        net=_decimal(result.net_return),
        hold=_decimal(result.held_return),
        drawdown=_decimal(result.max_drawdown),
        win_rate=None if result.win_rate is None else _decimal(result.win_rate),
        profit_factor=_profit_factor(result.trades),
        exposure=_decimal(result.exposure),
        costs=_decimal(result.fees + result.slippage),
        denied=result.denied,
        quote=result.tried_on.symbol.partition("/")[2],
        has_few_trades=result.has_few_trades,
        is_open=bool(result.trades) and result.trades[-1].reason is None,
        is_generated=result.tried_on.is_generated,
    )
    notes = tuple(said_with(note.message, note.values) for note in result.notes)
    return TrialView(numbers=numbers, chart=_chart(result), notes=notes)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _profit_factor(trades: tuple[QuickTrade, ...]) -> Decimal | None:
    """What the winners won over what the losers lost; None without losers."""
    closed = [trade.profit for trade in trades if trade.reason is not None]
    lost = -sum(profit for profit in closed if profit < 0)
    return _decimal(sum(profit for profit in closed if profit > 0) / lost) if lost > 0 else None


def _chart(result: QuickResult) -> dict[str, Any]:
    return {
        "candles": _rows(result.series),
        "marks": [mark for trade in result.trades for mark in _marks(trade)],
        "equity": [[point.at_ms, point.equity] for point in result.points],
        "held": [[point.at_ms, point.held] for point in result.points],
        "tick": f"{result.tick:.12f}".rstrip("0") if result.tick else _USUAL_TICK,
    }


def _rows(candles: Candles) -> list[list[float]]:
    columns = (candles.time, candles.open, candles.high, candles.low, candles.close)
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _marks(trade: QuickTrade) -> list[dict[str, Any]]:
    is_long = trade.side == "long"
    entry = {"t": trade.entry_ms, "side": "buy" if is_long else "sell", "is_entry": True}
    if trade.reason is None:
        return [entry]
    return [entry, {"t": trade.exit_ms, "side": "sell" if is_long else "buy", "is_entry": False}]
