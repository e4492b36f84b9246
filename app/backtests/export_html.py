"""The report of a backtest as one HTML file: no script, no other file, nothing asked of any server; light or dark as its reader's machine.

The words are those of the catalogue, times are UTC, and everything that strangers wrote is escaped by the template.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from babel.dates import get_month_names
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.backtests.export_charts import Chart, Histogram, drawdown_chart, equity_chart, histogram
from app.backtests.export_run import ExportedRun, RunHeader
from app.backtests.quality_words import in_words, title_of, told
from app.backtests.report_parts import Report
from app.backtests.report_rows import Row, lasted, metric_groups, reason_word, shown
from app.core import formatters, i18n
from app.core.i18n import N_, gettext
from app.core.paths import resource
from app.domain.candles import from_milliseconds
from app.domain.metrics import amount
from app.domain.metrics_trades import trade_returns
from app.domain.outcome import NO_REASON, REASONS

#: A title, whether there is a column of having held, and rows of (label, own, held).
Table = tuple[str, bool, tuple[tuple[str, str, str], ...]]

#: Trades that the file lists; more would make it slow to open.
MOST_TRADES: Final = 500
MOST_GAPS: Final = 10
_VERDICTS: Final = {"pass": N_("Passed"), "warn": N_("Careful"), "fail": N_("Failed")}
_STATES: Final = {"completed": N_("Completed"), "canceled": N_("Canceled")}
_PRICE_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its name, what stands under it, and `up` or `down` where it has a direction."""

    label: str
    value: str
    under: str = ""
    trend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the template shows; texts are in the reader's language, ready to be shown."""

    language: str
    style: Markup
    title: str
    state: str
    note: str
    facts: tuple[Figure, ...]
    kpis: tuple[Figure, ...]
    equity: Chart
    drawdown: Chart
    groups: tuple[Table, ...]
    quote: str
    months: tuple[str, ...]
    years: tuple[tuple[int, tuple[Figure, ...]], ...]
    histogram: Histogram | None
    outliers: int
    reasons: tuple[tuple[str, ...], ...]
    drawdowns: tuple[tuple[str, ...], ...]
    checks: tuple[tuple[str, str, str, str], ...]
    trips: tuple[tuple[str, str], ...]
    gaps: tuple[tuple[str, str, str], ...]
    missing: int
    trades: tuple[tuple[Figure, ...], ...]
    trade_count: int


def html_report(run: ExportedRun, *, language: str) -> str:
    """Return the report as a whole HTML document in that language."""
    with i18n.use_language(language):
        spoken = i18n.current_language()
        return _environment().get_template("exports/backtest.html").render(view=_view(run, spoken))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(resource("templates")), autoescape=True, undefined=StrictUndefined, extensions=["jinja2.ext.i18n"],
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(i18n.gettext, i18n.ngettext, newstyle=True)  # type: ignore[attr-defined]  # of the extension
    return environment


def _view(run: ExportedRun, language: str) -> View:
    report, header = run.report, run.header
    style = (resource("templates") / "exports" / "backtest.css").read_text()
    return View(
        language=language,
        style=Markup("<style>{}</style>").format(Markup(style)),  # noqa: S704 — a file of ours, without anything of a user
        title=f"{header.strategy} · {header.symbol} · {header.timeframe}",
        state=gettext(_STATES.get(header.state, header.state)),
        note=header.note,
        facts=_facts(header, report, language),
        kpis=_kpis(report, header.quote, language),
        equity=equity_chart(report.points, language=language),
        drawdown=drawdown_chart(report.points, language=language),
        groups=_groups(report, language),
        quote=header.quote,
        months=tuple(get_month_names("abbreviated", locale=language).values()),
        years=_years(report, language),
        histogram=None if report.distribution is None else histogram(report.distribution, language=language),
        outliers=0 if report.distribution is None else report.distribution.below + report.distribution.above,
        reasons=_reasons(report, language),
        drawdowns=_drawdowns(report, language),
        checks=tuple((check.verdict, gettext(_VERDICTS[check.verdict]), title_of(check), told(check)) for check in report.checks),
        trips=tuple((_moment(one.at_ms, language), in_words(one.message, one.values)) for one in report.trips),
        gaps=tuple(
            (_moment(gap.start_ms, language), _moment(gap.end_ms, language), _count(gap.candles, language))
            for gap in report.gaps[:MOST_GAPS]
        ),
        missing=report.missing_candles,
        trades=_trades(run, language),
        trade_count=len(run.trades),
    )


def _facts(header: RunHeader, report: Report, language: str) -> tuple[Figure, ...]:
    def fraction(value: Decimal | float) -> str:
        return formatters.share(Decimal(str(value)), decimals=4, language=language)

    def day(moment: datetime) -> str:
        return formatters.dt(moment, "datetime", zone="UTC", language=language)

    rows = [
        (gettext("Number"), f"#{header.number}"),
        (gettext("Strategy"), f"{header.strategy} · v{header.version}"),
        (gettext("Version"), header.version_id),
        (gettext("Parameters"), ", ".join(f"{name} = {value}" for name, value in header.parameters.items()) or formatters.NONE),
        (gettext("Symbol"), f"{header.symbol} · {header.timeframe} · {header.exchange}"),
        (gettext("From (UTC)"), day(header.start_at)),
        (gettext("To (UTC)"), day(header.end_at)),
        (gettext("Candles"), _count(report.candles, language)),
        (gettext("Capital"), formatters.money(header.capital, header.quote, language=language)),
        (gettext("Fees, taker and maker"), f"{fraction(header.fee)} · {fraction(header.maker_fee)}"),
        (gettext("Slippage"), fraction(header.slippage)),
        (gettext("Share of a candle's volume"), fraction(header.volume_share) if header.volume_share else gettext("no cap")),
        (gettext("Funding every 8 hours"), fraction(header.funding_rate) if header.funding_rate else gettext("none")),
        (gettext("Minutes inside candles"), gettext("yes") if header.detail else gettext("no")),
        (gettext("Tick, step, least notional"), f"{header.tick} · {header.step} · {header.least_notional}"),
        (gettext("Engine"), header.engine_version or formatters.NONE),
        (gettext("Seed"), str(header.seed)),
        (gettext("Candles' checksum"), header.candles_sha256 or formatters.NONE),
    ]
    return tuple(Figure(label=label, value=value) for label, value in rows)


def _kpis(report: Report, quote: str, language: str) -> tuple[Figure, ...]:
    kpis = report.kpis

    def text(value: Any, kind: Any) -> str:
        return shown(value, kind, currency=quote, language=language)

    held = gettext("Held")
    return (
        Figure(
            label=gettext("Net profit"), value=text(kpis.net_return, "pct"), under=text(kpis.net, "signed"),
            trend=_trend(kpis.net_return),
        ),
        Figure(label=gettext("Buy and hold"), value=text(kpis.held_return, "pct"), under=text(kpis.held_net, "signed")),
        Figure(label="CAGR", value=text(kpis.cagr, "pct"), under=f"{held} {text(kpis.held_cagr, 'pct')}"),
        Figure(
            label=gettext("Max. drawdown"), value=text(kpis.max_drawdown, "share"), under=f"{held} {text(kpis.held_max_drawdown, 'share')}",
            trend="down" if kpis.max_drawdown else "",
        ),
        Figure(label="Sharpe", value=text(kpis.sharpe, "ratio"), under=f"{held} {text(kpis.held_sharpe, 'ratio')}"),
        Figure(label=gettext("Profit factor"), value=text(kpis.profit_factor, "ratio")),
        Figure(label=gettext("Win rate"), value=text(kpis.win_rate, "share"), under=f"{kpis.won} / {kpis.closed}"),
        Figure(label=gettext("Exposure"), value=text(kpis.exposure, "share")),
    )  # fmt: skip


def _groups(report: Report, language: str) -> tuple[Table, ...]:
    def own_and_held(row: Row) -> tuple[str, str, str]:
        held = shown(row.held, row.kind, language=language) if row.has_held else ""
        return gettext(row.label), shown(row.own, row.kind, language=language), held

    return tuple(
        (gettext(group.title), any(row.has_held for row in group.rows), tuple(own_and_held(row) for row in group.rows))
        for group in metric_groups(report)
        if group.rows
    )


def _years(report: Report, language: str) -> tuple[tuple[int, tuple[Figure, ...]], ...]:
    def cell(value: float | None) -> Figure:
        return Figure(label="", value="" if value is None else _percent(value, language, decimals=1), trend=_trend(value))

    return tuple((year.year, tuple(cell(value) for value in (*year.months, year.total, year.held))) for year in report.years)


def _reasons(report: Report, language: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            reason_word(one.reason),
            _count(one.trades, language),
            shown(one.win_rate, "share", language=language),
            shown(one.profit, "signed", language=language),
            shown(one.average, "signed", language=language),
            lasted(one.average_hold_ms, language=language),
        )
        for one in report.by_exit_reason
    )


def _drawdowns(report: Report, language: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            shown(one.depth, "share", language=language),
            _moment(one.peak_ms, language),
            _moment(one.trough_ms, language),
            formatters.NONE if one.recovered_ms is None else _moment(one.recovered_ms, language),
            lasted(one.lasted_ms, language=language),
        )
        for one in report.drawdowns
    )


def _trades(run: ExportedRun, language: str) -> tuple[tuple[Figure, ...], ...]:
    trades, returned = run.trades, trade_returns(run.trades)
    rows = []
    for row in range(len(trades) - 1, max(-1, len(trades) - 1 - MOST_TRADES), -1):
        profit, code = float(trades.profit[row]), int(trades.reason[row])
        texts = (
            str(row + 1),
            gettext("Long") if trades.side[row] > 0 else gettext("Short"),
            _moment(int(run.times[trades.entry_candle[row]]), language),
            _moment(int(run.times[trades.exit_candle[row]]), language),
            _digits(float(trades.entry_price[row]), language),
            _digits(float(trades.exit_price[row]), language),
            formatters.signed(amount(profit), language=language),
            _percent(float(returned[row]), language),
            reason_word(None if code == NO_REASON else REASONS[code].value),
        )
        trend = _trend(profit)
        rows.append(tuple(Figure(label="", value=text, trend=trend if place in (6, 7) else "") for place, text in enumerate(texts)))
    return tuple(rows)


def _moment(at_ms: int, language: str) -> str:
    return formatters.dt(from_milliseconds(at_ms), "datetime", zone="UTC", language=language)


def _count(value: int, language: str) -> str:
    return formatters.number(Decimal(value), 0, language=language)


def _percent(value: float, language: str, *, decimals: int = 2) -> str:
    return formatters.pct(Decimal(repr(value)), decimals=decimals, language=language)


def _digits(value: float, language: str) -> str:
    """Return a price with the digits that tell it apart, as floats have more than a market."""
    return formatters.price(Decimal(f"{value:.{_PRICE_DIGITS}g}"), language=language)


def _trend(value: float | None) -> str:
    return "" if not value else "up" if value > 0 else "down"
