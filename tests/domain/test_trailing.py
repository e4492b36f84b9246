from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderType, Side
from app.domain.matching import Depth, MatchingEngine, Outcome
from app.domain.trailing import Trail
from tests.domain.small_book import STEP, D, order, trade

EMPTY = Depth()


def submit(engine: MatchingEngine, side: Side, type_: OrderType, delta: str, *, last: str | None = None, **fields: object) -> None:
    made = order("a", side, type_, quantity="1", trailing_delta=delta, **fields)
    engine.submit(made, EMPTY, last_price=None if last is None else D(last))


@pytest.fixture
def engine() -> MatchingEngine:
    return MatchingEngine(step_size=STEP)


@pytest.mark.parametrize(
    ("side", "type_", "delta", "trigger", "limit", "tape", "fires_at", "watermark"),
    [
        (Side.BUY, OrderType.STOP_LIMIT, "0.05", "44000", "45000", "37000 44000 45000 46000 42000 44099", "44100", "42000"),
        (Side.SELL, OrderType.STOP_LIMIT, "0.1", "39000", "38000", "41500 39000 37000 41000 36900.01", "36900", "41000"),
        (Side.BUY, OrderType.TAKE_PROFIT_LIMIT, "0.085", "38000", "38500", "42000 38000 37000 39000 38000 40144", "40145", "37000"),
        (
            Side.SELL,
            OrderType.TAKE_PROFIT_LIMIT,
            "0.075",
            "42000",
            "41000",
            "41500 39000 42000 45000 44000 46500 43013",
            "43012.5",
            "46500",
        ),
        (Side.SELL, OrderType.STOP_LIMIT, "0.07", None, "39000", "42000 39500 45500 42316", "42315", "45500"),
    ],
    ids=["A", "B", "C", "D", "E"],
)
def test_scenarios_of_the_venues_documentation(
    engine: MatchingEngine,
    side: Side,
    type_: OrderType,
    delta: str,
    trigger: str | None,
    limit: str,
    tape: str,
    fires_at: str,
    watermark: str,
) -> None:
    submit(engine, side, type_, delta, last="40000", trigger_price=trigger, price=limit)
    for price in tape.split():
        assert trade(engine, price, "1", EMPTY).triggered == ()
    assert engine.watermark("a") == D(watermark)
    outcome = trade(engine, fires_at, "1", EMPTY)
    assert outcome.triggered == ("a",)
    assert engine.watermark("a") is None
    assert engine.remaining("a") == 1


def test_trailing_stop_without_trigger_follows_from_the_last_price(engine: MatchingEngine) -> None:
    submit(engine, Side.SELL, OrderType.TRAILING_STOP, "0.01", last="100")
    assert engine.watermark("a") == 100
    assert trade(engine, "99.01", "1", EMPTY) == Outcome()
    assert trade(engine, "99", "1", EMPTY).triggered == ("a",)


def test_trailing_stop_that_knows_no_price_follows_from_the_next_trade(engine: MatchingEngine) -> None:
    submit(engine, Side.SELL, OrderType.TRAILING_STOP, "0.01")
    assert engine.watermark("a") is None
    assert trade(engine, "50", "1", EMPTY) == Outcome()
    assert engine.watermark("a") == 50


def test_trigger_price_makes_it_active_and_is_the_first_price_it_has_seen(engine: MatchingEngine) -> None:
    submit(engine, Side.SELL, OrderType.TRAILING_STOP, "0.01", last="100", trigger_price="110")
    assert trade(engine, "109", "1", EMPTY) == Outcome()
    assert engine.watermark("a") is None
    assert trade(engine, "111", "1", EMPTY) == Outcome(activated=("a",))
    assert engine.watermark("a") == 111


def test_restored_trailing_stop_goes_on_from_its_watermark(engine: MatchingEngine) -> None:
    active = order("active", Side.SELL, OrderType.TRAILING_STOP, quantity="1", trailing_delta="0.1", trigger_price="110")
    engine.restore(active, remaining=D(1), is_awake=False, watermark=D(150))
    waiting = order("waiting", Side.SELL, OrderType.TRAILING_STOP, quantity="1", trailing_delta="0.1", trigger_price="110")
    engine.restore(waiting, remaining=D(1), is_awake=False)
    assert trade(engine, "136", "1", EMPTY) == Outcome(activated=("waiting",))
    assert trade(engine, "135", "1", EMPTY).triggered == ("active",)
    assert engine.watermark("waiting") == 136


def test_stretch_that_moves_a_watermark_is_not_quiet(engine: MatchingEngine) -> None:
    submit(engine, Side.SELL, OrderType.TRAILING_STOP, "0.1", last="100")
    assert not engine.reacts_to(low=D(91), high=D(100))
    assert engine.reacts_to(low=D(100), high=D("100.01"))
    assert engine.reacts_to(low=D(90), high=D(95))


# -- against a model that keeps each order apart ----------------------------------------------------------------------------------------

prices = st.integers(80, 120).map(D)


@dataclass
class Follower:
    side: Side
    delta: Decimal
    watermark: Decimal | None

    def sees(self, price: Decimal) -> bool:
        best = max if self.side is Side.SELL else min
        self.watermark = price if self.watermark is None else best(self.watermark, price)
        trigger = self.watermark * (1 - self.side.opposite.sign * self.delta)
        return price <= trigger if self.side is Side.SELL else price >= trigger


@given(st.sampled_from(Side), st.data())
def test_grouped_orders_behave_like_orders_kept_apart(side: Side, data: st.DataObject) -> None:
    trail, apart = Trail(side), dict[str, Follower]()
    for step in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(("add", "price", "price", "remove"))):
            case "add":
                delta, watermark = data.draw(st.integers(1, 25)) * D("0.01"), data.draw(st.none() | prices)
                trail.add(str(step), delta, arrival=step, watermark=watermark)
                apart[str(step)] = Follower(side, delta, watermark)
            case "remove" if apart:
                name = data.draw(st.sampled_from(sorted(apart)))
                trail.remove(name)
                del apart[name]
            case "price":
                price = data.draw(prices)
                before = {name: follower.watermark for name, follower in apart.items()}
                reacts = trail.reacts_to(low=price, high=price)
                expected = {name for name, follower in apart.items() if follower.sees(price)}
                moved = {name: follower.watermark for name, follower in apart.items()} != before
                assert {name for _, name in trail.follow(price)} == expected
                assert reacts == (bool(expected) or moved)
                apart = {name: follower for name, follower in apart.items() if name not in expected}
        for name, follower in apart.items():
            assert trail.watermark(name) == follower.watermark


@given(st.sampled_from(Side), st.sampled_from([each for each in OrderType if each.waits]), prices, st.lists(prices, max_size=30), st.data())
def test_trailing_stop_never_triggers_before_it_is_active(
    side: Side, type_: OrderType, trigger: Decimal, tape: list[Decimal], data: st.DataObject
) -> None:
    engine = MatchingEngine(step_size=STEP)
    delta = data.draw(st.integers(1, 25)) * D("0.01")
    made = order("a", side, type_, quantity="1", trigger_price=trigger, trailing_delta=delta, price=D(100) if type_.has_limit else None)
    engine.submit(made, EMPTY, last_price=data.draw(prices))
    follower: Follower | None = None
    for price in tape:
        outcome = trade(engine, str(price), "1", EMPTY)
        if follower is None:
            reached = price >= trigger if made.fires_upwards else price <= trigger
            assert outcome == (Outcome(activated=("a",)) if reached else Outcome())
            follower = Follower(side, delta, price) if reached else None
        elif follower.sees(price):
            assert outcome.triggered == ("a",)
            return
        else:
            assert outcome == Outcome()
