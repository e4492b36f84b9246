"""The page of statistics: what it is asked of, figures with their conventions, tables with bars, and heat maps."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from app.ui.views.backtest import Figure, Kpi, Months
from app.ui.views.history import RangeLink, Select
from app.ui.views.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsForm:
    """What is asked, as the address says. `hidden` are values that the form must send along; `clear` is the page without a filter."""

    modes: tuple[RangeLink, ...] = ()
    ranges: tuple[RangeLink, ...] = ()
    selects: tuple[Select, ...] = ()
    symbol: str = ""
    symbols: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    timezone: str = "UTC"
    hidden: tuple[tuple[str, str], ...] = ()
    clear: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLine:
    """One metric with how it is computed."""

    name: str
    figure: Figure
    convention: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPart:
    """Metrics that belong together; `missing` says why those of accounts are not there."""

    title: str
    rows: tuple[MetricLine, ...]
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """Trades that have something in common; `x` and `width` draw its bar in a picture 100 wide, whose middle is 0."""

    name: str
    href: str
    trades: int
    win_rate: Decimal
    profit: Decimal
    average: Decimal
    profit_factor: Decimal | None
    fees: Decimal
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """Trades by one thing. `why` is said where there is nothing to tell apart; `hidden` rows are left to the file."""

    key: str
    title: str
    head: str
    rows: tuple[GroupRow, ...] = ()
    why: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """What trades of one day or hour came to; `tone` is −4 (a great loss) to 4, None where there was none."""

    value: Decimal | None = None
    tone: int = 0
    trades: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """A day of the calendar, at its place in the picture."""

    day: date
    x: int
    y: int
    cell: HeatCell


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarLabel:
    """A month's name over its first week, or a weekday's beside its row."""

    x: int
    y: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The last 53 weeks of the time that is asked for, Monday first."""

    days: tuple[CalendarDay, ...] = ()
    labels: tuple[CalendarLabel, ...] = ()
    width: int = 0
    height: int = 0

    @property
    def traded(self) -> tuple[CalendarDay, ...]:
        """The days on which any trade ended, newest first."""
        return tuple(day for day in reversed(self.days) if day.cell.trades)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """One weekday and its 24 hours."""

    name: str
    cells: tuple[HeatCell, ...]
    total: HeatCell


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherQuote:
    """Trades in a currency without a rate."""

    quote: str
    decimals: int
    trades: int
    profit: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SlippageRow:
    """What fills cost beside the price of the decision; above 0 they were worse."""

    basis: str
    quote: str
    decimals: int
    orders: int
    cost: Decimal
    fraction: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What trading cost. `share` is what fees took of the profit before them; `unknown` are orders without a price to compare."""

    fees: Decimal = Decimal(0)
    share: Decimal | None = None
    unvalued: tuple[tuple[str, Decimal], ...] = ()
    slippage: tuple[SlippageRow, ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRow:
    """A bot beside its simulation."""

    name: str
    href: str
    quote: str
    decimals: int
    days: int
    trades: int
    shadow_trades: int
    profit: Decimal
    shadow_profit: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the trades came to, region of the page below its filter.

    `currency` is what amounts are in; `notes` say what was converted and what is left out. `curve` is where the chart's points are, and
    `is_of_accounts` what they are of. `export` are the files.
    """

    currency: str
    decimals: int
    kpis: tuple[Kpi, ...]
    metrics: tuple[MetricPart, ...]
    tables: tuple[GroupTable, ...]
    calendar: Calendar
    hours: tuple[HourRow, ...]
    costs: Costs
    curve: str
    is_of_accounts: bool
    months: Months = field(default_factory=Months)
    notes: tuple[str, ...] = ()
    others: tuple[OtherQuote, ...] = ()
    shadows: tuple[ShadowRow, ...] = ()
    shadow_why: str = ""
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoStatistics:
    """Why there is nothing to show, and what can be done: addresses with their words."""

    title: str
    words: str
    actions: tuple[RangeLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsView:
    """Page `pages/statistics/statistics.html`: either `found` or `nothing`."""

    shell: Shell
    form: StatisticsForm
    csv: str
    json: str
    found: Statistics | None = None
    nothing: NoStatistics | None = None
