"""Writes what an exchange lists into the table, within the caller's one transaction, and tells what that changed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from app.core.ids import new_id
from app.domain.instruments import Instrument
from app.errors import ExchangeError
from app.exchanges.listings import Listing

#: Fields of Instrument as columns of the same name, in the order of the statement below.
_RULES: Final = tuple(field.name for field in fields(Instrument))
#: NUMERIC(38,18) holds 20 digits before the point; exchanges write larger numbers to mean "no bound".
_LARGEST: Final = Decimal(10) ** 20
_SMALLEST: Final = Decimal(1).scaleb(-18)
_EXACT: Final = Context(prec=60)
_SPOT: Final = "spot"
#: Symbols stored between two words on how far it is.
_BATCH: Final = 500

_TEXTS: Final = frozenset({"symbol", "base", "quote"})
_TYPES: Final = [f"{'text' if name in _TEXTS else 'boolean' if name == 'is_active' else 'numeric'}[]" for name in _RULES]
_NAMES: Final = ", ".join(_RULES)
_WRITTEN: Final = (*(name for name in _RULES if name != "symbol"), "raw_info")
# A row that is as it was is not written: of three thousand symbols a handful change in a day.
_UPSERT_SQL: Final = f"""
INSERT INTO instruments AS stored (id, exchange, type, last_updated, raw_info, {_NAMES})
SELECT new.id, $1, new.type, $2, new.raw_info, {", ".join(f"new.{name}" for name in _RULES)}
FROM unnest(
    $3::uuid[], $4::text[], $5::jsonb[], {", ".join(f"${number}::{kind}" for number, kind in enumerate(_TYPES, start=6))}
) AS new (id, type, raw_info, {_NAMES})
ON CONFLICT (exchange, symbol, type) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _WRITTEN)}, delisted_at = NULL, last_updated = excluded.last_updated
WHERE ({", ".join(f"stored.{name}" for name in _WRITTEN)}) IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _WRITTEN)})
   OR stored.delisted_at IS NOT NULL
"""  # noqa: S608  # constants
_DELISTED_SQL: Final = (
    f"UPDATE instruments SET is_active = false, delisted_at = $2, last_updated = $2 WHERE exchange = $1 AND type = '{_SPOT}'"  # noqa: S608
    " AND symbol = ANY($3)"
)
# Two processes that store the same list take turns, so that each counts what it changed itself.
_TURN_SQL: Final = "SELECT pg_advisory_xact_lock(hashtextextended('instruments:' || $1, 0))"
_READ_SQL: Final = f"SELECT {_NAMES}, delisted_at FROM instruments WHERE exchange = $1 AND type = '{_SPOT}'"  # noqa: S608  # constants

#: Is told how many symbols of how many are stored.
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an update changed, by symbol.

    `updated` holds symbols whose rules changed, `removed` those that are not listed any more, `halted` those that are listed and trade no
    longer; the last are among the updated ones.
    """

    listed: int
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    halted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row of the table: the rules, and whether the exchange lists the symbol."""

    instrument: Instrument
    is_listed: bool


async def read_stored(connection: Any, exchange: str) -> dict[str, Stored]:
    """Return the spot instruments of an exchange by unified symbol, those that are not listed any more too."""
    # Thousands of rows become objects: beside the loop, that requests and orders need.
    return await asyncio.to_thread(_made, await connection.fetch(_READ_SQL, exchange))


def _made(rows: Sequence[Mapping[str, Any]]) -> dict[str, Stored]:
    return {
        row["symbol"]: Stored(instrument=Instrument(**{name: row[name] for name in _RULES}), is_listed=row["delisted_at"] is None)
        for row in rows
    }


def fitting(listings: Sequence[Listing]) -> list[Listing]:
    """Return the listings as the table's numbers hold them. One whose tick or step they cannot hold is left out."""
    fitted = ((listing, as_stored(listing.instrument)) for listing in listings)
    return [replace(listing, instrument=instrument) for listing, instrument in fitted if instrument is not None]


async def store_listings(connection: Any, exchange: str, listings: Sequence[Listing], *, now: datetime, told: Told) -> Changes:
    """Write what the exchange lists (`fitting`) and return what that changed. The caller's transaction makes it visible all at once.

    Raises:
        ExchangeError: LISTING_INCOMPLETE, it lists less than half of what was traded there before.
    """
    await connection.execute(_TURN_SQL, exchange)
    known = await read_stored(connection, exchange)
    trading = sum(found.instrument.is_active for found in known.values())
    # A halted symbol is still listed: an exchange that stops trading everything for an hour lost none of them.
    if len(listings) < trading / 2:
        words = f"{exchange} lists {len(listings)} symbols only, {trading} were traded there before: the list is taken for incomplete"
        raise ExchangeError(words, code="LISTING_INCOMPLETE")
    changes = await asyncio.to_thread(compare, known, [listing.instrument for listing in listings])
    for start in range(0, len(listings), _BATCH):
        batch = listings[start : start + _BATCH]
        await connection.execute(_UPSERT_SQL, exchange, now, *_columns(batch))
        told(start + len(batch), len(listings))
    if changes.removed:
        await connection.execute(_DELISTED_SQL, exchange, now, list(changes.removed))
    return changes


def compare(known: Mapping[str, Stored], listed: Sequence[Instrument]) -> Changes:
    """Return what differs between the table and what the exchange lists now. A symbol that comes back counts as added."""
    before = {symbol: found.instrument for symbol, found in known.items() if found.is_listed}
    now = {instrument.symbol: instrument for instrument in listed}
    return Changes(
        listed=len(now),
        added=tuple(sorted(now.keys() - before.keys())),
        updated=tuple(sorted(symbol for symbol in now.keys() & before.keys() if now[symbol] != before[symbol])),
        removed=tuple(sorted(before.keys() - now.keys())),
        halted=tuple(sorted(symbol for symbol in now.keys() & before.keys() if before[symbol].is_active and not now[symbol].is_active)),
    )


def as_stored(instrument: Instrument) -> Instrument | None:
    """Return the instrument as the table's numbers hold it, so that what was read and what is listed compare.

    None when its tick or step is smaller than the table's smallest number: rounding to it would be rounding to nothing.
    """
    changes = {name: _fitting(value) for name in _RULES if isinstance(value := getattr(instrument, name), Decimal)}
    fitted = replace(instrument, **changes)  # type: ignore[arg-type]  # Decimals by name
    return fitted if fitted.tick_size and fitted.step_size else None


def _fitting(value: Decimal) -> Decimal | None:
    if value >= _LARGEST:
        return None
    exponent = value.as_tuple().exponent
    is_finer = isinstance(exponent, int) and exponent < -18
    return value.quantize(_SMALLEST, rounding=ROUND_HALF_UP, context=_EXACT) if is_finer else value


def _columns(listings: Sequence[Listing]) -> list[list[Any]]:
    return [
        [new_id() for _ in listings],
        [listing.type for listing in listings],
        [listing.raw_info for listing in listings],
        *([getattr(listing.instrument, name) for listing in listings] for name in _RULES),
    ]
