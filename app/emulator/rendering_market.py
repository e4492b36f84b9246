"""The shapes of market data: candles, trades, tickers, best prices.

Source: examples in the Binance Spot API documentation, rest-api.md and web-socket-streams.md.
"""

from decimal import Decimal

from app.domain.candles import Timeframe
from app.domain.matching import ZERO, Depth, Level
from app.emulator.bars import MINUTE_MS, PRINTS_PER_MINUTE, Bar, Trade
from app.emulator.filters import eight
from app.emulator.market import DAY_MINUTES, SymbolMarket

Json = dict[str, object]

_ZERO = "0.00000000"


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


def levels(depth: Depth) -> Json:
    """Return a book's two sides, best level first, as GET /depth and the streams of partial depth show them."""
    sides = {"bids": depth.bids, "asks": depth.asks}
    return {name: [[eight(level.price), eight(level.quantity)] for level in side] for name, side in sides.items()}


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
