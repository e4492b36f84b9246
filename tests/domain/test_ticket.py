from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.book import Depth, Level
from app.domain.enums import Liquidity, OrderType, Side, Source
from app.domain.fees import FeeRates, fee_on_received
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.domain.sizing import size
from app.domain.ticket import (
    USUAL_FEES,
    FeeSource,
    FeeTerms,
    Figures,
    MarketNow,
    Size,
    SizeBy,
    figures,
    sized_intent,
    slippage_of,
    worst_exit,
)
from app.errors import DenialReason, OrderDenied

BTC = Instrument(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    min_notional=Decimal(5),
)
PRICE = Decimal(60000)
RICH = Decimal(10_000_000)
FREE_OF_FEES = FeeTerms(rates=FeeRates(maker=Decimal(0), taker=Decimal(0)), source=FeeSource.ACCOUNT)


def wish(side: Side = Side.BUY, **fields: Any) -> OrderIntent:
    return OrderIntent(symbol="BTC/USDT", side=side, source=Source.MANUAL, key="k", **fields)


def sized(intent: OrderIntent, by: SizeBy, value: str | Decimal, *, market: MarketNow, fees: FeeTerms = USUAL_FEES) -> OrderIntent:
    return sized_intent(intent, Size(by=by, value=Decimal(value)), BTC, market, fees)


def now(**known: Any) -> MarketNow:
    return MarketNow(**{"price": PRICE, "free": RICH, **known})


def shown(intent: OrderIntent, *, market: MarketNow, fees: FeeTerms = USUAL_FEES, instrument: Instrument = BTC) -> Figures:
    found = figures(intent, instrument, market, fees)
    assert found is not None
    return found


def depth(*asks: tuple[str, str], bids: tuple[tuple[str, str], ...] = ()) -> Depth:
    def levels(rows: tuple[tuple[str, str], ...]) -> tuple[Level, ...]:
        return tuple(Level(price=Decimal(price), quantity=Decimal(quantity)) for price, quantity in rows)

    return Depth(asks=levels(asks), bids=levels(bids))


def refused(intent: OrderIntent, by: SizeBy, value: str, *, market: MarketNow) -> OrderDenied:
    with pytest.raises(OrderDenied) as caught:
        sized(intent, by, value, market=market)
    return caught.value


prices = st.decimals("0.01", "200000", places=2)
quantities = st.decimals("0.00001", "500", places=8)
steps = st.sampled_from([Decimal("0.00000001"), Decimal("0.00001"), Decimal("0.001"), Decimal("0.5"), Decimal(1), Decimal(7)])
kinds = st.sampled_from([OrderType.MARKET, OrderType.LIMIT])


def with_step(step: Decimal) -> Instrument:
    return Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=step)


@given(quantity=quantities, price=prices, step=steps, kind=kinds, side=st.sampled_from(Side))
def test_a_quantity_that_goes_through_its_amount_and_back_never_grows(
    quantity: Decimal, price: Decimal, step: Decimal, kind: OrderType, side: Side
) -> None:
    rules, market = with_step(step), MarketNow(price=price)
    fields = {"type": kind, "price": price if kind is OrderType.LIMIT else None}
    first = shown(wish(side, quantity=quantity, **fields), market=market, instrument=rules)
    assert first.quantity <= quantity
    if first.amount > 0:
        again = shown(wish(side, notional=first.amount, **fields), market=market, instrument=rules)
        assert again.quantity <= first.quantity
        assert again.amount <= first.amount


@given(percent=st.decimals("0.01", "100", places=2), free=st.decimals("0.01", "1000000", places=8), price=prices, kind=kinds)
def test_a_share_of_what_is_free_never_spends_more_than_that(percent: Decimal, free: Decimal, price: Decimal, kind: OrderType) -> None:
    for side in Side:
        fields = {"type": kind, "price": price if kind is OrderType.LIMIT else None}
        found = shown(wish(side, percent=percent / 100, **fields), market=MarketNow(price=price, free=free))
        assert (found.amount if side is Side.BUY else found.quantity) <= free * percent / 100
        assert found.free_after is not None
        assert found.free_after >= 0


books = st.lists(st.tuples(st.decimals("0", "50", places=2), st.decimals("0.0001", "5", places=5)), min_size=1, max_size=12)


@given(
    loss=st.decimals("0.01", "100000", places=2),
    entry=st.decimals("100", "100000", places=2),
    distance=st.decimals("0.0005", "0.9", places=4),
    fee=st.decimals("0", "0.01", places=4),
    kind=kinds,
    offers=st.none() | books,
)
def test_a_size_by_risk_loses_no_more_than_asked_at_the_stop_fees_included(
    loss: Decimal, entry: Decimal, distance: Decimal, fee: Decimal, kind: OrderType, offers: list[tuple[Decimal, Decimal]] | None
) -> None:
    fees = FeeTerms(rates=FeeRates(maker=fee / 2, taker=fee), source=FeeSource.ACCOUNT)
    stop = (entry * (1 - distance)).quantize(Decimal("0.01"), ROUND_FLOOR)
    book = None
    if offers is not None:
        away = sorted(offers)
        book = Depth(asks=tuple(Level(price=entry + further, quantity=quantity) for further, quantity in away))
    market = MarketNow(price=entry, free=RICH, depth=book)
    intent = wish(type=kind, price=entry if kind is OrderType.LIMIT else None, protection=ProtectionPlan(stop_price=stop))
    chosen = sized(intent, SizeBy.RISK, loss, market=market, fees=fees)
    assert chosen.quantity is not None
    quantity = chosen.quantity
    if quantity == 0:
        return
    # Lived through: bought at what the book costs, the fee taken out of the base; all of it sold at the stop, the fee out of the quote.
    paid = entry
    if kind is OrderType.MARKET and book is not None:
        found = slippage_of(Side.BUY, quantity, BTC, book, limit=None)
        if found is not None:
            paid = found.average_price if found.held >= 1 else max(found.average_price, found.worst_price)
    got = quantity - fee_on_received(quantity, fee)
    back = got * stop
    back -= fee_on_received(back, fee)
    assert quantity * paid - back <= loss + Decimal("0.00000001"), "a fee is booked in whole units of the eighth decimal"
    told = shown(chosen, market=market, fees=fees)
    assert told.risk is not None
    assert told.risk <= loss


@given(quantity=quantities, price=prices, step=steps, by=st.sampled_from([SizeBy.QUANTITY, SizeBy.AMOUNT]))
def test_whatever_the_ticket_says_is_on_the_instruments_grid(quantity: Decimal, price: Decimal, step: Decimal, by: SizeBy) -> None:
    rules = with_step(step)
    market = MarketNow(price=price, free=RICH)
    for kind in (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT):
        fields: dict[str, Any] = {"type": kind}
        if kind.has_limit:
            fields["price"] = price
        if kind.waits:
            fields["trigger_price"] = price * 2
        intent = sized_intent(wish(**fields), Size(by=by, value=quantity), rules, market, USUAL_FEES)
        found = shown(intent, market=market, instrument=rules)
        assert found.quantity % step == 0
        try:
            order = size(intent, rules, reference_price=price, free=RICH)
        except OrderDenied:
            continue
        assert order.quantity == found.quantity, "the ticket shows what would be sent"


any_number = st.integers(1, 999_999).flatmap(lambda digits: st.integers(-18, 12).map(lambda power: Decimal(digits).scaleb(power)))


@given(value=any_number, price=any_number, stop=any_number, target=any_number, free=any_number, by=st.sampled_from(SizeBy))
def test_no_number_that_is_taken_breaks_the_ticket(
    value: Decimal, price: Decimal, stop: Decimal, target: Decimal, free: Decimal, by: SizeBy
) -> None:
    plan = ProtectionPlan(stop_price=stop, targets=(Target(price=target, fraction=Decimal(1)),))
    market = MarketNow(price=price, free=free, equity=free, depth=Depth(asks=(Level(price=price, quantity=value),)))
    for kind in OrderType:
        intent = wish(type=kind, price=price if kind.has_limit else None, protection=plan)
        try:
            chosen = sized_intent(intent, Size(by=by, value=value), with_step(Decimal("0.00000001")), market, USUAL_FEES)
        except OrderDenied:
            continue
        found = figures(chosen, with_step(Decimal("0.00000001")), market, USUAL_FEES)
        assert found is None or found.reward_to_risk is None or found.reward_to_risk.is_finite()


def test_what_an_order_takes_from_the_book_is_told_with_its_average_its_worst_price_and_what_the_book_holds() -> None:
    book = depth(("60000", "0.5"), ("60010", "0.5"), ("60100", "1"))
    found = slippage_of(Side.BUY, Decimal(1), BTC, book, limit=None)
    assert found is not None
    assert (found.average_price, found.worst_price, found.held) == (Decimal(60005), Decimal(60010), Decimal(1))
    assert found.fraction == Decimal("0.000084")
    thin = slippage_of(Side.BUY, Decimal(4), BTC, book, limit=None)
    assert thin is not None
    assert thin.held == Decimal("0.5")
    assert slippage_of(Side.SELL, Decimal(1), BTC, book, limit=None) is None
    assert shown(wish(quantity=Decimal(1)), market=now(depth=book)).price == Decimal(60005)


def test_a_limit_that_rests_pays_as_maker_and_one_that_crosses_as_taker() -> None:
    fees = FeeTerms(rates=FeeRates(maker=Decimal("0.0002"), taker=Decimal("0.0007")), source=FeeSource.FILLS)
    book = depth(("60000", "1"))
    below = shown(wish(type=OrderType.LIMIT, quantity=Decimal("0.1"), price=Decimal(59000)), market=now(depth=book), fees=fees)
    across = shown(wish(type=OrderType.LIMIT, quantity=Decimal("0.1"), price=Decimal(60500)), market=now(depth=book), fees=fees)
    assert (below.fee.liquidity, below.fee.rate, below.slippage) == (Liquidity.MAKER, Decimal("0.0002"), None)
    assert (across.fee.liquidity, across.fee.asset, across.fee.amount) == (Liquidity.TAKER, "BTC", Decimal("0.00007"))
    sold = shown(wish(Side.SELL, quantity=Decimal("0.1")), market=now(free=Decimal(1)), fees=fees)
    assert (sold.fee.asset, sold.fee.amount, sold.free_after) == ("USDT", Decimal("4.2"), Decimal("0.9"))


def test_risk_reward_and_their_ratio_are_after_fees() -> None:
    plan = ProtectionPlan(stop_price=Decimal(59000), targets=(Target(price=Decimal(62000), fraction=Decimal(1)),))
    intent = wish(type=OrderType.LIMIT, quantity=Decimal(1), price=PRICE, protection=plan)
    bare = shown(intent, market=now(), fees=FREE_OF_FEES)
    assert (bare.risk, bare.reward, bare.reward_to_risk) == (Decimal(1000), Decimal(2000), Decimal("2.00"))
    real = shown(intent, market=now())
    assert real.risk is not None
    assert real.reward is not None
    assert real.risk > Decimal(1000) + 59000 * Decimal("0.0019")
    assert real.reward < Decimal(2000) - 62000 * Decimal("0.0019")


def test_a_trailing_stop_is_at_its_distance_below_the_entry() -> None:
    assert worst_exit(ProtectionPlan(trailing_delta=Decimal("0.02")), PRICE) == Decimal(58800)
    assert worst_exit(ProtectionPlan(stop_price=Decimal(59000), stop_limit_price=Decimal(58900)), PRICE) == Decimal(58900)


def test_a_share_of_equity_is_risked_and_no_more_than_is_free_is_bought() -> None:
    intent = wish(type=OrderType.LIMIT, price=PRICE, protection=ProtectionPlan(stop_price=Decimal(59000)))
    one_percent = sized(intent, SizeBy.RISK_PERCENT, "0.01", market=now(equity=Decimal(100000)), fees=FREE_OF_FEES)
    assert one_percent.quantity == Decimal(1)
    poor = sized(intent, SizeBy.RISK_PERCENT, "0.01", market=now(equity=Decimal(100000), free=Decimal(600)), fees=FREE_OF_FEES)
    assert poor.quantity == Decimal("0.01")


def test_a_risk_says_what_it_lacks() -> None:
    guarded = wish(protection=ProtectionPlan(stop_price=Decimal(59000)))
    assert refused(wish(), SizeBy.RISK, "10", market=now()).reason is DenialReason.STOP_MISSING
    assert refused(guarded, SizeBy.RISK_PERCENT, "0.01", market=now()).reason is DenialReason.EQUITY_UNKNOWN
    assert refused(guarded, SizeBy.RISK, "10", market=now(price=None)).reason is DenialReason.PRICE_UNKNOWN
    assert refused(guarded, SizeBy.RISK_PERCENT, "1.5", market=now(equity=PRICE)).field == "risk"
    assert refused(guarded, SizeBy.RISK, "0", market=now()).field == "risk"
    assert refused(wish(Side.SELL), SizeBy.RISK, "10", market=now()).reason is DenialReason.QUANTITY_INVALID
    above = wish(protection=ProtectionPlan(stop_price=Decimal(61000)))
    assert refused(above, SizeBy.RISK, "10", market=now()).field == "stop_loss"


def test_without_a_size_or_a_price_there_are_no_figures() -> None:
    assert figures(wish(), BTC, now(), USUAL_FEES) is None
    assert figures(wish(quantity=Decimal(1)), BTC, now(price=None), USUAL_FEES) is None
    assert figures(wish(percent=Decimal("0.5")), BTC, now(free=None), USUAL_FEES) is None
