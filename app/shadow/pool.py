"""Simulates a shadow and compares it, in a process of the pool. Arguments and answers cross over pickled."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from app.backtests import engine
from app.backtests.lending import DecisionSource
from app.backtests.work import Task
from app.domain.arrays import Candles, Floats
from app.domain.metrics_tables import telling_rows
from app.shadow.compare import compare
from app.shadow.differences import Comparison, Difference
from app.shadow.lives import LiveLife, Market
from app.shadow.recorded import Recorded, live_life
from app.shadow.simulated import shadow_life

#: Points of the two curves that are kept.
MOST_POINTS: Final = 400
#: Differences that are kept: those of most money, and the rest of them summed up by `causes` all the same.
MOST_DIFFERENCES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the shadow's account pays, exactly; fractions of a fill's notional. `step` is base units."""

    fee: Decimal
    maker_fee: Decimal
    step: Decimal
    by_account: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is stored of a comparison; see `models.BotShadow`."""

    engine_version: str
    live: Decimal
    shadow: Decimal
    rest: Decimal
    live_trades: int
    shadow_trades: int
    causes: dict[str, str]
    differences: list[dict[str, Any]]
    curve: list[list[float]]


def compare_in_pool(task: Task, decisions: DecisionSource, recorded: Recorded, terms: Terms) -> Compared:
    """Return how a bot did beside its shadow.

    Raises:
        StrategyKilled: the memory holds what no decision can be.
    """
    candles, decided = task.candles.here(), decisions.here()
    outcome = engine.run(candles, decided, task.costs, task.start)
    lived = candles.between(task.start, len(candles))
    market = Market(
        time=lived.time, opens=lived.open, closes=lived.close, timeframe=task.timeframe_ms, fee=terms.fee, maker_fee=terms.maker_fee,
        slippage=task.costs.slippage, tick=task.costs.tick, step=terms.step,
    )  # fmt: skip
    live = live_life(recorded, market)
    shadow = shadow_life(outcome.fills, decided, candles.time, market, by_account=terms.by_account)
    found = compare(live, shadow, market)
    return _compared(found, _curve(lived, live, outcome.equity[task.start :], task.timeframe_ms))


def _compared(found: Comparison, curve: list[list[float]]) -> Compared:
    kept = sorted(found.differences, key=lambda one: (one.cause != "decision", -abs(one.money)))[:MOST_DIFFERENCES]
    return Compared(
        engine_version=engine.ENGINE_VERSION,
        live=found.live,
        shadow=found.shadow,
        rest=found.rest,
        live_trades=found.live_trades,
        shadow_trades=found.shadow_trades,
        causes={cause.value: f"{money:f}" for cause, money in found.by_cause.items()},
        differences=[stored(one) for one in sorted(kept, key=lambda one: one.at)],
        curve=curve,
    )


def stored(one: Difference) -> dict[str, Any]:
    """Return a difference as rows and the API have it: `at` in ms, amounts as text."""
    return {
        "cause": one.cause.value, "at": one.at, "money": f"{one.money:f}", "message": one.message, "values": dict(one.values),
        "code": one.code, "signal_id": one.signal, "order_ids": list(one.order_ids), "bps": None if one.bps is None else f"{one.bps:f}",
    }  # fmt: skip


def _curve(candles: Candles, live: LiveLife, shadow: Floats, timeframe_ms: int) -> list[list[float]]:
    """Return close times in ms and the equity of both, in few points."""
    cash, held = np.full(len(candles), float(live.capital)), np.zeros(len(candles))
    for trade in live.trades:
        for act in trade.acts:
            row, sign = int(np.searchsorted(candles.time, act.candle)), 1 if act.kind.is_buy else -1
            if row < len(candles):
                cash[row:] -= sign * float(act.value) + float(act.fee)
                held[row:] += sign * float(act.quantity)
    equity = cash + held * candles.close
    rows = telling_rows(equity, shadow, MOST_POINTS)
    times = candles.time[rows] + timeframe_ms
    return [[int(at), round(float(own), 8), round(float(its), 8)] for at, own, its in zip(times, equity[rows], shadow[rows], strict=True)]
