"""Round trips as columns. Amounts are whole numbers of a hundred-millionth, so that sums are exact in whatever order they are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Floats, Times

#: Digits kept of an amount, and of one that is too large for that (a quote currency of which a dollar is millions).
PLACES: Final = 8
FEWER_PLACES: Final = 2
#: PostgreSQL counts microseconds from 2000-01-01. Source: timestamptz_send.
POSTGRES_EPOCH_MS: Final = 946_684_800_000
#: One trip as the statement packs it, in network order: closed, opened (microseconds), profit and fees (units).
_PACKED: Final = np.dtype([("closed", ">i8"), ("opened", ">i8"), ("profit", ">i8"), ("fees", ">i8")])

Units = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kind:
    """What trips have in common that are read together. `exit_role` and `webhook_id` are None where nobody wrote them down."""

    broker_id: UUID
    symbol: str
    quote: str
    source: str
    bot_id: UUID | None = None
    exit_role: str | None = None
    webhook_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Trips:
    """Round trips in the order in which they ended: one array a column, `kinds[kind[i]]` says the rest of trip `i`.

    Attributes:
        kinds: What trips have in common.
        kind: Place in `kinds`.
        closed: End, ms since 1970 UTC.
        opened: Begin, likewise.
        profit: After the fees that have a price, in units of the quote currency, of which `10 ** places` make one.
        fees: Those fees, in the same units.
        places: Digits that the units keep.
    """

    kinds: tuple[Kind, ...]
    kind: Units
    closed: Times
    opened: Times
    profit: Units
    fees: Units
    places: int = PLACES

    def __len__(self) -> int:
        return len(self.kind)

    def where(self, chosen: Flags) -> "Trips":
        """Return the trips of which `chosen` is true."""
        columns = {name: getattr(self, name)[chosen] for name in ("kind", "closed", "opened", "profit", "fees")}
        return replace(self, **columns)

    def of_kinds(self, chosen: Sequence[bool]) -> Flags:
        """Return which trips are of the kinds of which `chosen` is true."""
        return np.array(chosen, dtype=bool)[self.kind] if len(self) else np.zeros(0, dtype=bool)

    def amounts(self, units: Units) -> Floats:
        """Return units as floats of the currency, for ratios and charts."""
        return units / float(10**self.places)

    def amount(self, units: int) -> Decimal:
        """Return units as money, exactly."""
        return Decimal(int(units)).scaleb(-self.places)


_NOTHING: Final = np.zeros(0, dtype=np.int64)
NO_TRIPS: Final = Trips((), _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


def unpacked(rows: Sequence[Any], places: int = PLACES) -> Trips:
    """Return the trips of the statement's rows: each a kind's columns, and `packed` with its trips one after the other."""
    if not rows:
        return NO_TRIPS
    kinds = tuple(Kind(*(row[name] for name in Kind.__slots__)) for row in rows)
    raw = np.frombuffer(b"".join(row["packed"] for row in rows), _PACKED)
    counts = [len(row["packed"]) // _PACKED.itemsize for row in rows]
    kind = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    closed = raw["closed"].astype(np.int64)
    # Trips that ended at the same moment are told apart by when they began: the order must not depend on how they were read.
    order = np.lexsort((raw["opened"], closed))
    return Trips(
        kinds=kinds,
        kind=kind[order],
        closed=milliseconds(closed[order]),
        opened=milliseconds(raw["opened"].astype(np.int64)[order]),
        profit=raw["profit"].astype(np.int64)[order],
        fees=raw["fees"].astype(np.int64)[order],
        places=places,
    )


def milliseconds(microseconds: Times) -> Times:
    """Return PostgreSQL's moments as ms since 1970 UTC."""
    return microseconds // 1000 + POSTGRES_EPOCH_MS


def sums(codes: Units, units: Units, size: int) -> Units:
    """Return the exact sum of the units of each code from 0 to `size`, exclusive."""
    found = np.zeros(size, dtype=np.int64)
    np.add.at(found, codes, units)
    return found
