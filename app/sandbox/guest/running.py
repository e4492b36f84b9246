"""Decides at every candle of a stretch, in one of the two spellings."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.domain.arrays import DECIDED, EXIT, LONG, MOVING, PARTS, SHORT, Decisions, numbers
from app.domain.simulation import SimulationCosts, Wish
from app.sandbox.guest.failures import message_of, place_of
from app.sandbox.guest.loading import Loaded, warm_up_of
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.session import Frames, Session
from app.sandbox.guest.strategy import DEAREST, MOST_ADDED, SIGNAL_COLUMNS
from app.sandbox.guest.targets import TARGET_COLUMNS
from app.sandbox.sheet import Sheet

#: What a column may hold besides NaN. A price of zero is none.
_BOUNDS = {
    "size": (0.0, 1.0),
    "stop": (1e-15, DEAREST),
    "target": (1e-15, DEAREST),
    "trailing": (1e-15, 1 - 1e-12),
    "adjust": (-1.0, MOST_ADDED),
    "limit": (1e-15, DEAREST),
    "target_2": (1e-15, DEAREST),
    "target_3": (1e-15, DEAREST),
    "part": (1e-15, 1.0),
    "part_2": (1e-15, 1.0),
    "part_3": (1e-15, 1.0),
}
#: Candles between two notes of how far a run has come: few at first, and more while they take no longer than so many seconds.
_FIRST_STRETCH, _STRETCH = 64, 4_096
_SOON_S = 0.02
_FLAGS = {"long": LONG, "short": SHORT, "exit": EXIT}


def first_row(session: Session, start: int) -> int:
    """Return the first row at which the strategy may decide: the one that its warm-up ends with, or a later start."""
    return max(start, warm_up_of(session.instance) - 1, 0)


def decide_everywhere(
    loaded: Loaded, frames: Frames, costs: SimulationCosts, start: int, *, per_candle: bool = False
) -> tuple[Session, Decisions]:
    """Run over all candles.

    Args:
        loaded: The strategy.
        frames: What it trades, and others.
        costs: Of the account that it sees.
        start: The first row at which it may decide.
        per_candle: Use the per-candle methods although there is `signals`.
    """
    session = Session(loaded, frames, costs)
    sheet = Sheet(len(session.candles))
    run_into(session, sheet, start, per_candle=per_candle)
    return session, sheet.decisions()


def run_into(session: Session, sheet: Sheet, start: int, *, per_candle: bool = False) -> None:
    """Write the decisions of a session onto a sheet that holds none yet."""
    if session.loaded.style in ("signals", "both") and not per_candle:
        _write_signals(session, sheet, first_row(session, start))
    else:
        _walk(session, sheet, first_row(session, start))
    sheet.come_to(len(session.candles))


def _walk(session: Session, sheet: Sheet, start: int) -> None:
    try:
        rows, begin, stretch = len(session.candles), start, _FIRST_STRETCH
        while begin < rows:
            began, end = time.perf_counter(), min(begin + stretch, rows)
            _ask_at_each_candle(session, sheet, begin, end)
            sheet.come_to(end)
            begin = end
            # A slow strategy says often how far it is, and a fast one loses nothing by it.
            if time.perf_counter() - began < _SOON_S:
                stretch = min(stretch * 2, _STRETCH)
    except (TypeError, ValueError) as error:
        if place_of(error) != (0, 0):
            raise
        # Raised in our loop: an array or a series has been returned where yes or no was asked.
        flat = "should_long" if session.question("should_long") is not None else "should_short"
        method = "should_exit" if session.account.quantity else flat
        message = f"{method}() must return True or False: {message_of(error)}"
        raise StrategyMistake("RETURN_TYPE", message, attribute=method, candle=session.cursor.end - 1) from error


def _ask_at_each_candle(session: Session, sheet: Sheet, start: int, end: int) -> None:
    """Ask at each candle what can be asked there. The loop is written for speed: nearly all of a run's time is spent in it."""
    account, cursor, on_fill, follows = session.account, session.cursor, session.on_fill, session.follows
    candles = session.candles
    opens, highs, lows, closes = numbers(candles.open), numbers(candles.high), numbers(candles.low), session.closes
    should_long, should_short, should_exit = (session.question(name) for name in ("should_long", "should_short", "should_exit"))
    step = account.step if session.minutes is None else session.minutes.happening(account)
    for row in range(start, end):
        cursor.end = row + 1
        if account.is_busy:
            step(row, opens[row], highs[row], lows[row], closes[row])
            if on_fill is not None:
                on_fill()
        if account.quantity:
            if should_exit is not None and should_exit():
                wish: Wish | None = Wish(flags=EXIT)
            elif follows:
                wish = session.follow()
            else:
                continue
        elif should_long is not None and should_long():
            wish = session.entry(LONG)
        elif should_short is not None and should_short():
            wish = session.entry(SHORT)
        else:
            continue
        if wish is not None:
            account.decide(wish)
            sheet.write(row, wish)


def _write_signals(session: Session, sheet: Sheet, start: int) -> None:
    rows = len(session.candles)
    given = named_signals(session.signals)
    for name, value in given.items():
        array = np.asarray(value)
        if array.shape != (rows,):
            raise StrategyMistake(
                "SIGNALS_SHAPE",
                f"signals: {name} must have one value for each of the {rows} candles, was {array.shape}",
                attribute="signals",
            )
        if name in _FLAGS:
            if array.dtype != np.bool_:
                raise StrategyMistake(
                    "SIGNALS_TYPE",
                    f"signals: {name} must be a boolean array, was {array.dtype}; compare, as in fast > slow",
                    attribute="signals",
                )
            sheet.flags |= array.view(np.uint8) * np.uint8(_FLAGS[name])
        else:
            column = sheet.column(name)
            column[start:] = _numbers(name, array)[start:]
    if "size" in given:
        # Nothing is entered with nothing, as in per-candle methods.
        sheet.flags[sheet.column("size") == 0] &= np.uint8(EXIT)
    sheet.flags[:start] = 0
    sheet.flags &= np.uint8(LONG | EXIT if session.is_long_only else LONG | SHORT | EXIT)
    if (stop_loss := session.fraction("stop_loss")) is not None:
        sheet.repeat("stop_loss", stop_loss)
    for place, (distance, part) in enumerate(session.profits()):
        sheet.repeat(TARGET_COLUMNS[place].distance, distance)
        if part < 1 and TARGET_COLUMNS[place].part not in given:
            sheet.repeat(TARGET_COLUMNS[place].part, part)
    if (trailing := session.fraction("trailing_stop")) is not None and "trailing" not in given:
        sheet.column("trailing")[(sheet.flags & (LONG | SHORT)) != 0] = trailing


def named_signals(signals: Any) -> Mapping[str, Any]:
    """Return what `signals` returned by name.

    Raises:
        StrategyMistake: it is neither a dict with the known names nor a pair.
    """
    if isinstance(signals, tuple) and len(signals) == 2:
        signals = {"long": signals[0], "exit": signals[1]}
    if not isinstance(signals, Mapping):
        raise StrategyMistake(
            "SIGNALS_TYPE",
            f'signals() must return {{"long": …, "exit": …}} with boolean arrays, was {type(signals).__name__}',
            attribute="signals",
        )
    for name in signals:
        if name not in SIGNAL_COLUMNS:
            raise StrategyMistake(
                "SIGNALS_NAME", f"signals() knows {', '.join(SIGNAL_COLUMNS)}, was {str(name)[:64]!r}", attribute="signals"
            )
    return signals


def _numbers(name: str, array: Any) -> Any:
    values = np.asarray(array, dtype=np.float64)
    low, high = _BOUNDS[name]
    bad = ~(np.isnan(values) | ((values >= low) & (values <= high)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise StrategyMistake(
            "SIGNALS_VALUE",
            f"signals: {name} is {values[row]} at candle {row}; write NaN where there is nothing to say",
            attribute="signals",
            candle=row,
        )
    return values


def decide_at_end(session: Session) -> Wish | None:
    """Return the decision at the last candle, for the position that the account has."""
    rows = len(session.candles)
    session.cursor.end = rows
    if rows == 0 or first_row(session, 0) >= rows:
        return None
    if session.loaded.style not in ("signals", "both"):
        return session.decide()
    sheet = Sheet(rows)
    _write_signals(session, sheet, rows - 1)
    decisions = sheet.decisions()
    flags = int(decisions.flags[-1])
    wish = Wish(flags & EXIT if session.account.quantity else _entry_of(flags))
    for name in DECIDED if wish.flags & (LONG | SHORT) else (*MOVING, *PARTS):
        value = float(getattr(decisions, name)[-1])
        if value == value:
            setattr(wish, name, value)
    if not session.account.quantity and not wish.flags:
        return None
    return wish


def _entry_of(flags: int) -> int:
    return LONG if flags & LONG else flags & SHORT
