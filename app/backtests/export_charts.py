"""Charts of a report as SVG: paths and ticks in the units of the picture, which a template draws. No script, no font, no other file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.backtests.report_parts import Points
from app.core import formatters
from app.domain.candles import from_milliseconds
from app.domain.metrics_tables import Distribution

WIDTH: Final = 960
#: Room for the numbers at the right.
_PLOT: Final = 880
_SOUGHT_TICKS: Final = 5
_MONTH_MS: Final = 30 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of the grid: where, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve: its class, its path, and the path of the area below it where it has one."""

    kind: str
    path: str
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of `WIDTH` by `height`; `plot` is the width of its curves."""

    height: int
    lines: tuple[Line, ...]
    levels: tuple[Tick, ...]
    moments: tuple[Tick, ...]
    plot: int = _PLOT
    width: int = WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a histogram; `kind` is `up` right of zero and `down` left of it, `text` says what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars with the words under some of them; `zero` is where 0 is, None when it is outside."""

    bars: tuple[Bar, ...]
    labels: tuple[Tick, ...]
    zero: float | None
    height: int
    width: int = WIDTH


def equity_chart(points: Points, *, language: str, height: int = 280) -> Chart:
    """Return the equity over having bought and held."""
    low, high = _range([*points.equity, *points.held])
    y = _scale(low, high, height)
    decimals = 0 if high - low >= 10 else 2
    levels = [Tick(at=y(level), text=formatters.number(Decimal(repr(level)), decimals, language=language)) for level in _levels(low, high)]
    own = _path(points.time, points.equity, y)
    lines = (
        Line(kind="held", path=_path(points.time, points.held, y)),
        Line(kind="own", path=own, area=f"{own}L{_PLOT},{height}L0,{height}Z"),
    )
    return Chart(height=height, lines=lines, levels=tuple(levels), moments=_moments(points.time, language))


def drawdown_chart(points: Points, *, language: str, height: int = 110) -> Chart:
    """Return how far the equity was below its highest, hanging from the top."""
    deepest = max(*points.drawdown, 0.001) if len(points.drawdown) > 1 else 0.001
    y = _scale(-deepest, 0.0, height, margin=0.0)
    levels = [
        Tick(at=y(level), text=formatters.pct(Decimal(repr(level)), decimals=0 if deepest > 0.05 else 1, language=language))
        for level in _levels(-deepest, 0.0, sought=2)
    ]
    path = _path(points.time, [-value for value in points.drawdown], y)
    line = Line(kind="drawdown", path=path, area=f"{path}L{_PLOT},0L0,0Z")
    return Chart(height=height, lines=(line,), levels=tuple(levels), moments=_moments(points.time, language))


def histogram(found: Distribution, *, language: str, height: int = 140) -> Histogram:
    """Return the distribution of trades' returns."""
    bars, most = len(found.counts), max(found.counts)
    width = WIDTH / bars
    drawn = []
    for place, count in enumerate(found.counts):
        left, right = (_percent(edge, language) for edge in found.edges[place : place + 2])
        tall = 0.0 if not count else max(2.0, count / most * (height - 8))
        drawn.append(
            Bar(
                x=round(place * width + 1, 2),
                y=round(height - tall, 2),
                width=round(width - 2, 2),
                height=round(tall, 2),
                kind="down" if found.edges[place] < 0 else "up",
                text=f"{left} … {right}: {count}",
            )
        )
    every = max(1, bars // 8)
    labels = tuple(Tick(at=round(place * width, 2), text=_percent(found.edges[place], language)) for place in range(every, bars, every))
    zero = next((round(place * width, 2) for place, edge in enumerate(found.edges) if edge == 0), None)
    return Histogram(bars=tuple(drawn), labels=labels, zero=zero, height=height)


def _percent(fraction: float, language: str) -> str:
    return formatters.pct(Decimal(repr(fraction)), decimals=1, language=language)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # A flat curve is drawn in the middle.
    return (low, high) if high > low else (low - abs(low) * 0.01 - 1, high + abs(high) * 0.01 + 1)


def _scale(low: float, high: float, height: int, margin: float = 0.06) -> Callable[[float], float]:
    room = height * (1 - 2 * margin)
    return lambda value: round(height * margin + (high - value) / (high - low) * room, 1)


def _path(times: Sequence[int], values: Sequence[float], y: Callable[[float], float]) -> str:
    first, span = times[0], max(times[-1] - times[0], 1)
    return "M" + "L".join(f"{(at - first) / span * _PLOT:.1f},{y(value):.1f}" for at, value in zip(times, values, strict=True))


def _levels(low: float, high: float, sought: int = _SOUGHT_TICKS) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / sought))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * sought >= high - low)
    return [float(f"{number * step:.10g}") for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _moments(times: Sequence[int], language: str) -> tuple[Tick, ...]:
    first, span = times[0], times[-1] - times[0]
    if span <= 0:
        return ()
    style = "month" if span > 6 * _MONTH_MS else "date" if span > _MONTH_MS / 10 else "minute"
    parts = 6
    return tuple(
        Tick(
            at=round(_PLOT * part / parts, 1),
            text=formatters.dt(from_milliseconds(first + span * part // parts), style, zone="UTC", language=language),
        )
        for part in range(parts)
    )
