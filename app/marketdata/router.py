"""JSON routes of market data. Who may call them is decided where they are mounted."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime

from app.core.http import problems
from app.domain.candles import Candle, Timeframe, to_milliseconds
from app.errors import InvalidInput
from app.marketdata.feed_health import FeedReader
from app.marketdata.heartbeat import Heartbeat
from app.marketdata.queries import MOST_CANDLES, read_chart
from app.marketdata.schemas import CandlesOut, HeartbeatOut
from app.marketdata.symbols_router import ExchangeName, InstrumentsDep

router = APIRouter(prefix="/api", tags=["market data"])


def _heartbeat(request: Request) -> Heartbeat:
    heartbeat: Heartbeat = request.app.state.heartbeat
    return heartbeat


def _feed(request: Request) -> FeedReader:
    feed: FeedReader = request.app.state.feed
    return feed


FeedDep = Annotated[FeedReader, Depends(_feed)]
HeartbeatDep = Annotated[Heartbeat, Depends(_heartbeat)]
SymbolText = Annotated[str, Query(min_length=2, max_length=40, description="BTC/USDT, BTCUSDT or BINANCE:BTCUSDT")]


@router.get("/ohlcv", summary="Candles for a chart", responses=problems(404, 422, 503))
async def get_candles(
    symbol: SymbolText,
    heartbeat: HeartbeatDep,
    instruments: InstrumentsDep,
    *,
    exchange: ExchangeName = "binance",
    timeframe: Timeframe = Timeframe.M1,
    start: Annotated[AwareDatetime | None, Query(description="First open time, inclusive")] = None,
    end: Annotated[AwareDatetime | None, Query(description="Last open time, exclusive")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CANDLES)] = 500,
) -> CandlesOut:
    """Return stored candles, oldest first: the first `limit` from `start` on, or the newest `limit` without it."""
    _check_range(start, end)
    exchange = instruments.source(exchange)
    instrument = await instruments.require(exchange, symbol)
    is_live = heartbeat.status.exchange == exchange
    chart = await read_chart(
        heartbeat.store,
        exchange,
        instrument.symbol,
        timeframe,
        start=start,
        end=end,
        limit=limit,
        open_candle=heartbeat.open_candle(instrument.symbol) if is_live else None,
    )
    return CandlesOut(
        items=[_row(candle) for candle in chart.candles],
        exchange=exchange,
        symbol=instrument.symbol,
        timeframe=timeframe.value,
        is_last_open=chart.is_last_open,
    )


@router.get("/heartbeat/status", summary="The live feed")
async def get_heartbeat(feed: FeedDep) -> HeartbeatOut:
    """Return whether the live feed is connected and safe to act on, how old its candles are, and whether any are missing."""
    return HeartbeatOut.of(await feed.report())


def _check_range(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end <= start:
        raise InvalidInput(f"end must be after start, was {end.isoformat()}", field="end")


def _row(candle: Candle) -> tuple[int, float, float, float, float, float]:
    return to_milliseconds(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume
