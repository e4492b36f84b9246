"""The trades of a backtest as its page shows them: a list in three orders, and the marks of a stretch of the price chart."""

from decimal import Decimal
from typing import Any, Final, Literal

import numpy as np

from app.backtests.results import BacktestTrade, StoredResult, TradeOrder, page_of_trades
from app.domain.candles import to_milliseconds
from app.domain.outcome import NO_REASON
from app.ui.views.backtest import TradeList, TradeRow

Sort = Literal["recent", "best", "worst"]
PAGE: Final = 50
#: Of one stretch of the chart: beyond it nobody could tell one from another.
MOST_MARKS: Final = 2_000
_PLACES: Final = 8


def trade_list(
    result: StoredResult, number: int, *, sort: Sort = "recent", after: int = 0, quote: str = "", tick: Decimal | None = None
) -> TradeList:
    """Return one page of the list: the trades behind the first `after` ones of that order."""
    page = page_of_trades(result, order=TradeOrder(sort), limit=PAGE, cursor=str(after))
    return TradeList(
        number=number,
        sort=sort,
        rows=tuple(_row(trade) for trade in page.trades),
        total=page.total,
        next="" if page.next is None else f"/backtests/{number}/trades?sort={sort}&after={page.next}",
        quote=quote,
        tick=tick,
        place=f"{sort}-{after}",
    )


def _row(trade: BacktestTrade) -> TradeRow:
    return TradeRow(
        number=trade.number,
        side="long" if trade.side == "long" else "short",
        entered_at=trade.entry_at,
        left_at=trade.exit_at,
        t_in=to_milliseconds(trade.entry_at),
        t_out=to_milliseconds(trade.exit_at),
        entry_price=_amount(trade.entry_price),
        exit_price=_amount(trade.exit_price),
        quantity=_amount(trade.quantity),
        profit=_amount(trade.profit),
        fraction=_amount(trade.profit_fraction),
        held_s=(trade.exit_at - trade.entry_at).total_seconds(),
        reason=trade.reason or "",
        is_open=trade.reason is None,
    )


def _amount(value: float) -> Decimal:
    return Decimal(f"{value:.{_PLACES}f}").normalize() + 0


def marks(result: StoredResult, first_ms: int, last_ms: int) -> list[dict[str, Any]]:
    """Return the last trades that were open at some time of a stretch, as the chart's script reads them."""
    trades, time = result.trades, result.time
    entered, left = time[trades.entry_candle], time[trades.exit_candle]
    rows = np.flatnonzero((entered <= last_ms) & (left >= first_ms))[-MOST_MARKS:].tolist()
    return [
        {
            "number": row + 1,
            "side": "long" if trades.side[row] > 0 else "short",
            "in": int(entered[row]),
            "out": int(left[row]),
            "entry": float(trades.entry_price[row]),
            "exit": float(trades.exit_price[row]),
            "profit": float(trades.profit[row]),
            "open": int(trades.reason[row]) == NO_REASON,
        }
        for row in rows
    ]
