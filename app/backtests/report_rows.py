"""The figures of a report as rows of a table, with their names and how they are written; names as on the pages (`ui.backtest_figures`)."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from app.backtests.report_parts import Report
from app.core import formatters
from app.core.i18n import N_, gettext
from app.domain.metrics import EquityFigures
from app.domain.metrics_trades import TradeNote

#: `signed` is an amount with its sign, `pct` a fraction with its sign, `share` one without; `span` is a time in ms.
Kind = Literal["signed", "money", "pct", "share", "ratio", "count", "span"]
Value = Decimal | float | int | None
Better = Literal["high", "low", ""]

REASON_WORDS: Final = {
    "exit": N_("Strategy's exit"),
    "reduce": N_("Partial exit"),
    "stop": N_("Stop"),
    "trailing": N_("Trailing stop"),
    "target": N_("Target"),
    "liquidation": N_("Liquidation"),
    "safeguard": N_("Safeguard"),
    "entry": N_("Entry"),
    "add": N_("Added"),
}
_OPEN: Final = N_("Open")
_UNREADABLE: Final = Decimal(10) ** 13


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `better` tells which of several runs has the best of it: the highest or the lowest.

    `held` is that of having bought and held; `has_held` is False where holding has no such figure.
    """

    label: str
    kind: Kind
    own: Value
    held: Value = None
    has_held: bool = False
    better: Better = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under one title; titles and labels are keys of the catalogue, but for names that are the same everywhere."""

    title: str
    rows: tuple[Row, ...]


def metric_groups(report: Report) -> tuple[Group, ...]:
    """Return all figures of a report, in the order of a table."""
    return (
        Group(N_("Return"), _returns(report)),
        Group(N_("Risk"), _risk(report)),
        Group(N_("Costs"), _costs(report)),
        Group(N_("Trades"), _trades(report)),
        Group(N_("On the way"), _excursions(report)),
    )


def shown(value: Value, kind: Kind, *, currency: str = "", language: str) -> str:
    """Return a figure as people read it; None is an em dash."""
    if value is None:
        return formatters.NONE
    if kind == "span":
        return lasted(int(value), language=language)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if abs(exact) >= _UNREADABLE:
        # A day's luck over a year, or a ratio of dust: nobody reads its digits.
        return f"{exact:.1e}".replace("-", formatters.MINUS)
    match kind:
        case "signed":
            return formatters.signed(exact, currency, language=language)
        case "money":
            return formatters.money(exact, currency, language=language)
        case "pct":
            return formatters.pct(exact, language=language)
        case "share":
            return formatters.share(exact, language=language)
        case "ratio":
            return formatters.number(exact, 2, language=language)
        case _:
            return formatters.number(exact, 0, language=language)


def lasted(span_ms: int, *, language: str) -> str:
    """Return a span of time in one unit: 45 s, 12 min, 30 h, 12 days."""
    hours = span_ms / 3_600_000
    if hours < 48:
        return formatters.seconds(span_ms / 1000, language=language)
    return formatters.days(round(hours / 24), language=language)


def reason_word(reason: str | None) -> str:
    """Return why a trade ended in the language spoken here; None is one that is still open."""
    return gettext(_OPEN if reason is None else REASON_WORDS.get(reason, reason))


def _both(report: Report, label: str, kind: Kind, name: str, better: Better = "high") -> Row:
    return Row(label, kind, _figure(report.strategy, name), _figure(report.held, name), has_held=True, better=better)


def _figure(figures: EquityFigures, name: str) -> Value:
    value: Value = getattr(figures, name)
    return value


def _returns(report: Report) -> tuple[Row, ...]:
    return (
        _both(report, N_("Net profit"), "signed", "net"),
        _both(report, N_("Total return"), "pct", "total_return"),
        _both(report, "CAGR", "pct", "cagr"),
        _both(report, N_("Best day"), "pct", "best_day"),
        _both(report, N_("Worst day"), "pct", "worst_day"),
        _both(report, N_("Days won"), "share", "winning_days"),
        Row(N_("Exposure"), "share", report.exposure, 1.0, has_held=True),
    )


def _risk(report: Report) -> tuple[Row, ...]:
    return (
        _both(report, N_("Max. drawdown"), "share", "max_drawdown", "low"),
        _both(report, N_("Duration of that drawdown"), "span", "max_drawdown_ms", "low"),
        _both(report, N_("Longest below a peak"), "span", "longest_drawdown_ms", "low"),
        _both(report, N_("Volatility, a year"), "share", "volatility", "low"),
        _both(report, "Sharpe", "ratio", "sharpe"),
        _both(report, "Sortino", "ratio", "sortino"),
        _both(report, "Calmar", "ratio", "calmar"),
        _both(report, N_("Recovery factor"), "ratio", "recovery_factor"),
    )


def _trades(report: Report) -> tuple[Row, ...]:
    trades = report.trades
    return (
        Row(N_("Closed trades"), "count", trades.closed),
        Row(N_("Still open"), "count", trades.open),
        Row(N_("Long trades"), "count", trades.long),
        Row(N_("Short trades"), "count", trades.short),
        Row(N_("Win rate"), "share", trades.win_rate, better="high"),
        Row(N_("Expectancy"), "signed", trades.expectancy, better="high"),
        Row(N_("Profit factor"), "ratio", trades.profit_factor, better="high"),
        Row(N_("Payoff"), "ratio", trades.payoff_ratio, better="high"),
        Row("SQN", "ratio", trades.sqn, better="high"),
        Row(N_("Average win"), "money", trades.average_win, better="high"),
        Row(N_("Average loss"), "money", trades.average_loss, better="low"),
        Row(N_("Average return"), "pct", trades.average_return, better="high"),
        Row(N_("Median return"), "pct", trades.median_return, better="high"),
        Row(N_("Best trade"), "signed", _profit(trades.best), better="high"),
        Row(N_("Worst trade"), "signed", _profit(trades.worst), better="high"),
        Row(N_("Average holding"), "span", trades.average_hold_ms),
        Row(N_("Median holding"), "span", trades.median_hold_ms),
        Row(N_("Longest holding"), "span", trades.longest_hold_ms),
        Row(N_("Most wins in a row"), "count", trades.longest_wins, better="high"),
        Row(N_("Most losses in a row"), "count", trades.longest_losses, better="low"),
        Row(N_("Orders denied as too small"), "count", report.denied, better="low"),
        Row(N_("Orders cut to the volume"), "count", report.capped, better="low"),
        Row(N_("Limits that were not reached"), "count", report.missed),
    )


def _profit(note: TradeNote | None) -> Decimal | None:
    return None if note is None else note.profit


def _excursions(report: Report) -> tuple[Row, ...]:
    found = report.trades.excursions
    if found is None:
        return ()
    return (
        Row(N_("Average MAE"), "pct", found.average_worst, better="high"),
        Row(N_("Average MFE"), "pct", found.average_best, better="high"),
        Row(N_("Worst of the winners, on average"), "pct", found.average_worst_of_won),
        Row(N_("Best of the losers, on average"), "pct", found.average_best_of_lost),
        Row(N_("Worst of most winners (19 of 20)"), "pct", found.worst_of_most_won),
        Row("MFE / MAE", "ratio", found.edge_ratio, better="high"),
    )


def _costs(report: Report) -> tuple[Row, ...]:
    costs = report.costs
    return (
        Row(N_("Gross profit before costs"), "signed", costs.gross, better="high"),
        Row(N_("Fees"), "money", costs.fees, better="low"),
        Row(N_("Slippage"), "money", costs.slippage, better="low"),
        Row(N_("Funding"), "signed", costs.funding, better="low"),
        Row(N_("Net profit"), "signed", costs.net, better="high"),
        Row(N_("Costs of the gross profit"), "share", costs.share_of_gross, better="low"),
        Row(N_("Turnover"), "money", costs.turnover),
    )
