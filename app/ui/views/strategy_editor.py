"""The page of one strategy: its source, its versions, what a validation found, its parameters and a quick backtest."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from app.ui.views.assistant import AssistantPanel
from app.ui.views.shell import Choice, Shell
from app.ui.views.strategies import Validity

StepState = Literal["waiting", "running", "passed", "warned", "failed", "skipped"]
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorState:
    """What the page's head says of the text; region of `fragments/strategies/_state.html`.

    `number` is the newest version, 0 before the first. `revision` is the draft's, which whoever stores the next one names.
    `draft_at` is when a draft that is no version yet was stored; `is_unknown` when the text is one that `validity` says nothing of.
    """

    number: int = 0
    saved_at: datetime | None = None
    draft_at: datetime | None = None
    revision: int = 0
    validity: Validity = "unknown"
    is_unknown: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version; `is_used` when something ran it that names it for ever."""

    number: int
    created_at: datetime
    validity: Validity = "unknown"
    note: str = ""
    is_used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionList:
    """All versions, newest first; region of `fragments/strategies/_versions.html`. `templates` are sources to begin with."""

    id: str
    rows: tuple[VersionRow, ...] = ()
    templates: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step of a validation, region of `fragments/strategies/_step.html`; `seconds` is None until it ended."""

    name: str
    title: str
    state: StepState = "waiting"
    seconds: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRow:
    """One thing that was found. Lines and columns count from 1, 0 is none; `at` is the candle's open time."""

    severity: Severity
    message: str
    code: str = ""
    line: int = 0
    column: int = 0
    attribute: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemList:
    """What the last validation found, region of `fragments/strategies/_problems.html`. `checked_at` is None before the first.

    `failure` says why it did not come to its end.
    """

    rows: tuple[ProblemRow, ...] = ()
    checked_at: datetime | None = None
    failure: str = ""

    @property
    def count(self) -> int:
        """Return how many of them are more than a note."""
        return sum(row.severity != "note" for row in self.rows)

    @property
    def errors(self) -> int:
        """Return how many of them keep the strategy from trading."""
        return sum(row.severity == "error" for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputText:
    """What the user's code printed, region of `fragments/strategies/_output.html`."""

    text: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterField:
    """One `param` as a form shows it; every value as it is typed. `kind` as the strategy declares it."""

    name: str
    kind: Literal["int", "float", "bool", "choice"]
    value: str
    default: str
    low: str = ""
    high: str = ""
    step: str = ""
    choices: tuple[str, ...] = ()
    help: str = ""
    is_optional: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterForm:
    """The parameters of what was described last, region of `fragments/strategies/_parameters.html`."""

    rows: tuple[ParameterField, ...] = ()
    is_described: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialNumbers:
    """What a quick backtest came to; fractions of one, money in quote. `costs` are fees and slippage.

    `is_open` when the last trade was still open, `is_generated` when the candles were made up.
    """

    symbol: str
    timeframe: str
    candles: int
    since: datetime
    until: datetime
    trades: int
    net: Decimal
    hold: Decimal
    drawdown: Decimal
    win_rate: Decimal | None
    profit_factor: Decimal | None
    exposure: Decimal
    costs: Decimal
    denied: int
    quote: str
    has_few_trades: bool = False
    is_open: bool = False
    is_generated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """A quick backtest, region of `fragments/strategies/_trial.html`: none yet, one that failed, or its numbers and its chart.

    `chart` is what the chart's script reads: candles, marks of trades, equity, and what was held. `notes` are sentences.
    """

    numbers: TrialNumbers | None = None
    chart: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketChoice:
    """The market that a validation and a quick backtest look at, region of `fragments/strategies/_market.html`.

    An empty timeframe is the strategy's own.
    """

    symbols: tuple[str, ...] = ()
    symbol: str = ""
    timeframes: tuple[str, ...] = ()
    timeframe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyEditorView:
    """The page. `source` is the draft if there is one, else the newest version; `completions` is what the editor offers while typing."""

    shell: Shell
    id: str
    name: str
    source: str
    state: EditorState
    versions: VersionList
    market: MarketChoice
    steps: tuple[StepRow, ...] = ()
    problems: ProblemList = field(default_factory=ProblemList)
    output: OutputText = field(default_factory=OutputText)
    parameters: ParameterForm = field(default_factory=ParameterForm)
    trial: TrialView = field(default_factory=TrialView)
    completions: dict[str, Any] = field(default_factory=dict)
    longest_source: int = 131_072

    @property
    def assistant(self) -> AssistantPanel:
        """Return the panel beside it, which fetches the conversation itself."""
        return AssistantPanel(strategy_id=self.id)
