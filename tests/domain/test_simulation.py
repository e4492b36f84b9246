from dataclasses import replace

import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, no_decisions
from app.domain.simulation import Reason, Simulation, SimulationCosts, simulate

FREE = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0)


def candles_of(*rows: tuple[float, float, float, float]) -> Candles:
    """Return candles of (open, high, low, close)."""
    columns = np.array(rows, dtype=np.float64).T
    return Candles(np.arange(len(rows)) * 60_000, columns[0], columns[1], columns[2], columns[3], np.ones(len(rows)))


def decided(rows: int, **columns: dict[int, float]) -> Decisions:
    decisions = no_decisions(rows)
    for name, values in columns.items():
        for row, value in values.items():
            getattr(decisions, name)[row] = value
    return decisions


def outcome(candles: Candles, costs: SimulationCosts = FREE, **columns: dict[int, float]) -> Simulation:
    return simulate(candles, decided(len(candles), **columns), costs)


FLAT = (100.0, 101.0, 99.0, 100.0)


def test_a_decision_is_filled_at_the_next_open_and_not_at_the_close_it_was_made_at() -> None:
    simulation = outcome(candles_of(FLAT, (102, 110, 101, 108), (107, 109, 105, 106)), flags={0: LONG, 1: EXIT})

    (trade,) = simulation.trades
    assert (trade.entry_candle, trade.exit_candle) == (1, 2)
    assert [trade.entry_price, trade.exit_price] == pytest.approx([102, 107])
    assert trade.profit == pytest.approx(1_000 / 102 * 5)
    assert simulation.equity.tolist() == pytest.approx([1_000, 1_000 / 102 * 108, 1_000 / 102 * 107])


def test_slippage_and_fees_go_against_the_trader_on_both_sides() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.001, slippage=0.01)
    simulation = outcome(candles_of(FLAT, FLAT, FLAT), costs, flags={0: LONG, 1: EXIT})

    buy, sell = simulation.fills
    assert (buy.price, sell.price) == (101.0, 99.0)
    assert buy.quantity * buy.price * 1.001 == pytest.approx(1_000)
    assert simulation.fees == pytest.approx(buy.quantity * (101 + 99) * 0.001)
    assert simulation.slippage == pytest.approx(buy.quantity * 2)
    assert simulation.equity[-1] == pytest.approx(1_000 - simulation.fees - simulation.slippage)


def test_where_stop_and_target_lie_in_one_candle_the_stop_goes_first() -> None:
    simulation = outcome(candles_of(FLAT, FLAT, (100, 120, 80, 100)), flags={0: LONG}, stop={0: 90}, target={0: 110})

    assert [(fill.reason, fill.price) for fill in simulation.fills][1:] == [(Reason.STOP, 90)]


def test_a_stop_lives_from_the_candle_of_the_fill_on() -> None:
    simulation = outcome(candles_of(FLAT, (100, 101, 85, 100)), flags={0: LONG}, stop={0: 90})

    assert [(fill.candle, fill.reason) for fill in simulation.fills] == [(1, Reason.ENTRY), (1, Reason.STOP)]


@pytest.mark.parametrize(
    ("candle", "expected"),
    [
        ((85, 95, 84, 92), (Reason.STOP, 85)),
        ((115, 120, 80, 100), (Reason.TARGET, 115)),
        ((100, 110, 95, 100), None),
        ((100, 110.01, 95, 100), (Reason.TARGET, 110)),
        ((100, 105, 90, 100), (Reason.STOP, 90)),
    ],
    ids=["opens below the stop", "opens above the target", "touches the target", "goes through the target", "touches the stop"],
)
def test_what_a_candle_does_to_a_long(candle: tuple[float, float, float, float], expected: tuple[Reason, float] | None) -> None:
    simulation = outcome(candles_of(FLAT, FLAT, candle), flags={0: LONG}, stop={0: 90}, target={0: 110})

    assert [(fill.reason, fill.price) for fill in simulation.fills[1:]] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("candle", "expected"),
    [
        ((115, 120, 100, 101), (Reason.STOP, 115)),
        ((85, 120, 80, 100), (Reason.TARGET, 85)),
        ((100, 105, 90, 100), None),
        ((100, 105, 89.9, 100), (Reason.TARGET, 90)),
        ((100, 110, 80, 100), (Reason.STOP, 110)),
    ],
)
def test_what_a_candle_does_to_a_short(candle: tuple[float, float, float, float], expected: tuple[Reason, float] | None) -> None:
    simulation = outcome(candles_of(FLAT, FLAT, candle), flags={0: SHORT}, stop={0: 110}, target={0: 90})

    assert [(fill.reason, fill.price) for fill in simulation.fills[1:]] == ([] if expected is None else [expected])


def test_a_target_pays_the_makers_fee_and_no_slippage() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.002, maker_fee=0.001, slippage=0.01)
    simulation = outcome(candles_of(FLAT, FLAT, (100, 120, 100, 100)), costs, flags={0: LONG}, target={0: 110})

    target = simulation.fills[1]
    assert (target.price, target.slippage) == (110, 0)
    assert target.fee == pytest.approx(target.quantity * 110 * 0.001)


def test_fractions_are_measured_from_the_fill_and_not_from_the_close() -> None:
    simulation = outcome(
        candles_of(FLAT, (120, 125, 119, 120), (120, 121, 107, 110)), flags={0: LONG}, stop_loss={0: 0.1}, take_profit={0: 0.5}
    )

    assert (simulation.fills[1].reason, simulation.fills[1].price) == (Reason.STOP, 108)


def test_a_stop_only_tightens_and_a_target_moves_both_ways() -> None:
    candles = candles_of(FLAT, FLAT, FLAT, FLAT, (100, 104, 94, 100))
    simulation = outcome(candles, flags={0: LONG}, stop={0: 90, 1: 95, 2: 80}, target={0: 110, 3: 200})

    assert (simulation.fills[1].reason, simulation.fills[1].price) == (Reason.STOP, 95)


def test_a_trailing_stop_follows_what_closed_candles_have_shown() -> None:
    candles = candles_of(FLAT, (100, 120, 100, 118), (118, 130, 107, 110))
    simulation = outcome(candles, flags={0: LONG}, trailing={0: 0.1})

    # 10 % below 120, the high of the candle before: the 130 of this one may have come after its low.
    assert simulation.fills[1].reason is Reason.TRAILING
    assert simulation.fills[1].price == pytest.approx(108)


def test_parts_are_taken_off_and_added_at_the_next_open() -> None:
    candles = candles_of(FLAT, (100, 101, 99, 100), (110, 111, 109, 110), (120, 121, 119, 120), (130, 131, 129, 130))
    simulation = outcome(candles, flags={0: LONG, 3: EXIT}, size={0: 0.5}, adjust={1: -0.5, 2: 1.0})

    assert [(fill.reason, round(fill.quantity, 9)) for fill in simulation.fills] == [
        (Reason.ENTRY, 5),
        (Reason.REDUCE, 2.5),
        (Reason.ADD, 2.5),
        (Reason.EXIT, 5),
    ]
    (trade,) = simulation.trades
    assert trade.quantity == pytest.approx(7.5)
    assert trade.profit == pytest.approx(2.5 * 110 + 5 * 130 - 5 * 100 - 2.5 * 120)


def test_nothing_is_borrowed_to_add() -> None:
    simulation = outcome(candles_of(FLAT, FLAT, FLAT, FLAT), flags={0: LONG}, size={0: 0.8}, adjust={1: 5.0})

    assert simulation.fills[1].quantity == pytest.approx(2)
    assert simulation.denied == 0


def test_one_decision_turns_a_position_round() -> None:
    simulation = outcome(candles_of(FLAT, FLAT, FLAT), flags={0: LONG, 1: EXIT | SHORT})

    assert [(fill.candle, fill.side) for fill in simulation.fills] == [(1, 1), (2, -1), (2, -1)]
    assert [trade.side for trade in simulation.trades] == [1, -1]


def test_quantities_are_floored_and_prices_put_on_the_tick_against_the_trader() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0005, step=0.1, tick=0.5)
    simulation = outcome(candles_of(FLAT, FLAT, (100, 108, 90, 100)), costs, flags={0: LONG}, stop={0: 95.7})

    assert [(fill.price, round(fill.quantity, 9)) for fill in simulation.fills] == [(100.5, 9.9), (95.0, 9.9)]


def test_an_entry_below_the_least_notional_is_denied_and_counted_but_leaving_never_is() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.0, maker_fee=0.0, slippage=0.0, least_notional=50)
    candles = candles_of(FLAT, FLAT, FLAT, (20, 21, 19, 20), (20, 21, 19, 20))
    simulation = outcome(candles, costs, flags={0: LONG, 1: LONG, 3: EXIT}, size={0: 0.01, 1: 0.06}, adjust={2: -0.5})

    assert [fill.reason for fill in simulation.fills] == [Reason.ENTRY, Reason.EXIT]
    assert simulation.denied == 2
    assert simulation.fills[1].quantity * simulation.fills[1].price < 50


def test_what_is_worth_less_than_a_tick_cannot_be_sold_short() -> None:
    simulation = outcome(candles_of(*[(0.4, 0.4, 0.4, 0.4)] * 3), SimulationCosts(tick=1.0, fee=0.0, slippage=0.0), flags={0: SHORT})
    assert (simulation.denied, simulation.trades) == (1, ())


def test_a_short_is_closed_where_its_losses_have_eaten_the_equity() -> None:
    simulation = outcome(candles_of(FLAT, FLAT, (150, 250, 149, 240), (240, 250, 230, 240)), flags={0: SHORT, 2: LONG})

    assert (simulation.fills[1].reason, simulation.fills[1].price) == (Reason.LIQUIDATION, 200)
    assert simulation.equity[-1] == 0
    assert simulation.denied == 1


def test_a_position_that_is_open_at_the_end_is_marked_and_shown_as_open() -> None:
    simulation = outcome(candles_of(FLAT, (100, 111, 99, 110)), flags={0: LONG})

    (trade,) = simulation.trades
    assert trade.is_open
    assert trade.profit == pytest.approx(100)
    assert simulation.equity[-1] == pytest.approx(1_100)
    assert simulation.candles_held == 1


def test_decisions_before_the_start_do_not_count() -> None:
    candles = candles_of(FLAT, FLAT, FLAT)

    assert not simulate(candles, decided(3, flags={0: LONG}), FREE, start=1).fills


def test_decisions_must_be_as_many_as_candles() -> None:
    with pytest.raises(ValueError, match="was 2 for 3"):
        simulate(candles_of(FLAT, FLAT, FLAT), no_decisions(2), FREE)


def test_a_limit_rests_for_the_next_candle_and_fills_where_the_price_trades_through_it() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.002, maker_fee=0.001, slippage=0.01)
    touched = outcome(candles_of(FLAT, (100, 101, 98, 100), (98, 99, 90, 95)), costs, flags={0: LONG}, limit={0: 98})
    through = outcome(candles_of(FLAT, (100, 101, 97.9, 100)), costs, flags={0: LONG}, limit={0: 98})

    assert (touched.fills, touched.missed, touched.denied) == ((), 1, 0)
    (fill,) = through.fills
    assert (fill.candle, fill.price, fill.slippage) == (1, 98, 0)
    assert fill.fee == pytest.approx(fill.quantity * 98 * 0.001)
    assert fill.quantity * 98 * 1.001 == pytest.approx(1_000)


def test_a_limit_that_meets_an_offer_at_the_open_takes_it_and_pays_no_more_than_its_price() -> None:
    costs = SimulationCosts(capital=1_000.0, fee=0.002, maker_fee=0.001, slippage=0.01)
    candles = candles_of(FLAT, (100, 101, 99, 100))
    better = outcome(candles, costs, flags={0: LONG}, limit={0: 105}).fills[0]
    bounded = outcome(candles, costs, flags={0: LONG}, limit={0: 100.5}).fills[0]
    sold = outcome(candles, costs, flags={0: SHORT}, limit={0: 95}).fills[0]

    assert [fill.price for fill in (better, bounded, sold)] == [101, 100.5, 99]
    assert better.fee == pytest.approx(better.quantity * 101 * 0.002)


def test_after_a_limits_fill_only_what_must_have_come_later_counts() -> None:
    stopped = outcome(candles_of(FLAT, (100, 130, 89, 120)), flags={0: LONG}, limit={0: 98}, stop={0: 90}, target={0: 110})
    reached = outcome(candles_of(FLAT, (100, 130, 95, 120)), flags={0: LONG}, limit={0: 98}, stop={0: 90}, target={0: 110})
    unknown = outcome(candles_of(FLAT, (100, 130, 95, 105)), flags={0: LONG}, limit={0: 98}, stop={0: 90}, target={0: 110})
    above = outcome(candles_of(FLAT, (100, 130, 95, 105)), flags={0: LONG}, limit={0: 98}, stop={0: 99})

    assert [(fill.reason, fill.price) for fill in stopped.fills[1:]] == [(Reason.STOP, 90)]
    assert [(fill.reason, fill.price) for fill in reached.fills[1:]] == [(Reason.TARGET, 110)]
    assert [fill.reason for fill in unknown.fills] == [Reason.ENTRY]
    assert [(fill.reason, fill.price) for fill in above.fills[1:]] == [(Reason.STOP, 98)]


def test_targets_take_their_parts_of_what_was_entered_and_the_last_one_the_rest() -> None:
    candles = candles_of(FLAT, (100, 101, 99, 100), (100, 111, 99, 110), (110, 111, 99, 100), (100, 121, 99, 120), (120, 131, 119, 130))
    simulation = outcome(
        candles, flags={0: LONG}, target={0: 110, 2: 105}, target_2={0: 120}, target_3={0: 130}, part={0: 0.5}, part_2={0: 0.3}
    )

    assert [(fill.candle, fill.price, round(fill.quantity, 9)) for fill in simulation.fills[1:]] == [(2, 110, 5), (4, 120, 3), (5, 130, 2)]
    (trade,) = simulation.trades
    assert (trade.reason, trade.exit_candle) == (Reason.TARGET, 5)
    assert trade.profit == pytest.approx(5 * 10 + 3 * 20 + 2 * 30)


def test_a_candle_that_opens_beyond_several_targets_fills_them_at_its_open_and_the_stop_goes_before_the_rest() -> None:
    candles = candles_of(FLAT, FLAT, (115, 130, 85, 100))
    simulation = outcome(
        candles, flags={0: LONG}, stop={0: 90}, target={0: 105}, target_2={0: 110}, target_3={0: 120}, part={0: 0.5}, part_2={0: 0.2}
    )

    assert [(fill.reason, fill.price, round(fill.quantity, 9)) for fill in simulation.fills[1:]] == [
        (Reason.TARGET, 115, 5),
        (Reason.TARGET, 115, 2),
        (Reason.STOP, 90, 3),
    ]


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
