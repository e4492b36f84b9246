"""The shapes of answers: every price and quantity as text with eight decimals.

Source: examples in the Binance Spot API documentation, rest-api.md and web-socket-streams.md.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from app.domain.candles import Timeframe
from app.domain.enums import Side
from app.domain.fees import FeeRates
from app.domain.matching import Level
from app.emulator.bars import MINUTE_MS, PRINTS_PER_MINUTE, Bar, Trade
from app.emulator.filters import eight
from app.emulator.ledger import ZERO, Account, Execution, OrderList, OrderRecord
from app.emulator.market import DAY_MINUTES, SymbolMarket

Json = dict[str, object]

_ZERO = "0.00000000"


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


def kline(bar: Bar, timeframe: Timeframe) -> list[object]:
    """Return a candle as GET /klines shows it. Half the volume counts as bought by takers: the sources do not say."""
    half, half_quote = eight(bar.volume / 2), eight(bar.quote_volume / 2)
    return [
        bar.open_time,
        eight(bar.open),
        eight(bar.high),
        eight(bar.low),
        eight(bar.close),
        eight(bar.volume),
        bar.open_time + timeframe.milliseconds - 1,
        eight(bar.quote_volume),
        bar.trades,
        half,
        half_quote,
        "0",
    ]


def kline_event(bar: Bar, timeframe: Timeframe, *, symbol: str, event_ms: int, is_closed: bool) -> Json:
    """Return the payload of `<symbol>@kline_<timeframe>`."""
    first_id = bar.open_time // MINUTE_MS * PRINTS_PER_MINUTE
    return {
        "e": "kline",
        "E": event_ms,
        "s": symbol,
        "k": {
            "t": bar.open_time,
            "T": bar.open_time + timeframe.milliseconds - 1,
            "s": symbol,
            "i": timeframe.value,
            "f": first_id,
            "L": first_id + max(0, bar.trades - 1),
            "o": eight(bar.open),
            "c": eight(bar.close),
            "h": eight(bar.high),
            "l": eight(bar.low),
            "v": eight(bar.volume),
            "n": bar.trades,
            "x": is_closed,
            "q": eight(bar.quote_volume),
            "V": eight(bar.volume / 2),
            "Q": eight(bar.quote_volume / 2),
            "B": "0",
        },
    }


def aggregate_trade(trade: Trade) -> Json:
    """Return a public trade as GET /aggTrades shows it; here each trade is an aggregate of its own."""
    return {
        "a": trade.id,
        "p": eight(trade.price),
        "q": eight(trade.quantity),
        "f": trade.id,
        "l": trade.id,
        "T": trade.time,
        "m": trade.is_buyer_maker,
        "M": True,
    }


def public_trade(trade: Trade) -> Json:
    """Return a public trade as GET /trades shows it."""
    return {
        "id": trade.id,
        "price": eight(trade.price),
        "qty": eight(trade.quantity),
        "quoteQty": eight(trade.price * trade.quantity),
        "time": trade.time,
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def best_prices(market: SymbolMarket) -> tuple[str, str, str, str]:
    """Return bid price, bid quantity, ask price, ask quantity; zeros for a side where nobody offers."""
    depth = market.depth()
    nothing = Level(price=ZERO, quantity=ZERO)
    bid, ask = next(iter(depth.bids), nothing), next(iter(depth.asks), nothing)
    return eight(bid.price), eight(bid.quantity), eight(ask.price), eight(ask.quantity)


def book_ticker(market: SymbolMarket) -> Json:
    """Return GET /ticker/bookTicker of one symbol."""
    bid, bid_quantity, ask, ask_quantity = best_prices(market)
    return {"symbol": market.rules.symbol, "bidPrice": bid, "bidQty": bid_quantity, "askPrice": ask, "askQty": ask_quantity}


def day_ticker(market: SymbolMarket, *, is_mini: bool) -> Json:
    """Return GET /ticker/24hr of one symbol."""
    day, last = market.day(), market.last_price
    common: Json = {
        "symbol": market.rules.symbol,
        "openPrice": eight(day.open),
        "highPrice": eight(day.high),
        "lowPrice": eight(day.low),
        "lastPrice": eight(last),
        "volume": eight(day.volume),
        "quoteVolume": eight(day.quote_volume),
        "openTime": market.minute - (DAY_MINUTES - 1) * MINUTE_MS,
        "closeTime": market.minute + MINUTE_MS - 1,
        "firstId": (market.minute // MINUTE_MS - DAY_MINUTES) * PRINTS_PER_MINUTE,
        "lastId": (market.minute // MINUTE_MS) * PRINTS_PER_MINUTE,
        "count": day.trades,
    }
    if is_mini:
        return common
    bid, bid_quantity, ask, ask_quantity = best_prices(market)
    change, percent, mean = day_change(day, last)
    return {
        **common,
        "priceChange": eight(change),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": eight(mean),
        "prevClosePrice": eight(day.open),
        "lastQty": eight(market.recent[-1].quantity) if market.recent else _ZERO,
        "bidPrice": bid,
        "bidQty": bid_quantity,
        "askPrice": ask,
        "askQty": ask_quantity,
    }


def ticker_event(market: SymbolMarket, *, event_ms: int, is_mini: bool) -> Json:
    """Return the payload of `<symbol>@ticker` or `<symbol>@miniTicker`."""
    day, last = market.day(), market.last_price
    mini: Json = {
        "e": "24hrMiniTicker" if is_mini else "24hrTicker",
        "E": event_ms,
        "s": market.rules.symbol,
        "c": eight(last),
        "o": eight(day.open),
        "h": eight(day.high),
        "l": eight(day.low),
        "v": eight(day.volume),
        "q": eight(day.quote_volume),
    }
    if is_mini:
        return mini
    bid, bid_quantity, ask, ask_quantity = best_prices(market)
    change, percent, mean = day_change(day, last)
    return {
        **mini,
        "p": eight(change),
        "P": f"{percent:.3f}",
        "w": eight(mean),
        "x": eight(day.open),
        "Q": eight(market.recent[-1].quantity) if market.recent else _ZERO,
        "b": bid,
        "B": bid_quantity,
        "a": ask,
        "A": ask_quantity,
        "O": market.minute - (DAY_MINUTES - 1) * MINUTE_MS,
        "C": market.minute + MINUTE_MS - 1,
        "F": (market.minute // MINUTE_MS - DAY_MINUTES) * PRINTS_PER_MINUTE,
        "L": market.minute // MINUTE_MS * PRINTS_PER_MINUTE,
        "n": day.trades,
    }


def day_change(day: Bar, last: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Return the day's change in quote units, in percent, and its volume-weighted mean price."""
    change = last - day.open
    return change, change / day.open * 100 if day.open else ZERO, day.quote_volume / day.volume if day.volume else last


def side_of(word: str) -> Side:
    """Return the side of a wire word, BUY or SELL."""
    return Side.BUY if word == "BUY" else Side.SELL
