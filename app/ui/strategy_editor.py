"""What the page of one strategy shows of its rows and of what a validation found."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from app.core.i18n import N_
from app.core.sentences import said_with
from app.domain.candles import LIVE_TIMEFRAMES, from_milliseconds
from app.sandbox.messages import Described, Parameter, Value
from app.strategies.models import Strategy, StrategyVersion
from app.strategies.report import Found, Outcome, Report, Step, StepReport, from_stored
from app.strategies.templates import templates
from app.ui.views import (
    Choice,
    EditorState,
    MarketChoice,
    OutputText,
    ParameterField,
    ParameterForm,
    ProblemList,
    ProblemRow,
    StepRow,
    Validity,
    VersionList,
    VersionRow,
)
from app.ui.views.strategy_editor import StepState

STEP_TITLES: Final = {
    Step.SYNTAX: N_("Syntax"),
    Step.LINT: N_("Usual mistakes"),
    Step.CONTRACT: N_("What a strategy must have"),
    Step.DRY_RUN: N_("Dry run on stored candles"),
    Step.LOOK_AHEAD: N_("Look-ahead"),
    Step.WARM_UP: N_("Warm-up"),
    Step.VALUES: N_("Values of its series"),
    Step.SPEED: N_("Speed"),
}
_STATES: Final[dict[Outcome, StepState]] = {
    Outcome.PASSED: "passed",
    Outcome.WARNED: "warned",
    Outcome.FAILED: "failed",
    Outcome.SKIPPED: "skipped",
}
_ORDER: Final = {"error": 0, "warning": 1, "note": 2}


def validity_of(version: StrategyVersion) -> Validity:
    """Return what is known of a version."""
    if version.is_valid:
        return "valid"
    if version.has_look_ahead:
        return "look_ahead"
    return "unknown" if version.validated_at is None else "invalid"


def validity_in(report: Report) -> Validity:
    """Return what a whole validation found."""
    if report.is_valid:
        return "valid"
    return "look_ahead" if report.has_look_ahead else "invalid"


def editor_state(strategy: Strategy, newest: StrategyVersion, *, error: str = "", report: Report | None = None) -> EditorState:
    """Return what the head says: of the text that `report` is of, or else of the newest version, and nothing of a draft."""
    return EditorState(
        id=str(strategy.id),
        number=newest.number,
        saved_at=newest.created_at,
        draft_at=strategy.draft_saved_at,
        revision=strategy.draft_revision,
        validity=validity_of(newest) if report is None else validity_in(report),
        is_unknown=report is None and strategy.draft is not None,
        error=error,
    )


def version_list(strategy: Strategy, versions: Sequence[StrategyVersion]) -> VersionList:
    """Return the versions and the templates."""
    return VersionList(
        id=str(strategy.id),
        rows=tuple(
            VersionRow(
                number=one.number,
                created_at=one.created_at,
                validity=validity_of(one),
                note=one.note,
                is_used=one.first_used_at is not None,
            )
            for one in versions
        ),
        templates=tuple(Choice(value=one.name, label=one.title) for one in templates()),
    )


def market_choice(strategy: Strategy, symbols: Sequence[str]) -> MarketChoice:
    """Return the symbols that are at hand, the strategy's own among them."""
    chosen = strategy.symbol or (symbols[0] if symbols else "")
    offered = (*symbols, *([chosen] if chosen and chosen not in symbols else []))
    timeframes = tuple(timeframe.value for timeframe in LIVE_TIMEFRAMES)
    return MarketChoice(symbols=tuple(offered), symbol=chosen, timeframes=timeframes, timeframe=strategy.timeframe or "")


def report_of(version: StrategyVersion) -> Report | None:
    """Return what the last validation of a version said."""
    return None if version.report is None else from_stored(version.report)


# ---- what a validation found


def step_row(report: StepReport) -> StepRow:
    """Return a step that has ended."""
    is_run = report.outcome is not Outcome.SKIPPED
    seconds = report.seconds if is_run else None
    return StepRow(name=report.step.value, title=STEP_TITLES[report.step], state=_STATES[report.outcome], seconds=seconds)


def running_row(step: Step) -> StepRow:
    """Return a step that has begun."""
    return StepRow(name=step.value, title=STEP_TITLES[step], state="running")


def step_rows(report: Report | None) -> tuple[StepRow, ...]:
    """Return all steps: as the last validation left them, and those that it did not take as waiting."""
    done = {} if report is None else {one.step: step_row(one) for one in report.steps}
    return tuple(done.get(step) or StepRow(name=step.value, title=STEP_TITLES[step]) for step in Step)


def problem_list(report: Report | None, *, checked_at: datetime | None) -> ProblemList:
    """Return all findings, what keeps it from trading first, in the language spoken here."""
    if report is None:
        return ProblemList()
    rows = [problem_row(found) for step in report.steps for found in step.findings]
    return ProblemList(rows=tuple(sorted(rows, key=lambda row: _ORDER[row.severity])), checked_at=checked_at)


def problem_row(found: Found) -> ProblemRow:
    """Return one finding."""
    message = said_with(found.message, found.values)
    return ProblemRow(
        severity=found.severity,
        message=message,
        code=found.code,
        line=found.line,
        column=found.column,
        attribute="" if found.attribute in message else found.attribute,
        at=None if found.at_ms is None or "candle" in found.values else from_milliseconds(found.at_ms),
    )


def output_of(report: Report | None) -> OutputText:
    """Return what the strategy printed, step by step, and where it failed."""
    steps = () if report is None else report.steps
    return OutputText(
        text="\n".join(step.output.rstrip("\n") for step in steps if step.output),
        traceback=next((step.traceback for step in steps if step.traceback), ""),
    )


# ---- parameters


def parameter_form(
    described: Described | None, *, typed: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None
) -> ParameterForm:
    """Return the parameters as fields, with what was typed in place of the defaults."""
    if described is None:
        return ParameterForm()
    rows = tuple(_field(one, (typed or {}).get(one.name), (errors or {}).get(one.name, "")) for one in described.parameters)
    return ParameterForm(rows=rows, is_described=True)


def _field(parameter: Parameter, typed: str | None, error: str) -> ParameterField:
    default = written(parameter.default)
    return ParameterField(
        name=parameter.name,
        kind=parameter.kind,
        value=default if typed is None else typed,
        default=default,
        low=written(parameter.low),
        high=written(parameter.high),
        step=written(parameter.step),
        choices=tuple(parameter.choices),
        help=parameter.help,
        is_optional=parameter.is_optional,
        error=error,
    )


def written(value: Value) -> str:
    """Return a value as it is typed into its field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


class NotAValue(ValueError):
    """What was typed is no value of its parameter; says why, a sentence."""


def read_value(parameter: Parameter, typed: str) -> Value:
    """Return the value that was typed into a parameter's field.

    Raises:
        NotAValue: it is none.
    """
    text = typed.strip().replace(",", ".")
    if parameter.kind == "bool":
        return text == "true"
    if parameter.kind == "choice":
        if typed not in parameter.choices:
            raise NotAValue(N_("That is none of the choices."))
        return typed
    if not text:
        if parameter.is_optional:
            return None
        return parameter.default
    return _number(parameter, text)


def _number(parameter: Parameter, text: str) -> int | float:
    try:
        value = int(text) if parameter.kind == "int" else float(text)
    except ValueError as error:
        raise NotAValue(N_("That is not a whole number.") if parameter.kind == "int" else N_("That is not a number.")) from error
    low, high = parameter.low, parameter.high
    if (low is not None and value < low) or (high is not None and value > high) or not -1e15 <= value <= 1e15:
        raise NotAValue(N_("That is outside its bounds."))
    return value
