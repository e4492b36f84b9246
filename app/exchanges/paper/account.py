"""One paper account in memory: balances, open orders and what requests and trades do to them. Pure: no I/O, no clock.

A step either raises before it has changed anything or leaves changes to be written; when they cannot be written the account is thrown
away and read again. Money moves only here, always out of one place into another: balances and fees together stay what was put in.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from app.domain.enums import OrderState, OrderType, Side, TimeInForce
from app.domain.fees import FeeRates, fee_on_received
from app.domain.instruments import Instrument, plain
from app.domain.matching import NOTHING, BookFill, MatchingEngine, Outcome, TapePrint, take
from app.errors import InsufficientFunds, OrderRejected, OutcomeUnknown
from app.exchanges.paper import rules
from app.exchanges.paper.market import ENDLESS, Tick
from app.exchanges.paper.records import EXACT, ZERO, Changes, Holding, PaperFill, PaperOrder, Snapshot, notional_of
from app.exchanges.port import OcoRequest, OrderRequest

#: What an account starts with; everything else it trades for.
START_ASSET: Final = "USDT"
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _exactly(step: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let no sum or product within `step` be rounded."""

    @wraps(step)
    def exact(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with localcontext(EXACT):
            return step(*args, **kwargs)

    return exact


class PaperAccount:
    """The open part of an account. Finished orders and past fills are in the tables only."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.broker_id = snapshot.broker_id
        self.user_id = snapshot.user_id
        self.revision = snapshot.revision
        self.balance_usdt = snapshot.balance_usdt
        self.holdings = snapshot.holdings
        self.orders = {order.key: order for order in snapshot.orders}
        self._fees = FeeRates(maker=snapshot.maker_fee, taker=snapshot.taker_fee)
        self._last_order_id = snapshot.last_order_id
        self._last_trade_id = snapshot.last_trade_id
        self._engines: dict[str, MatchingEngine] = {}
        self._changed_assets: set[str] = set()
        self._changed_orders: dict[str, PaperOrder] = {}
        self._fills: list[PaperFill] = []
        self._restarted = False

    @property
    def symbols(self) -> set[str]:
        """What it has open orders in."""
        return {order.symbol for order in self.orders.values()}

    @property
    def has_changes(self) -> bool:
        """Whether something is to be written."""
        return bool(self._changed_orders) or self._restarted

    def find(self, client_order_id: str, venue_order_id: str | None) -> PaperOrder | None:
        """Return an open order by the exchange's id, or else by the client's."""
        if venue_order_id is not None:
            return self.orders.get(venue_order_id)
        return next((order for order in self.orders.values() if order.client_order_id == client_order_id), None)

    @_exactly
    def place(self, request: OrderRequest, instrument: Instrument, tick: Tick, *, at: datetime) -> PaperOrder:
        """Take in an order and return it, with what it filled at once.

        Raises:
            OrderRejected: a rule of the venue forbids it.
            InsufficientFunds: the account does not hold what it needs.
            OutcomeUnknown: an open order has its client order id, so that very order may be there already.
        """
        rules.check(request, instrument, tick)
        self._refuse_duplicate(request.client_order_id)
        order = self._new(request, tick, at=at)
        needed = self._needed_now(request, instrument, tick) if request.type is OrderType.MARKET else order.needed
        self._require(order.pays, needed)
        self._keep(order)
        self._submit(order, instrument, tick, at=at)
        return order

    @_exactly
    def place_pair(self, request: OcoRequest, instrument: Instrument, tick: Tick, *, at: datetime) -> tuple[PaperOrder, PaperOrder]:
        """Take in two orders of which at most one trades; what the dearer one needs is kept back once. Raises as `place`."""
        rules.check_pair(request, tick)
        for leg in (request.target, request.stop):
            rules.check(leg, instrument, tick)
            self._refuse_duplicate(leg.client_order_id)
        target = self._new(request.target, tick, at=at, list_id=request.list_client_order_id)
        stop = self._new(request.stop, tick, at=at, list_id=request.list_client_order_id, ahead=1)
        self._require(target.pays, max(target.needed, stop.needed))
        self._keep(target)
        self._keep(stop)
        self._relock(target)
        for order in (target, stop):
            self._submit(order, instrument, tick, at=at)
        return target, stop

    @_exactly
    def cancel(self, order: PaperOrder, *, at: datetime) -> None:
        """Cancel an open order, and the other leg of its pair with it."""
        for leg in self._pair_of(order):
            if leg.symbol in self._engines:
                self._engines[leg.symbol].cancel(leg.key)
            self._close(leg, OrderState.CANCELED, at=at)

    @_exactly
    def restart(self, *, at: datetime) -> None:
        """Cancel everything and hold nothing but the starting balance."""
        for order in list(self.orders.values()):
            self.cancel(order, at=at)
        self.holdings = {START_ASSET: Holding(free=self.balance_usdt)}
        self._changed_assets = {START_ASSET}
        self._restarted = True

    @_exactly
    def trade(self, symbol: str, instrument: Instrument, ticks: Sequence[Tick], *, at: datetime) -> None:
        """Let trades of the market fill what rests and wake what waits."""
        engine = self._engine(symbol, instrument)
        for tick in ticks:
            if len(ticks) == 1 or engine.reacts_to(low=tick.price, high=tick.price):
                # A market cannot pass an order without filling it: a trade has no end here.
                outcome = engine.trade(TapePrint(price=tick.price, quantity=ENDLESS), tick.offer.depth(instrument))
                if outcome is not NOTHING:
                    self._apply(outcome, instrument, at=at)

    def reacts_to(self, symbol: str, instrument: Instrument, *, low: Decimal, high: Decimal) -> bool:
        """Return whether trades between `low` and `high` could do anything to the account."""
        return self._engine(symbol, instrument).reacts_to(low=low, high=high)

    def moved_watermarks(self) -> list[tuple[int, Decimal]]:
        """Return (order id, watermark) of the trailing stops whose watermark moved since the last call."""
        moved = []
        for order in self.orders.values():
            if order.trailing_delta is not None and order.symbol in self._engines:
                seen = self._engines[order.symbol].watermark(order.key)
                if seen is not None and seen != order.watermark:
                    order.watermark = seen
                    moved.append((order.order_id, seen))
        return moved

    def take_changes(self) -> Changes:
        """Return what is to be written; the account then counts as written under the next revision."""
        changes = Changes(
            broker_id=self.broker_id,
            revision=self.revision,
            last_order_id=self._last_order_id,
            last_trade_id=self._last_trade_id,
            holdings={asset: self.holdings[asset] for asset in sorted(self._changed_assets)},
            orders=tuple(self._changed_orders.values()),
            fills=tuple(self._fills),
            restarted=self._restarted,
        )
        self.revision += 1
        self._changed_assets, self._changed_orders, self._fills, self._restarted = set(), {}, [], False
        return changes

    def fills_of(self, order: PaperOrder) -> tuple[PaperFill, ...]:
        """Return the fills of an order that are still to be written: all it has when it has just been placed."""
        return tuple(fill for fill in self._fills if fill.order_id == order.order_id)

    # -- orders ---------------------------------------------------------------------------------------------------------------------------

    def _new(self, request: OrderRequest, tick: Tick, *, at: datetime, list_id: str | None = None, ahead: int = 0) -> PaperOrder:
        is_by_notional = request.notional is not None and request.type is OrderType.MARKET
        is_trailing = request.trailing_delta is not None
        return PaperOrder(
            order_id=self._last_order_id + 1 + ahead,
            client_order_id=request.client_order_id,
            list_id=list_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force if request.type.has_limit else TimeInForce.GTC,
            post_only=request.post_only,
            quantity=ZERO if is_by_notional else request.quantity,
            notional=request.notional if is_by_notional else None,
            price=request.price if request.type.has_limit else None,
            trigger_price=request.trigger_price if request.type.waits else None,
            trailing_delta=request.trailing_delta if request.type.waits else None,
            watermark=tick.price if is_trailing and request.trigger_price is None else None,
            is_awake=not request.type.waits,
            state=OrderState.OPEN,
            filled_quantity=ZERO,
            filled_notional=ZERO,
            locked=ZERO,
            created_at=at,
            updated_at=at,
        )

    def _refuse_duplicate(self, client_order_id: str) -> None:
        if any(order.client_order_id == client_order_id for order in self.orders.values()):
            raise OutcomeUnknown("an open order of the account has that client order id; it is being looked up")

    def _keep(self, order: PaperOrder) -> None:
        self._last_order_id = order.order_id
        self.orders[order.key] = order
        if order.type is not OrderType.MARKET and order.list_id is None:
            self._relock(order)

    def _submit(self, order: PaperOrder, instrument: Instrument, tick: Tick, *, at: datetime) -> None:
        self._touch(order, at=at)
        engine = self._engine(order.symbol, instrument, without=order)
        self._apply(engine.submit(order.in_book(), tick.offer.depth(instrument), last_price=tick.price), instrument, at=at)

    def _engine(self, symbol: str, instrument: Instrument, *, without: PaperOrder | None = None) -> MatchingEngine:
        engine = self._engines.get(symbol)
        if engine is None:
            engine = self._engines[symbol] = MatchingEngine(step_size=instrument.step_size)
            for order in self.orders.values():
                if order.symbol == symbol and order is not without and (without is None or order.order_id < without.order_id):
                    engine.restore(order.in_book(), remaining=order.remaining, is_awake=order.is_awake, watermark=order.watermark)
        return engine

    def _pair_of(self, order: PaperOrder) -> list[PaperOrder]:
        mates = [mate for mate in self.orders.values() if mate.list_id == order.list_id and mate is not order] if order.list_id else []
        return [order, *mates]

    # -- what the market did --------------------------------------------------------------------------------------------------------------

    def _apply(self, outcome: Outcome, instrument: Instrument, *, at: datetime) -> None:
        for key in outcome.displaced:
            displaced = self.orders[key]
            survivors = self._pair_of(displaced)[1:]
            self._close(displaced, OrderState.CANCELED, at=at)
            for survivor in survivors:
                self._relock(survivor)
        for key in outcome.triggered:
            self.orders[key].is_awake = True
        touched = dict.fromkeys([*outcome.activated, *outcome.triggered, *(fill.order_id for fill in outcome.fills), *outcome.expired])
        for key in touched:
            self._touch(self.orders[key], at=at)
        for fill in outcome.fills:
            self._settle(self.orders[fill.order_id], fill, instrument, at=at)
        for key in touched:
            self._advance(self.orders[key], at=at)

    def _settle(self, order: PaperOrder, fill: BookFill, instrument: Instrument, *, at: datetime) -> None:
        quantity = self._affordable(order, fill, instrument)
        if quantity <= 0:
            return
        cost = notional_of(fill.price, quantity, ROUND_DOWN)
        is_buy = order.side is Side.BUY
        paid, amount = (cost, quantity) if is_buy else (quantity, cost)
        pays, gets = order.pays, order.gets
        fee = fee_on_received(amount, self._fees.rate(fill.liquidity))
        order.filled_quantity += quantity
        order.filled_notional += cost
        before = order.locked
        # What arrives as a market order does not rest: nothing is kept back for what it cannot get now.
        order.locked = order.needed if order.type.has_limit else ZERO
        self._move(pays, free=before - order.locked - paid, locked=order.locked - before)
        self._move(gets, free=amount - fee)
        self._last_trade_id += 1
        self._fills.append(
            PaperFill(
                trade_id=self._last_trade_id,
                order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                price=fill.price,
                quantity=quantity,
                notional=cost,
                fee=fee,
                fee_asset=gets,
                liquidity=fill.liquidity,
                executed_at=at,
            )
        )

    def _affordable(self, order: PaperOrder, fill: BookFill, instrument: Instrument) -> Decimal:
        """A buy that waited as a market order may meet a worse price than was kept back for it: it then buys what the account can pay."""
        if order.side is Side.SELL or not (order.type.waits and order.price is None):
            return fill.quantity
        purse = order.locked + self.holding(order.pays).free
        if notional_of(fill.price, fill.quantity, ROUND_UP) <= purse:
            return fill.quantity
        return instrument.floor_quantity(purse / fill.price)

    def _advance(self, order: PaperOrder, *, at: datetime) -> None:
        """Give an order the state that its fills and the book leave it in."""
        is_resting = order.key in self._engines[order.symbol]
        if order.notional is not None:
            order.quantity = order.filled_quantity
        if order.filled_quantity and order.remaining <= 0:
            self._close(order, OrderState.FILLED, at=at)
        elif not is_resting:
            self._close(order, OrderState.EXPIRED, at=at)
        elif order.filled_quantity:
            order.state = OrderState.PARTIAL

    def _close(self, order: PaperOrder, state: OrderState, *, at: datetime) -> None:
        order.state = state
        self._move(order.pays, free=order.locked, locked=-order.locked)
        order.locked = ZERO
        self.orders.pop(order.key, None)
        self._touch(order, at=at)

    def _touch(self, order: PaperOrder, *, at: datetime) -> None:
        order.updated_at = at
        if order.trailing_delta is not None and order.symbol in self._engines:
            order.watermark = self._engines[order.symbol].watermark(order.key) or order.watermark
        self._changed_orders[order.key] = order

    # -- money ----------------------------------------------------------------------------------------------------------------------------

    def holding(self, asset: str) -> Holding:
        """Return what it has of an asset, which may be nothing."""
        return self.holdings.setdefault(asset, Holding())

    def _move(self, asset: str, *, free: Decimal = ZERO, locked: Decimal = ZERO) -> None:
        holding = self.holding(asset)
        holding.free += free
        holding.locked += locked
        self._changed_assets.add(asset)

    def _relock(self, order: PaperOrder) -> None:
        """Keep back what an order needs now. Of a pair, the target carries what the dearer leg needs."""
        legs = self._pair_of(order)
        is_carried = len(legs) > 1 and order.type.is_stop
        needed = ZERO if is_carried else max(leg.needed for leg in legs)
        self._move(order.pays, free=order.locked - needed, locked=needed - order.locked)
        order.locked = needed

    def _needed_now(self, request: OrderRequest, instrument: Instrument, tick: Tick) -> Decimal:
        """Return what a market order pays, by what is offered; a notional is needed whole."""
        book = rules.book_order(request)
        fills = take(book, tick.offer.depth(instrument), step_size=instrument.step_size)
        if not fills:
            raise OrderRejected(f"{request.symbol}: {plain(request.notional or request.quantity)} buys less than one step of the quantity")
        if request.side is Side.SELL:
            return sum((fill.quantity for fill in fills), ZERO)
        return request.notional or sum((notional_of(fill.price, fill.quantity, ROUND_UP) for fill in fills), ZERO)

    def _require(self, asset: str, needed: Decimal) -> None:
        holding = self.holdings.get(asset, Holding())
        if holding.free < needed:
            reserved = f" ({plain(holding.locked)} reserved by open orders)" if holding.locked else ""
            raise InsufficientFunds(f"Not enough {asset}: needed {plain(needed)}, free {plain(holding.free)}{reserved}.")
