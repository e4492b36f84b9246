from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Side
from app.domain.instruments import Instrument, plain
from app.errors import DenialReason, OrderDenied

BTC = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    max_quantity=Decimal(9000),
    min_price=Decimal("0.01"),
    max_price=Decimal(1000000),
    min_notional=Decimal(5),
    max_notional=Decimal(9000000),
)
BARE = Instrument(symbol="AB/C", base="AB", quote="C", tick_size=Decimal("0.5"), step_size=Decimal(3))

steps = st.sampled_from([Decimal(text) for text in ("0.00001", "0.001", "1", "0.25", "3", "10")])
# Longer than the 28 digits of the usual arithmetic: people and programs do write such numbers.
numbers = st.decimals("1e-30", "1e20", allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("quantity", "floored"),
    [("0.123456789", "0.12345"), ("0.00001", "0.00001"), ("0.0000099", "0"), ("0.9999999999999999999999999999999", "0.99999")],
)
def test_quantity_is_cut_to_the_step(quantity: str, floored: str) -> None:
    assert BTC.floor_quantity(Decimal(quantity)) == Decimal(floored)


def test_step_need_not_be_a_power_of_ten() -> None:
    assert BARE.floor_quantity(Decimal("10.9")) == Decimal(9)
    assert BARE.round_price(Side.BUY, Decimal("1.9")) == Decimal("1.5")


def test_price_goes_to_the_side_that_is_safe() -> None:
    assert BTC.round_price(Side.BUY, Decimal("100.019")) == Decimal("100.01")
    assert BTC.round_price(Side.SELL, Decimal("100.011")) == Decimal("100.02")
    assert BTC.round_price(Side.SELL, Decimal("100.01")) == Decimal("100.01")


@given(numbers, steps)
def test_quantity_is_never_rounded_up(quantity: Decimal, step: Decimal) -> None:
    instrument = Instrument(symbol="A/B", base="A", quote="B", tick_size=Decimal(1), step_size=step)
    floored = instrument.floor_quantity(quantity)
    assert 0 <= floored <= quantity
    assert quantity < floored + step or quantity > Decimal("1e27")


@given(numbers, steps, st.sampled_from(Side))
def test_price_never_moves_against_the_trader(price: Decimal, tick: Decimal, side: Side) -> None:
    instrument = Instrument(symbol="A/B", base="A", quote="B", tick_size=tick, step_size=Decimal(1))
    rounded = instrument.round_price(side, price)
    assert rounded <= price if side is Side.BUY else rounded >= price


@pytest.mark.parametrize(
    ("quantity", "reason", "words"),
    [
        ("0", DenialReason.QUANTITY_BELOW_MINIMUM, "BTC/USDT: the smallest quantity is 0.00001 BTC, was 0"),
        ("9000.00001", DenialReason.QUANTITY_ABOVE_MAXIMUM, "BTC/USDT: the largest quantity is 9000 BTC, was 9000.00001"),
    ],
)
def test_quantity_out_of_bounds_is_refused_with_both_numbers(quantity: str, reason: DenialReason, words: str) -> None:
    with pytest.raises(OrderDenied) as caught:
        BTC.check_quantity(Decimal(quantity))
    assert (caught.value.reason, caught.value.message, caught.value.field) == (reason, words, "quantity")


@pytest.mark.parametrize("price", ["0", "0.001", "1000000.01"])
def test_price_out_of_bounds_is_refused_with_both_numbers(price: str) -> None:
    with pytest.raises(OrderDenied, match=f"at least 0.01 and at most 1000000 USDT, was {price}") as caught:
        BTC.check_price(Decimal(price))
    assert caught.value.reason is DenialReason.PRICE_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("quantity", "price", "reason", "words"),
    [
        ("0.00001", "60000", DenialReason.NOTIONAL_BELOW_MINIMUM, "0.6 USDT is below the exchange minimum of 5 USDT"),
        ("9000", "60000", DenialReason.NOTIONAL_ABOVE_MAXIMUM, "540000000 USDT is above the exchange maximum of 9000000 USDT"),
    ],
)
def test_worth_out_of_bounds_is_refused_with_both_numbers(quantity: str, price: str, reason: DenialReason, words: str) -> None:
    with pytest.raises(OrderDenied, match=words) as caught:
        BTC.check_notional(Decimal(quantity), Decimal(price))
    assert caught.value.reason is reason


def test_exchange_without_bounds_still_has_its_grid() -> None:
    BARE.check_quantity(Decimal(3))
    BARE.check_price(Decimal("0.5"))
    BARE.check_notional(Decimal("1e9"), Decimal("1e9"))
    with pytest.raises(OrderDenied, match="the smallest quantity is 3 AB"):
        BARE.check_quantity(Decimal(2))
    with pytest.raises(OrderDenied, match=r"at least 0\.5 C"):
        BARE.check_price(Decimal("0.4"))


@pytest.mark.parametrize(
    ("value", "text"), [("1E-5", "0.00001"), ("5.00", "5"), ("100", "100"), ("1E+3", "1000"), ("0.10", "0.1"), ("-0.50", "-0.5")]
)
def test_number_is_written_without_exponent_or_trailing_zeros(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text
