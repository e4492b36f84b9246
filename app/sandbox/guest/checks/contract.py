"""Whether a class can be used at all: its names, its signatures, what its methods return."""

import difflib
import inspect
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from app.domain.simulation import SimulatedFill, SimulationCosts, simulate
from app.sandbox.guest.candles import known_at
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.failures import message_of, place_of
from app.sandbox.guest.loading import Loaded, warm_up_of
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.params import values_for
from app.sandbox.guest.running import decide_everywhere, first_row
from app.sandbox.guest.session import Frames, Session
from app.sandbox.guest.strategy import ATTRIBUTES, METHODS, Fill, is_plain_bool, overrides

_ONE_ARGUMENT: Final = {"indicators": "candles", "signals": "candles", "on_fill": "fill"}
_QUESTIONS: Final = ("should_long", "should_short", "should_exit")
#: Candles at which each method is asked once.
_SAMPLES: Final = 25
#: Candles of the runs with parameters at their bounds.
_FEW: Final = 300
#: Candles that tell whether it can be used; more would tell the same more slowly.
_ENOUGH: Final = 5_000
_MOST_EXTREMES: Final = 24


def check_contract(loaded: Loaded, frames: Frames, costs: SimulationCosts, findings: Findings) -> None:
    """Look at names and signatures, ask every method, and try the parameters' bounds."""
    _names(loaded, findings)
    if loaded.style != "template":
        _signatures(loaded, findings)
    if len(findings):
        return
    frames = known_at(frames, 0, min(len(frames[0][1]), _ENOUGH + warm_up_of(loaded.make())))
    session = Session(loaded, frames, costs)
    for name in ("stop_loss", "take_profit", "trailing_stop"):
        try:
            session.profits() if name == "take_profit" else session.fraction(name)
        except StrategyMistake as mistake:
            findings.add("ATTRIBUTE_INVALID", name, value=mistake)
    if len(findings):
        return
    rows, start = len(session.candles), first_row(session, 0)
    if rows < start + 2:
        findings.add("NOT_ENOUGH_CANDLES", step="contract", needed=start + 2, rows=rows)
        return
    _answers(session, start, rows, findings)
    if len(findings):
        return
    _run(loaded, frames, costs, findings)
    _extremes(loaded, frames, costs, start, findings)


def _names(loaded: Loaded, findings: Findings) -> None:
    known: tuple[str, ...] = (*METHODS, *ATTRIBUTES)
    if loaded.style == "template":
        known = ("should_long", "should_short", "should_exit", "calculate_position_size", "calculate_stop_loss", "calculate_take_profit")
    for name, line, column in findings.source.written_in(loaded.written.__name__):
        if name in known or name.startswith("_") or name in loaded.params or findings.source.is_read(name):
            continue
        near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.8)
        if near:
            findings.add("METHOD_MISSPELLED", name, near=near[0], place=(line, column))


def _plain(name: str) -> str:
    """Return a camelCase name as it would be written here."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")


def _signatures(loaded: Loaded, findings: Findings) -> None:
    for name in METHODS:
        written = inspect.getattr_static(loaded.strategy, name)
        if not overrides(loaded.strategy, name) or name == "informative":
            continue
        argument = _ONE_ARGUMENT.get(name)
        signature = f"{name}(self, {argument})" if argument else f"{name}(self)"
        if not inspect.isfunction(written) or inspect.iscoroutinefunction(written):
            findings.add("METHOD_ARGUMENTS", name, signature=signature)
            continue
        try:
            inspect.signature(written).bind(None, *([None] if argument else []))
        except TypeError:
            findings.add("METHOD_ARGUMENTS", name, signature=signature)


def _answers(session: Session, start: int, rows: int, findings: Findings) -> None:
    """Ask every method at candles all over the history, flat and with a position of each side."""
    if session.loaded.style == "signals":
        return
    sides = (1.0, -1.0) if session.loaded.can_short else (1.0,)
    for row in np.unique(np.linspace(start, rows - 1, _SAMPLES).astype(int)).tolist():
        session.cursor.end = row + 1
        price = session.closes[row]
        _hold(session, 0.0, price, row)
        for name in ("should_long", "should_short"):
            _ask(session, name, row, findings)
        for quantity in sides:
            _hold(session, quantity, price, row)
            _ask(session, "should_exit", row, findings)
            if session.on_fill is not None:
                session.instance.on_fill(Fill("buy" if quantity > 0 else "sell", abs(quantity), price, 0.0, "entry", 0))
            session.follow()
            _hold(session, 0.0, price, row)
            session.entry(1 if quantity > 0 else 2)


def _hold(session: Session, quantity: float, price: float, row: int) -> None:
    session.account.hold(quantity=quantity, entry_price=price if quantity else 0.0, equity=10 * price, price=price, stop=None, target=None)
    session.account.entry_candle = row
    session.account.best_price = price


def _ask(session: Session, name: str, row: int, findings: Findings) -> None:
    question = session.question(name)
    if question is None:
        return
    answer: Any = question()
    if session.loaded.style == "template" or is_plain_bool(answer):
        return
    if answer is None:
        findings.add("RETURN_NONE", name, candle=row)
    else:
        findings.add("RETURN_TYPE", name, candle=row, value=f"{type(answer).__name__} {answer!r}")


def _run(loaded: Loaded, frames: Frames, costs: SimulationCosts, findings: Findings) -> None:
    session, decisions = decide_everywhere(loaded, frames, costs, 0)
    if not (decisions.flags & 3).any():
        findings.add("NO_DECISION", rows=len(decisions))
    for name, value in session.arrays.items() if loaded.style != "template" else ():
        now = vars(session.instance).get(name)
        if (value is None or isinstance(value, bool | int | float | str)) and now is not value and now != value:
            findings.add("STATE_IN_INDICATORS", name)
    if loaded.style == "both":
        walked = decide_everywhere(loaded, frames, costs, 0, per_candle=True)[0]
        replayed = simulate(session.candles, decisions, costs, first_row(session, 0))
        row = _first_difference(replayed.fills, walked.account.fills)
        if row is not None:
            findings.add("STYLES_DIFFER", "signals", candle=row)


def _first_difference(fills: Sequence[SimulatedFill], others: Sequence[SimulatedFill]) -> int | None:
    """Return the candle at whose close the first fill that differs was decided."""
    for one, other in zip_longest(fills, others):
        if one is None or other is None or (one.candle, one.side, one.reason) != (other.candle, other.side, other.reason):
            return max(0, min(each.candle for each in (one, other) if each is not None) - 1)
    return None


def _extremes(loaded: Loaded, frames: Frames, costs: SimulationCosts, start: int, findings: Findings) -> None:
    """Run a little with each parameter at each of its bounds: a search and a form will."""
    few = known_at(frames, 0, min(len(frames[0][1]), start + _FEW))
    tried = 0
    for name, each in loaded.params.items():
        for value in dict.fromkeys((each.low, each.high)):
            if value is None or tried >= _MOST_EXTREMES:
                continue
            tried += 1
            try:
                decide_everywhere(replace(loaded, values=values_for(loaded.params, {**loaded.values, name: value})), few, costs, 0)
            except Exception as error:  # noqa: BLE001 -- whatever it raises is what is looked for
                findings.add("PARAMETER_EXTREME", name, value=value, error=message_of(error), place=place_of(error))
