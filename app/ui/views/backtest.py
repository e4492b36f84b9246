"""One backtest: what makes it repeatable, how far it is, and what came of it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.bot import FactLine
from app.ui.views.safeguards import TripLine
from app.ui.views.shell import Choice, Shell

#: How a figure is written: a fraction with a sign, one without, a plain number, money, a whole number, a time span in seconds.
FigureKind = Literal["signed", "share", "ratio", "money", "profit", "count", "span"]
Verdict = Literal["pass", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number and how it is written; None is shown as a dash."""

    kind: FigureKind
    value: Decimal | None
    is_best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric of each run; `explained` says what it is."""

    name: str
    figures: tuple[Figure, ...]
    explained: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGroup:
    """Metrics that belong together."""

    title: str
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One of the headline figures, with what stands beside it."""

    name: str
    figure: Figure
    beside: str = ""
    beside_figure: Figure | None = None
    is_toned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestHead:
    """What a run was made of: everything that it takes to repeat it. Fractions of one; `took_s` is None until it ended.

    `checksum` is of the candles, `code` of the source; both are short forms. `first_ms` and `last_ms` are the bounds of its open times.
    `funding` and `volume_share` are None where they play no part.
    """

    id: str
    number: int
    strategy: str
    strategy_id: str
    version: int
    state: str
    exchange: str
    exchange_name: str
    symbol: str
    timeframe: str
    period: str
    first_ms: int
    last_ms: int
    capital: Decimal
    quote: str
    taker: Decimal
    maker: Decimal
    slippage: Decimal
    created_at: datetime
    parameters: tuple[tuple[str, str], ...] = ()
    volume_share: Decimal | None = None
    funding: Decimal | None = None
    has_detail: bool = False
    candles: Decimal | None = None
    took_s: float | None = None
    code: str = ""
    checksum: str = ""
    engine: str = ""
    seed: int | None = None
    account: str = ""
    tick: str = ""
    step_ms: int = 0
    language: str = "en"
    note: str = ""
    others: tuple[str, ...] = ()
    safeguards: tuple[FactLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestProgress:
    """How far a run is, region of `fragments/backtests/_progress.html`; figures are None until they are known."""

    number: int
    state: str
    phase: str = ""
    pct: int = 0
    bars_per_s: Decimal | None = None
    eta_s: float | None = None
    ahead: int | None = None
    is_stopping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestFailure:
    """Why there is no result; `line` is of the strategy's source, 0 where the reason lies elsewhere."""

    sentence: str
    line: int = 0
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One round trip. `t_in` and `t_out` are milliseconds of its candles, for the chart; prices as plain text likewise."""

    number: int
    side: Literal["long", "short"]
    entered_at: datetime
    left_at: datetime
    t_in: int
    t_out: int
    entry_price: Decimal
    exit_price: Decimal
    quantity: Decimal
    profit: Decimal
    fraction: Decimal
    held_s: float
    reason: str
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeList:
    """Trades in one order, region of `fragments/backtests/_trades.html`; `next` is where more are, "" at the end."""

    number: int
    sort: Literal["recent", "best", "worst"] = "recent"
    rows: tuple[TradeRow, ...] = ()
    total: int = 0
    next: str = ""
    quote: str = ""
    tick: Decimal | None = None
    place: str = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthCell:
    """The return of a month or a year; `tone` is −4 (a great loss) to 4, None where there was none."""

    value: Decimal | None = None
    tone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class YearRow:
    """Twelve months and their year."""

    year: int
    months: tuple[MonthCell, ...]
    total: MonthCell


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """The monthly table; `names` are the months' short names."""

    names: tuple[str, ...] = ()
    rows: tuple[YearRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBar:
    """One bar of the distribution in the picture's own units; `low` and `high` are its bounds, fractions."""

    x: float
    y: float
    width: float
    height: float
    low: Decimal
    high: Decimal
    count: int
    is_gain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramLabel:
    """A return under the distribution."""

    x: float
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The distribution of the trades' returns; `zero` is None where nothing lies on both sides of it."""

    bars: tuple[HistogramBar, ...] = ()
    labels: tuple[HistogramLabel, ...] = ()
    zero: float | None = None
    trades: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRow:
    """What trades that ended for one reason came to."""

    reason: str
    count: int
    win_rate: Decimal | None
    profit: Decimal
    mean: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One step from gross to net, in quote units; `share` is of the gross profit, None where there was none."""

    name: str
    amount: Decimal
    share: Decimal | None = None
    is_total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One of the quality checks: what it looked at, and what it found."""

    title: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """A stretch without candles."""

    since: datetime
    until: datetime
    candles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownRow:
    """A time below a peak; `recovered_at` is None where the peak was not reached again. `depth` is a positive fraction."""

    depth: Decimal
    peak_at: datetime
    trough_at: datetime
    recovered_at: datetime | None
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOutput:
    """What the strategy printed, and where it failed; region of `fragments/backtests/_output.html`."""

    text: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """What came of it. `notes` are sentences; `columns` the heads of the metrics."""

    kpis: tuple[Kpi, ...]
    columns: tuple[str, ...]
    groups: tuple[MetricGroup, ...]
    trades: TradeList
    months: Months = field(default_factory=Months)
    histogram: Histogram = field(default_factory=Histogram)
    reasons: tuple[ReasonRow, ...] = ()
    costs: tuple[CostRow, ...] = ()
    checks: tuple[Check, ...] = ()
    drawdowns: tuple[DrawdownRow, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    gap_candles: int = 0
    notes: tuple[str, ...] = ()
    is_part: bool = False
    trips: tuple[TripLine, ...] = ()
    trip_count: int = 0
    refused: int = 0
    limited: int = 0

    @property
    def passed(self) -> int:
        """Return how many checks found nothing."""
        return sum(check.verdict == "pass" for check in self.checks)

    @property
    def warned(self) -> int:
        """Return how many checks found something."""
        return sum(check.verdict in ("warn", "fail") for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestView:
    """The page of one backtest. `others` can be laid beside it; `beside` is the number of the one that is, 0 for none."""

    shell: Shell
    head: BacktestHead
    progress: BacktestProgress | None = None
    failure: BacktestFailure | None = None
    result: BacktestResult | None = None
    output: BacktestOutput = field(default_factory=BacktestOutput)
    others: tuple[Choice, ...] = ()
    beside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestQuestion:
    """Fragment `_delete.html`: the question before a backtest is deleted."""

    number: int
    strategy: str
