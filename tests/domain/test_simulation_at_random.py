"""The simulation beside a second reading of its rules and beside the matching engine, on random candles and decisions."""

from collections import Counter

import numpy as np
import pytest

from app.domain.arrays import LONG, SHORT, Candles
from app.domain.book import BookOrder, Depth, Level, TapePrint
from app.domain.enums import OrderType, Side
from app.domain.matching import MatchingEngine
from app.domain.simulation import Reason, simulate
from tests.domain.candle_reference import Reference, exact
from tests.domain.markets_at_random import guarded, random_case
from tests.domain.small_markets import FLAT, candles_of, outcome


@pytest.mark.parametrize("seed", range(150))
def test_random_candles_and_decisions_come_out_as_in_the_reference(seed: int) -> None:
    case = random_case(seed)

    simulation = simulate(case.candles, case.decisions, case.costs, detail=case.detail)
    reference = Reference(case.candles, case.decisions, case.costs, case.detail).run()

    ours = [(fill.candle, fill.side, str(fill.reason)) for fill in simulation.fills]
    assert ours == [(fill.candle, fill.side, fill.reason) for fill in reference.fills]
    for fill, theirs in zip(simulation.fills, reference.fills, strict=True):
        assert fill.price == pytest.approx(float(theirs.price), rel=1e-9)
        assert fill.quantity == pytest.approx(float(theirs.quantity), rel=1e-6)
    counted = (simulation.denied, simulation.capped, simulation.missed)
    assert counted == (reference.denied, reference.capped, reference.missed)
    assert simulation.funding == pytest.approx(float(reference.funding), rel=1e-6, abs=1e-9)
    assert simulation.equity.tolist() == pytest.approx([float(value) for value in reference.equity], rel=1e-6, abs=1e-6)
    profit = sum(trade.profit for trade in simulation.trades)
    assert profit == pytest.approx(float(reference.equity[-1]) - case.costs.capital, rel=1e-6, abs=1e-4)


def test_random_cases_have_everything_in_them() -> None:
    fills, counts = Counter[str](), Counter[str]()
    for seed in range(40):
        case = random_case(seed, is_plain=False)
        simulation = simulate(case.candles, case.decisions, case.costs, detail=case.detail)
        fills.update(str(fill.reason) for fill in simulation.fills)
        counts += Counter(denied=simulation.denied, capped=simulation.capped, missed=simulation.missed, funded=int(simulation.funding != 0))
        parts = Counter((fill.candle, fill.reason) for fill in simulation.fills if fill.reason is Reason.TARGET)
        counts["two targets in a candle"] += sum(count > 1 for count in parts.values())
        guarded_fills = simulate(case.candles, case.decisions, guarded(case, seed), detail=case.detail).fills
        fills.update(str(fill.reason) for fill in guarded_fills if fill.reason is Reason.SAFEGUARD)
    assert set(fills) == set(Reason)
    assert min([*fills.values(), *counts.values()]) > 3, (fills, counts)


@pytest.mark.parametrize("seed", range(60))
def test_a_bracket_ends_as_in_the_matching_engine(seed: int) -> None:
    """The engine of paper trading is walked along each candle's path, the worse end first."""
    chance = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(chance.normal(0, 0.01, 80))), 2)
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.round(np.maximum(open_, close) * (1 + np.abs(chance.normal(0, 0.004, 80))), 2)
    low = np.round(np.minimum(open_, close) * (1 - np.abs(chance.normal(0, 0.004, 80))), 2)
    candles = Candles(np.arange(80) * 60_000, open_, high, low, close, np.ones(80))
    is_long = bool(seed % 2)
    side = 1 if is_long else -1
    stop, target = round(open_[1] * (1 - side * 0.02), 2), round(open_[1] * (1 + side * 0.03), 2)

    simulation = outcome(candles, flags={0: LONG if is_long else SHORT}, stop={0: stop}, target={0: target})

    engine = MatchingEngine(step_size=exact(0.0001))
    leaving = Side.SELL if is_long else Side.BUY
    engine.submit(_order("stop", leaving, OrderType.STOP_MARKET, trigger=stop), Depth())
    engine.submit(_order("target", leaving, OrderType.LIMIT, price=target), Depth())
    expected = _first_exit(engine, candles, stop, is_long=is_long)
    left = [(fill.candle, str(fill.reason), fill.price) for fill in simulation.fills[1:]]
    assert left == ([expected] if expected else [])


@pytest.mark.parametrize("seed", range(60))
def test_an_entry_with_a_limit_is_filled_as_in_the_matching_engine(seed: int) -> None:
    """The order arrives at the open, where somebody offers at the open's price, and the candle's worse end is traded at first."""
    chance = np.random.default_rng(seed)
    side = Side.BUY if seed % 2 else Side.SELL
    open_, high, low, close = np.round(100 + np.array([0, *chance.uniform(0, 1, 2) * (1, -1), chance.uniform(-0.5, 0.5)]), 2)
    high, low = max(open_, high, close), min(open_, low, close)
    limit = float(np.round(open_ + chance.choice([0, 0.2, low - open_, high - open_, chance.uniform(-1, 1)]), 2))

    simulation = outcome(candles_of(FLAT, (open_, high, low, close)), flags={0: LONG if side is Side.BUY else SHORT}, limit={0: limit})

    engine = MatchingEngine(step_size=exact(0.0001))
    offer = (Level(price=exact(open_), quantity=exact(1000)),)
    fills = [*engine.submit(_order("entry", side, OrderType.LIMIT, price=limit), Depth(bids=offer, asks=offer)).fills]
    for price in (low, high) if side is Side.BUY else (high, low):
        fills += engine.trade(TapePrint(price=exact(price), quantity=exact(1000)), Depth()).fills
    assert [fill.price for fill in simulation.fills[:1]] == [float(fill.price) for fill in fills]
    assert simulation.missed == (0 if fills else 1)


def _order(name: str, side: Side, kind: OrderType, *, price: float | None = None, trigger: float | None = None) -> BookOrder:
    return BookOrder(
        order_id=name,
        side=side,
        type=kind,
        quantity=exact(1),
        price=None if price is None else exact(price),
        trigger_price=None if trigger is None else exact(trigger),
        oco="bracket",
    )


def _first_exit(engine: MatchingEngine, candles: Candles, stop: float, *, is_long: bool) -> tuple[int, str, float] | None:
    for row in range(1, len(candles)):
        worse, better = (candles.low[row], candles.high[row]) if is_long else (candles.high[row], candles.low[row])
        path = [candles.open[row], worse, better, candles.close[row]]
        for begin, end in zip([path[0], *path], path, strict=False):
            # Somebody trades at the stop's level on the way, and offers there.
            steps = [stop] if min(begin, end) < stop < max(begin, end) else []
            for price in (*steps, end):
                level = (Level(price=exact(price), quantity=exact(1000)),)
                outcome_ = engine.trade(TapePrint(price=exact(price), quantity=exact(1000)), Depth(bids=level, asks=level))
                for fill in outcome_.fills:
                    return row, fill.order_id, float(fill.price)
    return None
