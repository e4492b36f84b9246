"""Profit against an account in plain fractions, to the last digit that is kept."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from app.domain.enums import Side
from app.domain.positions import Position
from tests.conftest import Size
from tests.domain.average_cost import BASE, QUOTE, Account, Trade, history
from tests.domain.test_positions import FLAT, fill


def folded(trades: list[Trade]) -> Position:
    position = Position(base=BASE, quote=QUOTE)
    for trade in trades:
        position = position.apply(trade.side, trade.fill, fee_price=trade.fee_price)
    return position


def assert_agrees(position: Position, account: Account, where: str) -> None:
    assert Fraction(position.quantity) == account.quantity, where
    assert Fraction(position.cost) == account.cost, where
    assert Fraction(position.realized_pnl) == account.profit, where
    assert Fraction(position.fees) == account.fees, where
    assert (None if position.average_price is None else Fraction(position.average_price)) == account.average, where
    assert {asset: Fraction(fee) for asset, fee in position.unvalued_fees.items()} == account.unvalued, where


@pytest.mark.timeout(900)
def test_every_step_of_every_history_agrees_with_the_fractions_to_the_last_digit(size: Size) -> None:
    for seed in range(size(300, full=10_000)):
        position, account, exact = Position(base=BASE, quote=QUOTE), Account(), Account(is_rounded=False)
        for number, trade in enumerate(history(Random(seed))):
            position = position.apply(trade.side, trade.fill, fee_price=trade.fee_price)
            account.count(trade)
            exact.count(trade)
            assert_agrees(position, account, f"seed {seed}, fill {number}")
            # Against an account that never rounds: half a last digit for each part that was closed, and nothing at all once it is flat.
            drift = abs(Fraction(position.realized_pnl) - exact.profit)
            assert drift <= Fraction(exact.divisions, 2 * 10**18), f"seed {seed}, fill {number}"
            if not position.quantity:
                assert drift == 0, f"seed {seed}, fill {number}"


def test_the_histories_hold_what_they_are_meant_to() -> None:
    seen: set[str] = set()
    for seed in range(100):
        position = Position(base=BASE, quote=QUOTE)
        for trade in history(Random(seed)):
            before, position = position, position.apply(trade.side, trade.fill, fee_price=trade.fee_price)
            seen.add("flat" if not position.quantity else "reversed" if before.quantity * position.quantity < 0 else "")
            seen.add(f"fee in {trade.fill.fee_asset}" if trade.fill.fee else "no fee")
            seen.add("dust" if 0 < abs(position.quantity) < Decimal("1e-7") else "")
            seen.add("unvalued" if position.unvalued_fees else "")
            seen.add("long" if position.quantity > 0 else "short" if position.quantity < 0 else "")
    assert seen - {""} == {
        *("flat", "reversed", "dust", "unvalued", "long", "short", "no fee"),
        *("fee in BTC", "fee in USDT", "fee in BNB", "fee in KCS"),
    }


def test_fee_in_base_joins_what_is_held_at_the_price_that_was_paid() -> None:
    held = FLAT.apply(Side.BUY, fill("1", "50")).apply(Side.BUY, fill("1", "100", fee="0.001", fee_asset="BTC"))
    assert (held.quantity, held.cost, held.realized_pnl) == (Decimal("1.999"), Decimal("149.9"), Decimal("-0.1"))
    assert held.cost - held.realized_pnl == Decimal(150), "all that was paid is in the position or in the fees"


def test_fee_in_base_on_a_sale_costs_what_it_had_cost() -> None:
    sold = FLAT.apply(Side.BUY, fill("1", "100")).apply(Side.SELL, fill("0.999", "200", fee="0.001", fee_asset="BTC"))
    assert (sold.quantity, sold.realized_pnl) == (Decimal(0), Decimal("99.8")), "199.8 came in and 100 went out"


def test_fee_in_a_third_asset_costs_what_it_was_worth_then() -> None:
    bought = FLAT.apply(Side.BUY, fill("1", "100", fee="0.01", fee_asset="BNB"), fee_price=Decimal(600))
    assert (bought.realized_pnl, bought.fees, dict(bought.unvalued_fees)) == (Decimal(-6), Decimal(6), {})


def test_fee_that_has_no_price_is_kept_apart_and_never_counted_as_nothing() -> None:
    bought = FLAT.apply(Side.BUY, fill("1", "100", fee="0.01", fee_asset="BNB"))
    twice = bought.apply(Side.SELL, fill("1", "100", fee="0.02", fee_asset="BNB"))
    assert (twice.realized_pnl, twice.fees, dict(twice.unvalued_fees)) == (Decimal(0), Decimal(0), {"BNB": Decimal("0.03")})


def test_a_coin_of_many_zeros_loses_no_digit() -> None:
    position = folded(
        [
            Trade(Side.BUY, fill("123456789012.34567891", "0.00001237")),
            Trade(Side.SELL, fill("23456789012.00000001", "0.00001301")),
            Trade(Side.BUY, fill("7.1", "0.00001999")),
            Trade(Side.SELL, fill("100000000007.4456789", "0.00001111")),
        ]
    )
    assert position.quantity == 0
    money = Fraction("23456789012.00000001") * Fraction("0.00001301") + Fraction("100000000007.4456789") * Fraction("0.00001111")
    money -= Fraction("123456789012.34567891") * Fraction("0.00001237") + Fraction("7.1") * Fraction("0.00001999")
    assert Fraction(position.realized_pnl) == money
