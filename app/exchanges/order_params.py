"""How an order is put to each venue: the arguments of ccxt's `create_order`, and what must then be on the wire. Pure.

Only what a request was seen to carry is here (tests/exchanges/wire); whatever else is asked for is refused before anything leaves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from app.domain.candles import to_milliseconds
from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import plain
from app.errors import Unsupported
from app.exchanges.capabilities import Capabilities, capabilities_of
from app.exchanges.identity import identity_of
from app.exchanges.port import OrderRequest
from app.exchanges.wire_check import Carried, exactly, up_to

#: How long a venue takes a request after its timestamp: a process that was paused for longer is refused.
RECV_WINDOW_MS: Final = 5_000
_HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What ccxt's `create_order` gets, and the numbers that the request must hold."""

    symbol: str
    kind: str
    side: str
    amount: str
    price: str | None
    parameters: dict[str, Any]
    carried: tuple[Carried, ...]

    @property
    def positional(self) -> tuple[Any, ...]:
        """In ccxt's order."""
        return self.symbol, self.kind, self.side, self.amount, self.price, self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """One venue's words. Each trigger parameter is ccxt's, and was seen to make a stop of the right direction."""

    stop: str = "stopLossPrice"
    target: str = "takeProfitPrice"
    always: Mapping[str, Any] = field(default_factory=dict)
    when_waiting: Mapping[str, Any] = field(default_factory=dict)
    by_cost: Mapping[str, Any] = field(default_factory=dict)
    #: The client order id once more, for waiting orders.
    waiting_id: str | None = None
    #: Whether a waiting market buy names what it spends.
    waits_by_cost: bool = False
    fence: Callable[[datetime], dict[str, Any]] | None = None
    trailing: Callable[[OrderRequest], tuple[str, dict[str, Any]]] | None = None


def _recv_window(sent_at: datetime) -> dict[str, Any]:
    return {"timestamp": to_milliseconds(sent_at), "recvWindow": RECV_WINDOW_MS}


def _deadline(sent_at: datetime) -> dict[str, Any]:
    latest = sent_at + timedelta(milliseconds=RECV_WINDOW_MS)
    return {"deadline": f"{latest:%Y-%m-%dT%H:%M:%S}.{latest.microsecond // 1000:03d}Z"}


def _percent(delta: Decimal | None) -> str:
    if delta is None:
        raise Unsupported("a trailing stop needs the distance at which it follows")
    return plain(delta * _HUNDRED)


def _binance_trailing(request: OrderRequest) -> tuple[str, dict[str, Any]]:
    """As basis points; ccxt multiplies the percentage by 100."""
    percent = _percent(request.trailing_delta)
    if (Decimal(percent) * _HUNDRED) % 1:
        raise Unsupported(f"a trailing stop follows at whole hundredths of a percent there, was {percent} %")
    if request.trigger_price is None:
        return "STOP_LOSS", {"trailingPercent": percent}
    # Ours begins to follow where the market has moved in the holder's favour: that is the venue's take-profit with a delta; its stop with
    # one begins on the other side. Source: binance-spot-api-docs faqs/trailing-stop-faq.md.
    return "TAKE_PROFIT", {"trailingPercent": percent, "trailingTriggerPrice": f"{request.trigger_price:f}"}


def _kraken_trailing(request: OrderRequest) -> tuple[str, dict[str, Any]]:
    if request.trigger_price is not None:
        raise Unsupported("Kraken has no activation price for a trailing stop")
    return "market", {"trailingPercent": _percent(request.trailing_delta)}


_BINANCE: Final = _Rules(fence=_recv_window, trailing=_binance_trailing)
_DEFAULT: Final = _Rules()
_RULES: Final = {
    "binance": _BINANCE,
    "binanceus": _BINANCE,
    # The fee in the quote asset, as its list of trades means it; otherwise a sell pays in the base asset without saying so.
    "kraken": _Rules(always={"oflags": "fciq"}, fence=_deadline, trailing=_kraken_trailing),
    # A plan order takes its direction from the market's price at its arrival. By the last price: spot has no mark price.
    "bitget": _Rules(stop="triggerPrice", target="triggerPrice", when_waiting={"triggerType": "fill_price"}, waits_by_cost=True),
    # ccxt sends `cross` for waiting spot orders, which may borrow.
    "okx": _Rules(always={"tdMode": "cash"}, by_cost={"tgtCcy": "quote_ccy"}, waiting_id="algoClOrdId"),
    "bybit": _Rules(by_cost={"marketUnit": "quoteCoin"}),
}


def arguments_of(exchange: str, request: OrderRequest, *, clock_difference_ms: int = 0) -> Arguments:
    """Return how `request` is put to `exchange`.

    Args:
        exchange: Exchange id.
        request: The order, quantised and checked.
        clock_difference_ms: Our clock minus the venue's.

    Raises:
        Unsupported: the venue does not take such an order; nothing was sent.
    """
    capabilities = capabilities_of(exchange)
    _refuse_what_it_cannot(exchange, request, capabilities)
    rules = _RULES.get(exchange, _DEFAULT)
    waits = request.type.waits
    kind, parameters = _trigger(exchange, request, rules)
    parameters = {identity_of(exchange).create_parameter: request.client_order_id, **rules.always, **parameters}
    if waits:
        parameters |= rules.when_waiting
        if rules.waiting_id is not None:
            parameters[rules.waiting_id] = request.client_order_id
    if rules.fence is not None:
        parameters |= rules.fence(request.sent_at - timedelta(milliseconds=clock_difference_ms))
    parameters |= _resting(request)
    cost = _cost(exchange, request, rules, capabilities)
    if cost is not None:
        parameters |= {"cost": f"{cost:f}", **rules.by_cost}
    return Arguments(
        symbol=request.symbol,
        kind=kind,
        side=request.side.value,
        amount=f"{request.quantity:f}",
        price=f"{request.price:f}" if request.type.has_limit and request.price is not None else None,
        parameters=parameters,
        carried=_carried(request, cost),
    )


def _refuse_what_it_cannot(exchange: str, request: OrderRequest, capabilities: Capabilities) -> None:
    if not capabilities.is_native(request.type):
        raise Unsupported(f"{exchange} does not watch {request.type.value} orders itself")
    if request.type.has_limit:
        if request.price is None:
            raise Unsupported(f"a {request.type.value} order needs a limit price")
        if request.time_in_force not in capabilities.time_in_force:
            raise Unsupported(f"{exchange} does not take {request.time_in_force.value.upper()} orders")
    if request.post_only and not capabilities.has_post_only:
        raise Unsupported(f"{exchange} does not take post-only orders")


def _trigger(exchange: str, request: OrderRequest, rules: _Rules) -> tuple[str, dict[str, Any]]:
    kind = "limit" if request.type.has_limit else "market"
    if not request.type.waits:
        return kind, {}
    if request.type is OrderType.TRAILING_STOP:
        if rules.trailing is None:
            raise Unsupported(f"{exchange} does not watch trailing stops itself")
        return rules.trailing(request)
    if request.trigger_price is None:
        raise Unsupported(f"a {request.type.value} order needs the price that triggers it")
    return kind, {rules.stop if request.type.is_stop else rules.target: f"{request.trigger_price:f}"}


def _resting(request: OrderRequest) -> dict[str, Any]:
    if request.post_only:
        return {"postOnly": True}
    if request.type.has_limit and request.time_in_force is not TimeInForce.GTC:
        return {"timeInForce": request.time_in_force.value.upper()}
    return {}


def _cost(exchange: str, request: OrderRequest, rules: _Rules, capabilities: Capabilities) -> Decimal | None:
    """What a market buy spends, where it is named so."""
    if request.side is not Side.BUY or request.type.once_triggered is not OrderType.MARKET:
        return None
    if request.type.waits and not rules.waits_by_cost:
        return None
    if request.notional is not None and capabilities.market_buy_by_quote:
        return request.notional
    if capabilities.market_buy_by_base:
        return None
    raise Unsupported(f"{exchange} takes market buys only by the amount to spend, and none was given")


def _carried(request: OrderRequest, cost: Decimal | None) -> tuple[Carried, ...]:
    numbers = [exactly(request.quantity, "quantity") if cost is None else up_to(cost, "amount to spend")]
    if request.type.has_limit and request.price is not None:
        numbers.append(exactly(request.price, "price"))
    if request.type.waits and request.trigger_price is not None:
        numbers.append(exactly(request.trigger_price, "trigger price"))
    return tuple(numbers)
