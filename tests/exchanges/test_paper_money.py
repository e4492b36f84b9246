"""Money at the paper exchange: whatever is ordered and whatever the market does, nothing comes from nowhere and nothing gets lost."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Side, TimeInForce
from app.domain.instruments import Instrument
from app.errors import OrderRejected, OutcomeUnknown
from app.exchanges.paper.account import PaperAccount
from app.exchanges.paper.market import Offer, Tick
from app.exchanges.paper.records import EXACT, Changes, Holding, Snapshot
from app.exchanges.port import OcoRequest, OrderRequest

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
SYMBOLS: Final = ("BTC/USDT", "SHIB/USDT")
#: Steps and ticks whose products have more decimals than the tables hold.
RULES: Final = {
    "BTC/USDT": Instrument(
        symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"), min_notional=Decimal(5)
    ),
    "SHIB/USDT": Instrument(
        symbol="SHIB/USDT", base="SHIB", quote="USDT", tick_size=Decimal("0.0000000001"), step_size=Decimal("0.0000000001")
    ),
}
MIDDLE: Final = {"BTC/USDT": Decimal(100), "SHIB/USDT": Decimal("0.0000123457")}
#: Little enough to run out of, and so much of one asset that usual sums of it would be rounded.
START: Final = {"USDT": Decimal(5_000), "BTC": Decimal(50), "SHIB": Decimal(10) ** 19}

sides = st.sampled_from(Side)
symbols = st.sampled_from(SYMBOLS)
#: Prices as thousandths of the middle, quantities as thousandths of what the middle price buys for 1,000.
prices = st.integers(800, 1200)
sizes = st.integers(1, 5000)
steps = st.one_of(
    st.tuples(st.just("tick"), symbols, prices, st.sampled_from([None, 1, 300])),
    st.tuples(st.just("market"), symbols, sides, sizes, st.booleans()),
    st.tuples(st.just("limit"), symbols, sides, sizes, prices, st.sampled_from(TimeInForce)),
    st.tuples(st.just("wait"), symbols, sides, sizes, prices, st.sampled_from([kind for kind in OrderType if kind.waits])),
    st.tuples(st.just("pair"), symbols, sides, sizes, prices, prices),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("restart")),
)


class Ledger:
    """An account, its market, and our own count of what it must hold."""

    def __init__(self) -> None:
        self.account = PaperAccount(snapshot({asset: Holding(free=amount) for asset, amount in START.items()}))
        self.owns: dict[str, Decimal] = defaultdict(Decimal, START)
        self.fees: dict[str, Decimal] = defaultdict(Decimal)
        self.ticks = {symbol: tick_at(symbol, 1000, None) for symbol in SYMBOLS}
        self.number = 0
        self.trade_ids: list[int] = []

    def do(self, step: tuple[Any, ...]) -> None:
        before = picture(self.account)
        try:
            getattr(self, f"do_{step[0]}")(*step[1:])
        except (OrderRejected, OutcomeUnknown):
            assert picture(self.account) == before, "a refusal changed the account"
            assert not self.account.has_changes
        with localcontext(EXACT):
            if self.account.has_changes:
                self.count(self.account.take_changes())
            self.check()

    def do_tick(self, symbol: str, price: int, offered: int | None) -> None:
        self.ticks[symbol] = tick_at(symbol, price, offered)
        self.account.trade(symbol, RULES[symbol], [self.ticks[symbol]], at=AT)

    def do_market(self, symbol: str, side: Side, size: int, by_notional: bool) -> None:  # noqa: FBT001  # a drawn value
        notional = Decimal(size) if by_notional and side is Side.BUY else None
        self.place(symbol, self.request(symbol, side, size, type=OrderType.MARKET, notional=notional))

    def do_limit(self, symbol: str, side: Side, size: int, price: int, time_in_force: TimeInForce) -> None:
        request = self.request(symbol, side, size, type=OrderType.LIMIT, price=price_at(symbol, price), time_in_force=time_in_force)
        self.place(symbol, request)

    def do_wait(self, symbol: str, side: Side, size: int, price: int, kind: OrderType) -> None:
        trailing = kind is OrderType.TRAILING_STOP
        fields: dict[str, Any] = {
            "trigger_price": None if trailing and price % 2 else price_at(symbol, price),
            "price": price_at(symbol, 2000 - price) if kind.has_limit else None,
            "trailing_delta": Decimal(price % 90 + 1) / 1000 if trailing else None,
        }
        self.place(symbol, self.request(symbol, side, size, type=kind, **fields))

    def do_pair(self, symbol: str, side: Side, size: int, price: int, trigger: int) -> None:
        target = self.request(symbol, side, size, type=OrderType.LIMIT, price=price_at(symbol, price))
        kind = OrderType.STOP_LIMIT if price % 2 else OrderType.STOP_MARKET
        fields: dict[str, Any] = {"trigger_price": price_at(symbol, trigger), "price": price_at(symbol, price) if price % 2 else None}
        stop = self.request(symbol, side, size, type=kind, **fields)
        pair = OcoRequest(list_client_order_id=f"list{self.number}", target=target, stop=stop)
        self.account.place_pair(pair, RULES[symbol], self.ticks[symbol], at=AT)

    def do_cancel(self, index: int) -> None:
        orders = list(self.account.orders.values())
        if orders:
            self.account.cancel(orders[index % len(orders)], at=AT)

    def do_restart(self) -> None:
        self.account.restart(at=AT)
        self.owns = defaultdict(Decimal, USDT=self.account.balance_usdt)

    def place(self, symbol: str, request: OrderRequest) -> None:
        self.account.place(request, RULES[symbol], self.ticks[symbol], at=AT)

    def request(self, symbol: str, side: Side, size: int, **fields: Any) -> OrderRequest:
        self.number += 1
        values: dict[str, Any] = {"price": None, "trigger_price": None, "time_in_force": TimeInForce.GTC, "post_only": False} | fields
        quantity = RULES[symbol].floor_quantity(Decimal(size) / MIDDLE[symbol])
        return OrderRequest(client_order_id=f"order{self.number}", symbol=symbol, side=side, quantity=quantity, sent_at=AT, **values)

    def count(self, changes: Changes) -> None:
        for fill in changes.fills:
            base, _, quote = fill.symbol.partition("/")
            assert 0 <= fill.price * fill.quantity - fill.notional < Decimal("1e-18")
            self.owns[base] += fill.side.sign * fill.quantity
            self.owns[quote] -= fill.side.sign * fill.notional
            self.owns[fill.fee_asset] -= fill.fee
            self.trade_ids.append(fill.trade_id)
        for order in changes.orders:
            assert 0 <= order.filled_quantity <= order.quantity
            assert order.is_open or order.locked == 0
            assert order.state is not OrderState.FILLED or order.remaining == 0

    def check(self) -> None:
        assert self.trade_ids == list(range(1, len(self.trade_ids) + 1))
        locked: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.account.orders.values():
            locked[order.pays] += order.locked
            if order.list_id is None and order.trailing_delta is None:
                assert order.locked == order.needed
            elif order.list_id is not None:
                pair = [leg for leg in self.account.orders.values() if leg.list_id == order.list_id]
                assert sum(leg.locked for leg in pair) == max(leg.needed for leg in pair)
        for asset in {*self.owns, *self.account.holdings}:
            holding = self.account.holding(asset)
            assert holding.free >= 0
            assert holding.locked == locked[asset]
            assert holding.free + holding.locked == self.owns[asset], asset


def snapshot(holdings: dict[str, Holding]) -> Snapshot:
    return Snapshot(
        broker_id=new_id(),
        user_id=new_id(),
        revision=0,
        maker_fee=Decimal("0.00075"),
        taker_fee=Decimal("0.001"),
        balance_usdt=START["USDT"],
        last_order_id=0,
        last_trade_id=0,
        holdings=holdings,
        orders=(),
    )


def picture(account: PaperAccount) -> object:
    held = {asset: (holding.free, holding.locked) for asset, holding in account.holdings.items() if holding.free or holding.locked}
    return held, {key: (order.state, order.locked, order.filled_quantity) for key, order in account.orders.items()}


def price_at(symbol: str, thousandths: int) -> Decimal:
    return RULES[symbol].round_price(Side.BUY, MIDDLE[symbol] * thousandths / 1000)


def tick_at(symbol: str, price: int, offered: int | None) -> Tick:
    ask = price_at(symbol, price)
    quantity = None if offered is None else RULES[symbol].floor_quantity(offered / MIDDLE[symbol])
    return Tick(price=ask, offer=Offer(bid=ask - RULES[symbol].tick_size, ask=ask, bid_quantity=quantity, ask_quantity=quantity))


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, min_size=1, max_size=40))
def test_balances_and_fees_together_stay_what_was_put_in(history: list[tuple[Any, ...]]) -> None:
    ledger = Ledger()
    for step in history:
        ledger.do(step)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25))
def test_an_account_that_was_read_again_goes_on_as_if_nothing_had_been(history: list[tuple[Any, ...]]) -> None:
    one, other = Ledger(), Ledger()
    for step in history:
        one.do(step)
        other.do(step)
        other.account = read_again(other.account)
        assert picture(one.account) == picture(other.account)


def read_again(account: PaperAccount) -> PaperAccount:
    """The account as a new process finds it, with the watermarks that were kept."""
    account.moved_watermarks()
    return PaperAccount(
        Snapshot(
            broker_id=account.broker_id,
            user_id=account.user_id,
            revision=account.revision,
            maker_fee=Decimal("0.00075"),
            taker_fee=Decimal("0.001"),
            balance_usdt=account.balance_usdt,
            last_order_id=account.take_changes().last_order_id,
            last_trade_id=account.take_changes().last_trade_id,
            holdings=account.holdings,
            orders=tuple(account.orders.values()),
        )
    )


def test_a_stop_that_the_market_jumped_over_buys_what_the_account_can_pay() -> None:
    ledger = Ledger()
    ledger.do(("wait", "BTC/USDT", Side.BUY, 4900, 1010, OrderType.STOP_MARKET))
    (order,) = ledger.account.orders.values()
    assert order.quantity == 49

    ledger.do(("tick", "BTC/USDT", 1200, None))

    # 5,000 at 120.00 a piece is 41.66666 of the 49.
    assert order.state is OrderState.EXPIRED
    assert order.filled_quantity == Decimal("41.66666")
    assert 0 <= ledger.account.holding("USDT").free < Decimal("0.01")


def test_the_other_leg_of_a_pair_is_never_paid_for_twice() -> None:
    ledger = Ledger()
    ledger.do(("pair", "BTC/USDT", Side.SELL, 5000, 1050, 980))
    assert ledger.account.holding("BTC").locked == 50

    ledger.do(("tick", "BTC/USDT", 970, None))

    assert ledger.account.holding("BTC") == Holding(free=Decimal(0), locked=Decimal(0))
    assert not ledger.account.orders
