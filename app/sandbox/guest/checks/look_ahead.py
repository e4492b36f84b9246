"""Finds what uses the future: everything is computed again on histories that end earlier, and must come out the same.

Nothing depends on how the future is reached: a shifted column, a mean of the whole history or an array kept aside and read at the next row
all give other values once the later candles are not there.
"""

import random
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import EXIT, LONG, SHORT, Decisions
from app.domain.simulation import SimulationCosts
from app.sandbox.guest.candles import known_at
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.checks.values import series_of
from app.sandbox.guest.failures import message_of, place_of
from app.sandbox.guest.loading import Loaded, warm_up_of
from app.sandbox.guest.running import decide_everywhere, first_row
from app.sandbox.guest.session import Frames, Session

#: Histories that end anywhere, and such that end at a decision: one that came out of the next candle cannot be made without it.
_ANYWHERE: Final = 10
_AT_DECISIONS: Final = 20
#: Of more candles only the first are looked at, and of fewer where they take so long that the check would outlast its patience.
_MOST_ROWS: Final = 20_000
_LEAST_ROWS: Final = 500
_PATIENCE_S: Final = 8.0
#: What the check costs, in runs over all its candles: two whole ones and thirty that end half way.
_RUNS: Final = 17
#: Sums in another order differ by some 1e-15 of the largest value.
_TOLERANCE: Final = 1e-9
_METHODS: Final = ((LONG, "should_long"), (SHORT, "should_short"), (EXIT, "should_exit"))
_COLUMNS: Final = {
    "size": "position_size", "stop": "stop_price", "target": "target_price", "trailing": "trailing", "adjust": "adjust",
    "stop_loss": "stop_loss", "take_profit": "take_profit", "limit": "entry_price", "target_2": "target_price", "target_3": "target_price",
    "take_profit_2": "take_profit", "take_profit_3": "take_profit", "part": "target_price", "part_2": "target_price",
    "part_3": "target_price",
}  # fmt: skip

Outcome = tuple[dict[str, Any], Decisions]


def check_look_ahead(loaded: Loaded, frames: Frames, costs: SimulationCosts, seed: int, findings: Findings) -> None:
    """Compare the whole history with histories that end earlier."""
    frames = _affordable(loaded, frames, costs)
    rows = len(frames[0][1])
    session, decisions = decide_everywhere(loaded, frames, costs, 0)
    start = first_row(session, 0)
    if rows < start + 10:
        findings.add("NOT_ENOUGH_CANDLES", step="look-ahead", needed=start + 10, rows=rows)
        return
    whole = series_of(session), decisions
    again, decisions_again = decide_everywhere(loaded, frames, costs, 0)
    if _report_unrepeatable(whole, (series_of(again), decisions_again), findings):
        return
    for end in _ends(decisions, start, rows, seed):
        try:
            cut, cut_decisions = decide_everywhere(loaded, known_at(frames, 0, end), costs, 0)
        except Exception as error:  # noqa: BLE001 -- it ran with the whole history, so whatever it raises now is for want of the future
            method = _method_of(error)
            findings.add("LOOK_AHEAD_ERROR", method, candle=end - 1, error=message_of(error), place=place_of(error))
            continue
        _compare(whole, (series_of(cut), cut_decisions), end, rows, findings, session)


def _affordable(loaded: Loaded, frames: Frames, costs: SimulationCosts) -> Frames:
    """Return the first candles, as many as can be looked at in time."""
    total = len(frames[0][1])
    few = min(total, _LEAST_ROWS + warm_up_of(loaded.make()))
    began = time.perf_counter()
    decide_everywhere(loaded, known_at(frames, 0, few), costs, 0)
    a_row_s = max(1e-9, time.perf_counter() - began) / few
    most = min(_MOST_ROWS, int(_PATIENCE_S / (_RUNS * a_row_s)))
    return frames if total <= max(few, most) else known_at(frames, 0, max(few, most))


def _ends(decisions: Decisions, start: int, rows: int, seed: int) -> list[int]:
    chance = random.Random(seed)  # noqa: S311 -- to be repeated, not to be kept from anybody
    first = start + 1
    anywhere = chance.sample(range(first, rows), min(_ANYWHERE, rows - first))
    decided = [int(row) + 1 for row in np.flatnonzero(decisions.flags) if first <= row + 1 < rows]
    at_decisions = chance.sample(decided, min(_AT_DECISIONS, len(decided)))
    return sorted({*anywhere, *at_decisions, rows - 1})


def _report_unrepeatable(one: Outcome, other: Outcome, findings: Findings) -> bool:
    before = len(findings)
    for name, value in one[0].items():
        if first_difference(value, other[0].get(name)) is not None:
            findings.add("NOT_REPEATABLE", name)
    if len(findings) == before and (found := _decision_difference(one[1], other[1], len(one[1]))) is not None:
        findings.add("NOT_REPEATABLE", found[1])
    return len(findings) > before


def _compare(whole: Outcome, cut: Outcome, end: int, rows: int, findings: Findings, session: Session) -> None:
    is_found = False
    for name, full in whole[0].items():
        known = cut[0].get(name)
        if isinstance(full, np.ndarray):
            row = first_difference(full, known)
            if row is None:
                continue
            is_found = True
            is_series = isinstance(known, np.ndarray) and len(known) == end and len(full) == rows
            shown = known[row] if isinstance(known, np.ndarray) and row < len(known) else "missing"
            gap = end - 1 - row if is_series else 0
            findings.add("LOOK_AHEAD_SERIES", name, candle=row, whole=full[row] if row < len(full) else "missing", known=shown, gap=gap)
        elif not _is_same_number(full, known, rows, end):
            is_found = True
            findings.add("LOOK_AHEAD_NUMBER", name, candle=end - 1, whole=full, known=known)
    # A decision that follows from a series that was named is not another mistake.
    if not is_found and (found := _decision_difference(whole[1], cut[1], end)) is not None:
        row, method = found
        is_signals = session.loaded.style in ("signals", "both")
        findings.add("LOOK_AHEAD_DECISION", "signals" if is_signals else method, candle=row, gap=end - 1 - row)


def first_difference(full: Any, known: Any) -> int | None:
    """Return the first row at which two values of a series differ, as far as both go; None if nowhere."""
    if not isinstance(full, np.ndarray):
        return None if full == known or (full != full and known != known) else 0
    if not isinstance(known, np.ndarray) or full.ndim != known.ndim:
        return 0
    length = min(len(full), len(known))
    ours, theirs = full[:length], known[:length]
    if ours.shape != theirs.shape:
        return 0
    if not length:
        return None
    rows = np.flatnonzero(_differs(ours, theirs).reshape(length, -1).any(axis=1))
    return int(rows[0]) if len(rows) else None


def _differs(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    if ours.dtype.kind != "f" and theirs.dtype.kind != "f":
        return np.asarray(ours != theirs)
    finite = np.abs(ours[np.isfinite(ours)])
    scale = float(finite.max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        close = np.abs(ours - theirs) <= _TOLERANCE * scale
    return np.asarray(~(close | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))))


def _is_same_number(full: Any, known: Any, rows: int, end: int) -> bool:
    if known is None:
        return False
    if full != full and known != known:
        return True
    # How many candles there are is no secret of the future that could be traded on.
    if full - rows == known - end and isinstance(full, int) and abs(full - rows) <= 1:
        return True
    return bool(abs(full - known) <= _TOLERANCE * max(abs(full), abs(known)))


def _decision_difference(whole: Decisions, cut: Decisions, end: int) -> tuple[int, str] | None:
    """Return row and method of the first decision that differs."""
    found: list[tuple[int, str]] = []
    for bit, method in _METHODS:
        rows = np.flatnonzero((whole.flags[:end] & bit) != (cut.flags[:end] & bit))
        if len(rows):
            found.append((int(rows[0]), method))
    for column, method in _COLUMNS.items():
        row = first_difference(getattr(whole, column)[:end], getattr(cut, column)[:end])
        if row is not None:
            found.append((row, method))
    return min(found, key=lambda each: each[0]) if found else None


def _method_of(error: BaseException) -> str:
    """Return the method of the user's that raised."""
    name, step = "", error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == "strategy":
            name = step.tb_frame.f_code.co_name
        step = step.tb_next
    return name
