"""What a validation found: its steps in order, each with its time, and whether the strategy may trade."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from app.core.i18n import N_
from app.core.sentences import filled
from app.sandbox.messages import Described


class Step(StrEnum):
    """The steps, in their order."""

    SYNTAX = "syntax"
    LINT = "lint"
    CONTRACT = "contract"
    DRY_RUN = "dry_run"
    LOOK_AHEAD = "look_ahead"
    WARM_UP = "warm_up"
    VALUES = "values"
    SPEED = "speed"


#: What can be told of a source without any candles.
CHECKS: Final = (Step.SYNTAX, Step.LINT, Step.CONTRACT)


class Outcome(StrEnum):
    """What came of a step."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    #: An earlier step failed, so that it could not be taken.
    SKIPPED = "skipped"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a step found. Lines and columns count from 1, 0 means that it has none; `code` is stable.

    `message` is an English sentence with the `values` as `%(name)s`, a plain percent sign being `%%`. `at_ms` is the open time of the
    candle that it is about.
    """

    code: str
    severity: Literal["error", "warning", "note"]
    message: str
    values: dict[str, str] = {}
    attribute: str = ""
    at_ms: int | None = None
    line: int = 0
    column: int = 0

    @property
    def text(self) -> str:
        """The sentence, in English."""
        return filled(self.message, self.values)


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what came of it, how long it took, what it found. `output` is what the strategy printed meanwhile."""

    step: Step
    outcome: Outcome
    seconds: float = 0.0
    findings: tuple[Found, ...] = ()
    output: str = ""
    traceback: str = ""


class TriedOn(msgspec.Struct, frozen=True, kw_only=True):
    """The candles that a strategy was tried on; `start_ms` and `end_ms` are the first and the last open time."""

    exchange: str
    symbol: str
    timeframe: str
    candles: int
    start_ms: int
    end_ms: int
    is_generated: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a validation.

    Attributes:
        bars_per_s: Candles that it decides at in a second; None when it was not measured.
        is_whole: Whether all steps were asked for, and not only those that need no candles.
    """

    steps: tuple[StepReport, ...]
    seconds: float
    sha256: str
    described: Described | None = None
    tried_on: TriedOn | None = None
    bars_per_s: float | None = None
    is_whole: bool = True

    @property
    def is_valid(self) -> bool:
        """Whether nothing was found that keeps it from trading; a warning does not."""
        return self.is_whole and all(step.outcome in (Outcome.PASSED, Outcome.WARNED) for step in self.steps)

    @property
    def has_look_ahead(self) -> bool:
        """Whether it was seen to use candles that had not closed yet."""
        found = (finding for step in self.steps if step.step is Step.LOOK_AHEAD for finding in step.findings)
        return any(finding.severity == "error" and finding.code.startswith("LOOK_AHEAD") for finding in found)


def as_stored(report: Report) -> dict[str, Any]:
    """Return a report as JSON has it."""
    stored: dict[str, Any] = msgspec.to_builtins(report)
    return stored


def from_stored(stored: dict[str, Any]) -> Report:
    """Return the report that `as_stored` was given."""
    return msgspec.convert(stored, Report, strict=False)


def outcome_of(findings: Sequence[Found]) -> Outcome:
    """Return what findings make of their step."""
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return Outcome.FAILED
    return Outcome.WARNED if "warning" in severities else Outcome.PASSED


def why_not_valid(report: Report | None) -> str | None:
    """Return the first reason why a version may not trade, a sentence in English; None when it may."""
    if report is None:
        return N_("it was not validated yet")
    if report.is_valid:
        return None
    for step in report.steps:
        for finding in step.findings:
            if step.outcome is Outcome.FAILED and finding.severity == "error":
                return finding.text
    return N_("its validation did not come to its end")
