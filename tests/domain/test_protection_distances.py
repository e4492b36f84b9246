"""Stops and targets that are measured from what the entry pays."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Side
from app.domain.grid import on_tick, tighter
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, Target, dump_plan, fitted_plan, load_plan
from app.errors import OrderDenied

BTC = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_notional=Decimal(5),
)
WISH = ProtectionPlan(stop_fraction=Decimal("0.02"), targets=(Target(gain=Decimal("0.04"), fraction=Decimal("0.5")),))


def fitted(plan: ProtectionPlan, *, entry: str | None = "60000", quantity: str = "0.01") -> ProtectionPlan:
    price = None if entry is None else Decimal(entry)
    return fitted_plan(plan, BTC, side=Side.BUY, entry_price=price, quantity=Decimal(quantity))


def test_distances_become_prices_when_the_entry_has_paid() -> None:
    plan = fitted(WISH).from_entry(Decimal("60000.10"))
    assert plan.stop_price == Decimal("58800.09"), "58800.098, on the tick below"
    assert plan.targets[0].at == Decimal("62400.11"), "62400.104, on the tick above"
    assert not plan.is_empty


def test_the_tighter_of_two_stops_holds() -> None:
    near = fitted(replace(WISH, stop_price=Decimal(59500))).from_entry(Decimal(60000))
    far = fitted(replace(WISH, stop_price=Decimal(50000))).from_entry(Decimal(60000))
    assert (near.stop_price, far.stop_price) == (Decimal(59500), Decimal(58800))


def test_a_further_fill_of_the_entry_moves_both_and_a_level_that_was_moved_stays() -> None:
    wished = fitted(replace(WISH, stop_price=Decimal(58000)))
    first = wished.from_entry(Decimal(60000))
    second = first.from_entry(Decimal(59000), wished=wished)
    assert (second.stop_price, second.targets[0].at) == (Decimal(58000), Decimal(61360)), "57820 is below the price that was given"
    moved = replace(first, stop_price=Decimal(59900), stop_fraction=None)
    assert moved.from_entry(Decimal(59000), wished=wished).stop_price == Decimal(59900)


@pytest.mark.parametrize(
    "plan",
    [
        replace(WISH, stop_fraction=Decimal(0)),
        replace(WISH, stop_fraction=Decimal(1)),
        replace(WISH, trailing_delta=Decimal("0.01")),
        replace(WISH, stop_limit_price=Decimal(58000), stop_price=Decimal(58001)),
        replace(WISH, targets=(Target(fraction=Decimal(1)),)),
        replace(WISH, targets=(Target(fraction=Decimal(1), gain=Decimal("0.1"), price=Decimal(70000)),)),
        replace(WISH, targets=(Target(fraction=Decimal(1), gain=Decimal(0)),)),
        replace(WISH, targets=(Target(fraction=Decimal(1), gain=Decimal("0.1")), Target(fraction=Decimal("0.1"), gain=Decimal("0.2")))),
    ],
)
def test_a_distance_that_means_nothing_is_refused(plan: ProtectionPlan) -> None:
    with pytest.raises(OrderDenied):
        fitted(plan)
    with pytest.raises(OrderDenied):
        fitted(plan, entry=None)


def test_what_could_not_be_sold_at_its_stop_is_refused_beforehand() -> None:
    with pytest.raises(OrderDenied, match="could not be sold"):
        fitted(replace(WISH, stop_fraction=Decimal("0.5")), quantity="0.0001")


def test_a_plan_without_distances_is_written_as_before_there_were_any() -> None:
    plan = ProtectionPlan(stop_price=Decimal("58000.10"), targets=(Target(price=Decimal(65000), fraction=Decimal(1)),), break_even_after=1)
    assert dump_plan(plan) == {
        "stop_price": "58000.10",
        "stop_limit_price": None,
        "trailing_delta": None,
        "targets": [{"price": "65000", "fraction": "1"}],
        "break_even_after": 1,
    }
    assert load_plan(dump_plan(plan)) == plan


_prices = st.decimals("0.01", "99999", places=2)
_fractions = st.decimals("0.0001", "0.5", places=4)


@given(_prices, _fractions, _fractions, st.none() | _prices)
def test_prices_are_those_of_a_backtest(paid: Decimal, below: Decimal, above: Decimal, bound: Decimal | None) -> None:
    """The backtest's account computes in floats, `domain.account._open`."""
    plan = ProtectionPlan(
        stop_price=bound, stop_fraction=below, targets=(Target(gain=above, fraction=Decimal(1)),), tick_size=BTC.tick_size
    )
    found = plan.from_entry(paid)
    tick, price = float(BTC.tick_size), float(paid)
    stop = tighter(1, None if bound is None else float(bound), price * (1 - float(below)))
    assert stop is not None
    assert float(found.stop_price or 0) == pytest.approx(on_tick(stop, tick, up=False), abs=1e-9)
    assert float(found.targets[0].at) == pytest.approx(on_tick(price * (1 + float(above)), tick, up=True), abs=1e-9)
    assert load_plan(dump_plan(found)) == found
