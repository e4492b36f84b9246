import pytest

from app.domain.enums import Liquidity, OrderType, Side, TimeInForce
from app.domain.fees import FeeRates, fee_on_received, received_amount
from app.domain.matching import BookFill, Depth, MatchingEngine, Outcome, is_marketable, is_triggered, take
from tests.domain.small_book import BOOK, STEP, D, levels, limit, order, shown, trade


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


@pytest.mark.parametrize(
    ("side", "type_", "trigger", "asleep", "awake", "paid"),
    [
        (Side.SELL, OrderType.STOP_MARKET, "95", "95.01", "95", "99"),
        (Side.BUY, OrderType.STOP_MARKET, "105", "104.99", "105", "100"),
        (Side.SELL, OrderType.TAKE_PROFIT, "105", "104.99", "105", "99"),
        (Side.BUY, OrderType.TAKE_PROFIT, "95", "95.01", "95", "100"),
    ],
)
def test_stop_without_limit_becomes_a_market_order(
    engine: MatchingEngine, side: Side, type_: OrderType, trigger: str, asleep: str, awake: str, paid: str
) -> None:
    engine.submit(order("a", side, type_, quantity="1", trigger_price=trigger), BOOK)
    assert trade(engine, asleep, "1") == Outcome()
    outcome = trade(engine, awake, "1")
    assert (outcome.triggered, shown(outcome.fills), len(engine)) == (("a",), [("a", paid, "1")], 0)


def test_stop_that_finds_no_depth_expires(engine: MatchingEngine) -> None:
    engine.submit(order("a", Side.SELL, OrderType.STOP_MARKET, quantity="9", trigger_price="95"), BOOK)
    outcome = trade(engine, "95", "1")
    assert (sum(fill.quantity for fill in outcome.fills), outcome.expired, len(engine)) == (8, ("a",), 0)


def test_partly_filled_leg_displaces_the_other(engine: MatchingEngine) -> None:
    engine.submit(order("target", Side.SELL, OrderType.LIMIT, quantity="2", price="105", oco="pair"), BOOK)
    engine.submit(order("stop", Side.SELL, OrderType.STOP_MARKET, quantity="2", trigger_price="95", oco="pair"), BOOK)
    outcome = trade(engine, "106", "0.5")
    assert (shown(outcome.fills), outcome.displaced) == ([("target", "105", "0.5")], ("stop",))
    assert trade(engine, "90", "9") == Outcome()
    assert engine.remaining("target") == D("1.5")


def test_triggered_leg_displaces_the_other(engine: MatchingEngine) -> None:
    engine.submit(order("target", Side.SELL, OrderType.LIMIT, quantity="2", price="105", oco="pair"), BOOK)
    engine.submit(order("stop", Side.SELL, OrderType.STOP_LIMIT, quantity="2", price="120", trigger_price="95", oco="pair"), BOOK)
    outcome = trade(engine, "95", "1")
    assert (outcome.triggered, outcome.displaced, outcome.fills) == (("stop",), ("target",), ())
    assert [fill.order_id for fill in trade(engine, "121", "9").fills] == ["stop"]


def test_when_both_legs_could_go_the_resting_one_does(engine: MatchingEngine) -> None:
    engine.submit(order("trail", Side.SELL, OrderType.TRAILING_STOP, quantity="1", trailing_delta="0.05", oco="pair"), BOOK)
    engine.submit(order("target", Side.SELL, OrderType.LIMIT, quantity="1", price="105", oco="pair"), BOOK)
    assert trade(engine, "120", "0.001") == Outcome()
    outcome = trade(engine, "110", "5")
    assert (shown(outcome.fills), outcome.displaced, outcome.triggered) == ([("target", "105", "1")], ("trail",), ())


def test_canceling_one_leg_leaves_the_other(engine: MatchingEngine) -> None:
    engine.submit(order("target", Side.SELL, OrderType.LIMIT, quantity="2", price="105", oco="pair"), BOOK)
    engine.submit(order("stop", Side.SELL, OrderType.STOP_MARKET, quantity="2", trigger_price="95", oco="pair"), BOOK)
    assert engine.cancel("target") == 2
    assert trade(engine, "95", "1").triggered == ("stop",)


def test_reduced_order_keeps_its_place(engine: MatchingEngine) -> None:
    engine.submit(limit("first", Side.BUY, "95", "3"), BOOK)
    engine.submit(limit("second", Side.BUY, "95", "3"), BOOK)
    trade(engine, "94", "1")
    engine.reduce("first", D("0.5"))
    assert shown(trade(engine, "94", "1").fills) == [("first", "95", "0.5"), ("second", "95", "0.5")]


def test_reduced_stop_sells_what_is_left_of_it(engine: MatchingEngine) -> None:
    engine.submit(order("a", Side.SELL, OrderType.STOP_MARKET, quantity="1", trigger_price="95"), BOOK)
    engine.reduce("a", D("0.4"))
    assert shown(trade(engine, "95", "1").fills) == [("a", "99", "0.4")]


@pytest.mark.parametrize("quantity", ["0", "3", "4"])
def test_only_a_smaller_quantity_is_a_reduction(engine: MatchingEngine, quantity: str) -> None:
    engine.submit(limit("a", Side.BUY, "95", "3"), BOOK)
    with pytest.raises(ValueError, match="cannot be reduced"):
        engine.reduce("a", D(quantity))
    with pytest.raises(ValueError, match="0 open"):
        engine.reduce("unknown", D(1))


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
        (OrderType.LIMIT, {"quantity": "1", "price": "1", "trailing_delta": "0.1"}),
        (OrderType.STOP_MARKET, {"quantity": "1"}),
        (OrderType.STOP_MARKET, {"quantity": "1", "price": "1", "trigger_price": "1"}),
        (OrderType.STOP_MARKET, {"notional": "1", "trigger_price": "1"}),
        (OrderType.TRAILING_STOP, {"quantity": "1", "trigger_price": "1"}),
        (OrderType.TRAILING_STOP, {"quantity": "1", "trailing_delta": "1"}),
        (OrderType.TRAILING_STOP, {"quantity": "1", "trailing_delta": "0"}),
    ],
)
def test_orders_that_mean_nothing_cannot_be_made(type_: OrderType, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"order|positive|fraction"):
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
