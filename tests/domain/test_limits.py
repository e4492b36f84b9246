from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderType, Role, Side
from app.domain.limits import DEFAULTS, VENUE_OPEN_ORDERS, Ask, Money, RiskLimits, Standing, check_balance, check_limits, lowers
from app.errors import DenialReason, OrderDenied

#: Every limit as tight as can be: whatever meets the rules at all is refused.
TIGHTEST = RiskLimits(
    max_order_notional=Decimal("0.01"),
    max_position_notional=Decimal("0.01"),
    max_daily_loss=Decimal("0.01"),
    max_open_orders=0,
    max_daily_orders=0,
    orders_per_minute=0,
    rejects_per_minute=0,
    price_collar=Decimal(0),
    price_deviation=Decimal(0),
)
NUMBERS = ("quantity", "price", "trigger_price", "notional", "market_price", "last_close", "usdt")
LOWERING = [role for role in Role if role is not Role.ENTRY]


def ask(**given: Any) -> Ask:
    values: dict[str, Any] = {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "role": Role.ENTRY,
        "quantity": Decimal("0.01"),
        "market_price": Decimal(60000),
        "usdt": Decimal(1),
    }
    return Ask(**values | {name: Decimal(value) if name in NUMBERS and isinstance(value, str) else value for name, value in given.items()})


def limit(price: str, **given: Any) -> Ask:
    return ask(type=OrderType.LIMIT, price=price, **given)


def refused(order: Ask, limits: RiskLimits, **standing: Any) -> tuple[DenialReason, str]:
    with pytest.raises(OrderDenied) as caught:
        check_limits(order, Standing(**standing), limits)
    return caught.value.reason, caught.value.message


def passes(order: Ask, limits: RiskLimits, **standing: Any) -> None:
    check_limits(order, Standing(**standing), limits)


def test_the_defaults_let_an_ordinary_order_pass() -> None:
    passes(ask(last_close=Decimal(60100)), DEFAULTS)
    passes(limit("59000"), DEFAULTS, open_orders=12)


def test_a_limit_that_is_not_set_is_the_default_and_one_that_is_set_stays() -> None:
    own = RiskLimits(max_open_orders=5, max_daily_loss=Decimal(100))
    merged = own.over(DEFAULTS)
    assert (merged.max_open_orders, merged.max_daily_loss) == (5, Decimal(100))
    assert merged.price_collar == DEFAULTS.price_collar
    assert all(getattr(RiskLimits().over(DEFAULTS), field.name) == getattr(DEFAULTS, field.name) for field in fields(RiskLimits))


def test_an_order_worth_more_than_the_limit_is_refused_with_both_numbers() -> None:
    limits = RiskLimits(max_order_notional=Decimal(500))
    assert refused(ask(), limits) == (DenialReason.MAX_NOTIONAL, "the order is worth 600 USDT, the limit for an order is 500 USDT")
    assert refused(ask(notional="500.01"), limits)[0] is DenialReason.MAX_NOTIONAL
    passes(ask(notional="500"), limits)
    passes(limit("50000"), limits)


def test_an_order_in_another_quote_is_valued_in_usdt_or_refused_when_nobody_can() -> None:
    limits = RiskLimits(max_order_notional=Decimal(500))
    in_btc = ask(symbol="ETH/BTC", base="ETH", quote="BTC", market_price="0.05", quantity="0.1", usdt="60000")
    passes(in_btc, limits)
    assert refused(replace(in_btc, quantity=Decimal("0.2")), limits)[0] is DenialReason.MAX_NOTIONAL
    reason, sentence = refused(replace(in_btc, usdt=None), limits)
    assert reason is DenialReason.VALUE_UNKNOWN
    assert "ETH/BTC" in sentence
    assert "500 USDT" in sentence
    passes(replace(in_btc, usdt=None), DEFAULTS)


def test_a_position_may_not_grow_beyond_its_limit_with_what_open_orders_may_still_add() -> None:
    limits = RiskLimits(max_position_notional=Decimal(3000))
    passes(ask(), limits, position=Decimal("0.02"), opening=Decimal("0.02"))
    assert refused(ask(), limits, position=Decimal("0.02"), opening=Decimal("0.0201")) == (
        DenialReason.MAX_POSITION_NOTIONAL,
        "the position in BTC/USDT with this order is worth 3006 USDT, the limit for a position is 3000 USDT",
    )


def test_a_daily_loss_that_is_reached_stops_entries_and_says_that_closing_goes_on() -> None:
    limits = RiskLimits(max_daily_loss=Decimal(100))
    passes(ask(), limits, lost_today=Decimal("99.99"))
    passes(ask(), limits, lost_today=Decimal(-500))
    assert refused(ask(), limits, lost_today=Decimal("100.5")) == (
        DenialReason.MAX_DAILY_LOSS,
        "100.5 USDT were lost on this account today (UTC), the limit is 100 USDT; positions can still be closed",
    )
    assert refused(ask(), limits, lost_today=None)[0] is DenialReason.VALUE_UNKNOWN


def test_a_selling_signal_closes_the_position_though_the_daily_loss_is_reached() -> None:
    limits = RiskLimits(max_daily_loss=Decimal(100), max_order_notional=Decimal(1))
    passes(ask(side=Side.SELL), limits, position=Decimal("0.01"), lost_today=Decimal(500))
    assert refused(ask(side=Side.SELL), limits, position=Decimal("0.009"), lost_today=Decimal(500))[0] is DenialReason.MAX_DAILY_LOSS


def test_open_orders_are_counted_but_a_market_order_does_not_rest() -> None:
    limits = RiskLimits(max_open_orders=3)
    passes(limit("59000"), limits, open_orders=2)
    assert refused(limit("59000"), limits, open_orders=3) == (
        DenialReason.MAX_OPEN_ORDERS,
        "3 orders are open on this account already, the limit is 3; cancel one first",
    )
    passes(ask(), limits, open_orders=3)


def test_the_exchanges_own_limit_of_open_orders_holds_without_any_of_ours() -> None:
    assert refused(limit("59000"), RiskLimits(), open_in_symbol=VENUE_OPEN_ORDERS) == (
        DenialReason.MAX_OPEN_ORDERS,
        "there are 200 open orders in BTC/USDT already, the exchange takes 200",
    )


def test_orders_of_a_minute_and_of_a_day_are_counted_with_the_one_that_asks() -> None:
    passes(ask(), RiskLimits(orders_per_minute=10), orders_this_minute=10)
    assert refused(ask(), RiskLimits(orders_per_minute=10), orders_this_minute=11) == (
        DenialReason.ORDER_RATE,
        "10 orders were sent on this account in this minute, the limit is 10",
    )
    passes(ask(), RiskLimits(max_daily_orders=10), orders_today=10)
    assert refused(ask(), RiskLimits(max_daily_orders=10), orders_today=11)[0] is DenialReason.MAX_DAILY_ORDERS


@pytest.mark.parametrize(("side", "good", "bad"), [(Side.BUY, "66000", "66000.01"), (Side.SELL, "54000", "53999.99")])
def test_a_limit_price_on_the_wrong_side_of_the_market_is_a_slip_of_the_finger(side: Side, good: str, bad: str) -> None:
    passes(limit(good, side=side), DEFAULTS)
    reason, sentence = refused(limit(bad, side=side), DEFAULTS)
    assert reason is DenialReason.PRICE_COLLAR
    assert bad in sentence
    assert "60000 USDT" in sentence
    assert "10 %" in sentence


def test_a_limit_price_far_on_the_right_side_of_the_market_is_patience() -> None:
    passes(limit("1000"), DEFAULTS)
    passes(limit("900000", side=Side.SELL), DEFAULTS)
    passes(limit("1000", market_price=None), DEFAULTS)


def test_a_stop_limits_price_is_measured_against_its_trigger() -> None:
    order = limit("71000", trigger_price="70000")
    passes(replace(order, type=OrderType.STOP_LIMIT), DEFAULTS)
    assert refused(replace(order, type=OrderType.STOP_LIMIT, price=Decimal(80000)), DEFAULTS)[0] is DenialReason.PRICE_COLLAR


def test_a_market_order_waits_for_a_market_that_its_last_candle_does_not_contradict() -> None:
    passes(ask(last_close="57200"), DEFAULTS)
    assert refused(ask(last_close="57000"), DEFAULTS) == (
        DenialReason.PRICE_DEVIATION,
        "the price of BTC/USDT is 60000 USDT, 5.26 % away from its last closed candle at 57000 USDT; the limit for a market order is 5 %",
    )
    assert refused(ask(last_close="64000"), DEFAULTS)[0] is DenialReason.PRICE_DEVIATION
    passes(limit("59000", last_close="57000"), DEFAULTS)
    passes(ask(side=Side.SELL, last_close="57000"), DEFAULTS, position=Decimal(1))


@pytest.mark.parametrize("role", LOWERING)
def test_no_limit_holds_back_what_makes_a_position_smaller(role: Role) -> None:
    standing = {"open_orders": 900, "open_in_symbol": 900, "orders_this_minute": 900, "orders_today": 900, "lost_today": Decimal(900)}
    for order in (ask(role=role, last_close="1"), limit("900000", role=role), limit("1", role=role, side=Side.SELL)):
        passes(order, TIGHTEST, **standing)


def test_what_lowers_a_position_is_on_its_other_side_and_not_larger_than_nobody_closes() -> None:
    sell = ask(side=Side.SELL, quantity="0.3")
    assert lowers(sell, Standing(position=Decimal("0.3")))
    assert lowers(sell, Standing(position=Decimal("0.5"), closing=Decimal("0.2")))
    assert not lowers(sell, Standing(position=Decimal("0.5"), closing=Decimal("0.21")))
    assert not lowers(sell, Standing(position=Decimal("-0.3")))
    assert not lowers(sell, Standing())
    assert lowers(ask(quantity="0.3"), Standing(position=Decimal("-0.3")))


def short(needed: str, money: Money, role: Role = Role.ENTRY) -> str:
    with pytest.raises(OrderDenied) as caught:
        check_balance(Decimal(needed), money, role=role)
    assert caught.value.reason is DenialReason.INSUFFICIENT_BALANCE
    return caught.value.message


def test_a_balance_that_is_too_small_is_told_with_what_open_orders_keep_back() -> None:
    money = Money(asset="USDT", free=Decimal("480.11"), reserved=Decimal("20.00"), reserved_by=2)
    assert short("501.20", money) == "Not enough USDT: needed 501.2, free 480.11 (20 reserved by 2 open orders)."
    assert short("501.20", replace(money, reserved_by=1)) == "Not enough USDT: needed 501.2, free 480.11 (20 reserved by 1 open order)."
    assert short("5", Money(asset="BTC", free=Decimal(-1))) == "Not enough BTC: needed 5, free 0."
    check_balance(Decimal("480.11"), money, role=Role.ENTRY)


@pytest.mark.parametrize("role", LOWERING)
def test_only_a_certain_balance_refuses_what_makes_a_position_smaller(role: Role) -> None:
    uncertain = Money(asset="BTC", free=Decimal(0), is_certain=False)
    check_balance(Decimal(1), uncertain, role=role)
    short("1", replace(uncertain, is_certain=True), role)
    short("1", uncertain, Role.ENTRY)
