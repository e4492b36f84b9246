"""The list of symbols on the trading page: from memory, with prices where somebody watches. No exchange is asked for it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, cast, get_args
from urllib.parse import urlencode

from fastapi import FastAPI

from app.accounts.favourites import favourites_of
from app.accounts.principal import Principal
from app.domain.instruments import Instrument
from app.domain.symbol_search import SymbolSearch
from app.marketdata.lookout import lookout_of
from app.ui.symbols import book_of
from app.ui.views import MarketList, MarketRow, QuoteFilter

PAGE: Final = 60


def filter_of(text: str) -> QuoteFilter:
    """Return the filter of that name; all symbols for what is none."""
    return cast("QuoteFilter", text) if text in get_args(QuoteFilter) else "all"


async def market_list(
    app: FastAPI,
    principal: Principal,
    *,
    exchange: str,
    broker_id: str,
    current: str = "",
    filter: QuoteFilter = "all",
    search: str = "",
    after: str | None = None,
    timeframe: str = "",
) -> MarketList:
    """Return a page of what trades at an exchange: favourites first, then by name."""
    listed = await book_of(app).stored(exchange)
    if listed is None:
        return MarketList(filter=filter, search=search, broker_id=broker_id)
    favourites = await favourites_of(app.state.database, principal.user_id, exchange)
    rows, has_more, last = _page(app, listed, exchange, favourites, filter=filter, search=search, after=after)
    asked = {"broker": broker_id, "quote": filter, "q": search, "after": last, "symbol": current, "timeframe": timeframe}
    return MarketList(
        rows=await _rows(app, exchange, rows, favourites, current=current, address={"broker": broker_id, "timeframe": timeframe}),
        filter=filter,
        search=search,
        total=listed.total,
        next=f"/trading/symbols?{urlencode({name: value for name, value in asked.items() if value})}" if has_more else "",
        broker_id=broker_id,
        is_first=after is None,
    )


def _page(
    app: FastAPI,
    listed: SymbolSearch,
    exchange: str,
    favourites: frozenset[str],
    *,
    filter: QuoteFilter,
    search: str,
    after: str | None,
) -> tuple[list[Instrument], bool, str]:
    quote = filter if filter in ("USDT", "USDC") else ""
    own = _own(app, exchange, favourites, quote=quote, search=search)
    if filter == "favourites":
        return own, False, ""
    page = listed.page(search=search, quote=quote, after=after, limit=PAGE)
    rest = [found for found in page.rows if found.symbol not in favourites]
    last = page.rows[-1].symbol if page.rows else ""
    return [*(own if after is None else []), *rest], page.has_more, last


def _own(app: FastAPI, exchange: str, favourites: Iterable[str], *, quote: str, search: str) -> list[Instrument]:
    wanted = "".join(sign for sign in search.upper() if sign.isalnum())
    found = [book_of(app).cached(exchange, symbol) for symbol in sorted(favourites)]
    return [
        instrument
        for instrument in found
        if instrument is not None
        and instrument.is_active
        and (not quote or instrument.quote.upper() == quote)
        and wanted in f"{instrument.base}{instrument.quote}".upper()
    ]


async def _rows(
    app: FastAPI, exchange: str, found: list[Instrument], favourites: frozenset[str], *, current: str, address: dict[str, str]
) -> tuple[MarketRow, ...]:
    lookout, quotes = lookout_of(app), app.state.quotes
    is_fed = exchange == lookout.exchange
    watched = set(lookout.heartbeat.symbols) if is_fed else set()
    days = await lookout.days.of(item.symbol for item in found if item.symbol in watched)
    rows = []
    for item in found:
        quote = quotes.latest(item.symbol) if is_fed else None
        last, day = quote.last if quote is not None else None, days.get(item.symbol)
        asked = {**address, "symbol": item.symbol}
        rows.append(
            MarketRow(
                symbol=item.symbol,
                base=item.base,
                quote=item.quote,
                tick=item.tick_size,
                href=f"/trading?{urlencode({name: value for name, value in asked.items() if value})}",
                is_favourite=item.symbol in favourites,
                is_current=item.symbol == current,
                broker_id=address["broker"],
                last=last,
                day_open=Decimal(repr(day.open)) if day is not None else None,
                change=day.change(last) if day is not None else None,
            )
        )
    return tuple(rows)
