from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Liquidity, Side
from app.domain.orders import Fill
from app.domain.positions import Position

FLAT = Position(base="BTC", quote="USDT")


def fill(quantity: str | Decimal, price: str | Decimal, *, fee: str | Decimal = "0", fee_asset: str = "USDT") -> Fill:
    return Fill(
        trade_id="1",
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(fee),
        fee_asset=fee_asset,
        liquidity=Liquidity.TAKER,
        executed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_worked_figures_of_a_reversal() -> None:
    long = FLAT.apply(Side.BUY, fill("100", "50"))
    short = long.apply(Side.SELL, fill("150", "55"))
    flat = short.apply(Side.BUY, fill("50", "52"))
    assert (long.quantity, long.average_price) == (Decimal(100), Decimal(50))
    assert (short.quantity, short.average_price, short.realized_pnl) == (Decimal(-50), Decimal(55), Decimal(500))
    assert (flat.quantity, flat.average_price, flat.realized_pnl) == (Decimal(0), None, Decimal(650))


def test_adding_moves_the_average_and_closing_does_not() -> None:
    position = FLAT.apply(Side.BUY, fill("1", "100")).apply(Side.BUY, fill("3", "120"))
    assert position.average_price == Decimal(115)
    assert position.apply(Side.SELL, fill("1", "200")).average_price == Decimal(115)


def test_adding_to_a_short_moves_its_average_too() -> None:
    position = FLAT.apply(Side.SELL, fill("1", "100")).apply(Side.SELL, fill("3", "120"))
    assert (position.quantity, position.average_price) == (Decimal(-4), Decimal(115))
    assert position.apply(Side.BUY, fill("4", "105")).realized_pnl == Decimal(40)


def test_fee_in_base_is_taken_out_of_what_is_held() -> None:
    position = FLAT.apply(Side.BUY, fill("1", "100", fee="0.001", fee_asset="BTC"))
    assert (position.quantity, position.average_price) == (Decimal("0.999"), Decimal(100))
    assert (position.fees, position.realized_pnl) == (Decimal("0.1"), Decimal("-0.1"))


def test_fee_in_quote_costs_profit_and_no_quantity() -> None:
    position = FLAT.apply(Side.BUY, fill("1", "100")).apply(Side.SELL, fill("1", "110", fee="0.11"))
    assert (position.quantity, position.realized_pnl, position.fees) == (Decimal(0), Decimal("9.89"), Decimal("0.11"))


def test_fee_in_a_third_asset_is_no_part_of_the_profit() -> None:
    position = FLAT.apply(Side.BUY, fill("1", "100", fee="0.01", fee_asset="BNB"))
    assert (position.quantity, position.realized_pnl, position.fees) == (Decimal(1), Decimal(0), Decimal(0))


def test_round_trip_with_fees_on_both_ends_costs_what_the_wallet_lost() -> None:
    bought = FLAT.apply(Side.BUY, fill("1", "100", fee="0.001", fee_asset="BTC"))
    sold = bought.apply(Side.SELL, fill("0.999", "110", fee="0.10989"))
    wallet = Decimal(-100) + Decimal("0.999") * 110 - Decimal("0.10989")
    assert sold.quantity == 0
    assert sold.realized_pnl == wallet


def test_open_part_is_valued_at_the_mark() -> None:
    assert FLAT.unrealized_pnl(Decimal(100)) == 0
    assert FLAT.apply(Side.BUY, fill("2", "100")).unrealized_pnl(Decimal(110)) == Decimal(20)
    assert FLAT.apply(Side.SELL, fill("2", "100")).unrealized_pnl(Decimal(110)) == Decimal(-20)


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_fill_of_nothing_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        FLAT.apply(Side.BUY, fill(quantity, "1"))


def test_position_itself_never_changes() -> None:
    FLAT.apply(Side.BUY, fill("1", "1"))
    assert Position(base="BTC", quote="USDT") == FLAT


quantities = st.decimals("0.00001", "100", places=5)
prices = st.decimals("1", "100000", places=2)


@st.composite
def trades(draw: st.DrawFn) -> tuple[Side, Fill]:
    quantity = draw(quantities)
    rate = Decimal("0.001")
    asset = draw(st.sampled_from(["BTC", "USDT", "BNB"]))
    price = draw(prices)
    fee = {"BTC": quantity, "USDT": quantity * price, "BNB": Decimal(1)}[asset] * rate
    return draw(st.sampled_from(Side)), fill(quantity, price, fee=fee, fee_asset=asset)


@given(st.lists(trades(), max_size=12), st.randoms(use_true_random=False))
def test_quantity_is_signed_fills_minus_base_fees_in_whatever_order(
    history: list[tuple[Side, Fill]],
    random: Random,
) -> None:
    expected = sum((side.sign * one.quantity - (one.fee if one.fee_asset == "BTC" else 0) for side, one in history), Decimal(0))
    shuffled = list(history)
    random.shuffle(shuffled)
    for sequence in (history, shuffled):
        position = FLAT
        for side, one in sequence:
            position = position.apply(side, one)
        assert position.quantity == expected
        assert (position.average_price is None) == (position.quantity == 0)


@given(st.lists(st.tuples(st.sampled_from(Side), quantities, prices), min_size=1, max_size=12))
def test_profit_of_a_closed_position_is_the_cash_that_moved(history: list[tuple[Side, Decimal, Decimal]]) -> None:
    position, cash = FLAT, Decimal(0)
    for side, quantity, price in history:
        position = position.apply(side, fill(quantity, price))
        cash -= side.sign * quantity * price
    if position.quantity:
        last = history[-1][2]
        side = Side.SELL if position.quantity > 0 else Side.BUY
        cash += position.quantity * last
        position = position.apply(side, fill(abs(position.quantity), last))
    assert abs(position.realized_pnl - cash) < Decimal("1e-12")
