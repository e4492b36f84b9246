"""What ccxt's orders leave out or get wrong, put right from the venue's own words, per venue. Pure.

Added members: `kind`, our type of the order or None where the venue has one we do not know, and `isWorking`, False while a stop waits
for its trigger.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from app.domain.enums import OrderType, Side

_Order = Mapping[str, Any]
_Changes = dict[str, Any]
_BASIC_KINDS: Final = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}
#: (is it a stop, does it carry a limit price) → our type.
_WAITING: Final = {
    (True, False): OrderType.STOP_MARKET,
    (True, True): OrderType.STOP_LIMIT,
    (False, False): OrderType.TAKE_PROFIT,
    (False, True): OrderType.TAKE_PROFIT_LIMIT,
}
#: Source: binance-spot-api-docs enums.md; mexc's are the same with two of its own.
_BINANCE_KINDS: Final = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
    "IMMEDIATE_OR_CANCEL": OrderType.LIMIT,
    "FILL_OR_KILL": OrderType.LIMIT,
}
_KRAKEN_KINDS: Final = {
    **_BASIC_KINDS,
    "stop-loss": OrderType.STOP_MARKET,
    "stop-loss-limit": OrderType.STOP_LIMIT,
    "take-profit": OrderType.TAKE_PROFIT,
    "take-profit-limit": OrderType.TAKE_PROFIT_LIMIT,
    "trailing-stop": OrderType.TRAILING_STOP,
}
_OKX_LIMITS: Final = frozenset({"limit", "post_only", "fok", "ioc"})
_STILL_OPEN_AT_COINBASE: Final = frozenset({"PENDING", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"})
#: Ways an order ends at Gate without being filled. Source: its API documentation, spot orders, `finish_as`.
_ENDED_AT_GATE: Final = frozenset(
    {"poc", "fok", "stp", "small", "depth_not_enough", "trader_not_enough", "liquidate_cancelled", "price_protect_cancelled"}
)


def corrected(exchange: str, order: _Order) -> dict[str, Any]:
    """Return ccxt's `order` of `exchange` with what the venue really said."""
    base: _Changes = {"kind": _unified_kind(order), "isWorking": True}
    correct = _CORRECTIONS.get(exchange)
    return {**order, **base, **(correct(order) if correct is not None else {})}


def _unified_kind(order: _Order) -> OrderType | None:
    return None if order.get("triggerPrice") else _BASIC_KINDS.get(str(order.get("type")))


def _info(order: _Order) -> Mapping[str, Any]:
    info = order.get("info")
    return info if isinstance(info, Mapping) else {}


def _positive(value: Any) -> bool:
    """Whether a venue's number is there and not zero."""
    return str(value or "").strip("0.") != ""


def _stop_or_target(*, is_falling: bool, side: object, has_limit: bool) -> OrderType:
    """A trigger below the market is a stop for a sell and a target for a buy."""
    is_stop = is_falling is (side == Side.SELL.value)
    return _WAITING[is_stop, has_limit]


def _binance(order: _Order) -> _Changes:
    info = _info(order)
    kind = _BINANCE_KINDS.get(str(info.get("type")))
    if kind in (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT) and _positive(info.get("trailingDelta")):
        kind = OrderType.TRAILING_STOP
    sleeps = kind is not None and kind.waits and (info.get("isWorking") is False or str(info.get("workingTime")) == "-1")
    return {"kind": kind, "isWorking": not sleeps}


def _kraken(order: _Order) -> _Changes:
    info = _info(order)
    described = info.get("descr")
    named = described.get("ordertype") if isinstance(described, Mapping) else None
    changes: _Changes = {"clientOrderId": info.get("cl_ord_id")}
    if named is not None:
        kind = _KRAKEN_KINDS.get(str(named))
        waits = kind is not None and kind.waits
        changes |= {"kind": kind, "isWorking": not waits or _positive(info.get("limitprice")) or _positive(info.get("vol_exec"))}
        if waits and kind is not OrderType.TRAILING_STOP:
            changes["triggerPrice"] = described.get("price") if isinstance(described, Mapping) else None
    if "viqc" in str(info.get("oflags")):
        changes["amount"] = None  # it was given in the quote asset
    return changes


def _coinbase(order: _Order) -> _Changes:
    info = _info(order)
    changes: _Changes = {}
    status = info.get("status")
    if status in _STILL_OPEN_AT_COINBASE:
        changes["status"] = "open"
    elif status == "FAILED":
        changes["status"] = "rejected"
    elif status == "EXPIRED":
        changes["status"] = "expired"
    configuration = info.get("order_configuration")
    for name, each in (configuration or {}).items() if isinstance(configuration, Mapping) else ():
        if name.startswith("stop_limit") and isinstance(each, Mapping):
            is_falling = each.get("stop_direction") == "STOP_DIRECTION_STOP_DOWN"
            changes["kind"] = _stop_or_target(is_falling=is_falling, side=order.get("side"), has_limit=True)
            changes["isWorking"] = info.get("trigger_status") != "STOP_PENDING"
        elif name == "limit_limit_fok" and isinstance(each, Mapping):
            changes |= {"kind": OrderType.LIMIT, "amount": each.get("base_size"), "price": each.get("limit_price")}
    return changes


def _kucoin(order: _Order) -> _Changes:
    info = _info(order)
    if info.get("stop") not in ("loss", "entry") or "status" not in info:
        return {}
    has_limit = order.get("type") == "limit"
    kind = _stop_or_target(is_falling=info["stop"] == "loss", side=order.get("side"), has_limit=has_limit)
    # ccxt calls a triggered one canceled.
    return {"kind": kind, "status": "open", "isWorking": info["status"] != "NEW"}


def _bitget(order: _Order) -> _Changes:
    sleeps = _info(order).get("status") in ("live", "not_trigger") and _positive(_info(order).get("triggerPrice"))
    return {"isWorking": not sleeps}


def _okx(order: _Order) -> _Changes:
    info = _info(order)
    changes: _Changes = {"cost": None}  # ccxt's is what was asked for, not what was spent
    named = str(info.get("ordType"))
    if named in _OKX_LIMITS:
        changes["kind"] = OrderType.LIMIT
    elif named == "conditional":
        prefix = "sl" if _positive(info.get("slTriggerPx")) else "tp"
        limit = info.get(f"{prefix}OrdPx")
        has_limit = _positive(limit) and str(limit) != "-1"
        changes |= {
            "kind": _WAITING[prefix == "sl", has_limit],
            "price": limit if has_limit else None,
            "triggerPrice": info.get(f"{prefix}TriggerPx"),
        }
    if "algoId" in info:
        changes |= {
            "isWorking": info.get("state") not in ("live", "pause"),
            "clientOrderId": info.get("algoClOrdId") or info.get("clOrdId") or None,
        }
        # One that was triggered and then could not be placed was refused, not canceled.
        named_state = {"pause": "open", "order_failed": "rejected"}.get(str(info.get("state")))
        if named_state is not None:
            changes["status"] = named_state
    return changes


def _bybit(order: _Order) -> _Changes:
    info = _info(order)
    direction = str(info.get("triggerDirection") or "0")
    changes: _Changes = {"isWorking": info.get("orderStatus") != "Untriggered"}
    if direction in ("1", "2") and _positive(info.get("triggerPrice")):
        changes["kind"] = _stop_or_target(is_falling=direction == "2", side=order.get("side"), has_limit=order.get("type") == "limit")
    return changes


def _gate(order: _Order) -> _Changes:
    info = _info(order)
    changes: _Changes = {}
    ours = order.get("clientOrderId")
    if isinstance(ours, str):
        changes["clientOrderId"] = ours.removeprefix("t-")
    if info.get("finish_as") in _ENDED_AT_GATE:
        changes["status"] = "canceled"
    if info.get("filled_amount") is not None:
        changes["filled"] = info["filled_amount"]  # ccxt divides the cost by a rounded price
        if order.get("type") == "market" and order.get("side") == Side.BUY.value:
            changes["amount"] = None  # it was given in the quote asset
    return changes


_CORRECTIONS: Final[dict[str, Callable[[_Order], _Changes]]] = {
    "binance": _binance,
    "binanceus": _binance,
    "mexc": _binance,
    "kraken": _kraken,
    "coinbase": _coinbase,
    "kucoin": _kucoin,
    "bitget": _bitget,
    "okx": _okx,
    "bybit": _bybit,
    "gate": _gate,
}
