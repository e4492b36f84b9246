from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Liquidity, OrderType, Side, TimeInForce
from app.domain.matching import BookFill, BookOrder, Depth, Level, MatchingEngine, Outcome, TapePrint, is_marketable
from tests.domain.small_book import STEP, D

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
    is_notional = type_ is OrderType.MARKET and draw(st.booleans())
    is_trailing = type_ is OrderType.TRAILING_STOP or (type_.waits and draw(st.booleans()))
    has_trigger = type_.waits and not (is_trailing and draw(st.booleans()))
    return BookOrder(
        order_id="",
        side=draw(sides),
        type=type_,
        quantity=None if is_notional else draw(quantities),
        notional=draw(st.decimals("0.01", "2000", places=2)) if is_notional else None,
        price=draw(prices) if type_.has_limit else None,
        trigger_price=draw(prices) if has_trigger else None,
        trailing_delta=draw(st.integers(1, 20)) * D("0.01") if is_trailing else None,
        time_in_force=draw(st.sampled_from(TimeInForce)) if type_.has_limit else TimeInForce.GTC,
        oco=draw(st.sampled_from((None, None, "pair", "other pair"))) if not is_notional else None,
    )


def named(made: BookOrder, name: str) -> BookOrder:
    return replace(made, order_id=name)


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
        ended.update(outcome.expired, outcome.displaced)
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


@given(st.lists(orders(), max_size=6), st.lists(prices, max_size=4), prices, quantities)
def test_only_trades_it_reacts_to_change_anything(
    placed: list[BookOrder], before: list[Decimal], price: Decimal, quantity: Decimal
) -> None:
    engine = MatchingEngine(step_size=STEP)
    for index, made in enumerate(placed):
        engine.submit(named(made, str(index)), Depth())
    for earlier in before:
        engine.trade(TapePrint(price=earlier, quantity=STEP), Depth())
    marks = [engine.watermark(str(index)) for index in range(len(placed))]
    reacts = engine.reacts_to(low=price, high=price)
    changed = engine.trade(TapePrint(price=price, quantity=quantity), Depth()) != Outcome()
    assert (changed or marks != [engine.watermark(str(index)) for index in range(len(placed))]) == reacts


@given(st.lists(orders(), max_size=8), st.lists(st.tuples(prices, quantities), max_size=12), depths())
def test_of_a_pair_only_one_ever_fills(placed: list[BookOrder], tape: list[tuple[Decimal, Decimal]], depth: Depth) -> None:
    engine = MatchingEngine(step_size=STEP)
    for index, made in enumerate(placed):
        if made.type.waits or (made.type is OrderType.LIMIT and not is_marketable(made, depth)):
            engine.submit(named(made, str(index)), depth)
    filled: dict[str, set[str]] = defaultdict(set)
    for price, quantity in tape:
        outcome = engine.trade(TapePrint(price=price, quantity=quantity), depth)
        for name in (*outcome.triggered, *(fill.order_id for fill in outcome.fills)):
            filled[placed[int(name)].oco or name].add(name)
        for name in outcome.displaced:
            assert name not in engine
    assert all(len(names) == 1 for names in filled.values())


@given(st.lists(orders(), max_size=8), st.lists(st.tuples(prices, quantities), max_size=12), st.data())
def test_canceled_order_never_fills_or_wakes(placed: list[BookOrder], tape: list[tuple[Decimal, Decimal]], data: st.DataObject) -> None:
    engine = MatchingEngine(step_size=STEP)
    for index, made in enumerate(placed):
        engine.submit(named(made, str(index)), Depth())
    canceled: set[str] = set()
    for price, quantity in tape:
        if data.draw(st.booleans()) and placed:
            name = str(data.draw(st.integers(0, len(placed) - 1)))
            engine.cancel(name)
            canceled.add(name)
        outcome = engine.trade(TapePrint(price=price, quantity=quantity), Depth())
        assert canceled.isdisjoint({*outcome.triggered, *outcome.activated, *(fill.order_id for fill in outcome.fills)})


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
