"""Signed REST endpoints that change an order: cancel and replace, amend.

Source: Binance Spot API documentation, rest-api.md "Cancel an Existing Order and Send a New Order" and "Order Amend Keep Priority".
"""

from app.emulator import params, rendering
from app.emulator.calls import SignedCall
from app.emulator.errors import VenueError
from app.emulator.order_params import SIGNED, positive, read_order
from app.emulator.replace import check_restriction
from app.emulator.rest_trade import default_response, find_order, known_symbol, read_restriction
from app.emulator.venue import Venue

HALF_DONE = -2021
"""The old order is gone and the new one was refused, or the other way round."""
_FAILED = -2022

_REPLACE = frozenset(
    {
        "cancelReplaceMode",
        "cancelNewClientOrderId",
        "cancelOrigClientOrderId",
        "cancelOrderId",
        "cancelRestrictions",
        "orderRateLimitExceededMode",
    }
)
_AMEND = SIGNED | {"symbol", "orderId", "origClientOrderId", "newClientOrderId", "newQty"}
_LIMIT = 1000


def cancel_replace(venue: Venue, call: SignedCall) -> object:
    """POST /api/v3/order/cancelReplace."""
    given = call.params
    modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
    mode = params.member(given, "cancelReplaceMode", modes, otherwise=_invalid("cancelReplaceMode"))
    request = read_order(given, extra=_REPLACE)
    response_type = params.response_type(given, otherwise=default_response(request))
    restriction = read_restriction(given)
    request_id = params.client_order_id(given, "cancelNewClientOrderId")
    old = find_order(call, request.symbol, id_name="cancelOrderId", client_id_name="cancelOrigClientOrderId")
    exchange = venue.exchange
    exchange.check_filters(request)
    outcome: dict[str, object] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
    failures = 0
    try:
        canceled = exchange.cancel(check_restriction(old, restriction), request_id=request_id)
        outcome["cancelResponse"] = rendering.canceled_order(canceled, request_id or canceled.cancel_id)
    except VenueError as error:
        outcome |= {"cancelResult": "FAILURE", "cancelResponse": error.describe(), "newOrderResponse": None}
        if mode == "STOP_ON_FAILURE":
            raise VenueError(_FAILED, "Order cancel-replace failed.", data=outcome) from error
        failures = 1
    try:
        order = exchange.place(call.account, request, received_ns=call.received_ns)
        outcome |= {"newOrderResult": "SUCCESS", "newOrderResponse": rendering.new_order(order, response_type)}
    except VenueError as error:
        outcome |= {"newOrderResult": "FAILURE", "newOrderResponse": error.describe()}
        failures += 1
    if failures == 1:
        raise VenueError(HALF_DONE, "Order cancel-replace partially failed.", status=409, data=outcome)
    if failures:
        raise VenueError(_FAILED, "Order cancel-replace failed.", data=outcome)
    return outcome


def amend_order(venue: Venue, call: SignedCall) -> object:
    """PUT /api/v3/order/amend/keepPriority."""
    params.refuse_unread(call.params, _AMEND)
    symbol = known_symbol(venue, call)
    params.required(call.params, "newQty")
    quantity = positive(call.params, "newQty")
    order = find_order(call, symbol)
    if order is None:
        raise VenueError(-2038, "Unknown order sent.")
    amendment = venue.exchange.amend(order, quantity, params.client_order_id(call.params, "newClientOrderId"))
    order_list = call.account.lists.get(order.list_id)
    shown = None if order_list is None else rendering.order_list(order_list, venue.exchange.list_orders(order_list))
    return rendering.amended_order(order, amendment, shown)


def amendments(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/order/amendments."""
    symbol = known_symbol(venue, call)
    params.required(call.params, "orderId")
    order = find_order(call, symbol)
    if order is None or venue.faults.hides(order):
        raise VenueError.no_such_order()
    first_id = params.integer(call.params, "fromExecutionId") or 0
    limit = params.integer(call.params, "limit", largest=_LIMIT)
    found = [each for each in order.amendments if each.id >= first_id]
    return [rendering.amendment(order, each) for each in found[: 500 if limit is None else max(1, limit)]]


def _invalid(name: str) -> VenueError:
    return VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
