from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderType, Side, Source, TimeInForce
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.sizing import MARKET_MARGIN, SizedOrder, needs_reference_price, size
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
)
PRICE = Decimal(60000)


def intent(side: Side = Side.BUY, **fields: Any) -> OrderIntent:
    return OrderIntent(symbol="BTCUSDT", side=side, source=Source.MANUAL, key="k", **fields)


def sized(wish: OrderIntent, *, instrument: Instrument = BTC, price: Decimal | None = PRICE, **known: Any) -> SizedOrder:
    return size(wish, instrument, reference_price=price, **known)


def denied(wish: OrderIntent, **known: Any) -> OrderDenied:
    with pytest.raises(OrderDenied) as caught:
        sized(wish, **known)
    return caught.value


def test_quantity_is_floored_and_a_market_order_has_no_price() -> None:
    order = sized(intent(quantity=Decimal("0.123456789"), price=Decimal(1)))
    assert (order.symbol, order.quantity, order.price) == ("BTC/USDT", Decimal("0.12345"), None)


def test_limit_price_goes_to_the_tick_on_the_safe_side() -> None:
    limit = {"type": OrderType.LIMIT, "quantity": Decimal(1), "price": Decimal("60000.005")}
    assert sized(intent(Side.BUY, **limit)).price == Decimal("60000.00")
    assert sized(intent(Side.SELL, **limit)).price == Decimal("60000.01")


def test_how_long_and_whether_it_may_take_are_kept() -> None:
    order = sized(intent(type=OrderType.LIMIT, quantity=Decimal(1), price=PRICE, time_in_force=TimeInForce.IOC, post_only=True))
    assert (order.time_in_force, order.post_only) == (TimeInForce.IOC, True)


def test_notional_is_bought_at_the_limit_or_a_little_above_the_market() -> None:
    assert sized(intent(type=OrderType.LIMIT, notional=Decimal(600), price=PRICE)).quantity == Decimal("0.01")
    assert sized(intent(notional=Decimal(600))).quantity == Decimal("0.00999")


def test_percent_is_of_quote_for_a_buy_and_of_base_for_a_sell() -> None:
    assert sized(intent(percent=Decimal("0.5")), free=Decimal(1200)).quantity == Decimal("0.00999")
    assert sized(intent(Side.SELL, percent=Decimal("0.5")), free=Decimal(2)).quantity == Decimal(1)


def test_close_sells_what_is_held_whatever_else_is_known() -> None:
    assert sized(intent(Side.SELL, close_position=True), position=Decimal("0.123456")).quantity == Decimal("0.12345")
    assert sized(intent(Side.BUY, close_position=True), position=Decimal("-0.5")).quantity == Decimal("0.5")


@pytest.mark.parametrize(("side", "position"), [(Side.SELL, "0"), (Side.SELL, "-1"), (Side.BUY, "1")])
def test_close_without_a_position_on_the_other_side_is_denied(side: Side, position: str) -> None:
    assert denied(intent(side, close_position=True), position=Decimal(position)).reason is DenialReason.NO_POSITION


def test_close_of_dust_is_denied_with_the_minimum() -> None:
    error = denied(intent(Side.SELL, close_position=True), position=Decimal("0.000001"))
    assert error.message == "BTC/USDT: the smallest quantity is 0.00001 BTC, was 0.000001"


@pytest.mark.parametrize("field", ["quantity", "notional", "percent"])
@pytest.mark.parametrize(
    ("value", "words"), [("NaN", "was NaN"), ("Infinity", "was Infinity"), ("0", "more than 0, was 0"), ("-1", "was -1")]
)
def test_amount_that_is_no_positive_number_is_denied_by_name(field: str, value: str, words: str) -> None:
    fields: dict[str, Any] = {field: Decimal(value)}
    error = denied(intent(**fields), free=Decimal(1))
    assert (error.reason, error.field) == (DenialReason.QUANTITY_INVALID, field)
    assert words in error.message


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "0", "-5"])
def test_price_that_is_no_positive_number_is_denied(value: str) -> None:
    error = denied(intent(type=OrderType.LIMIT, quantity=Decimal(1), price=Decimal(value)))
    assert (error.reason, error.field) == (DenialReason.PRICE_INVALID, "price")


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({}, DenialReason.QUANTITY_MISSING, "quantity, notional or percent"),
        ({"quantity": Decimal(1), "notional": Decimal(1)}, DenialReason.QUANTITY_INVALID, "was quantity and notional"),
        ({"percent": Decimal("1.01")}, DenialReason.QUANTITY_INVALID, "at most 100, was 101"),
        ({"type": OrderType.LIMIT, "quantity": Decimal(1)}, DenialReason.PRICE_MISSING, "a limit order needs a price"),
        ({"type": OrderType.STOP_LIMIT, "quantity": Decimal(1)}, DenialReason.PRICE_MISSING, "a stop_limit order needs a price"),
        ({"type": OrderType.STOP_MARKET, "quantity": Decimal(1)}, DenialReason.TRIGGER_MISSING, "a stop_market order needs a trigger"),
        (
            {"type": OrderType.STOP_MARKET, "quantity": Decimal(1), "trigger_price": Decimal(59999)},
            DenialReason.TRIGGER_INVALID,
            "buy stop_market must be above the market, which is 60000 USDT; was 59999",
        ),
        (
            {"type": OrderType.TAKE_PROFIT, "quantity": Decimal(1), "trigger_price": Decimal(60001)},
            DenialReason.TRIGGER_INVALID,
            "must be below the market",
        ),
        ({"type": OrderType.TRAILING_STOP, "quantity": Decimal(1)}, DenialReason.TRAILING_INVALID, "needs its distance"),
        (
            {"type": OrderType.TRAILING_STOP, "quantity": Decimal(1), "trailing_delta": Decimal("0.6")},
            DenialReason.TRAILING_INVALID,
            "between 0.01 and 50 percent, was 60",
        ),
        ({"quantity": Decimal("0.000001")}, DenialReason.QUANTITY_BELOW_MINIMUM, "0.00001 BTC, was 0.000001"),
        ({"quantity": Decimal(9001)}, DenialReason.QUANTITY_ABOVE_MAXIMUM, "9000 BTC, was 9001"),
        ({"quantity": Decimal("0.00008")}, DenialReason.NOTIONAL_BELOW_MINIMUM, "4.8 USDT is below the exchange minimum of 5 USDT"),
        ({"type": OrderType.LIMIT, "quantity": Decimal(1), "price": Decimal("0.001")}, DenialReason.PRICE_OUT_OF_RANGE, "at least 0.01"),
    ],
)
def test_what_cannot_be_is_denied_with_reason_and_number(fields: dict[str, Any], reason: DenialReason, words: str) -> None:
    error = denied(intent(**fields), free=Decimal(1000))
    assert error.reason is reason
    assert words in error.message


def test_symbol_that_does_not_trade_is_denied() -> None:
    halted = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal(1), step_size=Decimal(1), is_active=False)
    assert denied(intent(quantity=Decimal(1)), instrument=halted).reason is DenialReason.SYMBOL_NOT_TRADING


def test_amount_in_quote_needs_a_price_and_a_share_needs_a_balance() -> None:
    assert denied(intent(notional=Decimal(100)), price=None).reason is DenialReason.PRICE_UNKNOWN
    assert denied(intent(percent=Decimal("0.5")), price=PRICE).reason is DenialReason.QUANTITY_INVALID
    assert sized(intent(quantity=Decimal(1)), price=None).quantity == 1


@pytest.mark.parametrize(
    ("wish", "needed"),
    [
        (intent(quantity=Decimal(1)), False),
        (intent(notional=Decimal(1)), True),
        (intent(percent=Decimal(1)), True),
        (intent(Side.SELL, percent=Decimal(1)), False),
        (intent(type=OrderType.LIMIT, notional=Decimal(1), price=PRICE), False),
    ],
)
def test_the_market_is_asked_only_where_a_size_depends_on_it(wish: OrderIntent, needed: bool) -> None:  # noqa: FBT001  # a column of the table
    assert needs_reference_price(wish) is needed


LOOSE = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"))
money = st.decimals("0.00000001", "10000000", places=8)
prices = st.decimals("0.01", "1000000", places=8)
shares = st.decimals("0.000001", "1", places=6)
long_numbers = st.decimals("1e-20", "1e12", allow_nan=False, allow_infinity=False)


def cost(quantity: Decimal, price: Decimal) -> Fraction:
    """Exactly: Decimal's own product may be rounded."""
    return Fraction(quantity) * Fraction(price)


def size_or_none(wish: OrderIntent, **known: Any) -> SizedOrder | None:
    try:
        return sized(wish, instrument=LOOSE, **known)
    except OrderDenied:
        return None


@given(long_numbers)
def test_no_order_is_larger_than_the_wish(quantity: Decimal) -> None:
    order = size_or_none(intent(quantity=quantity))
    assert order is None or order.quantity <= quantity


@given(money, shares, prices)
def test_share_of_the_balance_never_costs_more_than_the_share(free: Decimal, percent: Decimal, price: Decimal) -> None:
    bought = size_or_none(intent(percent=percent), price=price, free=free)
    assert bought is None or cost(bought.quantity, price) * Fraction(1 + MARKET_MARGIN) <= cost(free, percent)
    sold = size_or_none(intent(Side.SELL, percent=percent), price=price, free=free)
    assert sold is None or Fraction(sold.quantity) <= cost(free, percent)


@given(long_numbers, prices)
def test_limit_buy_never_costs_more_than_its_notional(notional: Decimal, price: Decimal) -> None:
    order = size_or_none(intent(type=OrderType.LIMIT, notional=notional, price=price))
    if order is not None:
        assert order.price is not None
        assert order.price <= price
        assert cost(order.quantity, order.price) <= Fraction(notional)


def test_triggers_go_to_the_tick_and_a_trailing_distance_to_whole_basis_points() -> None:
    stop = sized(intent(Side.SELL, type=OrderType.STOP_MARKET, quantity=Decimal(1), trigger_price=Decimal("59000.001")))
    assert (stop.trigger_price, stop.price, stop.trailing_delta) == (Decimal("59000.01"), None, None)
    trail = sized(intent(Side.SELL, type=OrderType.TRAILING_STOP, quantity=Decimal(1), trailing_delta=Decimal("0.01239")))
    assert (trail.trailing_delta, trail.trigger_price) == (Decimal("0.0123"), None)


def test_a_market_buy_in_quote_keeps_what_it_may_spend_and_estimates_the_quantity() -> None:
    order = sized(intent(notional=Decimal("100.123456789")))
    assert order.notional == Decimal("100.12345678")
    assert order.quantity * PRICE <= order.notional
    assert sized(intent(quantity=Decimal(1))).notional is None
    assert sized(intent(Side.SELL, percent=Decimal(1)), free=Decimal(1)).notional is None


def test_a_reversal_sells_the_position_twice() -> None:
    order = sized(intent(Side.SELL, close_position=True, is_reversal=True), position=Decimal("0.5"))
    assert order.quantity == Decimal(1)
