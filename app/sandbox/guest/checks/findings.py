"""Findings, and the sentences that they are told in: the text is a key of the translation, its values come beside it."""

from typing import Any, Final, Literal

import numpy as np

from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.output import clean
from app.sandbox.guest.source import Source
from app.sandbox.messages import LONGEST_NAME, Finding


def N_(message: str) -> str:  # noqa: N802 -- the name by which extractors know a message that is translated later
    """Mark a sentence that the server translates. Its own marker would bring the whole of its translations into the jail."""
    return message


Severity = Literal["error", "warning", "note"]

SENTENCES: Final[dict[str, tuple[Severity, str]]] = {
    "NOT_ENOUGH_CANDLES": ("note", N_("%(step)s needs more than %(needed)s candles to say anything, there are %(rows)s")),
    "METHOD_MISSPELLED": ("error", N_("%(attribute)s is never called; did you mean %(near)s?")),
    "METHOD_ARGUMENTS": ("error", N_("%(attribute)s must be written as def %(signature)s")),
    "RETURN_TYPE": ("error", N_("%(attribute)s must return True or False, returned %(value)s at candle %(candle)s")),
    "RETURN_NONE": ("error", N_("%(attribute)s must return True or False, returned nothing at candle %(candle)s; is a return missing?")),
    "ATTRIBUTE_INVALID": ("error", N_("%(attribute)s cannot be used: %(value)s")),
    "PARAMETER_EXTREME": ("warning", N_("with %(attribute)s = %(value)s the strategy fails: %(error)s")),
    "STYLES_DIFFER": ("error", N_("signals and the per-candle methods decide differently at candle %(candle)s")),
    "STATE_IN_INDICATORS": (
        "warning",
        N_("%(attribute)s is set in indicators() and changed later: set it in __init__, since indicators() runs again at each live candle"),
    ),
    "NO_DECISION": ("note", N_("the strategy entered nothing in %(rows)s candles")),
    "NOT_REPEATABLE": ("error", N_("%(attribute)s is different each time it is computed; seed the random generator")),
    "LOOK_AHEAD_SERIES": (
        "error",
        N_("%(attribute)s looks ahead: at candle %(candle)s it is %(whole)s, but %(known)s when the history ends %(gap)s candles later"),
    ),
    "LOOK_AHEAD_NUMBER": ("error", N_("%(attribute)s looks ahead: it is one number out of the whole history, %(whole)s or %(known)s")),
    "LOOK_AHEAD_DECISION": (
        "error",
        N_("%(attribute)s looks ahead: what it decides at candle %(candle)s changes when the history ends %(gap)s candles later"),
    ),
    "LOOK_AHEAD_ERROR": ("error", N_("%(attribute)s looks ahead: without the candles after %(candle)s it fails: %(error)s")),
    "WARM_UP_NAN": ("warning", N_("%(attribute)s has no value yet after warm_up = %(warm_up)s candles; %(needed)s are enough")),
    "WARM_UP_SHORT": (
        "warning",
        N_("%(attribute)s is %(percent)s off after warm_up = %(warm_up)s candles; with %(needed)s it is within 0.1 %%"),
    ),
    "WARM_UP_NEVER": ("warning", N_("%(attribute)s depends on where the history begins, however long it is: %(percent)s off")),
    "VALUES_ALL_NAN": ("warning", N_("%(attribute)s never has a value")),
    "VALUES_NAN": ("warning", N_("%(attribute)s has no value at %(count)s candles after the warm-up, first at candle %(candle)s")),
    "VALUES_INFINITE": ("warning", N_("%(attribute)s is infinite at %(count)s candles, first at candle %(candle)s")),
    "VALUES_CONSTANT": ("warning", N_("%(attribute)s is %(value)s at every candle")),
    "VALUES_UNUSED": ("note", N_("%(attribute)s is computed and never used")),
    "VALUES_LENGTH": ("note", N_("%(attribute)s has %(count)s values for %(rows)s candles, so it is no series")),
    "SLOW": ("warning", N_("%(rate)s candles a second: a year of minutes takes %(seconds)s s")),
}


class Findings:
    """Collects what one check found in one strategy; one finding a code and attribute, the first."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._source = Source(loaded.source)
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def source(self) -> Source:
        """The source, to look things up in."""
        return self._source

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, code: str) -> bool:
        return any(key[0] == code for key in self._found)

    def add(
        self, code: str, attribute: str = "", *, candle: int | None = None, place: tuple[int, int] | None = None, **values: Any
    ) -> None:
        """Keep a finding; `place` is its line and column where the attribute does not tell it."""
        if (code, attribute) in self._found:
            return
        severity, message = SENTENCES[code]
        line, column = self._source.place(self._loaded.written.__name__, attribute) if place is None else place
        told = {"attribute": attribute, **values}
        if candle is not None:
            told["candle"] = candle
        self._found[code, attribute] = Finding(
            code=code,
            severity=severity,
            message=message,
            values={name: as_text(value) for name, value in told.items()},
            attribute=clean(attribute)[:LONGEST_NAME],
            candle=candle,
            line=line,
            column=column,
        )

    def listed(self, most: int) -> list[Finding]:
        """Return them, errors first, then by line."""
        order = {"error": 0, "warning": 1, "note": 2}
        return sorted(self._found.values(), key=lambda each: (order[each.severity], each.line))[:most]


def as_text(value: Any) -> str:
    """Return a value as it stands in a sentence, short enough for the protocol."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    text = clean(str(value))
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
