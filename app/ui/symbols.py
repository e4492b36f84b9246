"""Regions of the page of symbols: the list from memory, and updates from their rows. No exchange is asked for a page."""

from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI

from app.domain.instruments import Instrument
from app.exchanges.catalogue import venue_of
from app.marketdata.instruments import InstrumentBook
from app.marketdata.models import UpdateCause
from app.marketdata.update_store import Update
from app.marketdata.updates import Updates
from app.ui.views import Quotes, SymbolList, SymbolRow, UpdateList, UpdateRow

PAGE: Final = 100
_UPDATES: Final = 6
_QUOTES: Final = 10
_KINDS: Final = ("added", "updated", "removed")


def book_of(app: FastAPI) -> InstrumentBook:
    """Return the instruments of this application."""
    book: InstrumentBook = app.state.instruments
    return book


def updates_of(app: FastAPI) -> Updates:
    """Return the updates of this application."""
    updates: Updates = app.state.updates
    return updates


def exchange_name(exchange: str) -> str:
    """Return the name of an exchange for people."""
    venue = venue_of(exchange)
    return exchange if venue is None else venue.name


async def update_list(app: FastAPI, user_id: UUID) -> UpdateList:
    """Return the latest updates as that user may see them."""
    return UpdateList(rows=tuple(_update_row(update, user_id) for update in await updates_of(app).latest(_UPDATES)))


async def symbol_list(app: FastAPI, exchange: str, *, search: str, quote: str, after: str | None = None) -> SymbolList:
    """Return a page of what trades at an exchange, the one behind the symbol `after`."""
    found = await book_of(app).stored(exchange)
    if found is None:
        return SymbolList(name=exchange_name(exchange))
    page = found.page(search=search, quote=quote, after=after, limit=PAGE)
    asked = {"exchange": exchange, "search": search, "quote": quote}
    following = f"/symbols/rows?{urlencode({**asked, 'after': page.rows[-1].symbol})}" if page.has_more else ""
    return SymbolList(
        name=exchange_name(exchange),
        rows=tuple(_symbol_row(instrument) for instrument in page.rows),
        total=found.total,
        next=following,
        first="" if after is None else f"/symbols/rows?{urlencode(asked)}",
    )


async def quotes(app: FastAPI, exchange: str, chosen: str) -> Quotes:
    """Return the quote assets with most symbols, and the chosen one, so that it can be taken back."""
    found = await book_of(app).stored(exchange)
    shown = [] if found is None else [quote for quote, _ in found.quotes[:_QUOTES]]
    chosen = chosen.strip().upper()
    return Quotes(rows=tuple(shown if not chosen or chosen in shown else [*shown, chosen]), chosen=chosen)


def _symbol_row(found: Instrument) -> SymbolRow:
    return SymbolRow(
        symbol=found.symbol,
        base=found.base,
        quote=found.quote,
        tick=found.tick_size,
        step=found.step_size,
        min_quantity=found.min_quantity,
        min_notional=found.min_notional,
    )


def _update_row(update: Update, user_id: UUID) -> UpdateRow:
    counts = {"added": update.added or 0, "updated": update.updated or 0, "removed": update.removed or 0}
    names = []
    for kind in _KINDS:
        symbols = update.names.get(kind, [])
        if symbols:
            names.append((kind, ", ".join(symbols) + (", …" if counts[kind] > len(symbols) else "")))
    return UpdateRow(
        id=str(update.id),
        exchange=update.exchange,
        name=exchange_name(update.exchange),
        state=update.state.value,
        phase=update.phase.value,
        who="night" if update.cause is UpdateCause.NIGHTLY else "me" if update.started_by == user_id else "somebody",
        at=update.finished_at or update.started_at,
        done=update.done,
        total=update.total,
        names=tuple(names),
        code=update.code or "",
        reason=update.detail or "",
        **counts,
    )
