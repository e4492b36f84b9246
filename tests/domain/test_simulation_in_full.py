from dataclasses import replace

import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, SHORT, Candles
from app.domain.simulation import Reason, SimulationCosts, simulate
from tests.domain.small_markets import FLAT, FREE, candles_of, decided, outcome


def test_an_order_takes_at_most_a_share_of_the_volume_and_an_exit_goes_on_at_the_next_opens() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0, volume_share=0.1)
    prices = [FLAT, FLAT, FLAT, FLAT, FLAT, (90.0, 91.0, 89.0, 90.0)]
    candles = replace(candles_of(*prices), volume=np.array([1.0, 60.0, 0.0, 20.0, 25.0, 50.0]))
    simulation = outcome(candles, costs, flags={0: LONG, 1: EXIT, 2: LONG, 3: EXIT | LONG})

    assert [(fill.candle, fill.reason, round(fill.quantity, 9)) for fill in simulation.fills] == [
        (1, Reason.ENTRY, 6),
        (3, Reason.EXIT, 2),
        (4, Reason.EXIT, 2.5),
        (5, Reason.EXIT, 1.5),
    ]
    assert simulation.capped == 2
    assert len(simulation.trades) == 1


def test_an_entry_that_the_volume_leaves_nothing_of_is_denied_and_a_target_rests_with_what_it_did_not_get() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0, volume_share=0.1)
    up = (100.0, 111.0, 99.0, 109.0)
    candles = replace(candles_of(FLAT, FLAT, FLAT, up, up, (109.0, 112.0, 85.0, 90.0)), volume=np.array([0.0, 0, 100, 40, 30, 100]))
    simulation = outcome(candles, costs, flags={0: LONG, 1: LONG}, target={1: 110}, stop={1: 90})

    assert [(fill.candle, fill.reason, round(fill.quantity, 9)) for fill in simulation.fills] == [
        (2, Reason.ENTRY, 10),
        (3, Reason.TARGET, 4),
        (4, Reason.TARGET, 3),
        (5, Reason.STOP, 3),
    ]
    assert (simulation.denied, simulation.capped) == (1, 1)


def test_longs_pay_funding_three_times_a_day_and_shorts_receive_it() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0, funding_rate=0.001)
    hours = replace(candles_of(*[FLAT] * 12), time=np.arange(12) * 3_600_000 + 22 * 3_600_000)
    days = replace(candles_of(*[FLAT] * 4), time=np.arange(4) * 86_400_000)

    # Held from 23:00 on: midnight and eight in the morning, of ten units at 100.
    long = outcome(hours, costs, flags={0: LONG})
    short = outcome(hours, costs, flags={0: SHORT})
    # Entered on the stroke of a funding, which is the former holder's; left on the stroke of another, which is paid.
    stroke = outcome(hours, costs, flags={1: LONG, 9: EXIT})
    daily = outcome(days, costs, flags={0: LONG, 2: EXIT})

    assert [simulation.funding for simulation in (long, short, stroke, daily)] == pytest.approx([2, -2, 1, 6])
    assert long.equity[-1] == pytest.approx(998)
    assert (long.trades[0].funding, long.trades[0].profit) == pytest.approx((2, -2))


def test_shorter_candles_tell_whether_stop_or_target_came_first() -> None:
    candles = replace(candles_of(FLAT, FLAT, (100, 120, 80, 100)), time=np.arange(3) * 300_000)
    up_first = replace(candles_of((100, 120, 99, 118), (118, 118, 80, 100)), time=np.array([600_000, 660_000]))
    incomplete = up_first.until(1)

    def left(detail: Candles) -> list[tuple[Reason, float]]:
        decisions = decided(3, flags={0: LONG}, stop={0: 90}, target={0: 110})
        return [(fill.reason, fill.price) for fill in simulate(candles, decisions, FREE, detail=detail).fills[1:]]

    assert left(up_first) == [(Reason.TARGET, 110)]
    assert left(incomplete) == [(Reason.STOP, 90)]


def test_a_trailing_stop_follows_the_shorter_candles_too() -> None:
    candles = replace(candles_of(FLAT, (100, 130, 100, 110)), time=np.arange(2) * 300_000)
    minutes = replace(candles_of((100, 130, 100, 128), (128, 129, 110, 110)), time=np.array([300_000, 360_000]))
    decisions = decided(2, flags={0: LONG}, trailing={0: 0.1})

    assert [fill.reason for fill in simulate(candles, decisions, FREE).fills] == [Reason.ENTRY]
    fill = simulate(candles, decisions, FREE, detail=minutes).fills[1]
    assert (fill.candle, fill.reason, fill.price) == (1, Reason.TRAILING, 117.0)


@pytest.mark.parametrize(("tick", "level"), [(0.1, 0.3), (0.1, 1.7), (0.01, 0.57), (0.01, 1.13), (0.001, 0.035), (0.00001, 0.00015)])
@pytest.mark.parametrize("side", [1, -1])
def test_a_level_on_a_tick_is_touched_where_the_candle_says_so(tick: float, level: float, side: int) -> None:
    """Ticks of 0.1 times three are not 0.3 in floats, and a touch is what a limit and a target must not be filled by."""
    costs = replace(FREE, tick=tick)
    far, flags = level * (1 + side * 0.2), {0: float(LONG if side > 0 else SHORT)}
    touched = candles_of((far,) * 4, (far, max(far, level), min(far, level), far), (far,) * 4)
    assert simulate(touched, decided(3, flags=flags, limit={0: level}), costs).missed == 1

    near = level * (1 - side * 0.2)
    reached = candles_of((near,) * 4, (near, max(near, level), min(near, level), near), (near,) * 4)
    assert [fill.reason for fill in simulate(reached, decided(3, flags=flags, target={0: level}), costs).fills] == [Reason.ENTRY]

    stopped = simulate(touched, decided(3, flags=flags, stop={0: level}), costs).fills
    assert [(fill.reason, fill.price) for fill in stopped[1:]] == [(Reason.STOP, level)]


@pytest.mark.parametrize("side", [1, -1])
def test_a_target_that_is_set_where_the_price_is_already_is_a_market_order(side: int) -> None:
    """As an entry with a limit: whoever says so takes somebody's offer. One that has rested is filled where a candle opens beyond it."""
    costs = replace(FREE, fee=0.001, slippage=0.01)
    level = 100 - side * 5
    at_once = simulate(candles_of(*[FLAT] * 4), decided(4, flags={0: float(1 if side > 0 else 2)}, target={1: level}), costs).fills[1]
    assert (at_once.candle, at_once.reason) == (2, Reason.TARGET)
    assert at_once.price == pytest.approx(100 - side)
    assert at_once.fee == pytest.approx(at_once.quantity * at_once.price * 0.001)
    assert at_once.slippage == pytest.approx(at_once.quantity)

    near = 100 - side * 0.5
    bounded = simulate(candles_of(*[FLAT] * 4), decided(4, flags={0: float(1 if side > 0 else 2)}, target={1: near}), costs).fills[1]
    assert bounded.price == pytest.approx(near)

    beyond = 100 + side * 5.0
    gapped = candles_of(FLAT, FLAT, FLAT, (beyond, 106, 94, 100))
    said = dict.fromkeys((0, 1, 2), 100 + side * 3.0)
    rested = simulate(gapped, decided(4, flags={0: float(1 if side > 0 else 2)}, target=said), costs).fills[1]
    assert (rested.candle, rested.price, rested.fee, rested.slippage) == (3, beyond, 0.0, 0.0)


def test_of_targets_in_one_candle_the_nearest_goes_first_however_they_are_numbered() -> None:
    candles = candles_of(FLAT, (100, 125, 99, 124))
    fills = outcome(candles, flags={0: LONG}, target={0: 120.0}, target_2={0: 110.0}, part_2={0: 0.5}).fills

    assert [(fill.quantity, fill.price) for fill in fills[1:]] == [(5.0, 110.0), (5.0, 120.0)]


def test_an_adjustment_that_leaves_the_position_enters_nothing_though_the_row_says_long() -> None:
    """As with methods, of which `should_long` is asked only while flat."""
    fills = outcome(candles_of(*[FLAT] * 4), flags={0: LONG, 1: LONG}, adjust={1: -1.0}).fills
    assert [fill.reason for fill in fills] == [Reason.ENTRY, Reason.EXIT]


def test_an_exit_that_takes_many_candles_is_one_order_that_got_less() -> None:
    candles = candles_of(*[FLAT] * 7)
    candles = replace(candles, volume=np.array([100.0, 100.0, 4.0, 0.0, 4.0, 4.0, 4.0]))
    costs = replace(FREE, volume_share=0.5)
    simulation = simulate(candles, decided(7, flags={0: LONG, 1: EXIT}), costs)
    assert (len(simulation.fills), simulation.capped) == (5, 1)

    rising = replace(candles_of(FLAT, *[(100, 111, 99, 100)] * 6), volume=candles.volume)
    simulation = simulate(rising, decided(7, flags={0: LONG}, target={0: 110.0}), replace(costs, volume_share=0.5))
    assert simulation.capped == 0
    simulation = simulate(rising, decided(7, flags={0: LONG}, target={1: 110.0}), costs)
    assert (len(simulation.fills), simulation.capped) == (5, 1)


def test_a_trade_tells_the_worst_and_the_best_that_it_saw() -> None:
    candles = candles_of(FLAT, (100, 105, 92, 100), (100, 112, 95, 110), (108, 150, 50, 100))
    trades = [outcome(candles, flags={0: flag, 2: EXIT}).trades[0] for flag in (LONG, SHORT)]

    # Of the candle in which it is left nothing counts but the price that it left at.
    assert [(trade.worst, trade.best) for trade in trades] == [pytest.approx((-0.08, 0.12)), pytest.approx((-0.12, 0.08))]
