"""Signed REST endpoints of order lists.

Source: Binance Spot API documentation, rest-api.md "Order lists".
"""

from collections.abc import Mapping

from app.emulator import params, rendering
from app.emulator.calls import SignedCall
from app.emulator.errors import VenueError
from app.emulator.filters import ORDER_TYPES
from app.emulator.ledger import NewList, NewOrder, OrderList
from app.emulator.order_params import SIGNED, Words, read_leg, read_type
from app.emulator.venue import Venue

_COMMON = SIGNED | {"symbol", "listClientOrderId", "newOrderRespType", "selfTradePreventionMode"}
_WORKING_TYPES = ("LIMIT", "LIMIT_MAKER")
_OCO_TYPES = ("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_STOPS = ("STOP_LOSS", "STOP_LOSS_LIMIT")
_LIMIT = 1000

ABOVE = Words.prefixed("above", side="side", quantity="quantity")
BELOW = Words.prefixed("below", side="side", quantity="quantity")
WORKING = Words.prefixed("working")
PENDING = Words.prefixed("pending")
PENDING_ABOVE = Words.prefixed("pendingAbove", side="pendingSide", quantity="pendingQuantity")
PENDING_BELOW = Words.prefixed("pendingBelow", side="pendingSide", quantity="pendingQuantity")
OLD_LIMIT = Words(
    type="",
    notional="",
    stop_price="",
    trailing_delta="",
    time_in_force="",
    client_order_id="limitClientOrderId",
    iceberg="limitIcebergQty",
    strategy_id="limitStrategyId",
    strategy_type="limitStrategyType",
)
OLD_STOP = Words(
    type="",
    notional="",
    price="stopLimitPrice",
    time_in_force="stopLimitTimeInForce",
    client_order_id="stopClientOrderId",
    iceberg="stopIcebergQty",
    strategy_id="stopStrategyId",
    strategy_type="stopStrategyType",
)


def place_oco(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/orderList/oco."""
    given = call.params
    params.refuse_unread(given, _COMMON | ABOVE.all | BELOW.all)
    return _place(venue, call, working=None, legs=read_pair(given, ABOVE, BELOW))


def place_oto(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/orderList/oto."""
    given = call.params
    params.refuse_unread(given, _COMMON | WORKING.all | PENDING.all)
    working = read_leg(given, WORKING, kind=read_type(given, WORKING.type, _WORKING_TYPES))
    pending = read_leg(given, PENDING, kind=read_type(given, PENDING.type, ORDER_TYPES))
    return _place(venue, call, working=working, legs=(pending,))


def place_otoco(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/orderList/otoco."""
    given = call.params
    params.refuse_unread(given, _COMMON | WORKING.all | PENDING_ABOVE.all | PENDING_BELOW.all)
    working = read_leg(given, WORKING, kind=read_type(given, WORKING.type, _WORKING_TYPES))
    return _place(venue, call, working=working, legs=read_pair(given, PENDING_ABOVE, PENDING_BELOW))


def place_old_oco(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/order/oco, the deprecated form: a maker above or below, a stop on the other side."""
    given = call.params
    params.refuse_unread(given, _COMMON | OLD_LIMIT.all | OLD_STOP.all)
    params.required(given, OLD_STOP.stop_price)
    stop = read_leg(given, OLD_STOP, kind="STOP_LOSS_LIMIT" if OLD_STOP.price in given else "STOP_LOSS")
    return _place(venue, call, working=None, legs=(stop, read_leg(given, OLD_LIMIT, kind="LIMIT_MAKER")))


def cancel_list(venue: Venue, call: SignedCall) -> object:
    """DELETE /api/v3/orderList."""
    symbol = params.required(call.params, "symbol")
    venue.exchange.market(symbol)
    found = _find(call, "listClientOrderId")
    if found is None or found.symbol != symbol or found.is_done:
        raise VenueError.unknown_on_cancel()
    request_id = params.client_order_id(call.params, "newClientOrderId") or f"cancellist{found.list_id:012d}"
    canceled = venue.exchange.cancel_list(found, request_id=request_id)
    return rendering.canceled_list(found, venue.exchange.list_orders(found), canceled, request_id)


def query_list(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/orderList."""
    found = _find(call, "origClientOrderId")
    if found is None or _is_hidden(venue, found):
        raise VenueError.no_such_order()
    return rendering.order_list(found, venue.exchange.list_orders(found))


def open_lists(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/openOrderList."""
    return [
        rendering.order_list(found, venue.exchange.list_orders(found))
        for found in call.account.open_lists.values()
        if not _is_hidden(venue, found)
    ]


def all_lists(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/allOrderList: from an id upwards, else of a time, else the latest; the newest first, as documented."""
    given = call.params
    first_id, start, end = (params.integer(given, name) for name in ("fromId", "startTime", "endTime"))
    if first_id is not None and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    limit = params.integer(given, "limit", largest=_LIMIT)
    found = [
        each
        for each in call.account.lists.values()
        if each.list_id >= (first_id or 0) and (start or 0) <= each.time <= (2**63 if end is None else end) and not _is_hidden(venue, each)
    ]
    count = 500 if limit is None else max(1, limit)
    page = found[:count] if first_id is not None else found[-count:]
    return [rendering.order_list(each, venue.exchange.list_orders(each)) for each in reversed(page)]


def _place(venue: Venue, call: SignedCall, *, working: NewOrder | None, legs: tuple[NewOrder, ...]) -> object:
    response_type = params.response_type(call.params, otherwise="RESULT")
    request = NewList(client_id=params.client_order_id(call.params, "listClientOrderId"), working=working, legs=legs)
    placed, orders = venue.exchange.place_list(call.account, request, received_ns=call.received_ns)
    return rendering.placed_list(placed, orders, response_type)


def read_pair(given: Mapping[str, str], above: Words, below: Words) -> tuple[NewOrder, NewOrder]:
    """Return the legs of an OCO, the stop loss first.

    Raises:
        VenueError: -1158, -1165 to -1168 or -1196 to -1199 for types that do not go together, else as `read_leg`.
    """
    refused = VenueError(-1158, "Order type not supported in OCO.")
    kinds = [params.member(given, words.type, _OCO_TYPES, otherwise=refused) for words in (above, below)]
    is_sell = params.member(given, above.side, ("BUY", "SELL"), otherwise=VenueError(-1117, "Invalid side.")) == "SELL"
    if kinds == ["LIMIT_MAKER", "LIMIT_MAKER"]:
        raise VenueError(-1168, "At least one OCO order must be contingent.")
    stop_at = 1 if is_sell else 0
    in_stops_place, in_targets_place = kinds[stop_at], kinds[1 - stop_at]
    if in_targets_place in _STOPS:
        code, place = (-1197, "sell OCO must be below") if is_sell else (-1196, "buy OCO must be above")
        raise VenueError(code, f"A stop loss order in a {place}.")
    if in_stops_place == "LIMIT_MAKER":
        code, place = (-1166, "sell OCO must be above") if is_sell else (-1165, "buy OCO must be below")
        raise VenueError(code, f"A limit order in a {place}.")
    if in_stops_place not in _STOPS:
        code, place = (-1199, "sell OCO must be above") if is_sell else (-1198, "buy OCO must be below")
        raise VenueError(code, f"A take profit order in a {place}.")
    first, second = read_leg(given, above, kind=kinds[0]), read_leg(given, below, kind=kinds[1])
    return (second, first) if is_sell else (first, second)


def _is_hidden(venue: Venue, found: OrderList) -> bool:
    """Whether a fault lets the venue deny an order of the list at the moment."""
    return any(venue.faults.hides(order) for order in venue.exchange.list_orders(found))


def _find(call: SignedCall, client_id_name: str) -> OrderList | None:
    list_id = params.integer(call.params, "orderListId")
    client_id = params.client_order_id(call.params, client_id_name)
    if list_id is None and client_id is None:
        raise VenueError(-1102, f"Param '{client_id_name}' or 'orderListId' must be sent, but both were empty/null!")
    lists = call.account.lists
    found = lists.get(list_id) if list_id is not None else next((x for x in reversed(lists.values()) if x.client_id == client_id), None)
    return None if found is None or client_id not in (None, found.client_id) else found
