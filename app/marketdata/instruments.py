"""Trading rules of all symbols: a table for lists and searches, and a book in memory for the hot path, which asks no database."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import new_id
from app.domain.instruments import Instrument
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import ExchangeError, SymbolNotFound
from app.exchanges.listings import Listing
from app.exchanges.registry import Registry

log = structlog.get_logger(__name__)

#: Fields of Instrument as columns of the same name, in the order of the statement below.
_RULES: Final = tuple(field.name for field in fields(Instrument))
#: NUMERIC(38,18) holds 20 digits before the point; exchanges write larger numbers to mean "no bound".
_LARGEST: Final = Decimal(10) ** 20
_SPOT: Final = "spot"
_BEAT_S: Final = 10.0
_REFRESH_EVERY_S: Final = 3600.0

_TEXTS: Final = frozenset({"symbol", "base", "quote"})
_TYPES: Final = [f"{'text' if name in _TEXTS else 'boolean' if name == 'is_active' else 'numeric'}[]" for name in _RULES]
_NAMES: Final = ", ".join(_RULES)
_UPSERT_SQL: Final = f"""
INSERT INTO instruments AS stored (id, exchange, type, last_updated, raw_info, {_NAMES})
SELECT new.id, $1, new.type, $2, new.raw_info, {", ".join(f"new.{name}" for name in _RULES)}
FROM unnest(
    $3::uuid[], $4::text[], $5::jsonb[], {", ".join(f"${number}::{kind}" for number, kind in enumerate(_TYPES, start=6))}
) AS new (id, type, raw_info, {_NAMES})
ON CONFLICT (exchange, symbol, type) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _RULES if name != "symbol")},
    raw_info = excluded.raw_info, last_updated = excluded.last_updated
"""  # noqa: S608  # constants
_DELISTED_SQL: Final = "UPDATE instruments SET is_active = false, last_updated = $2 WHERE exchange = $1 AND is_active AND last_updated < $2"
_COUNT_SQL: Final = "SELECT count(*) FROM instruments WHERE exchange = $1 AND is_active"
_READ_SQL: Final = f"SELECT {', '.join(_RULES)} FROM instruments WHERE exchange = $1 AND type = '{_SPOT}'"  # noqa: S608  # constants


class InstrumentBook:
    """The instruments of each exchange. Read from the table at first use, and from the exchange when the table has none.

    `same_as` names exchanges that trade another one's instruments by its rules.
    """

    def __init__(self, database: Database, registry: Registry, *, clock: Clock, same_as: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._same_as = dict(same_as or {})
        self._books: dict[str, Mapping[str, Instrument]] = {}

    def source(self, exchange: str) -> str:
        """Return the exchange whose instruments and prices are those of `exchange`; mostly that one itself."""
        return self._same_as.get(exchange, exchange)

    async def all(self, exchange: str) -> Mapping[str, Instrument]:
        """Return the spot instruments of `exchange` by unified symbol, delisted ones included as not active.

        Raises:
            ExchangeError: nothing is stored yet and the exchange cannot be asked.
        """
        exchange = self.source(exchange)
        if exchange not in self._books:
            stored = await self._read(exchange)
            if stored:
                self._books[exchange] = stored
            else:
                await self.refresh(exchange)
        return self._books[exchange]

    def cached(self, exchange: str, symbol: str) -> Instrument | None:
        """Return the rules of a unified symbol without waiting, or None when its exchange was not loaded yet."""
        return self._books.get(self.source(exchange), {}).get(symbol)

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

    async def refresh(self, exchange: str, *, max_age_s: float = 0.0) -> int:
        """Ask the exchange, store the answer in one transaction, and return how many symbols it lists.

        What a test environment lists is not asked for: its symbols are the same, and some of the real ones are missing there.

        Raises:
            ExchangeError: the exchange cannot be asked, or lists less than half of what it did before; what is known stays.
        """
        exchange = self.source(exchange)
        listings = await self._registry.listings(exchange, max_age_s=max_age_s)
        now = self._clock.now()
        async with self._database.raw_transaction() as connection:
            known: int = await connection.fetchval(_COUNT_SQL, exchange)
            # A halted symbol is still listed: an exchange that stops trading everything for an hour lost none of them.
            if len(listings) < known / 2:
                words = f"{exchange} lists {len(listings)} symbols only, {known} were traded there before: the list is taken for incomplete"
                raise ExchangeError(words, code="LISTING_INCOMPLETE")
            await connection.execute(_UPSERT_SQL, exchange, now, *_columns(listings))
            await connection.execute(_DELISTED_SQL, exchange, now)
        self._books[exchange] = await self._read(exchange)
        log.info("instruments_refreshed", exchange=exchange, symbols=len(listings))
        return len(listings)

    async def run(self, beat: Callable[[], None]) -> None:
        """Refresh the exchanges in use every hour, for ever. A supervised loop that beats each ten seconds."""
        refreshed_at = time.monotonic()
        while True:
            beat()
            await asyncio.sleep(_BEAT_S)
            if time.monotonic() - refreshed_at < _REFRESH_EVERY_S:
                continue
            refreshed_at = time.monotonic()
            for exchange in list(self._books):
                try:
                    await self.refresh(exchange)
                except ExchangeError as error:
                    log.warning("instruments_not_refreshed", exchange=exchange, code=error.code)

    async def _read(self, exchange: str) -> dict[str, Instrument]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_READ_SQL, exchange)
        return {row["symbol"]: Instrument(**row) for row in rows}


def _columns(listings: tuple[Listing, ...]) -> list[list[Any]]:
    rules = [[_bounded(getattr(listing.instrument, name)) for listing in listings] for name in _RULES]
    return [
        [new_id() for _ in listings],
        [listing.type for listing in listings],
        [listing.raw_info for listing in listings],
        *rules,
    ]


def _bounded(value: object) -> object:
    return None if isinstance(value, Decimal) and value >= _LARGEST else value
