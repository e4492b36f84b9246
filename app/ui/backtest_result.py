"""One backtest as its page shows it: what it was made of, how far it is, and its report."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from babel.dates import get_month_names

from app.backtests.events import Progress
from app.backtests.models import Backtest, BacktestState
from app.backtests.quality_words import title_of, told
from app.backtests.report_parts import Report
from app.backtests.service import Listed
from app.backtests.wish import options_of
from app.core.formatters import dt
from app.core.i18n import N_, current_language, gettext
from app.core.sentences import said
from app.domain.candles import Timeframe, from_milliseconds, to_milliseconds
from app.domain.metrics import Drawdown
from app.ui.backtest_figures import cost_rows, decimal, histogram, kpis, metric_groups, reason_rows, year_rows
from app.ui.backtests import period_of
from app.ui.safeguard_lines import safeguard_lines
from app.ui.safeguard_rows import trip_lines
from app.ui.symbols import exchange_name
from app.ui.views.backtest import (
    BacktestFailure,
    BacktestHead,
    BacktestOutput,
    BacktestProgress,
    BacktestResult,
    Check,
    DrawdownRow,
    GapRow,
    Months,
    TradeList,
)

_SHORT: Final = 7
_MOST_DRAWDOWNS: Final = 5
#: A market that listed a day later than asked for is nothing to speak of.
_LATE: Final = timedelta(days=1)
_PHASES: Final = {
    "queued": N_("Waiting for its turn"),
    "candles": N_("Bringing the candles together"),
    "fetching": N_("Fetching missing candles from the exchange"),
    "deciding": N_("The strategy decides"),
    "simulating": N_("Its trades are simulated"),
}
#: What a state begins with, until more is known.
_FIRST: Final = {BacktestState.FETCHING: "candles", BacktestState.RUNNING: "deciding"}


def head_of(listed: Listed, *, account: str = "") -> BacktestHead:
    """Return what a backtest was made of; `account` is the name of the account whose fees it took."""
    found, options = listed.backtest, options_of(listed.backtest.options)
    data = found.data or {}
    took = None if found.finished_at is None or found.started_at is None else (found.finished_at - found.started_at).total_seconds()
    return BacktestHead(
        id=str(found.id),
        number=found.number,
        strategy=listed.strategy_name,
        strategy_id=str(found.strategy_id),
        version=listed.version_number,
        state=found.state,
        exchange=found.exchange,
        exchange_name=exchange_name(found.exchange),
        symbol=found.symbol,
        timeframe=found.timeframe,
        period=period_of(found),
        first_ms=to_milliseconds(found.start_at),
        last_ms=to_milliseconds(found.end_at) - Timeframe(found.timeframe).milliseconds,
        capital=found.capital,
        quote=quote_of(found),
        taker=found.fee,
        maker=found.maker_fee,
        slippage=found.slippage,
        created_at=found.created_at,
        parameters=tuple((name, written_parameter(value)) for name, value in (data.get("parameters") or found.parameters).items()),
        volume_share=decimal(options.volume_share) if options.volume_share else None,
        funding=decimal(options.funding_rate) if options.funding_rate else None,
        has_detail=options.is_detailed,
        candles=None if found.report is None else Decimal(found.report["candles"]),
        took_s=took,
        code=listed.sha256[:_SHORT],
        checksum=(found.candles_sha256 or "")[: 2 * _SHORT],
        engine=found.engine_version or "",
        seed=found.seed,
        account=account,
        language=current_language(),
        note=found.note,
        others=tuple(f"{one['symbol']} {one['timeframe']}" for one in data.get("frames", ())[1:]),
        safeguards=safeguard_lines(options.safeguards, quote_of(found)),
        tick=str(found.rules.get("tick", "")),
        step_ms=Timeframe(found.timeframe).milliseconds,
    )


def quote_of(backtest: Backtest) -> str:
    """Return the currency of a backtest's money."""
    return backtest.symbol.partition("/")[2]


def tick_of(backtest: Backtest) -> Decimal | None:
    """Return what its prices are multiples of; None where there was no such rule."""
    return Decimal(str(backtest.rules.get("tick", "0"))) or None


def written_parameter(value: Any) -> str:
    """Return the value of a parameter as pages show it."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    return "—" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


# ---- under way, or without a result


def progress_of(backtest: Backtest) -> BacktestProgress:
    """Return how far a backtest is, in the reader's language."""
    known = msgspec.convert(backtest.progress, Progress) if backtest.progress else None
    found = known or Progress(phase=backtest.state)
    return BacktestProgress(
        number=backtest.number,
        state=backtest.state,
        phase=phase_words(backtest.state, known),
        pct=int(found.pct),
        bars_per_s=decimal(found.bars_per_s),
        eta_s=found.eta_s,
        is_stopping=backtest.cancel_asked_at is not None,
    )


def phase_words(state: str, progress: Progress | None) -> str:
    """Return what is being done, in the language spoken here."""
    if progress is None or state == BacktestState.QUEUED:
        return gettext(_PHASES[_FIRST.get(BacktestState(state), "queued")])
    if progress.waits_s >= 1:
        return gettext("The exchange wants to be left alone for %(seconds)s s") % {"seconds": round(progress.waits_s)}
    words = gettext(_PHASES.get(progress.phase, _PHASES["candles"]))
    return f"{words}: {progress.symbol}" if progress.symbol and progress.phase in ("candles", "fetching") else words


def output_of(backtest: Backtest) -> BacktestOutput:
    """Return what the strategy printed, and where it failed."""
    return BacktestOutput(text=backtest.output, traceback=str((backtest.error or {}).get("traceback") or ""))


def failure_of(backtest: Backtest, version: int) -> BacktestFailure | None:
    """Return why there is no result; None where nothing failed."""
    if backtest.error is None:
        return None
    line = backtest.error.get("line")
    is_line = isinstance(line, int) and line > 0
    return BacktestFailure(
        sentence=str(backtest.error.get("message", "")),
        line=line if is_line else 0,  # type: ignore[arg-type]  # is_line says what it is
        href=f"/strategies/{backtest.strategy_id}?version={version}#L{line}" if is_line else "",
    )


# ---- the report


def result_of(
    report: Report,
    *,
    number: int,
    trades: TradeList,
    beside: tuple[int, Report] | None = None,
    state: str = "",
    notes: tuple[str, ...] = (),
) -> BacktestResult:
    """Return a report as the page shows it, with the metrics of another run beside them where one is given."""
    reports = [report, *([beside[1]] if beside else [])]
    numbers = [number, *([beside[0]] if beside else [])]
    return BacktestResult(
        kpis=kpis(report),
        columns=(*(f"#{one}" for one in numbers), gettext("Held")),
        groups=metric_groups(reports),
        trades=trades,
        months=Months(names=month_names(), rows=year_rows(report.years)),
        histogram=histogram(report.distribution, report.trades.closed),
        reasons=reason_rows(report),
        costs=cost_rows(report),
        checks=tuple(Check(title=title_of(one), verdict=one.verdict, sentence=told(one)) for one in report.checks),
        gaps=tuple(
            GapRow(since=from_milliseconds(one.start_ms), until=from_milliseconds(one.end_ms), candles=one.candles) for one in report.gaps
        ),
        gap_candles=report.missing_candles,
        drawdowns=tuple(_drawdown_row(one) for one in report.drawdowns[:_MOST_DRAWDOWNS]),
        notes=notes,
        is_part=state == BacktestState.CANCELED,
        trips=trip_lines(report),
        trip_count=report.trip_count,
        refused=report.refused,
        limited=report.limited,
    )


def notes_of(backtest: Backtest, report: Report) -> tuple[str, ...]:
    """Return what is to be known of the candles: that there were none for the first days, and why some could not be fetched."""
    data = backtest.data or {}
    notes = [said(str(trouble)) for trouble in data.get("troubles", ())]
    first = from_milliseconds(report.start_ms - report.timeframe_ms)
    # Where nothing lies before the period, the strategy's warm-up lies within it.
    warm_up = int(data.get("start", 0)) * Timeframe(backtest.timeframe).duration
    if first - backtest.start_at > _LATE + warm_up:
        day = dt(first, "date", zone="UTC", language=current_language())
        notes.append(gettext("Its candles begin on %(day)s: there are none of the days before.") % {"day": day})
    return tuple(notes)


def _drawdown_row(found: Drawdown) -> DrawdownRow:
    return DrawdownRow(
        depth=Decimal(repr(found.depth)),
        peak_at=from_milliseconds(found.peak_ms),
        trough_at=from_milliseconds(found.trough_ms),
        recovered_at=None if found.recovered_ms is None else from_milliseconds(found.recovered_ms),
        lasted_s=found.lasted_ms / 1000,
    )


def month_names() -> tuple[str, ...]:
    """Return the short names of the months, in the language spoken here."""
    names = get_month_names("abbreviated", context="stand-alone", locale=current_language())
    return tuple(str(names[month]) for month in range(1, 13))


def curve_of(report: Report) -> dict[str, Any]:
    """Return the points of the curves as the chart's script reads them."""
    points = report.points
    return {"time": points.time, "equity": points.equity, "held": points.held, "drawdown": points.drawdown}
