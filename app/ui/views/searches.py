"""Pages of searches for better parameters, and of how robust a backtest is."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.backtests import BacktestForm
from app.ui.views.shell import Choice, Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRow:
    """One search of the list. `score` is the best one's; None while there is none."""

    number: int
    strategy: str
    version: int
    market: str
    period: str
    method: str
    objective: str
    tried: int
    wanted: int
    score: Decimal | None
    state: str
    created_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchList(Region[SearchRow]):
    """The list, region of `fragments/searches/_list.html`; `next` is where the rows behind these are, "" at the end."""

    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchesView:
    """The page of all searches."""

    shell: Shell
    searches: SearchList


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisField:
    """One parameter in the form: it varies from `low` to `high` by `step`, or has one `value`. All as they are typed."""

    name: str
    kind: Literal["int", "float", "bool", "choice"]
    is_varied: bool
    low: str = ""
    high: str = ""
    step: str = ""
    value: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    bounds: str = ""
    help: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFields:
    """What else is typed into the form of a search."""

    method: str = "tpe"
    objective: str = "sharpe"
    trials: str = "50"
    least_trades: str = "10"
    test_percent: str = "30"
    backtest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchForm:
    """The form, region of `fragments/searches/_form.html`. `points` is how many sets of parameters there are; None where not known."""

    base: BacktestForm
    fields: SearchFields
    axes: tuple[AxisField, ...] = ()
    methods: tuple[Choice, ...] = ()
    objectives: tuple[Choice, ...] = ()
    points: Decimal | None = None
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFormView:
    """The page of the form."""

    shell: Shell
    form: SearchForm


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFigures:
    """What a trial came to in one stretch; fractions of one."""

    net: Decimal
    sharpe: Decimal | None
    max_drawdown: Decimal
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial; `values` are those of the parameters that vary, in their order."""

    number: int
    values: tuple[str, ...]
    score: Decimal | None
    train: TrialFigures | None
    test: TrialFigures | None
    problem: str = ""
    line: int = 0
    is_best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialList:
    """Trials of search `number` in one order. `names` are the parameters that vary; `is_cut`: there are more than are shown."""

    number: int
    rows: tuple[TrialRow, ...]
    names: tuple[str, ...]
    has_test: bool
    is_best_first: bool
    total: int
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceRow:
    """How much one parameter had to do with being among the best, 0 to 1."""

    name: str
    share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One cell; `shade` 0 (lowest) to 8. `is_best`: the best trial lies here; `is_current`: the version's own values do."""

    score: Decimal | None
    shade: int
    trials: int
    is_best: bool = False
    is_current: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRow:
    """One row of the map."""

    label: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """The map of two parameters; `names` are all that can be chosen."""

    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLive:
    """What changes while a search goes on, region of `fragments/searches/_live.html`.

    `phase` is what happens now, in words; `speed` trials a second; `left_s` seconds until the end. `more` is how many further trials the
    button asks for, 0 where nothing is left to try.
    """

    number: int
    state: str
    phase: str
    tried: int
    wanted: int
    speed: Decimal | None
    left_s: Decimal | None
    best: TrialRow | None
    score: Decimal | None
    objective: str
    error: str
    trials: TrialList
    importance: tuple[ImportanceRow, ...]
    heat: Heat | None
    more: int

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to it until somebody asks."""
        return self.state not in ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHead:
    """What a search was made of."""

    id: str
    number: int
    strategy: str
    strategy_id: str
    version: int
    symbol: str
    timeframe: str
    exchange: str
    period: str
    test_share: Decimal
    method: str
    objective: str
    least_trades: int
    points: Decimal
    fixed: tuple[tuple[str, str], ...]
    seed: int
    engine: str
    checksum: str
    created_at: datetime
    has_draft: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchView:
    """The page of one search."""

    shell: Shell
    head: SearchHead
    live: SearchLive


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuestion:
    """Fragment `fragments/searches/_delete.html`: the question before a search is deleted."""

    number: int
    strategy: str


# ---- how robust a backtest is


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One answer in plain words."""

    grade: Literal["pass", "warn", "fail", "unknown"]
    title: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """One window: days as they are read, returns of a year, and what was chosen."""

    trained: str
    tested: str
    train: Decimal
    test: Decimal
    trades: int
    chosen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRow:
    """Percentiles of one figure beside what came: one in twenty below, the middle, one in twenty above. `is_return`: it has a sign."""

    name: str
    is_return: bool
    actual: Decimal
    low: Decimal
    middle: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FanLine:
    """One curve of the fan, as a path of SVG; `kind` names its percentile."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """The answers, and what they are made of."""

    verdicts: tuple[VerdictRow, ...]
    windows: tuple[WindowRow, ...]
    spreads: tuple[SpreadRow, ...]
    fan: tuple[FanLine, ...]
    fan_band: str
    fan_low: Decimal | None
    fan_high: Decimal | None
    varied: tuple[str, ...]
    sets: int
    searched: int
    runs: Decimal
    sharpe: Decimal | None
    expected_best: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessRegion:
    """How far the question is answered, region of `fragments/searches/_robustness.html`. `state` "" means that nobody asked yet."""

    number: int
    state: str
    phase: str = ""
    pct: int | None = None
    error: str = ""
    answered_at: datetime | None = None
    robust: Robust | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether it is being answered."""
        return self.state in ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessView:
    """The page that answers how robust a backtest is."""

    shell: Shell
    id: str
    number: int
    strategy: str
    market: str
    region: RobustnessRegion
