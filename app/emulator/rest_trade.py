"""Signed REST endpoints: orders, trades, balances.

Source: Binance Spot API documentation, rest-api.md "Trading endpoints" and "Account endpoints".
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TypeVar

from app.emulator import params, rendering
from app.emulator.calls import SignedCall
from app.emulator.commission import bnb_price
from app.emulator.errors import VenueError
from app.emulator.filters import eight
from app.emulator.ledger import NewOrder, OrderRecord
from app.emulator.order_params import read_order
from app.emulator.replace import check_restriction
from app.emulator.venue import Venue

_LIMIT = 1000
_T = TypeVar("_T")


def place_order(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/order."""
    request = read_order(call.params)
    venue.exchange.market(request.symbol)
    response_type = params.response_type(call.params, otherwise=default_response(request))
    order = venue.exchange.place(call.account, request, received_ns=call.received_ns)
    return rendering.new_order(order, response_type)


def check_order(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/order/test."""
    venue.exchange.check(call.account, read_order(call.params))
    return {}


def query_order(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/order."""
    symbol = known_symbol(venue, call)
    order = find_order(call, symbol)
    if order is None or venue.faults.hides(order):
        raise VenueError.no_such_order()
    return rendering.order_query(order)


def cancel_order(venue: Venue, call: SignedCall) -> object:
    """DELETE /api/v3/order."""
    symbol = known_symbol(venue, call)
    restriction = read_restriction(call.params)
    order = check_restriction(find_order(call, symbol), restriction)
    request_id = params.client_order_id(call.params, "newClientOrderId") or order.cancel_id
    return rendering.canceled_order(venue.exchange.cancel(order, request_id=request_id), request_id)


def open_orders(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/openOrders, of one symbol or all."""
    symbol = known_symbol(venue, call) if "symbol" in call.params else None
    return [
        rendering.order_query(order)
        for order in call.account.open_orders.values()
        if symbol in (None, order.symbol) and not venue.faults.hides(order)
    ]


def cancel_open_orders(venue: Venue, call: SignedCall) -> object:
    """DELETE /api/v3/openOrders."""
    canceled = venue.exchange.cancel_all(call.account, known_symbol(venue, call))
    if not canceled:
        raise VenueError.unknown_on_cancel()
    return [_canceled(venue, orders) for _, orders in groupby(canceled, key=_list_or_order)]


def all_orders(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/allOrders: from an id upwards, else the latest."""
    symbol = known_symbol(venue, call)
    first_id = params.integer(call.params, "orderId")
    start, end = _period(call.params)
    found = [
        order
        for order in call.account.orders.values()
        if order.symbol == symbol and order.order_id >= (first_id or 0) and start <= order.time <= end and not venue.faults.hides(order)
    ]
    return [rendering.order_query(order) for order in _page(found, call.params, is_ascending=first_id is not None or start > 0)]


def my_trades(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/myTrades: of an order, from a trade id upwards, else the latest."""
    symbol = known_symbol(venue, call)
    order_id = params.integer(call.params, "orderId")
    first_id = params.integer(call.params, "fromId")
    start, end = _period(call.params)
    found = [
        execution
        for execution in call.account.executions.get(symbol, [])
        if order_id in (None, execution.order_id)
        and execution.id >= (first_id or 0)
        and start <= execution.time <= end
        and not venue.faults.hides(call.account.orders[execution.order_id])
    ]
    page = _page(found, call.params, is_ascending=first_id is not None or start > 0)
    return [rendering.my_trade(execution, list_id=call.account.orders[execution.order_id].list_id) for execution in page]


def account(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/account."""
    return rendering.account(call.account, venue.exchange.fees, omit_zero=call.params.get("omitZeroBalances") == "true")


def commission(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/account/commission."""
    rules = venue.exchange.market(known_symbol(venue, call)).rules
    has_price = bnb_price(venue.exchange.markets, rules.quote) is not None
    return rendering.commission(rules.symbol, venue.exchange.fees, pays_in_bnb=call.account.pays_in_bnb, has_bnb_price=has_price)


def trade_fee(venue: Venue, call: SignedCall) -> object:
    """GET /sapi/v1/asset/tradeFee."""
    symbols = [known_symbol(venue, call)] if "symbol" in call.params else list(venue.exchange.markets)
    fees = venue.exchange.fees
    return [{"symbol": symbol, "makerCommission": eight(fees.maker), "takerCommission": eight(fees.taker)} for symbol in symbols]


def key_rights(venue: Venue, call: SignedCall) -> object:
    """GET /sapi/v1/account/apiRestrictions, as the real one answers for a spot key."""
    account = call.account
    return {
        "ipRestrict": account.is_ip_bound,
        "createTime": venue.clock.wall_now(),
        "enableReading": True,
        "enableSpotAndMarginTrading": not account.is_read_only,
        "enableWithdrawals": account.may_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }


def _list_or_order(order: OrderRecord) -> tuple[int, int]:
    return (order.list_id, 0) if order.list_id >= 0 else (-1, order.order_id)


def _canceled(venue: Venue, orders: Iterable[OrderRecord]) -> object:
    """Render one canceled order, or all that were canceled of one list."""
    canceled = list(orders)
    first = canceled[0]
    if first.list_id < 0:
        return rendering.canceled_order(first, first.cancel_id)
    order_list = venue.exchange.accounts[first.api_key].lists[first.list_id]
    return rendering.canceled_list(order_list, venue.exchange.list_orders(order_list), canceled, first.cancel_id)


def default_response(request: NewOrder) -> str:
    """Return how much is told of a new order when nobody asks."""
    return "FULL" if request.type in ("MARKET", "LIMIT") else "ACK"


def known_symbol(venue: Venue, call: SignedCall) -> str:
    """Return the symbol asked for.

    Raises:
        VenueError: -1102 or -1121.
    """
    symbol = params.required(call.params, "symbol")
    venue.exchange.market(symbol)
    return symbol


def find_order(call: SignedCall, symbol: str, *, id_name: str = "orderId", client_id_name: str = "origClientOrderId") -> OrderRecord | None:
    """Return the account's order under the id or the client id that was given, or both; None when there is none.

    Raises:
        VenueError: -1102, neither was given, or -1100.
    """
    order_id = params.integer(call.params, id_name)
    client_id = params.client_order_id(call.params, client_id_name)
    if order_id is None and client_id is None:
        raise VenueError(-1102, f"Param '{client_id_name}' or '{id_name}' must be sent, but both were empty/null!")
    order = call.account.orders.get(order_id) if order_id is not None else call.account.by_client_id.get(client_id or "")
    if order is None or order.symbol != symbol:
        return None
    return None if client_id is not None and order.client_order_id != client_id else order


def read_restriction(given: Mapping[str, str]) -> str | None:
    """Return in which state alone an order is to be canceled, None for either.

    Raises:
        VenueError: -1145.
    """
    restriction = given.get("cancelRestrictions")
    if restriction not in (None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
        raise VenueError(-1145, "Invalid cancelRestrictions")
    return restriction


def _period(given: Mapping[str, str]) -> tuple[int, int]:
    end = params.integer(given, "endTime")
    return params.integer(given, "startTime") or 0, end if end is not None else 2**63


def _page(found: list[_T], given: Mapping[str, str], *, is_ascending: bool) -> list[_T]:
    limit = params.integer(given, "limit", largest=_LIMIT)
    count = 500 if limit is None else max(1, limit)
    return found[:count] if is_ascending else found[-count:]
