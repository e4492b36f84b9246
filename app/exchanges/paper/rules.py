"""What the paper exchange refuses, in the same cases as a real venue."""

from decimal import Decimal

from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import Instrument, plain
from app.domain.matching import BookOrder, is_marketable, is_triggered
from app.errors import OrderDenied, OrderRejected
from app.exchanges.paper.market import Tick
from app.exchanges.port import OcoRequest, OrderRequest


def book_order(request: OrderRequest) -> BookOrder:
    """Return the request as the matching engine takes it, without a place in it.

    Raises:
        OrderRejected: its fields do not make an order.
    """
    is_by_notional = request.notional is not None and request.type is OrderType.MARKET
    try:
        return BookOrder(
            order_id=request.client_order_id,
            side=request.side,
            type=request.type,
            quantity=None if is_by_notional else request.quantity,
            notional=request.notional if is_by_notional else None,
            price=request.price if request.type.has_limit else None,
            trigger_price=request.trigger_price if request.type.waits else None,
            trailing_delta=request.trailing_delta if request.type.waits else None,
            time_in_force=request.time_in_force if request.type.has_limit else TimeInForce.GTC,
        )
    except ValueError as error:
        raise OrderRejected(f"{request.symbol}: {error}") from error


def check(request: OrderRequest, instrument: Instrument, now: Tick) -> None:
    """Refuse what the venue whose prices are used would refuse, whatever the account holds.

    Raises:
        OrderRejected: a filter, a trigger that is reached already, or a post-only order that would take.
    """
    order = book_order(request)
    if not instrument.is_active:
        raise OrderRejected(f"{instrument.symbol} is not traded now")
    try:
        _check_numbers(request, instrument, now.price)
    except OrderDenied as denial:
        raise OrderRejected(denial.message) from denial
    if order.trigger_price is not None and order.trailing_delta is None and is_triggered(order, now.price):
        reached = f"the trigger price {plain(order.trigger_price)} would trigger immediately at {plain(now.price)}"
        raise OrderRejected(f"{request.symbol}: {reached}")
    if request.post_only:
        if request.type is not OrderType.LIMIT:
            raise OrderRejected(f"{request.symbol}: only a limit order can be post-only, was {request.type}")
        if is_marketable(order, now.offer.depth(instrument)):
            raise OrderRejected(f"{request.symbol}: the post-only order would match immediately and take")


def _check_numbers(request: OrderRequest, instrument: Instrument, last: Decimal) -> None:
    for name, price in (("price", request.price), ("trigger price", request.trigger_price)):
        if price is not None:
            instrument.check_price(price)
            if price != instrument.round_price(Side.BUY, price):
                raise _off_grid(instrument, name, price, instrument.tick_size)
    if request.notional is not None and request.type is OrderType.MARKET:
        instrument.check_notional(request.notional, Decimal(1))
        return
    instrument.check_quantity(request.quantity)
    if request.quantity != instrument.floor_quantity(request.quantity):
        raise _off_grid(instrument, "quantity", request.quantity, instrument.step_size)
    instrument.check_notional(request.quantity, request.price or request.trigger_price or last)


def _off_grid(instrument: Instrument, name: str, value: Decimal, step: Decimal) -> OrderRejected:
    return OrderRejected(f"{instrument.symbol}: the {name} must be a multiple of {plain(step)}, was {plain(value)}")


def check_pair(request: OcoRequest, now: Tick) -> None:
    """Refuse two orders that are no pair around the market.

    Raises:
        OrderRejected: they differ in symbol, side or quantity, or the market is not between target and stop.
    """
    target, stop = request.target, request.stop
    if (target.symbol, target.side, target.quantity) != (stop.symbol, stop.side, stop.quantity):
        raise OrderRejected("the two orders of a pair must have the same symbol, side and quantity")
    if target.type is not OrderType.LIMIT or not stop.type.is_stop:
        raise OrderRejected(f"a pair is a limit order and a stop, was {target.type} and {stop.type}")
    if target.client_order_id == stop.client_order_id:
        raise OrderRejected("the two orders of a pair need client order ids of their own")
    below, above = (target.price, stop.trigger_price) if target.side is Side.BUY else (stop.trigger_price, target.price)
    if (below is not None and below >= now.price) or (above is not None and above <= now.price):
        shown = f"between {plain(below) if below else 'any price'} and {plain(above) if above else 'any price'}"
        raise OrderRejected(f"{target.symbol}: the market must be {shown}, was {plain(now.price)}")
