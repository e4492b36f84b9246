"""The figures of backtests as their pages show them: headline, metrics of several runs side by side, months, distribution, costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from app.backtests.report_parts import Report
from app.core.i18n import N_, gettext
from app.domain.metrics import EquityFigures
from app.domain.metrics_tables import Distribution, YearReturns
from app.domain.metrics_trades import TradeFigures
from app.ui.views.backtest import (
    CostRow,
    Figure,
    FigureKind,
    Histogram,
    HistogramBar,
    HistogramLabel,
    Kpi,
    MetricGroup,
    MetricRow,
    MonthCell,
    ReasonRow,
    YearRow,
)

#: Bounds of a month's tone: below the first it is nothing to speak of.
_TONES: Final = (0.0005, 0.01, 0.04, 0.10)
#: The picture of a distribution, in its own units.
_WIDTH: Final = 360.0
_TOP: Final = 6.0
_BASE: Final = 98.0
_LABELS: Final = 6
_Number = float | int | Decimal | None


def decimal(value: _Number) -> Decimal | None:
    """Return a number as the formatters take it; None stays None."""
    if value is None or isinstance(value, Decimal):
        return value
    return Decimal(repr(value))


def figure(kind: FigureKind, value: _Number) -> Figure:
    """Return a number and how it is written; a span is given in milliseconds."""
    if kind == "span" and value is not None:
        value = float(value) / 1000
    return Figure(kind=kind, value=decimal(value))


# ---- headline


def kpis(report: Report) -> tuple[Kpi, ...]:
    """Return the eight headline figures, each with what stands beside it."""
    found, held = report.kpis, gettext("Held")
    return (
        Kpi(
            name=gettext("Net profit"), figure=figure("signed", found.net_return), beside_figure=figure("profit", found.net), is_toned=True
        ),
        Kpi(name="CAGR", figure=figure("signed", found.cagr), beside=held, beside_figure=figure("signed", found.held_cagr)),
        Kpi(
            name=gettext("Max. drawdown"),
            figure=figure("share", found.max_drawdown),
            beside=held,
            beside_figure=figure("share", found.held_max_drawdown),
        ),
        Kpi(name="Sharpe", figure=figure("ratio", found.sharpe), beside=held, beside_figure=figure("ratio", found.held_sharpe)),
        Kpi(
            name=gettext("Profit factor"),
            figure=figure("ratio", found.profit_factor),
            beside=gettext("Payoff"),
            beside_figure=figure("ratio", found.payoff_ratio),
        ),
        Kpi(name=gettext("Win rate"), figure=figure("share", found.win_rate), beside=f"{found.won} / {found.closed}"),
        Kpi(
            name=gettext("Trades"),
            figure=figure("count", found.closed + found.open),
            beside=gettext("held on average"),
            beside_figure=figure("span", found.average_hold_ms),
        ),
        Kpi(
            name=gettext("Exposure"),
            figure=figure("share", found.exposure),
            beside=gettext("Buy and hold"),
            beside_figure=figure("signed", found.held_return),
        ),
    )


# ---- metrics side by side

_Better = Literal["high", "low", ""]


@dataclass(frozen=True, slots=True)
class _Metric:
    """How one metric is found: in an equity, or in trades, which buying and holding has none of."""

    name: str
    kind: FigureKind
    of_equity: Callable[[EquityFigures], _Number] | None = None
    of_trades: Callable[[TradeFigures], _Number] | None = None
    better: _Better = "high"
    explained: str = ""


_RETURN: Final = (
    _Metric(N_("Net profit"), "signed", lambda equity: equity.total_return),
    _Metric("CAGR", "signed", lambda equity: equity.cagr, explained=N_("Growth a year that would have led to the same end.")),
    _Metric(N_("Volatility, a year"), "share", lambda equity: equity.volatility, better="low"),
    _Metric(N_("Best day"), "signed", lambda equity: equity.best_day),
    _Metric(N_("Worst day"), "signed", lambda equity: equity.worst_day),
    _Metric(N_("Days won"), "share", lambda equity: equity.winning_days),
)
_RISK: Final = (
    _Metric(N_("Max. drawdown"), "share", lambda equity: equity.max_drawdown, better="low"),
    _Metric(N_("Longest below a peak"), "span", lambda equity: equity.longest_drawdown_ms, better="low"),
    _Metric("Sharpe", "ratio", lambda equity: equity.sharpe, explained=N_("Mean daily return over its deviation, for a year of 365 days.")),
    _Metric("Sortino", "ratio", lambda equity: equity.sortino, explained=N_("As Sharpe, over the deviation of losing days.")),
    _Metric("Calmar", "ratio", lambda equity: equity.calmar, explained=N_("CAGR over the deepest drawdown.")),
    _Metric(N_("Recovery factor"), "ratio", lambda equity: equity.recovery_factor),
)
_TRADES: Final = (
    _Metric(N_("Closed trades"), "count", of_trades=lambda trades: trades.closed, better=""),
    _Metric(N_("Win rate"), "share", of_trades=lambda trades: trades.win_rate),
    _Metric(N_("Profit factor"), "ratio", of_trades=lambda trades: trades.profit_factor, explained=N_("What was won over what was lost.")),
    _Metric(N_("Payoff"), "ratio", of_trades=lambda trades: trades.payoff_ratio, explained=N_("Average win over average loss.")),
    _Metric(N_("Expectancy"), "profit", of_trades=lambda trades: trades.expectancy, explained=N_("Mean profit of a trade.")),
    _Metric(
        "SQN",
        "ratio",
        of_trades=lambda trades: trades.sqn,
        explained=N_("Mean profit of a trade over its deviation, times the root of their number."),
    ),
    _Metric(N_("Average return"), "signed", of_trades=lambda trades: trades.average_return),
    _Metric(N_("Average win"), "money", of_trades=lambda trades: trades.average_win),
    _Metric(N_("Average loss"), "money", of_trades=lambda trades: trades.average_loss, better="low"),
    _Metric(N_("Most losses in a row"), "count", of_trades=lambda trades: trades.longest_losses, better="low"),
    _Metric(N_("Average holding"), "span", of_trades=lambda trades: trades.average_hold_ms, better=""),
    _Metric(N_("Longest holding"), "span", of_trades=lambda trades: trades.longest_hold_ms, better=""),
    _Metric(
        N_("Average MAE"),
        "signed",
        of_trades=lambda trades: None if trades.excursions is None else trades.excursions.average_worst,
        explained=N_("How far trades went against you on their way."),
    ),
    _Metric(
        N_("Average MFE"),
        "signed",
        of_trades=lambda trades: None if trades.excursions is None else trades.excursions.average_best,
        explained=N_("How far trades went for you on their way."),
    ),
)
_GROUPS: Final = ((N_("Return"), _RETURN), (N_("Risk"), _RISK), (N_("Trades"), _TRADES))


def metric_groups(reports: Sequence[Report], *, has_held: bool = True) -> tuple[MetricGroup, ...]:
    """Return the metrics of runs side by side, the best of each marked; `has_held`: the last column is having held in the first's time."""
    held = reports[0].held if has_held else None
    return tuple(MetricGroup(title=gettext(title), rows=tuple(_row(one, reports, held) for one in metrics)) for title, metrics in _GROUPS)


def _row(metric: _Metric, reports: Sequence[Report], held: EquityFigures | None) -> MetricRow:
    values: list[_Number] = []
    if metric.of_trades is not None:
        values = [metric.of_trades(report.trades) for report in reports] + ([] if held is None else [None])
    elif metric.of_equity is not None:
        values = [metric.of_equity(figures) for figures in (*(report.strategy for report in reports), *([] if held is None else [held]))]
    best = _best(values, metric.better)
    figures = (figure(metric.kind, value) for value in values)
    return MetricRow(
        name=gettext(metric.name),
        explained=gettext(metric.explained) if metric.explained else "",
        figures=tuple(replace(one, is_best=place == best) for place, one in enumerate(figures)),
    )


def _best(values: Sequence[_Number], better: _Better) -> int | None:
    """Return where the best is; None where nothing is, where only one says anything, or where all say the same."""
    known = [(Decimal(repr(float(value))), place) for place, value in enumerate(values) if value is not None]
    if not better or len(known) < 2 or len({value for value, _ in known}) == 1:
        return None
    choose = max if better == "high" else min
    return choose(known, key=lambda one: one[0])[1]


# ---- tables and pictures


def year_rows(years: Sequence[YearReturns]) -> tuple[YearRow, ...]:
    """Return the monthly table."""
    return tuple(YearRow(year=one.year, months=tuple(_month(value) for value in one.months), total=_month(one.total)) for one in years)


def _month(value: float | None) -> MonthCell:
    if value is None:
        return MonthCell()
    size = sum(abs(value) >= bound for bound in _TONES)
    return MonthCell(value=decimal(value), tone=size if value > 0 else -size)


def histogram(found: Distribution | None, trades: int) -> Histogram:
    """Return the distribution as a picture."""
    if found is None or not found.counts:
        return Histogram()
    edges, highest = found.edges, max(found.counts) or 1
    span = edges[-1] - edges[0]
    width = _WIDTH / len(found.counts)
    bars = []
    for place, count in enumerate(found.counts):
        height = (_BASE - _TOP) * count / highest
        bars.append(
            HistogramBar(
                x=round(place * width + 0.6, 2),
                y=round(_BASE - height, 2),
                width=round(max(width - 1.2, 0.5), 2),
                height=round(height, 2),
                low=Decimal(repr(edges[place])),
                high=Decimal(repr(edges[place + 1])),
                count=count,
                is_gain=edges[place] >= 0,
            )
        )
    zero = round(-edges[0] / span * _WIDTH, 2) if edges[0] < 0 < edges[-1] else None
    return Histogram(bars=tuple(bars), labels=_labels(edges), zero=zero, trades=trades)


def _labels(edges: Sequence[float]) -> tuple[HistogramLabel, ...]:
    every = max(1, -(-(len(edges) - 1) // _LABELS))
    start = edges.index(0.0) % every if 0.0 in edges else 0
    span = edges[-1] - edges[0]
    # A label in the very corner would be cut.
    shown = [edge for edge in edges[start::every] if 0.04 < (edge - edges[0]) / span < 0.96]
    return tuple(HistogramLabel(x=round((edge - edges[0]) / span * _WIDTH, 2), value=Decimal(repr(edge))) for edge in shown)


def reason_rows(report: Report) -> tuple[ReasonRow, ...]:
    """Return what trades came to by why they ended."""
    return tuple(
        ReasonRow(reason=one.reason, count=one.trades, win_rate=decimal(one.win_rate), profit=one.profit, mean=one.average)
        for one in report.by_exit_reason
    )


def cost_rows(report: Report) -> tuple[CostRow, ...]:
    """Return the way from gross to net."""
    costs = report.costs

    def row(name: str, amount: Decimal, *, is_total: bool = False) -> CostRow:
        share = abs(amount) / costs.gross if costs.gross > 0 and not is_total else None
        return CostRow(name=name, amount=amount, share=share, is_total=is_total)

    rows = [row(gettext("Gross"), costs.gross, is_total=True), row(gettext("Fees"), -costs.fees)]
    rows.append(row(gettext("Slippage"), -costs.slippage))
    if costs.funding:
        rows.append(row(gettext("Funding"), -costs.funding))
    return (*rows, row(gettext("Net"), costs.net, is_total=True))
