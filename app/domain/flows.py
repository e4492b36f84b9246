"""What came into an account or left it without a trade: read off its balances and the trades in between. Pure, no I/O.

An exchange tells a balance as of some moment between our question and its answer, by a clock that is not quite ours. So a trade close to a
reading may be in it or not. Which it was is chosen so that as little as possible is left without an explanation: a trade that was taken to
the wrong side leaves two remainders, of which one takes back the other.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Final

#: How far an exchange's clock, and the moment a balance is as of, may be from ours.
SLACK: Final = timedelta(seconds=2)
#: So many trades of one asset around one reading are weighed; more than that are counted by their time alone.
_MOST_CHOICES: Final = 64
#: Sums of NUMERIC(38, 18) are exact in it.
EXACT: Final = Context(prec=76)
_NOTHING: Final = Decimal(0)
#: Remainders, and then moves between where the readings were put and where the clocks put them.
_Cost = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an account held, asset by asset, free and locked together; an asset that is not named is at zero. Moments are aware UTC."""

    asked_at: datetime
    answered_at: datetime
    totals: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One amount that a trade moved, signed; a trade moves its base, its quote and what its fee is paid in."""

    at: datetime
    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """What no trade explains of an asset's change between two readings that follow each other; `at` is when the later was asked for."""

    asset: str
    since: datetime
    at: datetime
    amount: Decimal


def remainders(
    readings: Sequence[Reading], moves: Sequence[Move], *, tolerances: Mapping[str, Decimal], slack: timedelta = SLACK
) -> list[Remainder]:
    """Return what came and went without a trade, in the order of the readings.

    Args:
        readings: Oldest first. The first one is where counting begins.
        moves: Every known trade's moves since `slack` before the first reading, in any order.
        tolerances: By asset, up to which amount a change is dust or rounding; 0 where none is given.
        slack: How far from its reading a trade may still be in doubt.
    """
    by_asset: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_asset[move.asset].append(move)
    assets = {asset for reading in readings for asset in reading.totals} | by_asset.keys()
    found = [
        remainder
        for asset in sorted(assets)
        for remainder in _of_asset(asset, readings, by_asset.get(asset, []), tolerances.get(asset, _NOTHING), slack)
    ]
    return sorted(found, key=lambda remainder: (remainder.at, remainder.asset))


def _of_asset(asset: str, readings: Sequence[Reading], moves: list[Move], tolerance: Decimal, slack: timedelta) -> list[Remainder]:
    if not moves:
        cuts, sums = [0] * len(readings), [_NOTHING]
    else:
        moves = sorted(moves, key=lambda move: move.at)
        sums = [_NOTHING]
        for move in moves:
            sums.append(EXACT.add(sums[-1], move.amount))
        cuts = _cuts(asset, readings, [move.at for move in moves], sums, tolerance, slack)
    found = []
    for earlier, later, begin, end in zip(readings, readings[1:], cuts, cuts[1:], strict=False):
        amount = _left(asset, earlier, later, EXACT.subtract(sums[end], sums[begin]))
        if abs(amount) > tolerance:
            found.append(Remainder(asset=asset, since=earlier.asked_at, at=later.asked_at, amount=amount))
    return found


def _left(asset: str, earlier: Reading, later: Reading, moved: Decimal) -> Decimal:
    change = EXACT.subtract(later.totals.get(asset, _NOTHING), earlier.totals.get(asset, _NOTHING))
    return EXACT.subtract(change, moved)


def _cuts(
    asset: str, readings: Sequence[Reading], times: list[datetime], sums: list[Decimal], tolerance: Decimal, slack: timedelta
) -> list[int]:
    """How many of the moves each reading has: the fewest remainders, and then the closest to what the clocks say."""
    best: dict[int, _Cost] = {}
    came_from: list[dict[int, int]] = []
    for number, reading in enumerate(readings):
        by_clock = bisect_right(times, reading.asked_at)
        choices = range(
            max(bisect_right(times, reading.asked_at - slack), by_clock - _MOST_CHOICES),
            min(bisect_right(times, reading.answered_at + slack), by_clock + _MOST_CHOICES) + 1,
        )
        if number == 0:
            best = {cut: (0, abs(cut - by_clock)) for cut in choices}
            came_from.append({})
            continue
        change = _left(asset, readings[number - 1], reading, _NOTHING)
        origins = _origins(best, choices, sums, change, tolerance)
        costs = {cut: (cost[0], cost[1] + abs(cut - by_clock)) for cut, (cost, _) in origins.items()}
        best = costs
        came_from.append({cut: before for cut, (_, before) in origins.items()})
    cut = min(best, key=lambda chosen: best[chosen])
    cuts = [cut]
    for chosen in reversed(came_from[1:]):
        cut = chosen[cut]
        cuts.append(cut)
    return cuts[::-1]


def _origins(
    best: Mapping[int, _Cost], choices: range, sums: list[Decimal], change: Decimal, tolerance: Decimal
) -> dict[int, tuple[_Cost, int]]:
    """Return for each choice of a reading what it costs to come there and from which choice of the reading before, none of them later.

    Only those choices before explain the change whose sums are near enough to what is looked for, so they are looked up by their sums: to
    compare all with all would take a second of an account that trades a hundred times a minute.
    """
    by_sum = sorted((sums[before], before) for before in best)
    keys = [amount for amount, _ in by_sum]
    earlier = iter(sorted(best))
    following = next(earlier, None)
    unexplained: tuple[_Cost, int] | None = None
    found: dict[int, tuple[_Cost, int]] = {}
    for cut in choices:
        while following is not None and following <= cut:
            left, distance = best[following]
            candidate = ((left + 1, distance), following)
            unexplained = candidate if unexplained is None else min(unexplained, candidate)
            following = next(earlier, None)
        wanted = EXACT.subtract(sums[cut], change)
        first, last = bisect_left(keys, EXACT.subtract(wanted, tolerance)), bisect_right(keys, EXACT.add(wanted, tolerance))
        explained = [(best[before], before) for _, before in by_sum[first:last] if before <= cut]
        candidates = explained if unexplained is None else [*explained, unexplained]
        if candidates:
            found[cut] = min(candidates)
    return found


def time_weighted(points: Sequence[tuple[Decimal, Decimal]]) -> list[Decimal]:
    """Return the return since the first point at each point, as a fraction, with what was put in and taken out left aside.

    Args:
        points: Worth, and what of its change since the point before came from outside, oldest first. Between points that are not above
            zero nothing is earned: there was nothing to earn with.
    """
    grown = Decimal(1)
    found: list[Decimal] = []
    before: Decimal | None = None
    for worth, flow in points:
        own = worth - flow
        if before is not None and before > 0 and own > 0:
            grown *= own / before
        found.append(grown - 1)
        before = worth
    return found
