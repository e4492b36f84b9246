"""Changing an order: canceling it for another, and lowering its quantity where it stands.

Source: Binance Spot API documentation, rest-api.md "Cancel an Existing Order and Send a New Order" and "Order Amend Keep Priority",
faqs/order_amend_keep_priority.md.
"""

from decimal import Decimal

from app.emulator.changes import ExecutionType
from app.emulator.errors import VenueError
from app.emulator.ledger import Amendment, OrderRecord, unit_reserve
from app.emulator.settlement import Settlement
from app.emulator.state import ExchangeState

_NO_CHANGE = "The requested action would change no state; rejecting"


def check_restriction(order: OrderRecord | None, restriction: str | None) -> OrderRecord:
    """Return an order that may be canceled.

    Args:
        order: What was found under the given id.
        restriction: ONLY_NEW, ONLY_PARTIALLY_FILLED, or None for either.

    Raises:
        VenueError: -2011, it is not open or not in that state.
    """
    if order is None or not order.is_open:
        raise VenueError.unknown_on_cancel()
    if restriction is not None and order.status != restriction.removeprefix("ONLY_"):
        raise VenueError(-2011, "Order was not canceled due to cancel restrictions.")
    return order


def amend(state: ExchangeState, settlement: Settlement, order: OrderRecord, *, quantity: Decimal, client_order_id: str | None) -> Amendment:
    """Lower the quantity of an open order, which keeps its place. Both legs of an OCO have the same quantity, so both are lowered.

    Args:
        state: What the venue holds.
        settlement: Which books what is held less.
        order: The order.
        quantity: The new whole quantity, base units.
        client_order_id: The id it has from now on, its own among them; None for a new one.

    Raises:
        VenueError: -2038 for what is no reduction or an order that is not open, -1013 with the filter's name, -2010 for an id in use.
    """
    _check_amend(state, order, quantity)
    account = state.accounts[order.api_key]
    if client_order_id not in (None, order.client_order_id) and account.has_open_client_id(client_order_id or ""):
        raise VenueError.rejected("Duplicate order sent.")
    now = state.wall_ms()
    state.last_amendment_id += 1
    amendment = Amendment(
        id=state.last_amendment_id,
        old_client_id=order.client_order_id,
        new_client_id=client_order_id or f"amend{state.last_amendment_id:017d}",
        old_quantity=order.quantity,
        new_quantity=quantity,
        time=now,
    )
    account.rename(order, amendment.new_client_id)
    order.amendments.append(amendment)
    for leg in [leg for leg in state.legs(order) if leg.is_open]:
        settlement.reduce(leg, quantity, time=now)
        original_id = amendment.old_client_id if leg is order else leg.client_order_id
        state.publisher.order(leg, ExecutionType.REPLACED, time=now, request_id=leg.client_order_id, original_id=original_id)
    if order.list_id >= 0 and amendment.new_client_id != amendment.old_client_id:
        order_list = account.lists[order.list_id]
        state.publisher.order_list(order_list, [state.orders[each] for each in order_list.order_ids], "UPDATED", time=now)
    return amendment


def _check_amend(state: ExchangeState, order: OrderRecord, quantity: Decimal) -> None:
    if not order.is_open:
        raise VenueError(-2038, "Unknown order sent.")
    if quantity > order.quantity:
        raise VenueError(-2038, "Order amend (quantity increase) is not supported.")
    if quantity == order.quantity or quantity <= order.executed:
        raise VenueError(-2038, _NO_CHANGE)
    market = state.markets[order.symbol]
    market.rules.check_trading()
    market.rules.check_quantity(quantity)
    market.rules.check_notional(quantity * unit_reserve(order, market.last_price), is_market=order.type == "MARKET")
