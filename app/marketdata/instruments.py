"""Trading rules of all symbols: a table for other processes, and a book in memory for searches and the hot path, which ask no database."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.domain.instruments import Instrument
from app.domain.symbol_search import SymbolSearch
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import ExchangeError, SymbolNotFound
from app.exchanges.registry import Registry
from app.marketdata.listing_store import Changes, Told, fitting, read_stored, store_listings

log = structlog.get_logger(__name__)

_BEAT_S: Final = 10.0
_REFRESH_EVERY_S: Final = 3600.0
#: Whoever comes while another one asks takes the same answer.
_ASKED_JUST_NOW_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Symbols that trade no longer since `at`, of the venues that go by one exchange's list. `removed` ones it does not even list."""

    exchanges: tuple[str, ...]
    halted: tuple[str, ...]
    removed: tuple[str, ...]
    at: datetime


#: Does in the transaction of a refresh what is to be done about symbols that trade no longer.
OnStopped = Callable[[Any, Stopped], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Book:
    instruments: Mapping[str, Instrument]
    search: SymbolSearch


class InstrumentBook:
    """The instruments of each exchange. Read from the table at first use, and from the exchange when the table has none.

    `same_as` names exchanges that trade another one's instruments by its rules.
    """

    def __init__(self, database: Database, registry: Registry, *, clock: Clock, same_as: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._same_as = dict(same_as or {})
        self._books: dict[str, _Book] = {}
        #: Exchanges that anything but a search has asked about.
        self._used: set[str] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._readings: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Set by whoever must know, before anything is refreshed.
        self.on_stopped: OnStopped | None = None

    def source(self, exchange: str) -> str:
        """Return the exchange whose instruments and prices are those of `exchange`; mostly that one itself."""
        return self._same_as.get(exchange, exchange)

    async def all(self, exchange: str) -> Mapping[str, Instrument]:
        """Return the spot instruments of `exchange` by unified symbol, delisted ones included as not active.

        Raises:
            ExchangeError: nothing is stored yet and the exchange cannot be asked.
        """
        found = (await self._book(exchange)).instruments
        # Not before: a name that somebody made up would be asked for every hour.
        self._used.add(self.source(exchange))
        return found

    async def search(self, exchange: str) -> SymbolSearch:
        """Return the search over what trades at `exchange`. Raises as `all`."""
        return (await self._book(exchange)).search

    async def stored(self, exchange: str) -> SymbolSearch | None:
        """Return the search over what is known of `exchange` without asking it; None when that is nothing."""
        exchange = self.source(exchange)
        if exchange not in self._books:
            await self.reload(exchange)
        book = self._books.get(exchange)
        return None if book is None else book.search

    def cached(self, exchange: str, symbol: str) -> Instrument | None:
        """Return the rules of a unified symbol without waiting, or None when its exchange was not loaded yet."""
        book = self._books.get(self.source(exchange))
        return None if book is None else book.instruments.get(symbol)

    @property
    def loaded(self) -> set[str]:
        """Exchanges whose symbols are at hand without asking anybody."""
        return set(self._books)

    async def get(self, exchange: str, symbol: str) -> Instrument | None:
        """Return the rules of a unified symbol, or None when it is not listed. Raises as `all`."""
        return (await self.all(exchange)).get(symbol)

    async def resolve(self, exchange: str, text: str) -> str | None:
        """Return the unified symbol a trader means by `text`, or None. Raises as `all`."""
        return resolve_symbol(text, await self.all(exchange))

    async def require(self, exchange: str, text: str) -> Instrument:
        """Return the instrument a trader means by `text`.

        Raises:
            SymbolNotFound: it names none, or more than one; the message says which.
        """
        book = await self.all(exchange)
        symbol = resolve_symbol(text, book)
        if symbol is None:
            raise SymbolNotFound(why_unresolved(text, book), field="symbol")
        return book[symbol]

    async def refresh(self, exchange: str, *, max_age_s: float = 0.0, told: Told = lambda _done, _total: None) -> Changes:
        """Ask the exchange, store the answer in one transaction, and return what that changed. `told` hears how far it is.

        What a test environment lists is not asked for: its symbols are the same, and some of the real ones are missing there.

        Raises:
            ExchangeError: the exchange cannot be asked, or lists less than half of what it did before; what is known stays.
        """
        exchange = self.source(exchange)
        async with self._turns[exchange]:
            listings = await asyncio.to_thread(fitting, await self._registry.listings(exchange, max_age_s=max_age_s))
            now = self._clock.now()
            async with self._database.raw_transaction() as connection:
                changes = await store_listings(connection, exchange, listings, now=now, told=told)
                if self.on_stopped is not None and (changes.halted or changes.removed):
                    venues = (exchange, *(name for name, source in self._same_as.items() if source == exchange))
                    stopped = Stopped(exchanges=venues, halted=changes.halted, removed=changes.removed, at=now)
                    await self.on_stopped(connection, stopped)
            await self.reload(exchange)
        counts = {name: len(getattr(changes, name)) for name in ("added", "updated", "removed")}
        log.info("instruments_refreshed", exchange=exchange, symbols=changes.listed, **counts)
        return changes

    async def release(self, exchange: str) -> None:
        """Let go of what the exchange's answer was made from; the instruments themselves stay."""
        await self._registry.release(self.source(exchange))

    def is_loaded(self, exchange: str) -> bool:
        """Return whether the instruments of `exchange` are in memory."""
        return self.source(exchange) in self._books

    async def reload(self, exchange: str) -> None:
        """Read the table again: another process may have written it. The book is exchanged whole, so no symbol is ever missing."""
        exchange = self.source(exchange)
        # One after the other: who read the table before a refresh must not be done after who read it behind that.
        async with self._readings[exchange]:
            async with self._database.connection() as connection:
                stored = await read_stored(connection, exchange)
            if stored:
                # Half a second of work for fifty thousand symbols.
                self._books[exchange] = await asyncio.to_thread(_make_book, {name: row.instrument for name, row in stored.items()})

    async def run(self, beat: Callable[[], None]) -> None:
        """Refresh the exchanges in use every hour, for ever. A supervised loop that beats each ten seconds.

        An exchange whose symbols somebody only looked at waits for the next update.
        """
        refreshed_at = time.monotonic()
        while True:
            beat()
            await asyncio.sleep(_BEAT_S)
            if time.monotonic() - refreshed_at < _REFRESH_EVERY_S:
                continue
            refreshed_at = time.monotonic()
            for exchange in list(self._used):
                try:
                    await self.refresh(exchange)
                except ExchangeError as error:
                    log.warning("instruments_not_refreshed", exchange=exchange, code=error.code)

    async def _book(self, exchange: str) -> _Book:
        exchange = self.source(exchange)
        if exchange not in self._books:
            await self.reload(exchange)
        if exchange not in self._books:
            await self.refresh(exchange, max_age_s=_ASKED_JUST_NOW_S)
        return self._books.get(exchange) or _make_book({})


def _make_book(instruments: Mapping[str, Instrument]) -> _Book:
    return _Book(instruments, SymbolSearch(instruments.values()))
