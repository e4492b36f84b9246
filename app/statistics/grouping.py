"""Round trips by what they have in common. Each trip is in exactly one group of each kind, so that any grouping adds up to the same."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

import numpy as np

from app.domain.arrays import Times
from app.domain.local_time import LocalClock
from app.domain.metrics import ratio
from app.statistics.columns import Kind, Trips, Units, sums

HOURS_A_WEEK: Final = 168


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLine:
    """What the trips of one group came to. `key` is None where nobody knows it; amounts are in the unit of all trips.

    Attributes:
        key: What they have in common.
        trades: Trips.
        won: Above 0.
        lost: Below 0.
        profit: Sum, after fees.
        gross_profit: Sum of what was won.
        gross_loss: Sum of what was lost, a positive number.
        fees: Fees that have a price.
    """

    key: Any
    trades: int
    won: int
    lost: int
    profit: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    fees: Decimal

    @property
    def win_rate(self) -> float:
        """How many of them won, a fraction."""
        return self.won / self.trades

    @property
    def average(self) -> Decimal:
        """Mean profit of a trip, to a hundred-millionth."""
        return round(self.profit / self.trades, 8)

    @property
    def profit_factor(self) -> float | None:
        """What was won over what was lost; None when nothing was lost."""
        return ratio(float(self.gross_profit), float(self.gross_loss)) if self.lost else None


@dataclass(frozen=True, slots=True)
class GroupSums:
    """Counts and exact sums, one of each a group."""

    trades: Units
    won: Units
    lost: Units
    gained: Units
    given: Units
    fees: Units


def sums_of(trips: Trips, codes: Units, size: int) -> GroupSums:
    """Return the sums of the trips of each code from 0 to `size`, exclusive."""
    is_won, is_lost = trips.profit > 0, trips.profit < 0
    won, lost = codes[is_won], codes[is_lost]
    return GroupSums(
        trades=np.bincount(codes, minlength=size),
        won=np.bincount(won, minlength=size),
        lost=np.bincount(lost, minlength=size),
        gained=sums(won, trips.profit[is_won], size),
        given=sums(lost, trips.profit[is_lost], size),
        fees=sums(codes, trips.fees, size),
    )


def by_kind(trips: Trips, key_of: Callable[[Kind], Hashable], kinds: GroupSums | None = None) -> tuple[GroupLine, ...]:
    """Return the trips by something that their kind says, most profitable first; `kinds` are their sums by kind, where they are known."""
    kinds = sums_of(trips, trips.kind, len(trips.kinds)) if kinds is None else kinds
    keys: dict[Hashable, int] = {}
    places = np.array([keys.setdefault(key_of(kind), len(keys)) for kind in trips.kinds], dtype=np.int64)
    # There are some hundreds of kinds: adding up their sums is nothing beside adding up all trips once more.
    together = GroupSums(*(sums(places, getattr(kinds, each.name), len(keys)) for each in fields(kinds)))
    return tuple(sorted(_lines(trips, together, list(keys)), key=lambda line: (-line.profit, str(line.key))))


def by_day(trips: Trips, clock: LocalClock) -> tuple[GroupLine, ...]:
    """Return the trips by the day on which they ended there (days since 1970-01-01), oldest first."""
    return _by_number(trips, clock.days(trips.closed))


def by_month(trips: Trips, clock: LocalClock) -> tuple[GroupLine, ...]:
    """Return the trips by the month in which they ended there (months since 1970-01), oldest first."""
    return _by_number(trips, months_of(clock.days(trips.closed)))


def by_weekday_hour(trips: Trips, clock: LocalClock) -> tuple[GroupLine, ...]:
    """Return the trips by the hour of the week in which they ended there (0 is Monday from midnight to one), in order."""
    return _by_number(trips, clock.weekday_hours(trips.closed))


def months_of(days: Times) -> Times:
    """Return months since 1970-01 of days since 1970-01-01."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _by_number(trips: Trips, numbers: Units) -> tuple[GroupLine, ...]:
    if not len(trips):
        return ()
    first = int(numbers.min())
    keys = range(first, int(numbers.max()) + 1)
    return _lines(trips, sums_of(trips, numbers - first, len(keys)), keys)


def _lines(trips: Trips, of: GroupSums, keys: Sequence[Any]) -> tuple[GroupLine, ...]:
    """Return a line for each group that any trip is in."""
    return tuple(
        GroupLine(
            key=keys[code],
            trades=int(of.trades[code]),
            won=int(of.won[code]),
            lost=int(of.lost[code]),
            profit=trips.amount(of.gained[code] + of.given[code]),
            gross_profit=trips.amount(of.gained[code]),
            gross_loss=trips.amount(-of.given[code]),
            fees=trips.amount(of.fees[code]),
        )
        for code in np.flatnonzero(of.trades).tolist()
    )
