"""Binance market stream frames: bytes in, typed events out. Pure. Source: binance-spot-api-docs web-socket-streams.md."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from app.domain.candles import Candle, Timeframe, from_milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class KlineEvent:
    """A candle as it stands. `market` is the venue's own name (BTCUSDT); `trades` counts the trades in it."""

    market: str
    timeframe: Timeframe
    candle: Candle
    is_closed: bool
    trades: int
    event_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AggTrade:
    """Trades of one taker at one price. `is_buyer_maker` means that the taker sold."""

    market: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    is_buyer_maker: bool
    traded_at: datetime
    event_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTicker:
    """Best bid and ask with their quantities. The venue gives it no time; `update_id` orders it."""

    market: str
    update_id: int
    bid: Decimal
    bid_quantity: Decimal
    ask: Decimal
    ask_quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialDepth:
    """The best levels of a book, at most 20 a side, best first: each a price (quote per base) and a base quantity in the venue's text.

    The venue gives it no time; `update_id` orders it. It stays text because ten come a second and most are overtaken unread.
    """

    market: str
    update_id: int
    bids: list[list[str]]
    asks: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerShutdown:
    """The server asks to be left at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A subscription was taken; `error` says why when it was not."""

    request_id: int | None
    error: str | None


#: Binance has candles of every length that we have but one. Source: rest-api.md, "Kline/Candlestick chart intervals".
TIMEFRAMES: Final = frozenset(Timeframe) - {Timeframe.M10}
_TIMEFRAMES: Final = {timeframe.value: timeframe for timeframe in TIMEFRAMES}

StreamMessage = KlineEvent | AggTrade | BookTicker | PartialDepth | ServerShutdown | Acknowledged


def parse(frame: bytes | str) -> StreamMessage | None:
    """Return what a frame says, or None for a message we have no use for (changes of a book, longer or shorter candles than ours, …).

    Raises:
        ValueError: the frame is not JSON, or a field that the documentation promises is missing or unreadable.
    """
    message = orjson.loads(frame)
    if not isinstance(message, dict):
        return None
    data = message.get("data", message)
    try:
        if isinstance(data, dict) and "lastUpdateId" in data:
            return _partial_depth(message.get("stream"), data)
        return _parse(data) if isinstance(data, dict) else None
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"a {data.get('e', 'bookTicker')} message cannot be read: {type(error).__name__} {error}") from error


def _parse(data: dict[str, Any]) -> StreamMessage | None:
    match data.get("e"):
        case "kline":
            return _kline(data)
        case "aggTrade":
            return _agg_trade(data)
        case "serverShutdown":
            return ServerShutdown()
        case "bookTicker" | None:
            return _unnamed(data)
        case _:
            return None


def _kline(data: dict[str, Any]) -> KlineEvent | None:
    bar = data["k"]
    timeframe = _TIMEFRAMES.get(bar["i"])
    if timeframe is None:
        return None
    return KlineEvent(
        market=data["s"],
        timeframe=timeframe,
        candle=Candle(
            open_time=from_milliseconds(bar["t"]),
            open=float(bar["o"]),
            high=float(bar["h"]),
            low=float(bar["l"]),
            close=float(bar["c"]),
            volume=float(bar["v"]),
        ),
        is_closed=bar["x"],
        trades=bar["n"],
        event_time=from_milliseconds(data["E"]),
    )


def _agg_trade(data: dict[str, Any]) -> AggTrade:
    return AggTrade(
        market=data["s"],
        trade_id=data["a"],
        price=Decimal(data["p"]),
        quantity=Decimal(data["q"]),
        is_buyer_maker=data["m"],
        traded_at=from_milliseconds(data["T"]),
        event_time=from_milliseconds(data["E"]),
    )


def _partial_depth(stream: object, data: dict[str, Any]) -> PartialDepth | None:
    """Only the name of its stream says whose book it is."""
    if not isinstance(stream, str):
        return None
    return PartialDepth(
        market=stream.partition("@")[0].upper(),
        update_id=data["lastUpdateId"],
        bids=_checked(data["bids"]),
        asks=_checked(data["asks"]),
    )


def _checked(rows: list[list[str]]) -> list[list[str]]:
    for price, quantity in rows:
        if type(price) is not str or type(quantity) is not str:
            raise TypeError("a level is no pair of texts")
    return rows


def _unnamed(data: dict[str, Any]) -> BookTicker | Acknowledged | None:
    """Spot book tickers carry no event name, and neither do answers to our own requests."""
    if "u" in data and "b" in data and "a" in data and "s" in data:
        return BookTicker(
            market=data["s"],
            update_id=data["u"],
            bid=Decimal(data["b"]),
            bid_quantity=Decimal(data["B"]),
            ask=Decimal(data["a"]),
            ask_quantity=Decimal(data["A"]),
        )
    if "error" in data:
        return Acknowledged(request_id=data.get("id"), error=str(data["error"].get("msg", "refused")))
    if "code" in data and "msg" in data:
        return Acknowledged(request_id=data.get("id"), error=str(data["msg"]))
    if "result" in data and "id" in data:
        return Acknowledged(request_id=data["id"], error=None)
    return None
