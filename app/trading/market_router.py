"""Prices and order books at an exchange, or at the exchange of one of the user's accounts (`/api/ticker`, `/api/orderbook`)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from app.accounts.dependencies import CurrentUser
from app.brokers.service import get_broker
from app.core.http import SessionDep, problems
from app.domain.instruments import Instrument
from app.errors import ExchangeUnavailable, InvalidInput
from app.marketdata.books import Books
from app.marketdata.depths import LEVELS
from app.marketdata.lookout import lookout_of
from app.marketdata.router import SymbolText
from app.marketdata.schemas import MoneyText, TickerOut
from app.marketdata.symbols_router import InstrumentsDep

router = APIRouter(prefix="/api", tags=["market data"])

#: A quote older than this is asked for again.
_QUOTE_MAX_AGE_S = 5.0
#: What a streamed book has.
_STREAMED_LEVELS = 20


async def _place(
    session: SessionDep,
    instruments: InstrumentsDep,
    principal: CurrentUser,
    symbol: SymbolText,
    *,
    broker_id: Annotated[UUID | None, Query(description="One of your accounts: its exchange's real market is meant")] = None,
    exchange: Annotated[str | None, Query(pattern="^[a-z0-9]{2,32}$", description="Exchange id; without an account, binance")] = None,
) -> tuple[str, Instrument]:
    """Which exchange's market is asked about, and the symbol's rules there."""
    if broker_id is not None:
        account = await get_broker(session, principal.user_id, broker_id)
        if exchange is not None and exchange != account.exchange:
            raise InvalidInput(f"the account is at {account.exchange}, exchange was {exchange}", field="exchange")
        exchange = account.exchange
    source = instruments.source(exchange or "binance")
    return source, await instruments.require(source, symbol)


PlaceDep = Annotated[tuple[str, Instrument], Depends(_place, scope="function")]


class OrderBookOut(BaseModel):
    """The visible book: each level is a price in quote per base and the base quantity offered there, best first.

    `at` is when it was read here; the exchange told it a second before at most.
    """

    exchange: str
    symbol: str
    bids: list[tuple[MoneyText, MoneyText]]
    asks: list[tuple[MoneyText, MoneyText]]
    at: datetime


@router.get("/ticker", summary="Best prices of a symbol", responses=problems(404, 422, 503))
async def get_ticker(request: Request, place: PlaceDep) -> TickerOut:
    """Return the live feed's prices, or the exchange's own answer for a symbol that is not watched."""
    exchange, instrument = place
    quotes = request.app.state.quotes
    quote = quotes.latest(instrument.symbol, max_age_s=_QUOTE_MAX_AGE_S) if quotes.exchange == exchange else None
    if quote is not None and quote.last is not None:
        return TickerOut(exchange=exchange, symbol=quote.symbol, bid=quote.bid, ask=quote.ask, last=quote.last, at=quote.at)
    ticker = await (await request.app.state.registry.public(exchange)).fetch_ticker(instrument.symbol)
    return TickerOut(exchange=exchange, symbol=ticker.symbol, bid=ticker.bid, ask=ticker.ask, last=ticker.last, at=ticker.at)


@router.get("/orderbook", summary="Order book of a symbol", responses=problems(404, 422, 503))
async def get_order_book(
    request: Request,
    place: PlaceDep,
    limit: Annotated[int, Query(ge=1, le=LEVELS, description="Levels on each side, at most")] = 50,
) -> OrderBookOut:
    """Return the best levels of each side. All who ask within a second are given the same answer of the exchange."""
    exchange, instrument = place
    books: Books = lookout_of(request.app).books
    read = books.depth if limit <= _STREAMED_LEVELS else books.whole_depth
    depth = await read(exchange, instrument.symbol)
    if depth is None:
        raise ExchangeUnavailable(f"{exchange} gives no order book of {instrument.symbol} now")
    return OrderBookOut(
        exchange=exchange,
        symbol=instrument.symbol,
        bids=[(level.price, level.quantity) for level in depth.bids[:limit]],
        asks=[(level.price, level.quantity) for level in depth.asks[:limit]],
        at=request.app.state.clock.now(),
    )
