import pytest

from app.domain.arrays import EXIT, LONG, SHORT, no_decisions
from app.domain.simulation import Reason, SimulationCosts, simulate
from tests.domain.small_markets import FLAT, FREE, candles_of, decided, outcome


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
