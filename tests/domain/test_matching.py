from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Liquidity, OrderType, Side, TimeInForce
from app.domain.fees import FeeRates, fee_on_received, received_amount
from app.domain.instruments import plain
from app.domain.matching import BookFill, BookOrder, Depth, Level, MatchingEngine, Outcome, TapePrint, is_marketable, is_triggered, take

STEP = Decimal("0.01")
D = Decimal


def levels(*pairs: tuple[str, str]) -> tuple[Level, ...]:
    return tuple(Level(price=D(price), quantity=D(quantity)) for price, quantity in pairs)


BOOK = Depth(bids=levels(("99", "1"), ("98", "2"), ("97", "5")), asks=levels(("100", "1"), ("101", "2"), ("103", "5")))


def order(order_id: str, side: Side, type_: OrderType, **fields: object) -> BookOrder:
    fields = {name: D(value) if isinstance(value, str) and name != "time_in_force" else value for name, value in fields.items()}
    return BookOrder(order_id=order_id, side=side, type=type_, **fields)  # type: ignore[arg-type]  # keyword shorthand of these tests


def limit(order_id: str, side: Side, price: str, quantity: str, tif: TimeInForce = TimeInForce.GTC) -> BookOrder:
    return order(order_id, side, OrderType.LIMIT, price=price, quantity=quantity, time_in_force=tif)


def trade(engine: MatchingEngine, price: str, quantity: str, depth: Depth = BOOK) -> Outcome:
    return engine.trade(TapePrint(price=D(price), quantity=D(quantity)), depth)


def shown(fills: tuple[BookFill, ...]) -> list[tuple[str, str, str]]:
    return [(fill.order_id, plain(fill.price), plain(fill.quantity)) for fill in fills]


@pytest.fixture
def engine() -> MatchingEngine:
    return MatchingEngine(step_size=STEP)


def test_market_order_walks_the_levels_as_taker(engine: MatchingEngine) -> None:
    outcome = engine.submit(order("a", Side.BUY, OrderType.MARKET, quantity="2.5"), BOOK)
    assert shown(outcome.fills) == [("a", "100", "1"), ("a", "101", "1.5")]
    assert {fill.liquidity for fill in outcome.fills} == {Liquidity.TAKER}
    assert (outcome.expired, len(engine)) == ((), 0)


def test_market_order_beyond_the_depth_expires_with_the_rest(engine: MatchingEngine) -> None:
    outcome = engine.submit(order("a", Side.SELL, OrderType.MARKET, quantity="10"), BOOK)
    assert shown(outcome.fills) == [("a", "99", "1"), ("a", "98", "2"), ("a", "97", "5")]
    assert outcome.expired == ("a",)


def test_notional_order_buys_whole_steps(engine: MatchingEngine) -> None:
    outcome = engine.submit(order("a", Side.BUY, OrderType.MARKET, notional="150.55"), BOOK)
    assert shown(outcome.fills) == [("a", "100", "1"), ("a", "101", "0.5")]
    assert outcome.expired == ()


def test_notional_order_expires_when_the_depth_ends_first(engine: MatchingEngine) -> None:
    assert engine.submit(order("a", Side.BUY, OrderType.MARKET, notional="99999"), BOOK).expired == ("a",)


def test_notional_below_one_step_buys_nothing(engine: MatchingEngine) -> None:
    assert engine.submit(order("a", Side.BUY, OrderType.MARKET, notional="0.5"), BOOK) == Outcome(expired=("a",))


def test_notional_order_passes_over_a_level_smaller_than_a_step() -> None:
    depth = Depth(asks=levels(("100", "0.001"), ("101", "5")))
    assert shown(take(order("a", Side.BUY, OrderType.MARKET, notional="202"), depth, step_size=STEP)) == [("a", "101", "2")]


def test_crossing_limit_takes_then_rests(engine: MatchingEngine) -> None:
    outcome = engine.submit(limit("a", Side.BUY, "100", "3"), BOOK)
    assert shown(outcome.fills) == [("a", "100", "1")]
    assert engine.remaining("a") == 2
    assert "a" in engine


def test_touch_does_not_fill_a_resting_limit(engine: MatchingEngine) -> None:
    engine.submit(limit("a", Side.BUY, "95", "1"), BOOK)
    engine.submit(limit("b", Side.SELL, "105", "1"), BOOK)
    assert trade(engine, "95", "9") == Outcome()
    assert trade(engine, "105", "9") == Outcome()


def test_trading_through_fills_at_the_limit_as_maker_up_to_what_was_traded(engine: MatchingEngine) -> None:
    engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)
    first = trade(engine, "94", "2")
    assert first.fills == (BookFill(order_id="a", price=D(95), quantity=D(2), liquidity=Liquidity.MAKER),)
    assert engine.remaining("a") == 1
    assert shown(trade(engine, "94", "2").fills) == [("a", "95", "1")]
    assert len(engine) == 0


def test_print_smaller_than_a_step_fills_nothing(engine: MatchingEngine) -> None:
    engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)
    assert trade(engine, "94", "0.009") == Outcome()


def test_better_price_goes_first_then_earlier_arrival(engine: MatchingEngine) -> None:
    for name, price in (("late", "95"), ("early", "96"), ("second", "96")):
        engine.submit(limit(name, Side.BUY, price, "1"), BOOK)
    assert [fill.order_id for fill in trade(engine, "90", "2.5").fills] == ["early", "second", "late"]
    assert engine.remaining("late") == D("0.5")


def test_sell_side_mirrors_the_buy_side(engine: MatchingEngine) -> None:
    for name, price in (("far", "106"), ("near", "105")):
        engine.submit(limit(name, Side.SELL, price, "1"), BOOK)
    assert shown(trade(engine, "105.5", "5").fills) == [("near", "105", "1")]


def test_ioc_expires_with_what_it_could_not_take(engine: MatchingEngine) -> None:
    outcome = engine.submit(limit("a", Side.BUY, "100", "3", TimeInForce.IOC), BOOK)
    assert (shown(outcome.fills), outcome.expired, len(engine)) == ([("a", "100", "1")], ("a",), 0)


def test_fok_takes_all_or_nothing(engine: MatchingEngine) -> None:
    assert engine.submit(limit("a", Side.BUY, "101", "3.01", TimeInForce.FOK), BOOK) == Outcome(expired=("a",))
    assert shown(engine.submit(limit("b", Side.BUY, "101", "3", TimeInForce.FOK), BOOK).fills) == [("b", "100", "1"), ("b", "101", "2")]


@pytest.mark.parametrize(
    ("side", "type_", "trigger", "asleep", "awake"),
    [
        (Side.SELL, OrderType.STOP_LIMIT, "95", "95.01", "95"),
        (Side.BUY, OrderType.STOP_LIMIT, "105", "104.99", "105"),
        (Side.SELL, OrderType.TAKE_PROFIT_LIMIT, "105", "104.99", "105"),
        (Side.BUY, OrderType.TAKE_PROFIT_LIMIT, "95", "95.01", "95"),
    ],
)
def test_triggers_fire_on_touch_from_the_right_side(
    engine: MatchingEngine, side: Side, type_: OrderType, trigger: str, asleep: str, awake: str
) -> None:
    sleeping = order("a", side, type_, quantity="1", price="100", trigger_price=trigger)
    assert engine.submit(sleeping, BOOK) == Outcome()
    assert not is_triggered(sleeping, D(asleep))
    assert trade(engine, asleep, "1") == Outcome()
    assert trade(engine, awake, "1").triggered == ("a",)


def test_woken_stop_takes_the_depth_and_rests_with_the_remainder(engine: MatchingEngine) -> None:
    engine.submit(order("a", Side.SELL, OrderType.STOP_LIMIT, quantity="2", price="99", trigger_price="99.5"), BOOK)
    outcome = trade(engine, "99.5", "50")
    assert (outcome.triggered, shown(outcome.fills)) == (("a",), [("a", "99", "1")])
    assert shown(trade(engine, "99.4", "50").fills) == [("a", "99", "1")]


def test_stops_wake_in_order_of_arrival(engine: MatchingEngine) -> None:
    for name, trigger in (("first", "94"), ("second", "95")):
        engine.submit(order(name, Side.SELL, OrderType.STOP_LIMIT, quantity="1", price="120", trigger_price=trigger), BOOK)
    assert trade(engine, "90", "1").triggered == ("first", "second")


def test_woken_ioc_stop_that_finds_nothing_expires(engine: MatchingEngine) -> None:
    sleeping = order("a", Side.SELL, OrderType.STOP_LIMIT, quantity="1", price="120", trigger_price="95", time_in_force=TimeInForce.IOC)
    engine.submit(sleeping, BOOK)
    assert trade(engine, "95", "1") == Outcome(triggered=("a",), expired=("a",))


def test_cancel_returns_what_was_open_and_forgets_the_order(engine: MatchingEngine) -> None:
    engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)
    trade(engine, "94", "1")
    assert engine.cancel("a") == 2
    assert engine.cancel("a") == 0
    assert trade(engine, "90", "9") == Outcome()


def test_restored_orders_keep_their_place_and_their_sleep(engine: MatchingEngine) -> None:
    stop = order("stop", Side.SELL, OrderType.STOP_LIMIT, quantity="1", price="80", trigger_price="90")
    engine.restore(limit("a", Side.BUY, "95", "3"), remaining=D(1), is_awake=True)
    engine.restore(limit("b", Side.BUY, "95", "3"), remaining=D(3), is_awake=True)
    engine.restore(stop, remaining=D(1), is_awake=False)
    assert shown(trade(engine, "94", "2").fills) == [("a", "95", "1"), ("b", "95", "1")]
    assert trade(engine, "90", "0.01").triggered == ("stop",)


def test_market_order_cannot_be_restored(engine: MatchingEngine) -> None:
    with pytest.raises(ValueError, match="cannot have been open"):
        engine.restore(order("a", Side.BUY, OrderType.MARKET, quantity="1"), remaining=D(1), is_awake=True)


def test_same_id_cannot_be_open_twice(engine: MatchingEngine) -> None:
    engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)
    with pytest.raises(ValueError, match="already open"):
        engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)


def test_marketable_means_reaching_the_best_level() -> None:
    assert is_marketable(limit("a", Side.BUY, "100", "1"), BOOK)
    assert not is_marketable(limit("a", Side.BUY, "99.99", "1"), BOOK)
    assert not is_marketable(limit("a", Side.BUY, "100", "1"), Depth())
    assert not is_triggered(limit("a", Side.BUY, "100", "1"), D(100))


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        (OrderType.MARKET, {}),
        (OrderType.MARKET, {"quantity": "1", "notional": "1"}),
        (OrderType.MARKET, {"quantity": "1", "price": "1"}),
        (OrderType.LIMIT, {"quantity": "1"}),
        (OrderType.LIMIT, {"notional": "1", "price": "1"}),
        (OrderType.LIMIT, {"quantity": "1", "price": "1", "trigger_price": "1"}),
        (OrderType.STOP_LIMIT, {"quantity": "1", "price": "1"}),
        (OrderType.LIMIT, {"quantity": "0", "price": "1"}),
    ],
)
def test_orders_that_mean_nothing_cannot_be_made(type_: OrderType, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"order|positive"):
        order("a", Side.BUY, type_, **fields)


def test_fee_is_a_fraction_of_what_comes_in() -> None:
    rates = FeeRates(maker=D("0.0005"), taker=D("0.001"))
    bought = received_amount(Side.BUY, D("0.5"), D(60000))
    sold = received_amount(Side.SELL, D("0.5"), D(60000))
    assert (fee_on_received(bought, rates.rate(Liquidity.TAKER)), fee_on_received(sold, rates.rate(Liquidity.MAKER))) == (
        D("0.0005"),
        D(15),
    )
    assert fee_on_received(D("0.00001999"), D("0.001")) == D("0.00000001")


# -- properties -----------------------------------------------------------------------------------------------------------------------

prices = st.integers(90, 110).map(D)
quantities = st.integers(1, 500).map(lambda number: number * STEP)
sides = st.sampled_from(Side)


@st.composite
def depths(draw: st.DrawFn) -> Depth:
    middle = draw(st.integers(92, 108))
    bids = sorted(draw(st.sets(st.integers(80, middle), max_size=6)), reverse=True)
    asks = sorted(draw(st.sets(st.integers(middle + 1, 120), max_size=6)))
    return Depth(
        bids=tuple(Level(price=D(price), quantity=draw(quantities)) for price in bids),
        asks=tuple(Level(price=D(price), quantity=draw(quantities)) for price in asks),
    )


@st.composite
def orders(draw: st.DrawFn) -> BookOrder:
    type_ = draw(st.sampled_from(OrderType))
    is_market = type_ is OrderType.MARKET
    is_notional = is_market and draw(st.booleans())
    return BookOrder(
        order_id="",
        side=draw(sides),
        type=type_,
        quantity=None if is_notional else draw(quantities),
        notional=draw(st.decimals("0.01", "2000", places=2)) if is_notional else None,
        price=None if is_market else draw(prices),
        trigger_price=draw(prices) if type_ in (OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT) else None,
        time_in_force=TimeInForce.GTC if is_market else draw(st.sampled_from(TimeInForce)),
    )


def named(made: BookOrder, name: str) -> BookOrder:
    return BookOrder(
        order_id=name,
        side=made.side,
        type=made.type,
        quantity=made.quantity,
        notional=made.notional,
        price=made.price,
        trigger_price=made.trigger_price,
        time_in_force=made.time_in_force,
    )


events = st.lists(st.one_of(orders(), st.tuples(prices, quantities)), max_size=25)


def is_no_worse_than_limit(made: BookOrder, fill: BookFill) -> bool:
    if made.price is None:
        return True
    if fill.liquidity is Liquidity.MAKER:
        return fill.price == made.price
    return fill.price <= made.price if made.side is Side.BUY else fill.price >= made.price


@given(events, depths())
def test_no_history_overfills_overspends_or_breaks_a_limit(history: list[BookOrder | tuple[Decimal, Decimal]], depth: Depth) -> None:
    engine = MatchingEngine(step_size=STEP)
    placed: dict[str, BookOrder] = {}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    ended: set[str] = set()
    for index, event in enumerate(history):
        if isinstance(event, BookOrder):
            made = placed[str(index)] = named(event, str(index))
            outcome = engine.submit(made, depth)
        else:
            outcome = engine.trade(TapePrint(price=event[0], quantity=event[1]), depth)
            maker = sum((fill.quantity for fill in outcome.fills if fill.liquidity is Liquidity.MAKER), Decimal(0))
            assert maker <= event[1]
        for fill in outcome.fills:
            assert fill.quantity > 0
            assert fill.order_id not in ended
            assert is_no_worse_than_limit(placed[fill.order_id], fill)
            filled[fill.order_id] += fill.quantity
            spent[fill.order_id] += fill.quantity * fill.price
        ended.update(outcome.expired)
    for name, made in placed.items():
        if made.notional is not None:
            assert spent[name] <= made.notional
        elif made.quantity is not None:
            assert filled[name] + engine.remaining(name) <= made.quantity
            assert (name in engine) or filled[name] == made.quantity or name in ended
        assert filled[name] % STEP == 0


@given(sides, prices, st.lists(quantities, min_size=2, max_size=6), quantities)
def test_at_one_price_nobody_fills_before_an_earlier_order_is_done(
    side: Side, price: Decimal, wanted: list[Decimal], traded: Decimal
) -> None:
    engine = MatchingEngine(step_size=STEP)
    for index, quantity in enumerate(wanted):
        engine.submit(BookOrder(order_id=str(index), side=side, type=OrderType.LIMIT, quantity=quantity, price=price), Depth())
    engine.trade(TapePrint(price=price - side.sign, quantity=traded), Depth())
    still_open = [engine.remaining(str(index)) for index in range(len(wanted))]
    left = traded
    for quantity, remaining in zip(wanted, still_open, strict=True):
        assert remaining == quantity - min(quantity, left)
        left -= quantity - remaining


@given(st.lists(orders(), max_size=6), prices, quantities)
def test_trades_that_nothing_reacts_to_change_nothing(placed: list[BookOrder], price: Decimal, quantity: Decimal) -> None:
    engine = MatchingEngine(step_size=STEP)
    for index, made in enumerate(placed):
        engine.submit(named(made, str(index)), Depth())
    reacts = engine.reacts_to(low=price, high=price)
    assert (engine.trade(TapePrint(price=price, quantity=quantity), Depth()) != Outcome()) == reacts


@given(st.lists(st.one_of(orders(), st.tuples(prices, quantities)), max_size=15), depths())
def test_same_history_gives_the_same_outcomes(history: list[BookOrder | tuple[Decimal, Decimal]], depth: Depth) -> None:
    def play() -> list[Outcome]:
        engine = MatchingEngine(step_size=STEP)
        return [
            engine.submit(named(event, str(index)), depth)
            if isinstance(event, BookOrder)
            else engine.trade(TapePrint(price=event[0], quantity=event[1]), depth)
            for index, event in enumerate(history)
        ]

    assert play() == play()
