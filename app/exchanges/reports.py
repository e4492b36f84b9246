"""What ccxt returns (numbers as exact text), as our frozen reports. Pure; it guesses nothing."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from app.domain.candles import Candle, from_milliseconds
from app.domain.enums import Liquidity, OrderState, OrderType, Side
from app.domain.orders import Fill, Reported
from app.errors import OutcomeUnknown
from app.exchanges.port import Balance, Ticker, VenueOrder, VenueTrade

_ZERO: Final = Decimal(0)
#: ccxt's unified statuses, and Binance's raw ones that ccxt passes through. `open` and `closed` need the filled quantity too.
_STATES: Final = {
    "open": OrderState.OPEN,
    "PENDING_NEW": OrderState.OPEN,
    "canceling": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
#: Source: binance-spot-api-docs enums.md.
_BINANCE_TYPES: Final = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}


def order_report(order: Mapping[str, Any], *, fills: tuple[Fill, ...] = (), is_acknowledgement: bool = False) -> Reported:
    """Return what ccxt's order says.

    An acknowledgement may hold nothing but the venue's id: the order is then open, and a later read tells the rest.

    Raises:
        OutcomeUnknown: the order has no id, or a status that is not in our table.
    """
    venue_order_id = order.get("id")
    if not venue_order_id:
        raise OutcomeUnknown("the exchange's answer does not name an order; it is being looked up")
    filled = _decimal(order.get("filled")) or _ZERO
    return Reported(
        state=_state(order, filled, is_acknowledgement=is_acknowledgement),
        venue_order_id=str(venue_order_id),
        filled_quantity=filled,
        average_price=_average(order, filled),
        fills=fills,
    )


def _state(order: Mapping[str, Any], filled: Decimal, *, is_acknowledgement: bool) -> OrderState:
    status = order.get("status")
    if status is None and is_acknowledgement:
        return OrderState.OPEN
    state = _STATES.get(str(status))
    if state is None:
        raise OutcomeUnknown(f"the exchange gives the order a status we do not know ({str(status)[:40]!r}); it is being looked up")
    if state is OrderState.OPEN and filled > 0:
        return OrderState.PARTIAL
    amount = _decimal(order.get("amount"))
    if state is OrderState.FILLED and amount is not None and filled < amount:
        return OrderState.CANCELED  # closed with a remainder: what was not filled is gone
    return state


def _average(order: Mapping[str, Any], filled: Decimal) -> Decimal | None:
    if not filled:
        return None
    cost = _decimal(order.get("cost"))
    # The cost is exact; ccxt's average is rounded to the symbol's price precision on some venues.
    return cost / filled if cost else _decimal(order.get("average"))


def binance_fills(info: Mapping[str, Any]) -> tuple[Fill, ...]:
    """Return the executions in Binance's FULL answer to a new order. They all took liquidity: a new order cannot have rested yet."""
    executed_at = from_milliseconds(int(info.get("transactTime") or 0))
    return tuple(
        Fill(
            trade_id=_trade_id(raw["tradeId"]),
            price=_exact(raw["price"]),
            quantity=_exact(raw["qty"]),
            fee=_exact(raw["commission"]),
            fee_asset=raw["commissionAsset"],
            liquidity=Liquidity.TAKER,
            executed_at=executed_at,
        )
        for raw in info.get("fills") or ()
        if "tradeId" in raw
    )


def trade_fills(trades: Sequence[Mapping[str, Any]], *, quote: str) -> tuple[Fill, ...]:
    """Return ccxt's account trades as fills, oldest first. A trade without a fee costs nothing, counted in `quote`.

    Raises:
        OutcomeUnknown: a trade has no id, so that it could be counted twice.
    """
    fills = [_fill(trade, quote) for trade in trades]
    return tuple(sorted(fills, key=lambda fill: fill.executed_at))


def _fill(trade: Mapping[str, Any], quote: str) -> Fill:
    fee = trade.get("fee") or {}
    return Fill(
        trade_id=_trade_id(trade["id"]),
        price=_exact(trade["price"]),
        quantity=_exact(trade["amount"]),
        fee=_decimal(fee.get("cost")) or _ZERO,
        fee_asset=fee.get("currency") or quote,
        liquidity=Liquidity.MAKER if trade.get("takerOrMaker") == "maker" else Liquidity.TAKER,
        executed_at=from_milliseconds(int(trade["timestamp"])),
    )


def account_trades(trades: Sequence[Mapping[str, Any]], *, quote: str) -> list[VenueTrade]:
    """Return ccxt's account trades with their orders' ids, oldest first.

    Raises:
        OutcomeUnknown: a trade has no id, so that it could be counted twice.
    """
    found = [VenueTrade(venue_order_id=str(trade["order"]), side=Side(trade["side"]), fill=_fill(trade, quote)) for trade in trades]
    return sorted(found, key=lambda trade: trade.fill.executed_at)


def venue_order(order: Mapping[str, Any]) -> VenueOrder:
    """Return ccxt's order of a list. An order by notional that has not filled yet has quantity 0."""
    created = order.get("timestamp")
    return VenueOrder(
        symbol=str(order["symbol"]),
        client_order_id=order.get("clientOrderId") or None,
        side=Side(order["side"]),
        type=_kind(order),
        quantity=_decimal(order.get("amount")) or _ZERO,
        price=_decimal(order.get("price")) or None,
        trigger_price=_decimal(order.get("triggerPrice")) or None,
        created_at=None if created is None else from_milliseconds(int(created)),
        report=order_report(order),
    )


def _kind(order: Mapping[str, Any]) -> OrderType | None:
    info = order.get("info") or {}
    named = _BINANCE_TYPES.get(str(info.get("type")))
    if named is not None:
        return named
    kind = str(order.get("type"))
    return OrderType(kind) if kind in ("market", "limit") and not order.get("triggerPrice") else None


def balances(reply: Mapping[str, Any]) -> dict[str, Balance]:
    """Return the assets of ccxt's balance that are not zero."""
    free, used = reply.get("free") or {}, reply.get("used") or {}
    found = (
        Balance(asset=asset, free=_decimal(free.get(asset)) or _ZERO, locked=_decimal(used.get(asset)) or _ZERO)
        for asset in {**free, **used}
    )
    return {balance.asset: balance for balance in found if balance.total}


def ticker(symbol: str, reply: Mapping[str, Any], *, fallback_ms: int) -> Ticker | None:
    """Return ccxt's ticker, or None when it holds no price. `fallback_ms` dates it where the venue does not."""
    last = _decimal(reply.get("last")) or _decimal(reply.get("close"))
    if last is None:
        return None
    return Ticker(
        symbol=symbol,
        last=last,
        bid=_decimal(reply.get("bid")) or None,
        ask=_decimal(reply.get("ask")) or None,
        at=from_milliseconds(int(reply.get("timestamp") or fallback_ms)),
    )


def candle(row: Sequence[Any]) -> Candle:
    """Return ccxt's row of open time in milliseconds, o, h, l, c, v. Text becomes the nearest float64, as from the stream."""
    return Candle(
        open_time=from_milliseconds(int(row[0])),
        open=float(row[1]),
        high=float(row[2]),
        low=float(row[3]),
        close=float(row[4]),
        volume=float(row[5]),
    )


def _decimal(value: Any) -> Decimal | None:
    return None if value is None or value == "" else _exact(value)


def _exact(value: Any) -> Decimal:
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{number} is not an amount")
    return number


def _trade_id(value: Any) -> str:
    if value is None or value == "":
        raise OutcomeUnknown("the exchange's answer holds a trade without an id; it is being looked up")
    return str(value)
