"""Finds what a strategy's `warm_up` is too short for: values after just so many candles against values after a long history."""

import random
from typing import Any, Final

import numpy as np

from app.domain.simulation import SimulationCosts
from app.sandbox.guest.candles import known_at
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.checks.values import series_of
from app.sandbox.guest.loading import Loaded, warm_up_of
from app.sandbox.guest.session import Frames, Session

_POINTS: Final = 6
#: Candles by which a history must be longer to be called so.
_LEAST: Final = 20
#: What has not settled after as many warm-ups never will.
_LONG_ENOUGH: Final = 4
#: More than this fraction off is reported.
_TOLERANCE: Final = 0.001


def check_warm_up(loaded: Loaded, frames: Frames, costs: SimulationCosts, seed: int, findings: Findings) -> None:
    """Compare values after `warm_up` candles with those after all candles before."""
    whole = Session(loaded, frames, costs)
    rows = len(whole.candles)
    warm_up = max(1, warm_up_of(whole.instance))
    # The longer the history before a point, the more it says; a long warm-up leaves less of it.
    first = rows // 2 if rows // 2 >= 2 * warm_up else warm_up + (rows - warm_up) // 2
    if first - warm_up < _LEAST:
        findings.add("NOT_ENOUGH_CANDLES", step="warm-up", needed=warm_up + 2 * _LEAST, rows=rows)
        return
    chance = random.Random(seed)  # noqa: S311 -- to be repeated, not to be kept from anybody
    points = sorted(chance.sample(range(first, rows), min(_POINTS, rows - first)))
    long_run = {name: value for name, value in series_of(whole).items() if isinstance(value, np.ndarray) and value.shape == (rows,)}
    lengths = [warm_up]
    while lengths[-1] * 2 <= first:
        lengths.append(lengths[-1] * 2)
    if lengths[-1] < first:
        lengths.append(first)
    open_names = set(long_run)
    worst: dict[str, float] = {}
    for length in lengths:
        off = _off(loaded, frames, costs, points, length, {name: long_run[name] for name in open_names})
        if length == warm_up:
            worst = {name: value for name, value in off.items() if value > _TOLERANCE}
            open_names = set(worst)
        else:
            for name in [name for name in open_names if off[name] <= _TOLERANCE]:
                open_names.discard(name)
                _report(name, worst[name], warm_up, length, findings)
        if not open_names:
            return
    for name in sorted(open_names):
        if lengths[-1] >= _LONG_ENOUGH * warm_up:
            findings.add("WARM_UP_NEVER", name, percent=_percent(worst[name]))
        else:
            _report(name, worst[name], warm_up, f"more than {lengths[-1]}", findings)


def _off(
    loaded: Loaded, frames: Frames, costs: SimulationCosts, points: list[int], length: int, long_run: dict[str, Any]
) -> dict[str, float]:
    """Return for each series by which fraction it is off at worst; infinity where it has no value yet."""
    worst = dict.fromkeys(long_run, 0.0)
    for row in points:
        short = series_of(Session(loaded, known_at(frames, row + 1 - length, row + 1), costs))
        for name, values in long_run.items():
            known = short.get(name)
            if not isinstance(known, np.ndarray) or known.shape != (length,):
                worst[name] = float("inf")
                continue
            worst[name] = max(worst[name], _relative(float(values[row]), float(known[-1]), values))
    return worst


def _relative(long_run: float, short: float, values: Any) -> float:
    if np.isnan(long_run):
        return 0.0
    if np.isnan(short):
        return float("inf")
    if values.dtype.kind == "b":
        return 0.0 if long_run == short else 1.0
    if long_run == short:
        return 0.0
    # Against the series' usual size: an oscillator that is near zero just now is not a thousand percent off.
    usual = float(np.nanmedian(np.abs(np.asarray(values, dtype=np.float64))))
    scale = max(abs(long_run), usual)
    return abs(long_run - short) / scale if scale > 0 else 1.0


def _report(name: str, off: float, warm_up: int, needed: int | str, findings: Findings) -> None:
    if off == float("inf"):
        findings.add("WARM_UP_NAN", name, warm_up=warm_up, needed=needed)
    else:
        findings.add("WARM_UP_SHORT", name, percent=_percent(off), warm_up=warm_up, needed=needed)


def _percent(fraction: float) -> str:
    return "without a value" if fraction == float("inf") else f"{100 * fraction:.3g} %"
