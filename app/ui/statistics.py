"""Statistics as their page shows them: headline, metrics with their conventions, tables with bars, costs, and the curve's points."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from app.core.i18n import N_, gettext, ngettext
from app.domain.metrics import drawdown_of
from app.statistics.equity import AccountFigures, shown_rows
from app.statistics.figures import GROUPS, Metric
from app.statistics.grouping import GroupLine
from app.statistics.naming import month_of, name_of
from app.statistics.queries import Names
from app.statistics.summary import Summary
from app.statistics.trip_figures import TripCurve
from app.statistics.wish import Mode
from app.ui.backtest_figures import decimal, figure, year_rows
from app.ui.backtest_result import month_names
from app.ui.labels import label
from app.ui.money import decimals_of
from app.ui.statistics_form import StatisticsQuestion
from app.ui.statistics_heat import calendar_of, hours_of
from app.ui.views import RangeLink
from app.ui.views.backtest import Kpi, Months
from app.ui.views.statistics import (
    Costs,
    GroupRow,
    GroupTable,
    MetricLine,
    MetricPart,
    NoStatistics,
    OtherQuote,
    ShadowRow,
    SlippageRow,
    Statistics,
)

#: So many lines of a table; the file has all of them.
_MOST_ROWS: Final = 60
_HALF: Final = 50.0
#: No calendar is drawn of years before this one.
_FIRST_DAY: Final = date(1972, 1, 1)
_NOTHING: Final = Decimal(0)
#: By dimension: its heading, the head of its column, the field of the filter that chooses one, and what is said where none is told apart.
_TABLES: Final = {
    "strategy": (N_("By strategy"), N_("Strategy"), "strategy", N_("No bot has closed a trade in this time. Strategies trade by bots.")),
    "bot": (N_("By bot"), N_("Bot"), "bot", N_("No bot has closed a trade in this time.")),
    "symbol": (N_("By symbol"), N_("Symbol"), "symbol", ""),
    "webhook": (N_("By webhook"), N_("Webhook"), "webhook", N_("No alert of a webhook has opened a trade that was closed in this time.")),
    "exit": (N_("By exit"), N_("Reason"), "", ""),
    "source": (N_("By source"), N_("Opened by"), "source", ""),
    "account": (N_("By account"), N_("Account"), "broker", ""),
}  # fmt: skip
_EXITS: Final = {
    "entry": N_("Opposite entry"),
    "exit": N_("Exit order"),
    "stop": N_("Stop"),
    "target": N_("Target"),
    "flatten": N_("Sold by the kill switch"),
}
_BASES: Final = {
    "trigger": N_("Stops and targets, beside their trigger"),
    "signal": N_("Market orders of bots, beside the price at the decision"),
    "alert": N_("Market orders of alerts, beside the price in the alert"),
}
_UNKNOWN: Final = {
    "limit": N_("limit orders: they cannot fill beyond their limit"),
    "trailing": N_("trailing stops: their trigger moves with the market"),
    "not_noted": N_("other orders: the price at the decision was not written down"),
}


def statistics_of(summary: Summary, question: StatisticsQuestion, *, today: date) -> Statistics:
    """Return what the page shows of a summary; `today` is the reader's."""
    asked = summary.asked
    first = None if asked.since is None else asked.since.astimezone(asked.zone).date()
    last = today if asked.until is None else max(_FIRST_DAY, min(today, asked.until.astimezone(asked.zone).date()))
    accounts = summary.accounts
    return Statistics(
        currency=summary.unit,
        decimals=decimals_of(summary.unit),
        kpis=_kpis(summary),
        metrics=tuple(_part(summary, title, metrics) for title, metrics in GROUPS),
        tables=_tables(summary, question),
        calendar=calendar_of(summary.days, first=first, last=last),
        hours=hours_of(summary.hours),
        costs=_costs(summary),
        curve=question.address("/statistics/curve"),
        is_of_accounts=accounts is not None,
        months=Months() if accounts is None else Months(names=month_names(), rows=year_rows(accounts.months)),
        notes=_notes(summary),
        others=tuple(
            OtherQuote(quote=line.quote, decimals=decimals_of(line.quote), trades=line.trades, profit=line.profit, fees=line.fees)
            for line in summary.others
        ),
        shadows=_shadows(summary),
        shadow_why=_shadow_why(summary),
        as_of=summary.read_at,
    )


def _kpis(summary: Summary) -> tuple[Kpi, ...]:
    trips, accounts = summary.figures, summary.accounts
    outcomes = trips.outcomes
    realised = Kpi(
        name=gettext("Realised P&L"),
        figure=figure("profit", trips.net),
        beside=ngettext("%(count)s trade", "%(count)s trades", outcomes.closed) % {"count": outcomes.closed},
        is_toned=True,
    )
    rest = (
        Kpi(name=gettext("Win rate"), figure=figure("share", outcomes.win_rate), beside=f"{outcomes.won} / {outcomes.closed}"),
        Kpi(
            name=gettext("Profit factor"),
            figure=figure("ratio", outcomes.profit_factor),
            beside=gettext("Payoff"),
            beside_figure=figure("ratio", outcomes.payoff_ratio),
        ),
        Kpi(
            name=gettext("Expectancy"),
            figure=figure("profit", outcomes.expectancy),
            beside="SQN",
            beside_figure=figure("ratio", outcomes.sqn),
        ),
        Kpi(name=gettext("Fees"), figure=figure("money", trips.fees), beside=gettext("of closed trades")),
        Kpi(
            name=gettext("Exposure"),
            figure=figure("share", trips.exposure),
            beside=gettext("open at the end"),
            beside_figure=figure("count", summary.held.trips),
        ),
    )
    return (realised, *_risk_kpis(summary, accounts), *rest)


def _risk_kpis(summary: Summary, accounts: AccountFigures | None) -> tuple[Kpi, ...]:
    if accounts is None:
        return (
            Kpi(name=gettext("Largest fall of the P&L"), figure=figure("money", summary.figures.max_fall)),
            Kpi(
                name=gettext("Sharpe of the P&L"),
                figure=figure("ratio", summary.figures.sharpe),
                beside="Sortino",
                beside_figure=figure("ratio", summary.figures.sortino),
            ),
        )
    found = accounts.figures
    return (
        Kpi(
            name=gettext("Return"),
            figure=figure("signed", found.total_return),
            beside=gettext("time-weighted"),
            is_toned=True,
        ),
        Kpi(
            name=gettext("Max. drawdown"),
            figure=figure("share", found.max_drawdown),
            beside="Sharpe",
            beside_figure=figure("ratio", found.sharpe),
        ),
    )


def _part(summary: Summary, title: str, metrics: Sequence[Metric]) -> MetricPart:
    # Where whole accounts say nothing, their lines would be a column of dashes.
    shown = [metric for metric in metrics if summary.accounts is not None or metric.of_accounts is None]
    rows = tuple(
        MetricLine(name=gettext(metric.name), figure=figure(metric.unit, metric.value(summary)), convention=gettext(metric.convention))
        for metric in shown
    )
    return MetricPart(title=gettext(title), rows=rows, missing="" if len(shown) == len(metrics) else _no_accounts(summary))


def _no_accounts(summary: Summary) -> str:
    if not summary.asked.is_of_accounts:
        return gettext("Returns need the worth of whole accounts. The filter leaves some of their trades out: clear it to see them.")
    return gettext("Returns need two readings of an account's worth in this time. They begin a minute after it was added.")


# ---- tables


def _tables(summary: Summary, question: StatisticsQuestion) -> tuple[GroupTable, ...]:
    """Return all tables, those with something in them first."""
    found = [_table(summary, question, name) for name in _TABLES if _is_telling(summary, name)]
    return tuple(sorted([*found, _months(summary)], key=lambda table: not table.rows))


def _is_telling(summary: Summary, dimension: str) -> bool:
    """Whether a table says more than the headline: of one account or one source there is nothing to tell apart."""
    lines = summary.groups[dimension]
    return dimension not in ("account", "source") or len(lines) > 1


def _table(summary: Summary, question: StatisticsQuestion, dimension: str) -> GroupTable:
    title, head, field, why = _TABLES[dimension]
    lines = summary.groups[dimension]
    named = [line for line in lines if line.key is not None]
    if dimension in ("strategy", "bot", "webhook") and not named:
        return GroupTable(key=dimension, title=gettext(title), head=gettext(head), why=gettext(why))
    # The most telling ones from both ends.
    shown = lines if len(lines) <= _MOST_ROWS else (*lines[: _MOST_ROWS // 2], *lines[-_MOST_ROWS // 2 :])
    largest = max((abs(line.profit) for line in shown), default=_NOTHING)
    rows = tuple(
        _row(
            line,
            name=_name(dimension, line, summary.names),
            href=question.address(**{field: str(line.key)}) if field and line.key is not None else "",
            largest=largest,
        )
        for line in shown
    )
    return GroupTable(key=dimension, title=gettext(title), head=gettext(head), rows=rows, hidden=len(lines) - len(shown))


def _name(dimension: str, line: GroupLine, names: Names) -> str:
    if line.key is None:
        return gettext("not known") if dimension == "exit" else gettext("none")
    if dimension == "exit":
        return gettext(_EXITS[line.key]) if line.key in _EXITS else str(line.key)
    if dimension == "source":
        return label(line.key)
    return name_of(dimension, line.key, names) or gettext("deleted")


def _row(line: GroupLine, *, name: str, href: str, largest: Decimal) -> GroupRow:
    width = round(float(abs(line.profit) / largest) * _HALF, 2) if largest else 0.0
    return GroupRow(
        name=name,
        href=href,
        trades=line.trades,
        win_rate=decimal(line.win_rate) or _NOTHING,
        profit=line.profit,
        average=line.average,
        profit_factor=decimal(line.profit_factor),
        fees=line.fees,
        x=_HALF if line.profit >= 0 else round(_HALF - width, 2),
        width=width,
    )


def _months(summary: Summary) -> GroupTable:
    lines = tuple(reversed(summary.months))[:_MOST_ROWS]
    largest = max((abs(line.profit) for line in lines), default=_NOTHING)
    return GroupTable(
        key="month",
        title=gettext("By month"),
        head=gettext("Month"),
        rows=tuple(_row(line, name=_month_name(line.key), href="", largest=largest) for line in lines),
        hidden=len(summary.months) - len(lines),
    )


def _month_name(key: int) -> str:
    year, month = month_of(key).split("-")
    return f"{month_names()[int(month) - 1]} {year}"


# ---- costs, notes, shadows


def _costs(summary: Summary) -> Costs:
    figures = summary.figures
    before = figures.net + figures.fees
    return Costs(
        fees=figures.fees,
        share=figures.fees / before if before > 0 else None,
        unvalued=tuple(summary.unvalued.items()),
        slippage=tuple(
            SlippageRow(
                basis=gettext(_BASES[line.basis.value]),
                quote=line.quote,
                decimals=decimals_of(line.quote),
                orders=line.orders,
                cost=line.cost,
                fraction=line.fraction,
            )
            for line in summary.slippage.lines
        ),
        unknown=tuple((gettext(_UNKNOWN[why.value]), orders) for why, orders in summary.slippage.unknown),
    )


def _notes(summary: Summary) -> tuple[str, ...]:
    notes = []
    if summary.asked.mode is Mode.PAPER:
        notes.append(gettext("Play money: nothing of this was earned. Real money is never added to it."))
    if summary.asked.mode is Mode.TESTNET:
        notes.append(gettext("Money of a testnet: nothing of this was earned. Real money is never added to it."))
    if summary.converted:
        words = gettext("Trades in %(quotes)s count in USDT, at the rate of the candle that had closed when each ended.")
        notes.append(words % {"quotes": ", ".join(summary.converted)})
    if summary.at_par:
        notes.append(gettext("One %(quotes)s counts as one USDT.") % {"quotes": ", ".join(summary.at_par)})
    if summary.others:
        words = gettext("Trades in %(quotes)s had no rate when they ended. They are told apart below and are no part of any other figure.")
        notes.append(words % {"quotes": ", ".join(line.quote for line in summary.others)})
    return tuple(notes)


def _shadows(summary: Summary) -> tuple[ShadowRow, ...]:
    return tuple(
        ShadowRow(
            name=name_of("bot", line.bot_id, summary.names) or gettext("deleted"),
            href=f"/bots/{line.bot_id}",
            quote=line.quote,
            decimals=decimals_of(line.quote),
            days=line.days,
            trades=line.trades,
            shadow_trades=line.shadow_trades,
            profit=line.profit,
            shadow_profit=line.shadow_profit,
        )
        for line in summary.shadows
    )


def _shadow_why(summary: Summary) -> str:
    if summary.shadows:
        return ""
    if not summary.names.bots:
        return gettext("Only bots have a shadow: the same strategy, simulated over the time in which the bot trades. You have no bot yet.")
    return gettext("No bot of yours was compared with its simulation in this time. That is done once a day.")


def nothing_of(summary: Summary, question: StatisticsQuestion) -> NoStatistics | None:
    """Return why there is nothing to show; None where there is something."""
    if summary.figures.outcomes.closed or summary.others or summary.accounts is not None:
        return None
    modes = {account.mode for account in summary.names.accounts}
    if summary.asked.mode not in modes:
        return _no_account(summary.asked.mode, modes, question)
    if question.is_filtered:
        return NoStatistics(
            title=gettext("Nothing found"),
            words=gettext("No trade that was closed in this time fits the filter."),
            actions=(RangeLink(label=gettext("Clear the filter"), href=question.cleared()),),
        )
    actions = (
        []
        if question.chosen == "all"
        else [RangeLink(label=gettext("Show all of the time"), href="/statistics?range=all&mode=" + summary.asked.mode.value)]
    )
    return NoStatistics(
        title=gettext("No closed trade in this time"),
        words=gettext(
            "Statistics are made of trades that were closed, and of what your accounts were worth. An open position counts once it is sold."
        ),
        actions=(*actions, RangeLink(label=gettext("Go trading"), href="/trading")),
    )


def _no_account(mode: Mode, modes: set[Mode], question: StatisticsQuestion) -> NoStatistics:
    others = {Mode.LIVE: gettext("Show real money"), Mode.PAPER: gettext("Show paper"), Mode.TESTNET: gettext("Show the testnet")}
    actions = [RangeLink(label=others[other], href=question.cleared(mode=other.value)) for other in Mode if other in modes]
    return NoStatistics(
        title=gettext("No account that trades real money") if mode is Mode.LIVE else gettext("No account of this kind"),
        words=gettext("What was won with play money is never shown as real. Choose the other kind above, or add an account."),
        actions=(*actions, RangeLink(label=gettext("Broker accounts"), href="/brokers")),
    )


# ---- the chart


def points_of(accounts: AccountFigures | None, trips: TripCurve, unit: str) -> dict[str, Any]:
    """Return the curve as columns: of whole accounts, or of the trades where there is none. Times are ms since 1970 UTC."""
    if accounts is None:
        return {
            "of": "trades",
            "currency": unit,
            "time": trips.times.tolist(),
            "value": trips.sums.tolist(),
            "drawdown": trips.below.tolist(),
        }
    curve = accounts.curve
    rows = shown_rows(curve)
    return {
        "of": "accounts",
        "currency": "USDT",
        "time": curve.times[rows].tolist(),
        "value": curve.worth[rows].round(2).tolist(),
        "earned": (curve.grown[rows] - 1).round(6).tolist(),
        "drawdown": drawdown_of(curve.grown)[rows].round(6).tolist(),
    }


def today_of(now: datetime, summary: Summary) -> date:
    """Return the day that it is on the reader's clocks."""
    return now.astimezone(summary.asked.zone).date()
