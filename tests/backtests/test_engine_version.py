"""What a stored engine version promises: the same input gives the same trades byte for byte, after an upgrade too."""

import hashlib
import random
from typing import Final

import numpy as np

from app.backtests.engine import ENGINE_VERSION, run
from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, no_decisions
from app.domain.simulation import SimulationCosts

#: When a change makes other trades of the same input, this is how it is noticed: give ENGINE_VERSION a new value, and put it here with the
#: digest that the test shows. Results of the version before stay as they are, and say that another engine made them.
DIGESTS: Final = {"1": "40ca1c865306fea5fb997597242c89b745a91849e9a488039316789ab9996e20"}
ROWS: Final = 4_000
COSTS: Final = SimulationCosts(
    capital=10_000.0, fee=0.001, maker_fee=0.0004, slippage=0.0005, step=0.001, tick=0.01, least_notional=5.0, volume_share=0.4,
    funding_rate=0.0001,
)  # fmt: skip


def market(chance: random.Random, rows: int, step_ms: int) -> Candles:
    """Return a walk of whole ticks: sums and products alone, as exponents may differ in their last bit from machine to machine."""
    close, columns = 10_000, []
    for _ in range(rows):
        open_ = close + int(chance.random() * 21) - 10
        close = max(open_ + int(chance.random() * 201) - 100, 500)
        high, low = max(open_, close) + int(chance.random() * 60), min(open_, close) - int(chance.random() * 60)
        columns.append((open_ / 100, high / 100, low / 100, close / 100, float(int(chance.random() * 400))))
    opens, highs, lows, closes, volumes = np.array(columns).T.copy()
    return Candles(1_704_067_200_000 + np.arange(rows, dtype=np.int64) * step_ms, opens, highs, lows, closes, volumes)


def decided(chance: random.Random, candles: Candles) -> Decisions:
    """Return a little of everything that a strategy may decide."""
    decisions = no_decisions(len(candles))
    for row in range(len(candles)):
        kind, share = chance.random(), chance.random()
        price = float(candles.close[row])
        if kind < 0.06:
            decisions.flags[row] = LONG if share < 0.5 else SHORT
            decisions.stop_loss[row], decisions.take_profit[row] = 0.02, 0.03
            decisions.size[row] = 0.25 + share / 2
        elif kind < 0.08:
            decisions.flags[row], decisions.limit[row] = LONG, price * 0.995
        elif kind < 0.10:
            decisions.flags[row] = EXIT
        elif kind < 0.12:
            decisions.adjust[row] = 0.5 if share < 0.5 else -0.5
        elif kind < 0.14:
            decisions.trailing[row] = 0.015
        elif kind < 0.15:
            decisions.target[row], decisions.part[row] = price * 1.01, 0.5
    return decisions


def test_the_same_input_gives_the_same_trades_as_long_as_the_engine_says_so() -> None:
    chance = random.Random(142)
    candles = market(chance, ROWS, 3_600_000)
    decisions = decided(chance, candles)
    digest = hashlib.sha256()
    for outcome in (run(candles, decisions, COSTS, 10), run(candles, decisions, SimulationCosts(), 0)):
        assert len(outcome.trades) > 50
        assert len(set(outcome.trades.reason.tolist())) >= 4
        for table in (outcome.trades, outcome.fills):
            for name in sorted(type(table).__dataclass_fields__):
                digest.update(getattr(table, name).tobytes())
        digest.update(outcome.equity.tobytes())
    assert digest.hexdigest() == DIGESTS.get(ENGINE_VERSION)
