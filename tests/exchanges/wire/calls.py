"""Every call of our port that a venue is asked, with the orders it is asked with."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from app.domain.candles import Timeframe
from app.domain.enums import OrderType, Side, TimeInForce
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.port import OcoRequest, OrderRequest
from tests.exchanges.wire.clients import NOW_MS, SYMBOL

Run = Callable[[CcxtClient], Awaitable[Any]]

OURS: Final = "q00000000000000001"
THEIRS: Final = "28"
SENT_AT: Final = datetime.fromtimestamp(NOW_MS / 1000, tz=UTC)
SINCE: Final = SENT_AT - timedelta(hours=24)
#: More digits than a float holds, and a price that a float would write with an exponent.
QUANTITY: Final = Decimal("1234567.12345678")
PRICE: Final = Decimal("0.00001234")
TRIGGER: Final = Decimal("0.00001250")
NOTIONAL: Final = Decimal("15.12345678")
WAITING: Final = tuple(kind for kind in OrderType if kind.waits)


def order(kind: OrderType, side: Side = Side.SELL, **changes: Any) -> OrderRequest:
    """Return an order of a kind, complete."""
    request = OrderRequest(
        client_order_id=OURS,
        symbol=SYMBOL,
        side=side,
        type=kind,
        quantity=QUANTITY,
        price=PRICE if kind.has_limit else None,
        trigger_price=TRIGGER if kind.waits and kind is not OrderType.TRAILING_STOP else None,
        time_in_force=TimeInForce.GTC,
        post_only=False,
        sent_at=SENT_AT,
        trailing_delta=Decimal("0.015") if kind is OrderType.TRAILING_STOP else None,
    )
    return replace(request, **changes)


def pair(side: Side) -> OcoRequest:
    """Return a limit order and a stop of which one may trade."""
    target = order(OrderType.LIMIT, side, client_order_id="q00000000000000002")
    return OcoRequest(list_client_order_id="q00000000000000003", target=target, stop=order(OrderType.STOP_LIMIT, side))


def go() -> None:
    """A guard that lets the order go."""


def placing(request: OrderRequest) -> Run:
    """Place one order."""
    return lambda client: client.place_order(request, guard=go)


def calls_of(client: CcxtClient) -> Iterator[tuple[str, Run]]:
    """Yield what can be asked of this venue, by name."""
    abilities = client.capabilities
    yield from _plain_orders(client)
    for kind in WAITING:
        if abilities.is_native(kind):
            yield f"place {kind.value} sell", placing(order(kind))
            # Where a market buy names what it spends, so does a waiting one; elsewhere the amount is not sent.
            yield f"place {kind.value} buy", placing(order(kind, Side.BUY, notional=NOTIONAL))
    if abilities.is_native(OrderType.TRAILING_STOP) and client.exchange != "kraken":
        yield "place trailing_stop with activation", placing(order(OrderType.TRAILING_STOP, trigger_price=TRIGGER))
    if abilities.has_oco:
        for side in Side:
            yield f"place oco {side.value}", partial(CcxtClient.place_oco, request=pair(side), guard=go)
    if abilities.has_replace:
        new = order(OrderType.STOP_LIMIT, client_order_id="q00000000000000004")
        old = {"old_client_order_id": OURS}
        yield "replace by our id", lambda it: it.replace_order(new, **old, old_venue_order_id=None, guard=go)
        yield "replace by venue id", lambda it: it.replace_order(new, **old, old_venue_order_id=THEIRS, guard=go)
    yield from _one_order(waits=False)
    if any(abilities.is_native(kind) for kind in WAITING):
        yield from _one_order(waits=True)
    yield from _lists(client)
    yield from _public()


def _plain_orders(client: CcxtClient) -> Iterator[tuple[str, Run]]:
    abilities = client.capabilities
    yield "place market sell", placing(order(OrderType.MARKET))
    if abilities.market_buy_by_base:
        yield "place market buy by base", placing(order(OrderType.MARKET, Side.BUY))
    if abilities.market_buy_by_quote:
        yield "place market buy by quote", placing(order(OrderType.MARKET, Side.BUY, notional=NOTIONAL))
    for force in sorted(abilities.time_in_force):
        yield f"place limit {force.value}", placing(order(OrderType.LIMIT, Side.BUY, time_in_force=force))
    if abilities.has_post_only:
        yield "place limit post-only", placing(order(OrderType.LIMIT, Side.BUY, post_only=True))


def _one_order(*, waits: bool) -> Iterator[tuple[str, Run]]:
    kind = OrderType.STOP_LIMIT if waits else OrderType.LIMIT
    what = "waiting order" if waits else "order"
    for by, venue_order_id in (("our id", None), ("venue id", THEIRS)):
        named: dict[str, Any] = {"symbol": SYMBOL, "client_order_id": OURS, "venue_order_id": venue_order_id, "type": kind}
        yield f"fetch {what} by {by}", partial(CcxtClient.fetch_order, **named)
        yield f"cancel {what} by {by}", partial(CcxtClient.cancel_order, **named)


def _lists(client: CcxtClient) -> Iterator[tuple[str, Run]]:
    yield "open orders of a symbol", lambda it: it.fetch_open_orders(SYMBOL)
    if client.capabilities.lists_all_open_orders:
        yield "open orders of all symbols", lambda it: it.fetch_open_orders()
    yield "recent orders", lambda it: it.fetch_recent_orders(SYMBOL, since=SINCE)
    yield "trades since", lambda it: it.fetch_trades(SYMBOL, since=SINCE)
    if client.capabilities.trades_by_id:
        yield "trades after one", lambda it: it.fetch_trades(SYMBOL, after_trade_id="41")
    yield "balances", lambda it: it.fetch_balances()


def _public() -> Iterator[tuple[str, Run]]:
    yield "ticker", lambda it: it.fetch_ticker(SYMBOL)
    yield "depth", lambda it: it.fetch_depth(SYMBOL)
    yield "depth of the best levels", lambda it: it.fetch_depth(SYMBOL, limit=5)
    yield "market trades", lambda it: it.fetch_market_trades(SYMBOL)
    yield "candles", lambda it: it.fetch_candles(SYMBOL, Timeframe("1m"), limit=5)
    yield "candles between", lambda it: it.fetch_candles(SYMBOL, Timeframe("1h"), start=SINCE, end=SENT_AT, limit=5)
    yield "server time", lambda it: it.server_time()
