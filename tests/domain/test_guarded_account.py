"""Safeguards of a simulated account, each by numbers that can be followed by hand: no costs, a capital of 1,000, candles of one hour."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, SHORT, Candles
from app.domain.safeguards import RuleNumbers, SafeguardNumbers
from app.domain.simulation import Reason, Simulation
from tests.domain.small_markets import FREE, candles_of, outcome

HOUR_MS = 3_600_000
Prices = tuple[float, float, float, float]


def hours(*prices: Prices, first: int = 0) -> Candles:
    """Return candles of an hour, the first of which opens at hour `first` of 1970."""
    candles = candles_of(*prices)
    return replace(candles, time=(np.arange(len(candles)) + first) * HOUR_MS)


def played(candles: Candles, flags: dict[int, int], **rules: RuleNumbers | float | bool) -> Simulation:
    given = SafeguardNumbers(timeframe_ms=HOUR_MS, **rules)  # type: ignore[arg-type]  # each by its name
    return outcome(candles, replace(FREE, safeguards=given), flags={row: float(flag) for row, flag in flags.items()})


def flat(price: float) -> Prices:
    return price, price, price, price


def test_a_daily_loss_that_flattens_sells_where_it_is_reached_and_lets_nothing_in_again() -> None:
    candles = hours(flat(100), flat(100), (100, 101, 94, 99), flat(99), flat(99), flat(120))
    simulation = played(candles, {0: LONG, 2: LONG, 3: LONG}, daily_loss=RuleNumbers(limit=0.05, flattens=True))
    (trade,) = simulation.trades
    assert (trade.reason, trade.exit_candle, trade.exit_price) == (Reason.SAFEGUARD, 2, 95)
    (trip,) = simulation.trips
    assert (trip.candle, trip.measured, trip.equity, trip.base) == (2, 0.05, 950, 1_000)
    assert simulation.refused == 2
    assert simulation.equity[-1] == 950


def test_a_gap_below_the_level_sells_at_the_open() -> None:
    simulation = played(hours(flat(100), flat(100), flat(90)), {0: LONG}, daily_loss=RuleNumbers(limit=0.05, flattens=True))
    assert simulation.trades[0].exit_price == 90
    assert simulation.trips[0].measured == 0.1


def test_one_that_suspends_keeps_the_position_with_its_exit() -> None:
    candles = hours(flat(100), flat(100), (100, 101, 94, 99), flat(99), flat(110), flat(110), flat(120))
    simulation = played(candles, {0: LONG, 3: EXIT, 4: LONG}, daily_loss=RuleNumbers(limit=0.05))
    (trade,) = simulation.trades
    assert (trade.reason, trade.exit_price) == (Reason.EXIT, 110)
    assert [(trip.candle, trip.flattens, trip.equity) for trip in simulation.trips] == [(2, False, 940)]
    assert simulation.refused == 1


def test_a_new_day_begins_at_the_equity_of_the_close_before() -> None:
    # From 22:00 on: 4 % are lost before midnight, 4 % after it.
    candles = hours(flat(100), flat(100), (100, 100, 92, 96), flat(92), first=21)
    assert played(candles, {0: LONG}, daily_loss=RuleNumbers(limit=0.05)).trips[0].candle == 2
    candles = hours(flat(100), flat(100), (100, 100, 96, 96), flat(92), first=21)
    assert played(candles, {0: LONG}, daily_loss=RuleNumbers(limit=0.05)).trips == ()
    candles = replace(candles, time=candles.time - 10 * HOUR_MS)
    assert played(candles, {0: LONG}, daily_loss=RuleNumbers(limit=0.05)).trips[0].candle == 3


def test_drawdown_is_measured_from_the_highest_close() -> None:
    candles = hours(flat(100), flat(100), (100, 300, 100, 200), (200, 200, 181, 190), (190, 190, 179, 190))
    (trip,) = played(candles, {0: LONG}, drawdown=RuleNumbers(limit=0.1)).trips
    assert (trip.candle, trip.base, trip.equity) == (4, 2_000, 1_790)


def test_a_short_is_guarded_the_other_way_round() -> None:
    simulation = played(hours(flat(100), flat(100), (100, 108, 99, 100)), {0: SHORT}, drawdown=RuleNumbers(limit=0.05, flattens=True))
    (trade,) = simulation.trades
    assert (trade.reason, trade.exit_price) == (Reason.SAFEGUARD, 105)


def test_a_stop_that_is_nearer_goes_first() -> None:
    given = SafeguardNumbers(timeframe_ms=HOUR_MS, drawdown=RuleNumbers(limit=0.05, flattens=True))
    costs = replace(FREE, safeguards=given)
    simulation = outcome(hours(flat(100), flat(100), (100, 100, 90, 95)), costs, flags={0: LONG}, stop={0: 97})
    assert simulation.trades[0].reason is Reason.STOP
    assert simulation.trips == ()


def trading(*profits: float) -> tuple[Candles, dict[int, int]]:
    """Return candles in which trades of so many quote units a unit are made one after the other: entered at 100, left three candles on."""
    prices, flags = [flat(100)], {}
    for profit in profits:
        flags[len(prices) - 1] = LONG
        prices += [flat(100), flat(100 + profit), flat(100 + profit)]
        flags[len(prices) - 2] = EXIT
        prices += [flat(100)]
    return hours(*prices, flat(100)), flags


def test_a_streak_of_losses_trips_at_its_length() -> None:
    candles, flags = trading(-1, -1, 1, -1, -1, -1, 1)
    simulation = played(candles, flags, losses=RuleNumbers(limit=3))
    assert [trip.measured for trip in simulation.trips] == [3]
    assert len(simulation.trades) == 6
    assert simulation.refused == 1


def test_what_was_re_armed_counts_anew() -> None:
    candles, flags = trading(-1, -1, -1, -1, -1)
    simulation = played(candles, flags, losses=RuleNumbers(limit=2, rearm_ms=HOUR_MS))
    assert [trip.candle for trip in simulation.trips] == [simulation.trades[1].exit_candle, simulation.trades[3].exit_candle]
    assert len(simulation.trades) == 5


def test_drawdown_begins_at_the_equity_of_the_re_arming() -> None:
    candles = hours(flat(100), flat(100), flat(89), flat(89), flat(85), flat(81), flat(80))
    rule = RuleNumbers(limit=0.1, rearm_ms=HOUR_MS)
    # Trips at 89 in candle 2; re-armed with candle 4, at the close of 89 before it; 10 % below that is 80.1.
    assert [trip.candle for trip in played(candles, {0: LONG}, drawdown=rule).trips] == [2, 6]


@pytest.mark.parametrize(("window", "trips"), [(8, 1), (4, 0)])
def test_stops_count_within_their_window_only(window: int, trips: int) -> None:
    prices = [flat(100), flat(100), (100, 100, 90, 100), flat(100), flat(100), flat(100), flat(100), (100, 100, 90, 100)]
    given = SafeguardNumbers(timeframe_ms=HOUR_MS, stops_window_ms=window * HOUR_MS, stops=RuleNumbers(limit=2))
    costs = replace(FREE, safeguards=given)
    simulation = outcome(hours(*prices), costs, flags={0: LONG, 4: LONG}, stop={0: 95, 4: 95})
    assert [trade.reason for trade in simulation.trades] == [Reason.STOP] * 2
    assert len(simulation.trips) == trips


@pytest.mark.parametrize(("losing_only", "profit", "waits"), [(False, 5, True), (True, 5, False), (True, -5, True)])
def test_a_cooldown_lets_so_many_candles_pass(losing_only: bool, profit: float, waits: bool) -> None:  # noqa: FBT001
    candles, flags = trading(profit)
    left = max(row for row, flag in flags.items() if flag == EXIT) + 1
    candles = hours(*[(p, p, p, p) for p in candles.open], *[flat(100)] * 6)
    entered = dict.fromkeys(range(left, left + 5), LONG)
    simulation = played(candles, flags | entered, cooldown_ms=2 * HOUR_MS, is_after_losing=losing_only)
    # The candle after the one in which it closed is the first that passes.
    assert simulation.trades[1].entry_candle == (left + 3 if waits else left + 1)
    assert simulation.refused == (2 if waits else 0)


def test_an_entry_and_an_addition_are_cut_to_what_a_position_may_be_worth() -> None:
    given = SafeguardNumbers(timeframe_ms=HOUR_MS, most_notional=450.0)
    costs = replace(FREE, safeguards=given, step=1.0)
    candles = hours(flat(100), flat(100), flat(50), flat(50), flat(50))
    simulation = outcome(candles, costs, flags={0: LONG}, adjust={2: 3.0})
    assert [fill.quantity for fill in simulation.fills] == [4, 5]
    assert simulation.limited == 2


def test_nothing_is_added_to_a_position_while_a_rule_has_tripped() -> None:
    given = SafeguardNumbers(timeframe_ms=HOUR_MS, drawdown=RuleNumbers(limit=0.05))
    candles = hours(flat(100), flat(100), flat(90), flat(90), flat(90), flat(90))
    simulation = outcome(candles, replace(FREE, safeguards=given), flags={0: LONG}, size={0: 0.5}, adjust={1: 0.1, 3: 0.1, 4: -0.5})
    assert [fill.reason for fill in simulation.fills] == [Reason.ENTRY, Reason.ADD, Reason.REDUCE]
    assert simulation.refused == 1
