"""Public REST endpoints. Handlers are plain functions of (venue, call): no socket, no await."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

from app.domain.candles import Timeframe
from app.emulator import params, rendering_market
from app.emulator.bars import MINUTE_MS, Trade
from app.emulator.calls import Call
from app.emulator.errors import VenueError
from app.emulator.filters import eight
from app.emulator.market import SymbolMarket
from app.emulator.venue import Venue

#: As on the real one, there are none of ten minutes.
_TIMEFRAMES = {timeframe.value: timeframe for timeframe in Timeframe if timeframe is not Timeframe.M10}
_DEPTH_LIMITS = 5000
_LIMIT = 1000
_HOUR_MS = 3_600_000
#: A made-up market makes so many minutes in a few milliseconds.
_AT_ONCE_MINUTES = 480


def ping(_venue: Venue, _call: Call) -> object:
    """GET /api/v3/ping."""
    return {}


def server_time(venue: Venue, _call: Call) -> object:
    """GET /api/v3/time: wall time, the one signatures are checked against."""
    return {"serverTime": venue.clock.wall_now()}


def exchange_info(venue: Venue, call: Call) -> object:
    """GET /api/v3/exchangeInfo."""
    chosen = _chosen(venue, call)
    markets = venue.exchange.markets.values() if chosen is None else chosen
    return {
        "timezone": "UTC",
        "serverTime": venue.clock.wall_now(),
        "rateLimits": venue.limits.describe(),
        "exchangeFilters": [],
        "symbols": [market.rules.describe() for market in markets],
    }


def ticker_day(venue: Venue, call: Call) -> object:
    """GET /api/v3/ticker/24hr."""
    kind = call.params.get("type", "FULL")
    if kind not in ("FULL", "MINI"):
        raise VenueError(-1139, "Invalid ticker type.")
    return _per_symbol(venue, call, lambda market: rendering_market.day_ticker(market, is_mini=kind == "MINI"))


def ticker_price(venue: Venue, call: Call) -> object:
    """GET /api/v3/ticker/price."""
    return _per_symbol(venue, call, lambda market: {"symbol": market.rules.symbol, "price": eight(market.last_price)})


def ticker_book(venue: Venue, call: Call) -> object:
    """GET /api/v3/ticker/bookTicker."""
    return _per_symbol(venue, call, rendering_market.book_ticker)


def average_price(venue: Venue, call: Call) -> object:
    """GET /api/v3/avgPrice: the last price stands for the average, as filters here use no other."""
    market = _market(venue, call)
    return {"mins": 0, "price": eight(market.last_price), "closeTime": venue.clock.wall_now()}


def depth(venue: Venue, call: Call) -> object:
    """GET /api/v3/depth."""
    market = _market(venue, call)
    limit = params.integer(call.params, "limit", largest=_DEPTH_LIMITS) or 100
    return {"lastUpdateId": venue.clock.now(), **rendering_market.levels(market.depth(limit))}


def klines(venue: Venue, call: Call) -> object:
    """GET /api/v3/klines; the last one may be the open candle."""
    market, timeframe, start, end, limit = _asked(venue, call)
    candles = market.candles(timeframe, start_ms=start, end_ms=end, limit=limit)
    return [rendering_market.kline(bar, timeframe) for bar in candles]


async def sum_up(venue: Venue, call: Call) -> None:
    """Sum up what `klines` will answer with, in slices: a year of long candles takes seconds, and the market goes on meanwhile."""
    market, timeframe, start, end, limit = _asked(venue, call)
    minutes = 0
    for open_time in islice(market.open_times(timeframe, start_ms=start, end_ms=end), limit):
        market.candle(timeframe, open_time)
        minutes += timeframe.milliseconds // MINUTE_MS
        if minutes >= _AT_ONCE_MINUTES:
            minutes = 0
            await asyncio.sleep(0)


def _asked(venue: Venue, call: Call) -> tuple[SymbolMarket, Timeframe, int | None, int | None, int]:
    market = _market(venue, call)
    timeframe = _TIMEFRAMES.get(params.required(call.params, "interval"))
    if timeframe is None:
        raise VenueError(-1120, "Invalid interval.")
    start = params.integer(call.params, "startTime")
    end = params.integer(call.params, "endTime")
    limit = params.integer(call.params, "limit", largest=_LIMIT)
    return market, timeframe, start, end, 500 if limit is None else max(1, limit)


def aggregate_trades(venue: Venue, call: Call) -> object:
    """GET /api/v3/aggTrades."""
    return [rendering_market.aggregate_trade(trade) for trade in _trades(venue, call)]


def trades(venue: Venue, call: Call) -> object:
    """GET /api/v3/trades."""
    return [rendering_market.public_trade(trade) for trade in _trades(venue, call)]


def _trades(venue: Venue, call: Call) -> Iterable[Trade]:
    market = _market(venue, call)
    limit = max(1, params.integer(call.params, "limit", largest=_LIMIT) or 500)
    start, end = params.integer(call.params, "startTime"), params.integer(call.params, "endTime")
    first_id = params.integer(call.params, "fromId")
    if first_id is not None:
        start = market.time_of_trade(first_id)
        return [trade for trade in market.trades(start, start + _HOUR_MS) if trade.id >= first_id][:limit]
    if start is None and end is None:
        return market.latest_trades(limit)
    if start is None:
        start = (end or 0) - _HOUR_MS
    return list(market.trades(start, min(end if end is not None else start + _HOUR_MS, start + _HOUR_MS)))[:limit]


def _market(venue: Venue, call: Call) -> SymbolMarket:
    return venue.exchange.market(params.required(call.params, "symbol"))


def _per_symbol(venue: Venue, call: Call, render: Callable[[SymbolMarket], object]) -> object:
    """One symbol asked by name is answered with an object, everything else with a list."""
    chosen = _chosen(venue, call)
    if chosen is not None and "symbol" in call.params:
        return render(chosen[0])
    return [render(market) for market in (venue.exchange.markets.values() if chosen is None else chosen)]


def _chosen(venue: Venue, call: Call) -> list[SymbolMarket] | None:
    symbols = params.symbols(call.params)
    if "symbol" in call.params:
        if symbols is not None:
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        return [venue.exchange.market(call.params["symbol"])]
    return None if symbols is None else [venue.exchange.market(symbol) for symbol in symbols]
