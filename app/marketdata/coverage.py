"""Which open times are stored, which are known to be nobody's, and which are missing. A range has an inclusive start, an exclusive end."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from app.core.db import Database
from app.domain.candles import Timeframe

Range = tuple[datetime, datetime]

_EDGES_SQL: Final = """
SELECT min(open_time) AS first, max(open_time) AS last FROM candles
WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5
"""
_HOLES_SQL: Final = """
SELECT open_time + $6::interval AS start_at, next AS end_at FROM (
    SELECT open_time, lead(open_time) OVER (ORDER BY open_time) AS next FROM candles
    WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5
) AS neighbours WHERE next > open_time + $6::interval ORDER BY start_at
"""


async def absent(database: Database, exchange: str, symbol: str, timeframe: Timeframe, *, start: datetime, end: datetime) -> list[Range]:
    """Return the ranges of [start, end), ascending, of which no candle is stored. Both bounds are on the timeframe's grid."""
    what = (exchange, symbol, timeframe.value, start, end)
    async with database.connection() as connection:
        edges = await connection.fetchrow(_EDGES_SQL, *what)
        if edges["first"] is None:
            return [(start, end)] if start < end else []
        inner = [(row["start_at"], row["end_at"]) for row in await connection.fetch(_HOLES_SQL, *what, timeframe.duration)]
    outer = [(start, edges["first"])], [(edges["last"] + timeframe.duration, end)]
    return [each for each in (*outer[0], *inner, *outer[1]) if each[0] < each[1]]


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """Return what of `ranges` (ascending, apart) lies in none of `taken`, which may overlap one another."""
    rest = list(ranges)
    for taken_start, taken_end in taken:
        kept = []
        for start, end in rest:
            if taken_end <= start or end <= taken_start:
                kept.append((start, end))
                continue
            kept += [piece for piece in ((start, taken_start), (taken_end, end)) if piece[0] < piece[1]]
        rest = kept
    return rest


def overlaps(one: Range, others: Sequence[Range]) -> bool:
    """Whether any of `others` shares an open time with it."""
    return any(start < one[1] and one[0] < end for start, end in others)


def within(ranges: Iterable[Range], others: Sequence[Range]) -> list[Range]:
    """Return the parts of `ranges` that lie in one of `others`, which are apart."""
    return [(max(start, first), min(end, last)) for start, end in ranges for first, last in others if max(start, first) < min(end, last)]


def grouped(ranges: Sequence[Range], longest: timedelta) -> list[list[Range]]:
    """Return `ranges` (ascending) in groups, each of one range or of several that lie within `longest`."""
    groups: list[list[Range]] = []
    for each in ranges:
        if groups and each[1] - groups[-1][0][0] <= longest:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups
