from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderState, OrderType, Role
from app.domain.guard import (
    Cancel,
    ChangeMode,
    ChangePlan,
    Finish,
    MoveStop,
    PlacePair,
    PlaceStop,
    PlaceTarget,
    SendTriggered,
    decide,
    pause_s,
    slices,
)
from app.domain.guarded import REST, WHOLE, Guarded, Leg, Mode
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, Target, dump_plan, load_plan

D = Decimal
ONE, SIXTY = D(1), D(60000)
BTC = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=D("0.01"),
    step_size=D("0.00001"),
    min_quantity=D("0.00001"),
    min_notional=D(5),
)
STOP = ProtectionPlan(stop_price=D(59000))
HALVES = ProtectionPlan(stop_price=D(59000), targets=(Target(price=D(61000), fraction=D("0.5")), Target(price=D(62000), fraction=D("0.5"))))


def guarded(
    plan: ProtectionPlan = STOP, mode: Mode = Mode.STOP_AT_VENUE, *, held: str = "1", legs: tuple[Leg, ...] = (), **more: Any
) -> Guarded:
    known = {"base_quantity": D(1), "average_price": D(60000), "last_price": D(60000)} | more
    return Guarded(plan=plan, mode=mode, instrument=BTC, quantity=D(held), legs=legs, **known)


def stop_leg(**fields: Any) -> Leg:
    known: dict[str, Any] = {
        "order_id": "s",
        "slice": WHOLE,
        "role": Role.STOP,
        "type": OrderType.STOP_MARKET,
        "state": OrderState.OPEN,
        "quantity": D(1),
        "trigger_price": D(59000),
        "is_working": False,
    }
    return Leg(**(known | fields))


def target_leg(index: int, **fields: Any) -> Leg:
    known: dict[str, Any] = {
        "order_id": f"t{index}",
        "slice": index,
        "role": Role.TARGET,
        "type": OrderType.TAKE_PROFIT,
        "state": OrderState.INTENT,
        "quantity": D("0.5"),
        "trigger_price": (D(61000), D(62000))[index],
        "is_held": True,
    }
    return Leg(**(known | fields))


def test_a_fresh_position_gets_its_stop_and_then_nothing_more() -> None:
    assert decide(guarded()) == [PlaceStop(slice=WHOLE, quantity=D(1))]
    assert decide(guarded(legs=(stop_leg(),))) == []


def test_what_came_in_later_gets_a_further_stop_and_the_first_one_stays() -> None:
    assert decide(guarded(held="1.5", legs=(stop_leg(),))) == [PlaceStop(slice=WHOLE, quantity=D("0.5"))]


def test_a_smaller_position_takes_back_only_as_many_stops_as_it_must() -> None:
    legs = (stop_leg(order_id="old", age_s=60.0), stop_leg(order_id="young", quantity=D("0.5"), age_s=1.0))
    (cancel,) = decide(guarded(held="1.2", legs=legs))
    assert isinstance(cancel, Cancel)
    assert cancel.order_id == "young"


def test_each_target_has_a_pair_at_the_venue_and_the_rest_a_stop() -> None:
    third = replace(HALVES, targets=(Target(price=D(61000), fraction=D("0.3")), Target(price=D(62000), fraction=D("0.3"))))
    assert decide(guarded(third, Mode.PAIRS)) == [
        PlacePair(slice=0, quantity=D("0.3"), price=D(61000)),
        PlacePair(slice=1, quantity=D("0.3"), price=D(62000)),
        PlaceStop(slice=REST, quantity=D("0.4")),
    ]


def test_a_fee_in_base_makes_the_last_part_smaller_and_nothing_is_oversold() -> None:
    parts = slices(guarded(HALVES, Mode.PAIRS, held="0.999"))
    assert parts == [(0, D("0.5")), (1, D("0.499"))]


def test_a_part_too_small_for_the_exchange_joins_the_one_before() -> None:
    small = replace(HALVES, targets=(Target(price=D(61000), fraction=D("0.99995")),))
    assert slices(guarded(small, Mode.PAIRS)) == [(0, D(1))]


def test_without_pairs_the_stop_lies_at_the_venue_and_targets_are_watched() -> None:
    assert decide(guarded(HALVES)) == [
        PlaceStop(slice=WHOLE, quantity=D(1)),
        PlaceTarget(slice=0, quantity=D("0.5"), price=D(61000), is_held=True),
        PlaceTarget(slice=1, quantity=D("0.5"), price=D(62000), is_held=True),
    ]


def test_a_target_that_is_reached_makes_the_stop_step_aside_then_sells_and_the_stop_comes_back_for_the_rest() -> None:
    reached = target_leg(0, is_held=False, is_triggered=True)
    resting = stop_leg()
    (cancel,) = decide(guarded(HALVES, legs=(resting, reached, target_leg(1))))
    assert isinstance(cancel, Cancel)
    assert cancel.order_id == "s"
    assert decide(guarded(HALVES, legs=(replace(resting, is_cancel_requested=True), reached, target_leg(1)))) == []
    gone = replace(resting, state=OrderState.CANCELED)
    assert decide(guarded(HALVES, legs=(gone, reached, target_leg(1)))) == [SendTriggered(order_id="t0", quantity=D("0.5"))]
    selling = target_leg(0, is_held=False, state=OrderState.SUBMITTING)
    assert decide(guarded(HALVES, legs=(gone, selling, target_leg(1)))) == [PlaceStop(slice=WHOLE, quantity=D("0.5"))]
    sold = target_leg(0, is_held=False, state=OrderState.FILLED, filled=D("0.5"))
    assert decide(guarded(HALVES, held="0.5", legs=(gone, sold, target_leg(1)))) == [PlaceStop(slice=WHOLE, quantity=D("0.5"))]


def test_a_price_beyond_the_stop_with_no_stop_there_is_an_exit_at_market() -> None:
    (exit_now,) = decide(guarded(last_price=D(58000)))
    assert exit_now == PlaceStop(slice=WHOLE, quantity=D(1), is_market=True)


def test_two_refusals_make_the_guard_simpler_and_one_only_makes_it_wait() -> None:
    once = (stop_leg(order_id="a", state=OrderState.REJECTED, age_s=0.1),)
    assert decide(guarded(legs=once)) == []
    assert pause_s(guarded(legs=once)) == pytest.approx(0.15)
    twice = (*once, stop_leg(order_id="b", state=OrderState.REJECTED, age_s=5.0))
    assert decide(guarded(legs=twice)) == [ChangeMode(mode=Mode.SUPERVISED)]
    assert decide(guarded(HALVES, Mode.PAIRS, legs=twice)) == [ChangeMode(mode=Mode.STOP_AT_VENUE)]
    assert ChangeMode(mode=Mode.SUPERVISED) not in decide(guarded(legs=twice, mode_age_s=0.1))
    (held,) = decide(guarded(STOP, Mode.SUPERVISED, legs=twice, mode_age_s=0.1))
    assert held == PlaceStop(slice=WHOLE, quantity=D(1), is_held=True)


def test_the_stop_moves_to_break_even_when_the_first_target_is_sold() -> None:
    plan = replace(HALVES, break_even_after=1)
    sold = target_leg(0, is_held=False, state=OrderState.FILLED, filled=D("0.5"))
    (change,) = decide(guarded(plan, held="0.5", average_price=D("60000.004"), legs=(stop_leg(quantity=D("0.5")), sold)))
    assert isinstance(change, ChangePlan)
    assert change.plan.stop_price == D("60000.01")
    assert change.plan.break_even_after is None


def test_a_moved_stop_replaces_the_one_at_the_venue() -> None:
    moved = replace(STOP, stop_price=D(59500))
    assert decide(guarded(moved, legs=(stop_leg(),))) == [MoveStop(order_id="s", slice=WHOLE, quantity=D(1))]
    refused = stop_leg(order_id="new", trigger_price=D(59500), state=OrderState.REJECTED)
    (cancel,) = decide(guarded(moved, legs=(stop_leg(age_s=9.0), refused)))
    assert isinstance(cancel, Cancel)
    (cancel,) = decide(guarded(moved, Mode.SUPERVISED, legs=(stop_leg(),)))
    assert isinstance(cancel, Cancel)


def test_a_stop_limit_that_the_market_jumped_over_is_taken_back_to_exit_at_market() -> None:
    plan = replace(STOP, stop_limit_price=D(58900))
    jumped = stop_leg(type=OrderType.STOP_LIMIT, price=D(58900), is_working=True, age_s=31.0)
    (cancel,) = decide(guarded(plan, last_price=D(58000), legs=(jumped,)))
    assert isinstance(cancel, Cancel)
    assert decide(guarded(plan, last_price=D(58000), legs=(replace(jumped, state=OrderState.CANCELED),))) == [
        PlaceStop(slice=WHOLE, quantity=D(1), is_market=True)
    ]


def test_legs_of_a_closed_position_are_taken_back_and_the_protection_ends() -> None:
    (cancel,) = decide(guarded(held="0", legs=(stop_leg(),)))
    assert isinstance(cancel, Cancel)
    assert decide(guarded(held="0", legs=(stop_leg(state=OrderState.CANCELED),))) == [Finish()]


def test_legs_step_aside_for_as_much_as_another_order_sells() -> None:
    (cancel,) = decide(guarded(legs=(stop_leg(),), leaving=D(1)))
    assert isinstance(cancel, Cancel)
    assert decide(guarded(leaving=D(1))) == [], "and nothing comes to an end while that order may fail"
    assert decide(guarded(leaving=D("0.4"))) == [PlaceStop(slice=WHOLE, quantity=D("0.6"))]


def test_what_was_sold_and_is_not_counted_yet_is_not_guarded_again() -> None:
    sold = stop_leg(state=OrderState.FILLED, filled=D(1))
    assert decide(guarded(legs=(sold,), uncounted=D(1))) == []
    half = stop_leg(state=OrderState.PARTIAL, filled=D("0.5"), is_working=True)
    assert decide(guarded(legs=(half,), uncounted=D("0.5"))) == []
    gone = stop_leg(state=OrderState.CANCELED, filled=D("0.5"))
    assert decide(guarded(legs=(gone,), uncounted=D("0.5"))) == [PlaceStop(slice=WHOLE, quantity=D("0.5"))]


def test_a_leg_that_is_reached_while_the_position_is_being_closed_is_not_sent() -> None:
    reached = target_leg(0, is_held=False, is_triggered=True)
    (cancel,) = decide(guarded(HALVES, legs=(reached,), leaving=D(1)))
    assert isinstance(cancel, Cancel)
    (send,) = decide(guarded(HALVES, legs=(reached,), leaving=D("0.6")))
    assert send == SendTriggered(order_id="t0", quantity=D("0.4"))


def test_there_is_room_for_a_close_once_no_leg_holds_what_it_sells() -> None:
    assert guarded(legs=(stop_leg(),), leaving=D(1)).in_the_way
    assert guarded(legs=(stop_leg(state=OrderState.INTENT),), leaving=D(1)).in_the_way, "it may be claimed any moment"
    assert guarded(legs=(target_leg(0, is_held=False, is_triggered=True),), leaving=D(1)).in_the_way
    assert not guarded(legs=(target_leg(0), stop_leg(state=OrderState.CANCELED)), leaving=D(1)).in_the_way
    assert not guarded(legs=(stop_leg(quantity=D("0.4")),), leaving=D("0.6")).in_the_way


def test_a_stop_in_doubt_covers_nothing_and_one_that_is_known_or_watched_does() -> None:
    assert guarded(legs=(stop_leg(state=OrderState.UNKNOWN),)).covered == 0
    assert guarded(legs=(stop_leg(),)).covered == 1
    assert guarded(legs=(stop_leg(state=OrderState.INTENT, is_held=True),)).covered == 1


def test_a_stop_that_may_have_taken_the_old_ones_place_is_waited_for() -> None:
    moved = replace(STOP, stop_price=D(59500))
    for state in (OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN):
        on_its_way = stop_leg(order_id="new", trigger_price=D(59500), state=state)
        assert decide(guarded(moved, legs=(stop_leg(age_s=9.0), on_its_way))) == []


def test_what_targets_of_an_earlier_plan_sold_does_not_count_for_this_one() -> None:
    plan = replace(HALVES, break_even_after=1)
    sold = target_leg(0, is_held=False, state=OrderState.FILLED, filled=D("0.5"), is_of_plan=False)
    look = guarded(plan, legs=(stop_leg(), sold))
    assert slices(look) == [(0, D("0.5")), (1, D("0.5"))]
    assert not [step for step in decide(look) if isinstance(step, ChangePlan)]
    (cancel,) = decide(guarded(HALVES, legs=(stop_leg(), target_leg(0, is_of_plan=False), target_leg(1))))
    assert isinstance(cancel, Cancel)
    assert cancel.order_id == "t0"


def test_what_a_bot_adds_after_a_target_was_filled_is_for_the_targets_that_are_left() -> None:
    sold = target_leg(0, type=OrderType.LIMIT, state=OrderState.FILLED, price=D(61000), filled=D("0.5"), is_held=False)
    grown = guarded(HALVES, Mode.PAIRS, held="1.5", legs=(sold,), base_quantity=D(2), last_price=D(61500))
    assert slices(replace(grown, fills_once=True)) == [(1, D("1.5"))]
    # A further fill of the same entry has its part at the first target as well.
    assert slices(grown) == [(0, D("0.5")), (1, D("1.0"))]


@pytest.mark.parametrize("mode", [Mode.PAIRS, Mode.STOP_AT_VENUE])
def test_of_a_bots_position_nothing_stays_behind_that_is_too_small_to_be_sold(mode: Mode) -> None:
    nearly_all = guarded(STOP, mode, held="1.00002", legs=(stop_leg(),))
    assert decide(nearly_all) == []
    (step,) = decide(replace(nearly_all, fills_once=True))
    assert step == Cancel(order_id="s", why="what it leaves is too small for an order of its own")
    assert decide(replace(nearly_all, fills_once=True, legs=())) == [PlaceStop(slice=WHOLE, quantity=D("1.00002"))]


def test_a_plan_survives_its_storage() -> None:
    plan = replace(HALVES, trailing_delta=D("0.01"), stop_limit_price=D("58900.10"), break_even_after=1)
    assert load_plan(dump_plan(plan)) == plan
