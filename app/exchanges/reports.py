"""What ccxt returns (numbers as exact text), as our frozen reports. Pure; it guesses nothing."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from app.domain.book import Depth, Level
from app.domain.candles import Candle, from_milliseconds
from app.domain.enums import Liquidity, OrderState, Side
from app.domain.orders import Fill, Reported
from app.errors import OutcomeUnknown
from app.exchanges.corrections import corrected
from app.exchanges.port import Balance, MarketTrade, Ticker, VenueOrder, VenueTrade

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
#: Where the venue's cost is what was spent, exactly; elsewhere its average price is the better one.
_EXACT_COST: Final = frozenset({"binance", "binanceus", "mexc", "kucoin"})


def order_report(
    exchange: str, order: Mapping[str, Any], *, fills: tuple[Fill, ...] = (), is_acknowledgement: bool = False, waits: bool = False
) -> Reported:
    """Return what ccxt's order says.

    An acknowledgement may hold nothing but the venue's id: the order is then open, and a later read tells the rest; with `waits` it is
    one that sleeps until its trigger is reached.

    Raises:
        OutcomeUnknown: the order has no id, or a status that is not in our table.
    """
    return _report(exchange, corrected(exchange, order), fills=fills, is_acknowledgement=is_acknowledgement, waits=waits)


def _report(
    exchange: str, order: Mapping[str, Any], *, fills: tuple[Fill, ...] = (), is_acknowledgement: bool = False, waits: bool = False
) -> Reported:
    venue_order_id = order.get("id")
    if not venue_order_id:
        raise OutcomeUnknown("the exchange's answer does not name an order; it is being looked up")
    filled = _decimal(order.get("filled")) or _ZERO
    state = _state(order, filled, is_acknowledgement=is_acknowledgement)
    is_bare = is_acknowledgement and order.get("status") is None
    return Reported(
        state=state,
        venue_order_id=str(venue_order_id),
        filled_quantity=filled,
        average_price=_average(exchange, order, filled),
        fills=fills,
        is_working=state is not OrderState.OPEN or (not waits if is_bare else bool(order["isWorking"])),
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
    if state is OrderState.REJECTED and filled > 0:
        return OrderState.CANCELED  # it was taken, and only its rest refused
    amount = _decimal(order.get("amount"))
    if state is OrderState.FILLED and amount is not None and filled < amount:
        return OrderState.CANCELED  # closed with a remainder: what was not filled is gone
    return state


def _average(exchange: str, order: Mapping[str, Any], filled: Decimal) -> Decimal | None:
    if not filled:
        return None
    cost, average = _decimal(order.get("cost")), _decimal(order.get("average"))
    if cost and (exchange in _EXACT_COST or not average):
        return cost / filled
    return average


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
    fee = _fee(trade)
    return Fill(
        trade_id=_trade_id(trade["id"]),
        price=_exact(trade["price"]),
        quantity=_exact(trade["amount"]),
        # A rebate is money that comes in by itself: the fee is then nothing.
        fee=max(_decimal(fee.get("cost")) or _ZERO, _ZERO),
        # ccxt guesses it for venues that say it in so many words.
        fee_asset=(trade.get("info") or {}).get("feeCurrency") or fee.get("currency") or quote,
        liquidity=Liquidity.MAKER if trade.get("takerOrMaker") == "maker" else Liquidity.TAKER,
        executed_at=from_milliseconds(int(trade["timestamp"])),
    )


def _fee(trade: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fee that was taken: of several assets that a venue names, the one that is not zero."""
    one = trade.get("fee")
    several = [one] if one else trade.get("fees") or []
    return next((fee for fee in several if _decimal(fee.get("cost"))), several[0] if several else {})


def account_trades(trades: Sequence[Mapping[str, Any]], *, quote: str) -> list[VenueTrade]:
    """Return ccxt's account trades with their orders' ids, oldest first.

    Raises:
        OutcomeUnknown: a trade has no id, so that it could be counted twice.
    """
    found = [VenueTrade(venue_order_id=str(trade["order"]), side=Side(trade["side"]), fill=_fill(trade, quote)) for trade in trades]
    return sorted(found, key=lambda trade: trade.fill.executed_at)


def venue_order(exchange: str, order: Mapping[str, Any]) -> VenueOrder:
    """Return ccxt's order of a list. An order by notional that has not filled yet has quantity 0."""
    order = corrected(exchange, order)
    created = order.get("timestamp")
    return VenueOrder(
        symbol=str(order["symbol"]),
        client_order_id=order.get("clientOrderId") or None,
        side=Side(order["side"]),
        type=order["kind"],
        quantity=_decimal(order.get("amount")) or _ZERO,
        price=_decimal(order.get("price")) or None,
        trigger_price=_decimal(order.get("triggerPrice")) or None,
        created_at=None if created is None else from_milliseconds(int(created)),
        report=_report(exchange, order),
    )


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


def depth(reply: Mapping[str, Any], *, limit: int) -> Depth:
    """Return ccxt's order book, its levels as text, with the best `limit` levels of each side. Empty levels are none."""
    return Depth(bids=_levels(reply["bids"], limit, descending=True), asks=_levels(reply["asks"], limit, descending=False))


def _levels(rows: Sequence[Any], limit: int, *, descending: bool) -> tuple[Level, ...]:
    levels = (Level(price=_exact(row[0]), quantity=_exact(row[1])) for row in rows)
    offered = [level for level in levels if level.price > 0 and level.quantity > 0]
    return tuple(sorted(offered, key=lambda level: level.price, reverse=descending)[:limit])


def market_trades(rows: Sequence[Mapping[str, Any]], *, limit: int) -> list[MarketTrade]:
    """Return ccxt's public trades, oldest first, the newest `limit`. One of which the taker's side is not told is left out."""
    found = [
        MarketTrade(
            trade_id=None if row.get("id") is None else str(row["id"]),
            price=_exact(row["price"]),
            quantity=_exact(row["amount"]),
            side=Side(row["side"]),
            traded_at=from_milliseconds(int(row["timestamp"])),
        )
        for row in rows
        if row.get("side") in ("buy", "sell") and row.get("timestamp") is not None
    ]
    return sorted(found, key=lambda trade: trade.traded_at)[-limit:]


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
