"""Equity curves and trades to measure: what tests of metrics are made on."""

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.metrics import DAY_MS
from app.domain.outcome import NO_REASON, REASONS, FillColumns, Outcome, TradeColumns
from app.domain.simulated import Reason

#: 2024-01-01 00:00 UTC, a Monday.
NEW_YEAR_MS = 1_704_067_200_000


def curve(*levels: float, step_ms: int = DAY_MS, start_ms: int = NEW_YEAR_MS) -> tuple[Times, Floats]:
    """Return a curve with one level every `step_ms`."""
    return start_ms + np.arange(len(levels), dtype=np.int64) * step_ms, np.array(levels, dtype=np.float64)


def random_curve(seed: int) -> tuple[Times, Floats]:
    """Return a curve from midnight to midnight with holes of hours and days, calm and wild weeks, and flat parts without a position."""
    random = np.random.default_rng(seed)
    step_ms = int(random.choice([900_000, 3_600_000, 4 * 3_600_000, DAY_MS]))
    days = int(random.integers(5, 60 if step_ms == 900_000 else 500))
    start = NEW_YEAR_MS + int(random.integers(0, 1000)) * DAY_MS
    rows = days * DAY_MS // step_ms + 1
    deviation = 0.02 * np.sqrt(step_ms / DAY_MS) * np.exp(random.normal(0, 1, rows).cumsum() * 0.01)
    moves = random.normal(random.normal(0, 0.05) * deviation, deviation) * random.choice([0.0, 1.0], rows, p=[0.3, 0.7])
    equity = float(random.uniform(10, 1e6)) * np.exp(np.append(0.0, np.clip(moves[1:], -0.5, 0.5)).cumsum())
    kept = random.random(rows) > 0.05
    hole = int(random.integers(1, rows))
    kept[hole : hole + int(random.integers(0, 3 * DAY_MS // step_ms + 1))] = False
    kept[[0, -1]] = True
    return (start + np.arange(rows, dtype=np.int64) * step_ms)[kept], equity[kept]


def trades_of(
    *rows: tuple[int, int, float], side: int = 1, quantity: float = 1.0, price: float = 100.0, reason: Reason | None = Reason.EXIT
) -> TradeColumns:
    """Return trades of (entry candle, exit candle, profit), all with the same rest."""
    count = len(rows)
    profit = np.array([row[2] for row in rows], dtype=np.float64)
    return TradeColumns(
        side=np.full(count, side, dtype=np.int8),
        entry_candle=np.array([row[0] for row in rows], dtype=np.int64),
        exit_candle=np.array([row[1] for row in rows], dtype=np.int64),
        quantity=np.full(count, quantity),
        entry_price=np.full(count, price),
        exit_price=price + side * profit / quantity,
        fees=np.zeros(count),
        slippage=np.zeros(count),
        funding=np.zeros(count),
        profit=profit,
        worst=np.minimum(profit / price / quantity, 0.0) - 0.01,
        best=np.maximum(profit / price / quantity, 0.0) + 0.02,
        reason=np.full(count, NO_REASON if reason is None else REASONS.index(reason), dtype=np.int8),
    )


def joined(*parts: TradeColumns) -> TradeColumns:
    """Return trades one after the other."""
    return TradeColumns(*(np.concatenate([getattr(part, name) for part in parts]) for name in TradeColumns.__dataclass_fields__))


def no_fills() -> FillColumns:
    """Return columns of no execution."""
    none, codes, rows = np.empty(0), np.empty(0, dtype=np.int8), np.empty(0, dtype=np.int64)
    return FillColumns(candle=rows, side=codes, quantity=none, price=none, fee=none, slippage=none, reason=codes)


def outcome_with(equity: Floats, trades: TradeColumns | None = None, **figures: float) -> Outcome:
    """Return an outcome with that equity; what is not given is nothing."""
    known = {"denied": 0, "capped": 0, "fees": 0.0, "slippage": 0.0, "funding": 0.0, "candles_held": 0} | figures
    return Outcome(trades=trades_of() if trades is None else trades, fills=no_fills(), equity=equity, **known)  # type: ignore[arg-type]
