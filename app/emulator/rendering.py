"""The shapes of answers about orders, lists, executions and accounts: every price and quantity as text with eight decimals.

Source: examples in the Binance Spot API documentation, rest-api.md.
"""

from collections.abc import Iterable, Sequence

from app.domain.enums import Side
from app.domain.fees import FeeRates
from app.emulator.commission import BNB, DISCOUNT
from app.emulator.filters import eight
from app.emulator.ledger import Account, Amendment, Execution, OrderList, OrderRecord

Json = dict[str, object]

_ZERO = "0.00000000"
_AMENDED_LIST = ("orderListId", "contingencyType", "listOrderStatus", "listClientOrderId", "symbol", "orders")


def order_query(order: OrderRecord) -> Json:
    """Return an order as GET /order, /openOrders and /allOrders show it."""
    return {
        **_order_core(order),
        "clientOrderId": order.client_order_id,
        "stopPrice": _ZERO,
        "icebergQty": _ZERO,
        "time": order.time,
        "updateTime": order.update_time,
        "isWorking": order.is_working,
        "workingTime": order.working_time,
        **_conditional(order),
    }


def new_order(order: OrderRecord, response_type: str) -> Json:
    """Return the answer to POST /order; `response_type` is ACK, RESULT or FULL."""
    head: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_order_id,
        "transactTime": order.time,
    }
    if response_type == "ACK":
        return head
    result = {**_order_core(order), **head, "workingTime": order.working_time, **_conditional(order)}
    if response_type == "FULL":
        result["fills"] = [
            {
                "price": eight(execution.price),
                "qty": eight(execution.quantity),
                "commission": eight(execution.commission),
                "commissionAsset": execution.commission_asset,
                "tradeId": execution.id,
            }
            for execution in order.executions
        ]
    return result


def canceled_order(order: OrderRecord, new_client_order_id: str) -> Json:
    """Return the answer to DELETE /order: the cancellation has a client id of its own, the order's is in origClientOrderId."""
    return {
        **_order_core(order),
        "origClientOrderId": order.client_order_id,
        "clientOrderId": new_client_order_id,
        "transactTime": order.update_time,
        **_conditional(order),
    }


def order_list(shown: OrderList, orders: Iterable[OrderRecord]) -> Json:
    """Return an order list as GET /orderList, /openOrderList and /allOrderList show it."""
    return {
        "orderListId": shown.list_id,
        "contingencyType": shown.contingency,
        "listStatusType": "ALL_DONE" if shown.is_done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if shown.is_done else "EXECUTING",
        "listClientOrderId": shown.client_id,
        "transactionTime": shown.update_time,
        "symbol": shown.symbol,
        "orders": [{"symbol": order.symbol, "orderId": order.order_id, "clientOrderId": order.client_order_id} for order in orders],
    }


def placed_list(shown: OrderList, orders: Sequence[OrderRecord], response_type: str) -> Json:
    """Return the answer to a new order list, its orders as they were before anything followed from it."""
    return {
        **order_list(shown, orders),
        "listStatusType": "EXEC_STARTED",
        "listOrderStatus": "EXECUTING",
        "transactionTime": shown.time,
        "orderReports": [new_order(order, response_type) for order in orders],
    }


def canceled_list(shown: OrderList, orders: Iterable[OrderRecord], canceled: Iterable[OrderRecord], request_id: str) -> Json:
    """Return the answer to DELETE /orderList: the list, and the orders that were still open."""
    return {**order_list(shown, orders), "orderReports": [canceled_order(order, request_id) for order in canceled]}


def amended_order(order: OrderRecord, amendment: Amendment, of_list: Json | None) -> Json:
    """Return the answer to PUT /order/amend/keepPriority; `of_list` is how the order's list stands."""
    shown: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "origClientOrderId": amendment.old_client_id,
        "clientOrderId": amendment.new_client_id,
        "price": eight(order.price),
        "qty": eight(order.quantity),
        "executedQty": eight(order.executed),
        "preventedQty": _ZERO,
        "quoteOrderQty": eight(order.notional),
        "cumulativeQuoteQty": eight(order.executed_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side.name,
        "selfTradePreventionMode": "NONE",
        **_conditional(order),
    }
    if order.is_working:
        shown["workingTime"] = order.working_time
    answer: Json = {"transactTime": amendment.time, "executionId": amendment.id, "amendedOrder": shown}
    if of_list is not None:
        answer["listStatus"] = {name: of_list[name] for name in _AMENDED_LIST}
    return answer


def amendment(order: OrderRecord, shown: Amendment) -> Json:
    """Return an amendment as GET /order/amendments shows it."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "executionId": shown.id,
        "origClientOrderId": shown.old_client_id,
        "newClientOrderId": shown.new_client_id,
        "origQty": eight(shown.old_quantity),
        "newQty": eight(shown.new_quantity),
        "time": shown.time,
    }


def _conditional(order: OrderRecord) -> Json:
    """Return the fields that only some orders have."""
    found: Json = {}
    if order.stop_price:
        found["stopPrice"] = eight(order.stop_price)
    if order.trailing_delta:
        found["trailingDelta"], found["trailingTime"] = order.trailing_delta, order.trailing_time
    if order.expiry_reason:
        found["expiryReason"] = order.expiry_reason
    return found


def _order_core(order: OrderRecord) -> Json:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "price": eight(order.price),
        "origQty": eight(order.quantity),
        "executedQty": eight(order.executed),
        "origQuoteOrderQty": eight(order.notional),
        "cummulativeQuoteQty": eight(order.executed_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side.name,
        "selfTradePreventionMode": "NONE",
    }


def my_trade(execution: Execution, *, list_id: int) -> Json:
    """Return an execution as GET /myTrades shows it; `list_id` is that of its order."""
    return {
        "symbol": execution.symbol,
        "id": execution.id,
        "orderId": execution.order_id,
        "orderListId": list_id,
        "price": eight(execution.price),
        "qty": eight(execution.quantity),
        "quoteQty": eight(execution.quote_quantity),
        "commission": eight(execution.commission),
        "commissionAsset": execution.commission_asset,
        "time": execution.time,
        "isBuyer": execution.is_buyer,
        "isMaker": execution.is_maker,
        "isBestMatch": True,
    }


def account(owner: Account, fees: FeeRates, *, omit_zero: bool) -> Json:
    """Return GET /account."""
    return {
        "makerCommission": int(fees.maker * 10_000),
        "takerCommission": int(fees.taker * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": eight(fees.maker), "taker": eight(fees.taker), "buyer": _ZERO, "seller": _ZERO},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": owner.update_time,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": eight(balance.free), "locked": eight(balance.locked)}
            for asset, balance in sorted(owner.balances.items())
            if not omit_zero or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
    }


def commission(symbol: str, fees: FeeRates, *, pays_in_bnb: bool, has_bnb_price: bool) -> Json:
    """Return GET /account/commission."""
    nothing = dict.fromkeys(("maker", "taker", "buyer", "seller"), _ZERO)
    return {
        "symbol": symbol,
        "standardCommission": {**nothing, "maker": eight(fees.maker), "taker": eight(fees.taker)},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": pays_in_bnb,
            "enabledForSymbol": has_bnb_price,
            "discountAsset": BNB,
            "discount": eight(DISCOUNT),
        },
    }


def side_of(word: str) -> Side:
    """Return the side of a wire word, BUY or SELL."""
    return Side.BUY if word == "BUY" else Side.SELL
