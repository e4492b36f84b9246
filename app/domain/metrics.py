"""Figures of an equity curve: return, risk, and one beside the other. Of backtests and of live accounts alike.

A curve is a series of (time, equity): the first row is what there was before anything happened, and each later one is the equity at the end
of something (a candle, a day). Conventions, which docs/metrics.md explains:

- Ratios of risk are made of *daily* returns: the last equity of each UTC day beside that of the day before, the first row standing before
  the first day. A day without a row changed nothing. A moment at midnight belongs to the day that it ends.
- A year has 365 days, since these markets never close. The riskless return is 0.
- An account that is at zero or below has lost everything: it counts as zero from there on, and its returns as none.
- None means that a figure does not exist (nothing to divide by, too short), never that it is zero. No figure is NaN or infinite.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from app.domain.arrays import Floats, Times

DAY_MS: Final = 86_400_000
DAYS_A_YEAR: Final = 365
#: Amounts are kept to a hundred-millionth: what is below that is what floats leave behind.
_PLACES: Final = 8
#: A deviation below this is what floats leave of none.
_NO_DEVIATION: Final = 1e-12
_LARGEST_GROWTH: Final = 1e9
#: An account that holds less has lost everything: what it would have to grow by to come back is no number.
_NOTHING: Final = 1e-100
#: Beyond this its square is infinite.
_LARGEST_RETURN: Final = 1e150
#: An account that fell to next to nothing and came back has returns whose squares are infinite: they make no figure, and no warning.
_OVERFLOWS: Final = np.errstate(over="ignore", invalid="ignore")
#: Two daily returns are the fewest that deviate.
_FEWEST_DAYS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityFigures:
    """What an equity curve says. Fractions are of one (0.02 is 2 %); `net` is in quote units.

    Attributes:
        net: Last equity less the first.
        total_return: `net` as a fraction of the first equity; below −1 when more was lost than there was.
        cagr: Return a year that would have led to the same end: (last / first)^(365 d / duration) − 1; −1 when all was lost. None below
            one day, or from 10⁹ on, where a few lucky days say nothing of a year.
        volatility: Deviation of daily returns, a year: std(r, n − 1) · √365. None below two days, and so are the next two.
        sharpe: mean(r) / std(r, n − 1) · √365. None without any deviation.
        sortino: mean(r) · 365 / (√mean(min(r, 0)²) · √365). None without a losing day.
        calmar: `cagr` / `max_drawdown`. None without a drawdown.
        max_drawdown: Largest fall below the highest equity before it, a positive fraction of that (0 to 1), of every row.
        max_drawdown_ms: From that peak until the peak was reached again, or to the end where it was not.
        is_recovered: Whether it was reached again; True without a drawdown.
        longest_drawdown_ms: Longest time below a peak.
        recovery_factor: `net` / the largest fall in quote units. None without a fall.
        days: Daily returns that the ratios are made of.
        winning_days: Fraction of them above 0. None without any day, and so are the next two.
        best_day: Largest daily return.
        worst_day: Smallest daily return.
    """

    net: Decimal
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    max_drawdown_ms: int
    is_recovered: bool
    longest_drawdown_ms: int
    recovery_factor: float | None
    days: int
    winning_days: float | None
    best_day: float | None
    worst_day: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """A time below a peak. `depth` is a positive fraction of the peak; `recovered_ms` is None where the peak was not reached again."""

    peak_ms: int
    trough_ms: int
    recovered_ms: int | None
    lasted_ms: int
    depth: float


@dataclass(frozen=True, slots=True)
class Drawdowns:
    """All times below a peak, oldest first, as columns: rows of the curve, `ends` being the row of recovery or the last one."""

    peaks: Times
    ends: Times
    depths: Floats
    is_last_open: bool

    def __len__(self) -> int:
        return len(self.peaks)


def equity_figures(times: Times, equity: Floats, *, drawdowns: Drawdowns | None = None) -> EquityFigures:
    """Return the figures of an equity curve.

    Args:
        times: Milliseconds since 1970 UTC, strictly rising, one a row.
        equity: Quote units at these moments; the first must be above 0.
        drawdowns: `find_drawdowns(drawdown_of(equity))` where they are known already.

    Raises:
        ValueError: there is no row, the columns differ in length, or the first equity is not above 0.
    """
    _check(times, equity)
    first, last = float(equity[0]), float(equity[-1])
    returns = daily_returns(times, equity)
    drawdowns = find_drawdowns(drawdown_of(equity)) if drawdowns is None else drawdowns
    worst = int(np.argmax(drawdowns.depths)) if len(drawdowns) else None
    max_drawdown = 0.0 if worst is None else float(drawdowns.depths[worst])
    lasted = times[drawdowns.ends] - times[drawdowns.peaks]
    cagr = annual_return(first, last, int(times[-1] - times[0]))
    return EquityFigures(
        net=amount(last - first),
        total_return=last / first - 1,
        cagr=cagr,
        volatility=_volatility(returns),
        sharpe=sharpe_ratio(returns),
        sortino=sortino_ratio(returns),
        calmar=ratio(cagr, max_drawdown),
        max_drawdown=max_drawdown,
        max_drawdown_ms=0 if worst is None else int(lasted[worst]),
        is_recovered=worst is None or not (drawdowns.is_last_open and worst == len(drawdowns) - 1),
        longest_drawdown_ms=int(lasted.max()) if len(lasted) else 0,
        recovery_factor=ratio(last - first, _deepest_fall(equity, drawdowns)),
        days=len(returns),
        winning_days=float(np.mean(returns > 0)) if len(returns) else None,
        best_day=finite(returns.max()) if len(returns) else None,
        worst_day=finite(returns.min()) if len(returns) else None,
    )


def daily_returns(times: Times, equity: Floats) -> Floats:
    """Return the fractions by which each UTC day changed the equity, from the day that goes on after the first row to that of the last."""
    return returns_of(equity[daily_rows(times)])


def daily_rows(times: Times) -> Times:
    """Return the first row, which stands before the first day, and the last one of each UTC day; of a day without rows that before it."""
    if len(times) < 2:
        return np.zeros(len(times), dtype=np.int64)
    # Looked for from the days' side: there are a thousand times fewer of them than of candles.
    midnights = np.arange(int(times[0]) // DAY_MS + 1, (int(times[-1]) - 1) // DAY_MS + 2) * DAY_MS
    return np.concatenate(([0], np.searchsorted(times, midnights, side="right") - 1))


@_OVERFLOWS
def returns_of(levels: Floats) -> Floats:
    """Return the fractions by which each level differs from the one before; none after all is lost."""
    levels = np.where(np.minimum.accumulate(levels) > _NOTHING, levels, 0.0)
    before, after = levels[:-1], levels[1:]
    returns = np.zeros(len(before))
    np.divide(after - before, before, out=returns, where=before > 0)
    return returns


def annual_return(first: float, last: float, duration_ms: int) -> float | None:
    """Return the return a year that leads from `first` to `last` in that time; None below one day or from 10⁹ on."""
    if duration_ms < DAY_MS:
        return None
    if last <= 0:
        return -1.0
    try:
        growth = math.pow(last / first, DAYS_A_YEAR * DAY_MS / duration_ms)
    except OverflowError:
        return None
    return growth - 1 if growth < _LARGEST_GROWTH else None


@_OVERFLOWS
def sharpe_ratio(returns: Floats) -> float | None:
    """Return mean / deviation of daily returns, a year; None below two days or without any deviation."""
    deviation = _deviation(returns)
    return None if deviation is None else finite(float(np.mean(returns)) / deviation * math.sqrt(DAYS_A_YEAR))


@_OVERFLOWS
def sortino_ratio(returns: Floats) -> float | None:
    """Return mean / downside deviation of daily returns, a year; the winning days count as 0 in it. None without a losing day."""
    if len(returns) < _FEWEST_DAYS:
        return None
    losses = np.minimum(returns, 0.0)
    downside = math.sqrt(float(np.mean(losses * losses)))
    return finite(float(np.mean(returns)) / downside * math.sqrt(DAYS_A_YEAR)) if downside > _NO_DEVIATION else None


def drawdown_of(equity: Floats) -> Floats:
    """Return how far below the highest equity before it each row is, as a positive fraction (0 to 1) of that."""
    below = np.maximum.accumulate(equity)
    np.divide(equity, below, out=below)
    np.subtract(1.0, below, out=below)
    # An account that lost more than it had is at minus something: all of it is gone.
    return np.minimum(below, 1.0, out=below)


def find_drawdowns(below: Floats) -> Drawdowns:
    """Return every time below a peak; `below` is `drawdown_of` an equity."""
    is_under = below > 0
    changes = np.flatnonzero(is_under[1:] != is_under[:-1]) + 1
    starts, ends = changes[::2], changes[1::2]
    is_last_open = len(starts) > len(ends)
    if is_last_open:
        ends = np.append(ends, len(below) - 1)
    depths = np.maximum.reduceat(below, starts) if len(starts) else np.empty(0)
    return Drawdowns(starts - 1, ends, depths, is_last_open=is_last_open)


def deepest_drawdowns(times: Times, below: Floats, drawdowns: Drawdowns, most: int = 10) -> tuple[Drawdown, ...]:
    """Return the deepest times below a peak, deepest first; `below` is what `drawdowns` were found in."""
    rows = np.argsort(-drawdowns.depths, kind="stable")[:most].tolist()
    found = []
    for row in rows:
        peak, end = int(drawdowns.peaks[row]), int(drawdowns.ends[row])
        is_open = drawdowns.is_last_open and row == len(drawdowns) - 1
        trough = peak + int(np.argmax(below[peak : end + 1]))
        found.append(
            Drawdown(
                peak_ms=int(times[peak]),
                trough_ms=int(times[trough]),
                recovered_ms=None if is_open else int(times[end]),
                lasted_ms=int(times[end] - times[peak]),
                depth=float(drawdowns.depths[row]),
            )
        )
    return tuple(found)


def amount(value: float) -> Decimal:
    """Return quote units as money has them, to a hundred-millionth.

    Raises:
        ValueError: the value is NaN or infinite, which no simulation gives.
    """
    if not math.isfinite(value):
        raise ValueError(f"an amount must be finite, was {value}")
    # Decimal(repr) has the digits that people see; adding zero takes the sign off a negative zero.
    return Decimal(f"{value:.{_PLACES}f}").normalize() + 0


def finite(value: float) -> float | None:
    """Return a number that JSON has; None for NaN and the infinities."""
    return float(value) if math.isfinite(value) else None


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return one number divided by another; None where either is missing or there is nothing to divide by."""
    if part is None or whole is None or abs(whole) < _NO_DEVIATION:
        return None
    return finite(part / whole)


def _check(times: Times, equity: Floats) -> None:
    if not len(times) or len(times) != len(equity):
        raise ValueError(f"there must be one equity a moment, and at least one, was {len(equity)} for {len(times)}")
    if not equity[0] > 0:
        raise ValueError(f"the first equity must be above 0, was {equity[0]}")


@_OVERFLOWS
def _deviation(returns: Floats) -> float | None:
    if len(returns) < _FEWEST_DAYS:
        return None
    deviation = float(np.std(returns, ddof=1))
    return deviation if math.isfinite(deviation) and deviation > _NO_DEVIATION else None


def _volatility(returns: Floats) -> float | None:
    # Zero deviation is a volatility of zero, though it makes no ratio.
    if len(returns) < _FEWEST_DAYS or not np.all(np.abs(returns) < _LARGEST_RETURN):
        return None
    return finite((_deviation(returns) or 0.0) * math.sqrt(DAYS_A_YEAR))


def _deepest_fall(equity: Floats, drawdowns: Drawdowns) -> float | None:
    """Return the largest fall in quote units: the deepest in them need not be the deepest as a fraction."""
    if not len(drawdowns):
        return None
    lowest = np.minimum.reduceat(equity, drawdowns.peaks + 1)
    return float(np.max(equity[drawdowns.peaks] - lowest))
