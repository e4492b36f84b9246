"""Binance's calls for two orders at once: a pair of which one trades, and one order in place of another; and what a symbol takes. Pure.

ccxt has no unified calls for them that name our ids; what is asked and what is answered is put together here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from app.domain.enums import OrderType, Side
from app.errors import OutcomeUnknown, Unsupported
from app.exchanges.errors import Call, told_in_words
from app.exchanges.port import OcoReport, OcoRequest, OrderRequest, ReplaceOutcome
from app.exchanges.reports import binance_fills, order_report

#: What Binance calls the orders that wait. Source: binance-spot-api-docs enums.md.
KINDS: Final = {
    OrderType.STOP_MARKET: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.TAKE_PROFIT: "TAKE_PROFIT",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT_LIMIT",
    OrderType.TRAILING_STOP: "STOP_LOSS",
}
_STOP_LEGS: Final = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
#: ccxt's `parse_order`: a raw order and its market.
Parse = Callable[[Any, Any], dict[str, Any]]


def oco_parameters(request: OcoRequest, *, built_target: Mapping[str, Any], built_stop: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of `POST orderList/oco` from the two orders as they would be placed alone.

    Raises:
        Unsupported: the two orders are no such pair.
    """
    target, stop = request.target, request.stop
    if target.type is not OrderType.LIMIT or stop.type not in _STOP_LEGS:
        raise Unsupported("an order pair is a limit order and a stop")
    if (target.symbol, target.side, target.quantity) != (stop.symbol, stop.side, stop.quantity):
        raise Unsupported("both orders of a pair have the same symbol, side and quantity")
    above, below = ("target", "stop") if target.side is Side.SELL else ("stop", "target")
    return {
        "symbol": built_target["symbol"],
        "side": built_target["side"],
        "quantity": built_target["quantity"],
        "listClientOrderId": request.list_client_order_id,
        "newOrderRespType": "FULL",
        **_leg("above" if above == "target" else "below", {**built_target, "type": "LIMIT_MAKER", "timeInForce": None}),
        **_leg("below" if below == "stop" else "above", built_stop),
        "timestamp": built_target["timestamp"],
        "recvWindow": built_target["recvWindow"],
    }


_LEG_NAMES: Final = {
    "type": "Type",
    "newClientOrderId": "ClientOrderId",
    "price": "Price",
    "stopPrice": "StopPrice",
    "trailingDelta": "TrailingDelta",
    "timeInForce": "TimeInForce",
}


def _leg(place: str, built: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{place}{theirs}": built[ours] for ours, theirs in _LEG_NAMES.items() if built.get(ours) is not None}


def oco_report(exchange: str, reply: Any, request: OcoRequest, *, market: Any, parse: Parse) -> OcoReport:
    """Return what Binance says of the two legs.

    Raises:
        OutcomeUnknown: the answer does not name both of them.
    """
    reports = {str(raw.get("clientOrderId")): raw for raw in (reply.get("orderReports") or ())} if isinstance(reply, Mapping) else {}
    found = [reports.get(leg.client_order_id) for leg in (request.target, request.stop)]
    if None in found:
        raise OutcomeUnknown("the exchange's answer does not name both orders of the pair; they are being looked up")
    target, stop = (order_report(exchange, parse(raw, market), is_acknowledgement=True) for raw in found)
    return OcoReport(target=target, stop=stop)


def replace_parameters(built: Mapping[str, Any], *, old_client_order_id: str, old_venue_order_id: str | None) -> dict[str, Any]:
    """Return the parameters of `POST order/cancelReplace`: the new order is not tried when the old one cannot be canceled."""
    old = {"cancelOrigClientOrderId": old_client_order_id} if old_venue_order_id is None else {"cancelOrderId": old_venue_order_id}
    return {**built, "cancelReplaceMode": "STOP_ON_FAILURE", **old}


def replaced(exchange: str, reply: Any, *, market: Any, parse: Parse) -> ReplaceOutcome:
    """Return what became of both orders, of an answer that says it was done.

    Raises:
        OutcomeUnknown: it does not name both.
    """
    canceled, created = (reply.get(name) if isinstance(reply, Mapping) else None for name in ("cancelResponse", "newOrderResponse"))
    if not (isinstance(canceled, Mapping) and canceled.get("orderId") and isinstance(created, Mapping) and created.get("orderId")):
        raise OutcomeUnknown("the exchange's answer does not name both orders; they are being looked up")
    return ReplaceOutcome(
        canceled=order_report(exchange, parse(canceled, market), is_acknowledgement=True),
        created=order_report(exchange, parse(created, market), fills=binance_fills(created), is_acknowledgement=True),
    )


def half_replaced(exchange: str, call: Call, *, is_definite: Callable[[str], bool], market: Any, parse: Parse) -> ReplaceOutcome | None:
    """Return what became of both orders when Binance answered that it could not do both, or None when its answer does not say.

    Args:
        exchange: Exchange id.
        call: What was noted of the call; `data` holds the two results.
        is_definite: Whether a code of the venue proves that an order was not taken.
        market: ccxt's market.
        parse: ccxt's `parse_order`.
    """
    data = call.data
    if not isinstance(data, Mapping):
        return None
    canceled, created = data.get("cancelResponse"), data.get("newOrderResponse")
    if data.get("cancelResult") == "FAILURE" and data.get("newOrderResult") == "NOT_ATTEMPTED":
        return ReplaceOutcome(canceled=None, created=None, refusal=_refusal(canceled))
    code = str(created.get("code")) if isinstance(created, Mapping) else ""
    if data.get("cancelResult") == "SUCCESS" and data.get("newOrderResult") == "FAILURE" and is_definite(code):
        return ReplaceOutcome(
            canceled=order_report(exchange, parse(canceled, market), is_acknowledgement=True), created=None, refusal=_refusal(created)
        )
    return None


def _refusal(raw: Any) -> str:
    message = raw.get("msg") if isinstance(raw, Mapping) else None
    return f"The exchange rejected it: {told_in_words(str(message or 'no reason given'))}."


def check_symbol_takes(exchange: str, markets: Mapping[str, Any], request: OrderRequest, *, allowed_by: str | None = None) -> None:
    """Binance says by symbol which kinds of order it takes, and whether such a call (`allowed_by`) is one of them.

    Raises:
        Unsupported: it does not take this one.
    """
    # A symbol that is not listed is refused a moment later.
    rules = (markets.get(request.symbol) or {}).get("info") or {"orderTypes": tuple(KINDS.values())}
    if allowed_by is not None and rules.get(allowed_by) is False:
        raise Unsupported(f"{exchange} does not take that for {request.symbol} ({allowed_by} is false)")
    if not request.type.waits:
        return
    needed = KINDS[request.type]
    is_trailing = request.type is OrderType.TRAILING_STOP
    if needed not in (rules.get("orderTypes") or ()) or (is_trailing and rules.get("allowTrailingStop") is False):
        raise Unsupported(f"{exchange} does not take {'trailing ' if is_trailing else ''}{needed} orders for {request.symbol}")
