"""Reading orders out of request parameters: which each type needs, which it takes, and what the venue says when they do not fit.

The legs of order lists come under prefixed names; `Words` tells which.

Source: Binance Spot API documentation, rest-api.md "New order".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal

from app.emulator import params, rendering
from app.emulator.errors import VenueError
from app.emulator.filters import ORDER_TYPES
from app.emulator.ledger import ZERO, NewOrder

SIGNED = frozenset({"timestamp", "recvWindow"})
TIMES_IN_FORCE = ("GTC", "IOC", "FOK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The parameter names of one order's fields."""

    type: str = "type"
    side: str = "side"
    quantity: str = "quantity"
    notional: str = "quoteOrderQty"
    price: str = "price"
    stop_price: str = "stopPrice"
    trailing_delta: str = "trailingDelta"
    time_in_force: str = "timeInForce"
    client_order_id: str = "newClientOrderId"
    iceberg: str = "icebergQty"
    strategy_id: str = "strategyId"
    strategy_type: str = "strategyType"

    @property
    def all(self) -> frozenset[str]:
        """Every name; an empty one stands for a field that cannot be given."""
        return frozenset(name for name in (getattr(self, field.name) for field in fields(self)) if name)

    @classmethod
    def prefixed(cls, prefix: str, *, side: str | None = None, quantity: str | None = None) -> "Words":
        """Return the names of a list's order: all with a prefix, but a side and a quantity may be shared. Notionals cannot be given."""
        return cls(
            type=f"{prefix}Type",
            side=side or f"{prefix}Side",
            quantity=quantity or f"{prefix}Quantity",
            notional="",
            price=f"{prefix}Price",
            stop_price=f"{prefix}StopPrice",
            trailing_delta=f"{prefix}TrailingDelta",
            time_in_force=f"{prefix}TimeInForce",
            client_order_id=f"{prefix}ClientOrderId",
            iceberg=f"{prefix}IcebergQty",
            strategy_id=f"{prefix}StrategyId",
            strategy_type=f"{prefix}StrategyType",
        )


SINGLE = Words()
ORDER_PARAMETERS = SIGNED | SINGLE.all | {"symbol", "newOrderRespType", "selfTradePreventionMode", "computeCommissionRates"}

_NEEDS = {
    "MARKET": frozenset[str](),
    "LIMIT": frozenset({"time_in_force", "price", "quantity"}),
    "LIMIT_MAKER": frozenset({"price", "quantity"}),
    "STOP_LOSS": frozenset({"quantity"}),
    "STOP_LOSS_LIMIT": frozenset({"time_in_force", "price", "quantity"}),
    "TAKE_PROFIT": frozenset({"quantity"}),
    "TAKE_PROFIT_LIMIT": frozenset({"time_in_force", "price", "quantity"}),
}
_WAITING = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})


def read_order(given: Mapping[str, str], *, extra: Collection[str] = ()) -> NewOrder:
    """Return the order that the parameters ask for, checked for form only; `extra` names more parameters that the endpoint reads.

    Raises:
        VenueError: -1100 to -1117, or -2010 for a kind of order the venue does not list.
    """
    params.refuse_unread(given, ORDER_PARAMETERS.union(extra))
    return read_leg(given, SINGLE, kind=read_type(given, SINGLE.type, ORDER_TYPES))


def read_type(given: Mapping[str, str], name: str, allowed: Collection[str]) -> str:
    """Return an order type.

    Raises:
        VenueError: -1102 or -1116.
    """
    return params.member(given, name, allowed, otherwise=VenueError(-1116, "Invalid orderType."))


def read_leg(given: Mapping[str, str], words: Words, *, kind: str) -> NewOrder:
    """Return the order of type `kind` that comes under `words`, checked for form only.

    Raises:
        VenueError: -1100 to -1117, or -2010 for an iceberg.
    """
    symbol = params.required(given, "symbol")
    side = params.member(given, words.side, ("BUY", "SELL"), otherwise=VenueError(-1117, "Invalid side."))
    if words.iceberg in given:
        raise VenueError.rejected("Iceberg orders are not supported for this symbol.")
    _check_combination(given, words, kind)
    if "time_in_force" in _NEEDS[kind]:
        params.member(given, words.time_in_force, TIMES_IN_FORCE, otherwise=VenueError(-1115, "Invalid timeInForce."))
    return NewOrder(
        symbol=symbol,
        side=rendering.side_of(side),
        type=kind,
        time_in_force=given.get(words.time_in_force, "GTC"),
        client_order_id=params.client_order_id(given, words.client_order_id),
        quantity=positive(given, words.quantity),
        notional=positive(given, words.notional),
        price=positive(given, words.price),
        stop_price=positive(given, words.stop_price),
        trailing_delta=params.integer(given, words.trailing_delta) or 0,
    )


def positive(given: Mapping[str, str], name: str) -> Decimal:
    """Return a decimal parameter above zero, or zero when it was not sent.

    Raises:
        VenueError: -1100, -1105, -1111, or -1013 for a zero.
    """
    value = params.decimal(given, name)
    if value is None:
        return ZERO
    if value == 0:
        raise VenueError(-1013, f"Invalid {'quantity' if 'uantity' in name or 'Qty' in name else name}.")
    return value


def _check_combination(given: Mapping[str, str], words: Words, kind: str) -> None:
    needed = _NEEDS[kind]
    for field in sorted(needed):
        params.required(given, getattr(words, field))
    allowed = needed | ({"quantity", "notional"} if kind == "MARKET" else set())
    if kind in _WAITING:
        allowed |= {"stop_price", "trailing_delta"}
        if words.stop_price not in given and words.trailing_delta not in given:
            raise _neither(words.stop_price, words.trailing_delta)
    for field in ("time_in_force", "quantity", "notional", "price", "stop_price", "trailing_delta"):
        if field not in allowed and getattr(words, field) in given:
            raise VenueError.not_required(getattr(words, field))
    if kind == "MARKET" and not words.notional:
        params.required(given, words.quantity)
    elif kind == "MARKET" and (words.quantity in given) == (words.notional in given):
        if words.quantity in given:
            raise VenueError.not_required(words.notional)
        raise _neither(words.quantity, words.notional)


def _neither(first: str, second: str) -> VenueError:
    return VenueError(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")
