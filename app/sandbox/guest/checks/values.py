"""What a strategy's series hold: nothing, one value, infinities, or something nobody reads."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.simulation import SimulationCosts
from app.sandbox.guest.candles import MarketCandles
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.columns import Column, Table
from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.running import first_row, named_signals
from app.sandbox.guest.series import DEEPEST
from app.sandbox.guest.session import Frames, Session


def series_of(session: Session) -> dict[str, Any]:
    """Return the arrays and numbers that `indicators` and `signals` made, tuples and dicts taken apart: `bands[0]`, `signals[long]`."""
    found: dict[str, Any] = {}
    if session.loaded.style == "template":
        return found
    for name, value in session.arrays.items():
        found.update(_apart(name, value))
    if session.signals is not None:
        found.update(_apart("signals", dict(named_signals(session.signals))))
    return found


def _apart(name: str, value: Any, depth: int = DEEPEST) -> Iterator[tuple[str, Any]]:
    if isinstance(value, MarketCandles) or depth < 0:
        return
    if isinstance(value, Column):
        value = value.values
    elif isinstance(value, Table):
        value = {column: value[column] for column in value.columns}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list) and len(value) <= 50:
        for place, part in enumerate(value):
            yield from _apart(f"{name}[{place}]", part, depth - 1)
    elif isinstance(value, Mapping) and len(value) <= 50:
        for key, part in value.items():
            yield from _apart(f"{name}[{key}]", part, depth - 1)
    elif (isinstance(value, np.ndarray) and value.dtype.kind in "fiub") or (
        isinstance(value, int | float | np.number) and not isinstance(value, bool)
    ):
        yield name, value


def check_values(loaded: Loaded, frames: Frames, costs: SimulationCosts, findings: Findings) -> None:
    """Look at every series from the first decision on."""
    session = Session(loaded, frames, costs)
    rows = len(session.candles)
    start = first_row(session, 0)
    lengths = {len(candles) for _, candles in frames}
    for name, value in series_of(session).items():
        if not isinstance(value, np.ndarray) or value.ndim != 1:
            continue
        if len(value) != rows:
            # Of another timeframe's own length, or a few weights: a reason to say so only if per-candle code could take it for a series.
            if len(value) > 100 and len(value) not in lengths:
                findings.add("VALUES_LENGTH", name, count=len(value), rows=rows)
            continue
        if rows > start:
            _look_at(name, value[start:], start, findings)
        top = name.partition("[")[0]
        if top != "signals" and not findings.source.is_read(top):
            findings.add("VALUES_UNUSED", top)


def _look_at(name: str, values: NDArray[Any], start: int, findings: Findings) -> None:
    # Sizes are often the same at all entries, and stops and targets said at entries only.
    is_said = name.startswith("signals[") and values.dtype.kind == "f"
    if values.dtype.kind == "f":
        missing, infinite = np.isnan(values), np.isinf(values)
        if missing.all():
            findings.add("VALUES_ALL_NAN", name)
            return
        if missing.any() and not is_said:
            findings.add("VALUES_NAN", name, candle=start + int(np.flatnonzero(missing)[0]), count=int(missing.sum()))
        if infinite.any():
            findings.add("VALUES_INFINITE", name, candle=start + int(np.flatnonzero(infinite)[0]), count=int(infinite.sum()))
        values = values[~missing & ~infinite]
    if not is_said and len(values) > 1 and (values == values[0]).all():
        findings.add("VALUES_CONSTANT", name, value=values[0])
