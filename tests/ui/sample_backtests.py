"""Backtests with awkward values: a report of real arithmetic on made-up candles, runs in every state, names of markup."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from uuid import UUID

import numpy as np
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.backtests.engine import run
from app.backtests.events import Progress
from app.backtests.report import Report, RunFacts, make_report
from app.backtests.results import StoredResult
from app.core.i18n import use_language
from app.domain.arrays import EXIT, LONG, SHORT, Candles, no_decisions
from app.domain.outcome import Outcome
from app.domain.safeguards import RuleNumbers, SafeguardNumbers
from app.domain.simulated import SimulationCosts
from app.ui import views
from app.ui.backtest_events import told_of
from app.ui.backtest_figures import metric_groups
from app.ui.backtest_result import curve_of, result_of
from app.ui.backtest_trades import marks as marks_of
from app.ui.backtest_trades import trade_list
from app.ui.templating import PageView, Templating
from app.ui.views.backtest import BacktestFailure, BacktestHead, BacktestOutput, BacktestProgress, BacktestQuestion, BacktestView
from app.ui.views.backtests import (
    BacktestFields,
    BacktestForm,
    BacktestFormView,
    BacktestList,
    BacktestRow,
    BacktestsView,
    ComparedFact,
    ComparedRun,
    CompareView,
    SymbolOptions,
)
from app.ui.views.shell import Choice
from app.ui.views.strategy_editor import ParameterField, ParameterForm

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_ID = "0190a7b2-77aa-7d10-8000-0000000000"
_HOUR_MS = 3_600_000
_START_MS = 1_735_689_600_000
_ROWS = 6_000


def _candles() -> Candles:
    random = np.random.default_rng(4)
    close = 60_000.0 * np.exp(np.cumsum(random.normal(0.00004, 0.006, _ROWS)))
    opened = np.concatenate(([60_000.0], close[:-1]))
    spread = np.abs(random.normal(0, 0.002, (2, _ROWS)))
    time = _START_MS + _HOUR_MS * np.arange(_ROWS, dtype=np.int64)
    # Two days are missing.
    time[_ROWS // 2 :] += 48 * _HOUR_MS
    highest, lowest = np.maximum(opened, close) * (1 + spread[0]), np.minimum(opened, close) * (1 - spread[1])
    return Candles(time, opened, highest, lowest, close, np.full(_ROWS, 12.5))


def _averaged(close: np.ndarray, length: int) -> np.ndarray:
    return np.convolve(close, np.ones(length) / length, "full")[: len(close)]


@cache
def _run(fast: int, slow: int) -> tuple[Outcome, Report, Candles]:
    candles = _candles()
    above = _averaged(candles.close, fast) > _averaged(candles.close, slow)
    crossed = np.flatnonzero(above[1:] != above[:-1]) + 1
    flags = np.zeros(_ROWS, dtype=np.uint8)
    flags[crossed] = np.where(above[crossed], EXIT | LONG, EXIT | SHORT)
    flags[:slow] = 0
    decisions = replace(no_decisions(_ROWS), flags=flags, stop_loss=np.full(_ROWS, 0.03), take_profit=np.full(_ROWS, 0.12))
    costs = SimulationCosts(capital=10_000.0, tick=0.01, step=0.00001, least_notional=5.0)
    outcome = run(candles, decisions, costs, slow)
    facts = RunFacts(has_look_ahead=False, warm_up=slow, is_warm_up_short=False)
    doubled = run(candles, decisions, replace(costs, slippage=0.001), slow)
    return outcome, make_report(outcome, candles, costs, slow, timeframe_ms=_HOUR_MS, facts=facts, at_double_slippage=doubled), candles


def stored() -> StoredResult:
    """The columns of the run that is shown."""
    outcome, _, found = _run(24, 72)
    return StoredResult(trades=outcome.trades, fills=outcome.fills, time=found.time, equity=outcome.equity)


def candles(request: Request) -> Response:
    """Answer as the API does that is asked for candles of the run."""
    asked, found = request.query_params, _run(24, 72)[2]
    begin = int(np.searchsorted(found.time, datetime.fromisoformat(asked["start"]).timestamp() * 1000))
    columns = (found.time, found.open, found.high, found.low, found.close, found.volume)
    rows = zip(*(column[begin : begin + int(asked["limit"])].tolist() for column in columns), strict=True)
    return JSONResponse({"items": [list(row) for row in rows]})


def routes(templating: Templating) -> list[Route]:
    """What the charts of the run's page read, and the older ones of the list."""

    async def older(request: Request) -> Response:
        del request
        rows = replace(backtests(), rows=backtests().rows[:0], next="")
        return HTMLResponse(templating.fragment("fragments/backtests/_rows.html", rows, reader=views.Reader(language="en", timezone="UTC")))

    async def curve(request: Request) -> Response:
        del request
        return JSONResponse(curve_of(report()))

    async def marks(request: Request) -> Response:
        asked = request.query_params
        return JSONResponse({"items": marks_of(stored(), int(asked["first"]), int(asked["last"]))})

    async def under_way(request: Request) -> Response:
        del request
        told = Progress(phase="deciding", pct=47, bars_per_s=1.4e6, eta_s=38, points=list(zip(*_half(), strict=True)))
        return JSONResponse(told_of(UUID(f"{_ID}42"), "running", told))

    return [
        Route("/backtests/list", older),
        Route("/backtests/{id}/curve", curve), Route("/backtests/{id}/marks", marks), Route("/backtests/{id}/progress", under_way),
    ]  # fmt: skip


def _half() -> tuple[list[int], list[float]]:
    points = report().points
    return list(points.time[: len(points.time) // 2]), list(points.equity[: len(points.time) // 2])


def report() -> Report:
    """What the run that is shown came to."""
    return _run(24, 72)[1]


def _rows() -> tuple[BacktestRow, ...]:
    def row(number: int, **given: object) -> BacktestRow:
        values: dict[str, object] = {
            "id": f"{_ID}{number}", "number": number, "strategy": "EMA cross <b>", "version": 7, "exchange": "Binance",
            "symbol": "BTC/USDT", "timeframe": "1h", "period": "1 Jan 2025 – 31 Oct 2026", "state": "completed",
            "created_at": NOW - timedelta(minutes=200 - number),
        }  # fmt: skip
        return BacktestRow(**(values | given))  # type: ignore[arg-type]

    done = {"net": Decimal("0.528"), "held": Decimal("0.485"), "drawdown": Decimal("0.193"), "sharpe": Decimal("1.01"), "trades": 108}
    lost = {"net": Decimal("-0.331"), "held": Decimal("0.485"), "drawdown": Decimal("0.419"), "sharpe": None, "trades": 1204}
    return (
        row(145, state="queued"),
        row(144, state="fetching", symbol="1000SHIB/USDT", timeframe="15m", pct=41),
        row(143, state="running", strategy="a-very-long-name-of-a-strategy-that-nobody-should-give-at-all", pct=77),
        row(142, **done),
        row(141, **lost),
        row(140, state="canceled", **done),
        row(139, state="failed", error="line 18: NameError: name 'slow_line' is not defined <i>"),
    )


def backtests() -> BacktestList:
    """Runs in every state."""
    return BacktestList(
        rows=_rows(),
        strategies=(Choice(value=f"{_ID}01", label="EMA cross <b>"),),
        states=(Choice(value="completed", label="Completed"), Choice(value="failed", label="Failed")),
        next="/backtests/list?before=139",
    )


def head(state: str = "completed") -> BacktestHead:
    """What the run was made of."""
    return BacktestHead(
        id=f"{_ID}42",
        number=142,
        strategy="EMA cross <b> with a long name",
        strategy_id=f"{_ID}01",
        version=7,
        state=state,
        exchange="binance",
        exchange_name="Binance",
        symbol="BTC/USDT",
        timeframe="1h",
        period="1 Jan 2025 – 10 Sept 2025",
        first_ms=_START_MS,
        last_ms=_START_MS + (_ROWS + 47) * _HOUR_MS,
        step_ms=_HOUR_MS,
        tick="0.01",
        capital=Decimal(10_000),
        quote="USDT",
        taker=Decimal("0.001"),
        maker=Decimal("0.0002"),
        slippage=Decimal("0.0005"),
        created_at=NOW,
        parameters=(("fast", "24"), ("slow", "72"), ("stop_loss", "0.03")),
        volume_share=Decimal("0.1"),
        funding=Decimal("-0.0001"),
        has_detail=True,
        candles=Decimal(_ROWS) if state in ("completed", "canceled") else None,
        took_s=6.2,
        code="a41f9c2",
        checksum="9f86d081884c7d",
        engine="1",
        seed=20_261_126,
        note="With the stop of <b>last week",
        account="Demo · main",
        others=("ETH/USDT 1h", "BTC/USDT 1d"),
    )


def progress() -> BacktestProgress:
    """Half way."""
    return BacktestProgress(number=142, state="running", phase="The strategy decides", pct=47, bars_per_s=Decimal("1420000"), eta_s=38.4)


def form() -> BacktestForm:
    """The form with fields of every kind and something wrong."""
    parameters = (
        ParameterField(name="fast", kind="int", value="24", default="12", low="5", high="50", help="Candles of the fast average."),
        ParameterField(name="slow", kind="int", value="x", default="26", error="That is not a whole number."),
        ParameterField(name="both_sides", kind="bool", value="true", default="false"),
        ParameterField(name="kind", kind="choice", value="ema", default="ema", choices=("ema", "sma")),
    )
    return BacktestForm(
        fields=BacktestFields(
            strategy=f"{_ID}01", version="7", account=f"{_ID}09", symbol="BTC/USDT", since="2026-05-21", until="2026-11-21", taker="0.1",
            maker="0.1", volume_share="10",
        ),
        strategies=(Choice(value=f"{_ID}01", label="EMA cross <b>"),),
        versions=(Choice(value="7", label="7 · valid"), Choice(value="6", label="6 · looks ahead · a note")),
        accounts=(Choice(value="", label="No account: Binance, usual fees"), Choice(value=f"{_ID}09", label="Demo · main · Binance")),
        timeframes=("1m", "15m", "1h", "1d"),
        presets=(
            Choice(value="2026-08-21", label="3 m"), Choice(value="2026-05-21", label="6 m"), Choice(value="2026-01-01", label="YTD"),
            Choice(value="2025-11-21", label="1 y"), Choice(value="2017-08-17", label="All"),
        ),
        parameters=ParameterForm(rows=parameters, is_described=True),
        own_timeframe="1h",
        quote="USDT",
        has_draft=True,
        copied=142,
        errors={"capital": "That is not a number.", "until": "the end must be after the start, was 2026-01-01 00:00 and 2026-05-21 00:00"},
    )  # fmt: skip


def _compared(shell: views.Shell) -> CompareView:
    first, second = _run(24, 72)[1], _run(12, 26)[1]

    def run_(number: int, tone: int, parameters: str) -> ComparedRun:
        facts = (
            ComparedFact(name="The market", value="BTC/USDT 1h, Binance"),
            ComparedFact(name="Parameters", value=parameters, differs=True),
        )
        return ComparedRun(id=f"{_ID}{number}", number=number, tone=tone, title="EMA cross <b> v7", facts=facts)

    return CompareView(
        shell=shell,
        runs=(run_(142, 1, "fast 24, slow 72"), run_(139, 2, "fast 12, slow 26")),
        columns=("#142", "#139", "Held"),
        groups=metric_groups([first, second]),
        quote="USDT",
        missing=1,
    )


def view(shell: views.Shell, *, state: str = "completed") -> BacktestView:
    """The page of a run that is over."""
    shown = result_of(
        report(),
        number=142,
        trades=trade_list(stored(), 142, quote="USDT", tick=Decimal("0.01")),
        beside=(139, _run(12, 26)[1]),
        state=state,
        notes=("Its candles begin on 1 Jan 2025 <b>: there are none of the days before.",),
    )
    others = (Choice(value="139", label="#139 · EMA cross <b> · BTC/USDT"),)
    return BacktestView(shell=shell, head=head(state), result=shown, others=others, beside=139, output=BacktestOutput(text="hello\n" * 40))


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The pages in every state."""
    with use_language(shell.language):
        return _pages(shell)


def _pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    one = "pages/backtests/backtest.html"
    failure = BacktestFailure(sentence="line 18: NameError <i>", line=18, href="/strategies/x?version=7#L18")
    failed = BacktestOutput(traceback="line 18 <i>")
    silent = trade_list(stored(), 142, after=10**6)
    return {
        "backtests": ("pages/backtests/index.html", BacktestsView(shell=shell, backtests=backtests())),
        "backtests-empty": ("pages/backtests/index.html", BacktestsView(shell=shell, backtests=BacktestList())),
        "backtests-not-found": ("pages/backtests/index.html", BacktestsView(shell=shell, backtests=BacktestList(symbol="<i>"))),
        "backtest-new": ("pages/backtests/new.html", BacktestFormView(shell=shell, form=form())),
        "backtest-new-empty": ("pages/backtests/new.html", BacktestFormView(shell=shell, form=BacktestForm(fields=BacktestFields()))),
        "backtest": (one, view(shell)),
        "backtest-canceled": (one, replace(view(shell, state="canceled"), others=(), beside=0)),
        "backtest-running": (one, BacktestView(shell=shell, head=head("running"), progress=progress())),
        "backtest-failed": (one, BacktestView(shell=shell, head=head("failed"), failure=failure, output=failed)),
        "backtest-no-trades": (one, replace(view(shell), result=result_of(quiet(), number=142, trades=replace(silent, total=0)))),
        "backtest-guarded": (one, replace(view(shell), result=result_of(guarded(), number=142, trades=silent))),
        "backtest-compare": ("pages/backtests/compare.html", _compared(shell)),
        "backtest-compare-nothing": ("pages/backtests/compare.html", CompareView(shell=shell)),
    }


@cache
def quiet() -> Report:
    """What a run came to that made no trade."""
    candles, costs = _candles(), SimulationCosts()
    return make_report(run(candles, no_decisions(_ROWS), costs), candles, costs, timeframe_ms=_HOUR_MS)


@cache
def guarded() -> Report:
    """What a run came to whose safeguards tripped, denied and cut."""
    candles, decisions = _candles(), no_decisions(_ROWS)
    decisions.flags[:] = np.where(np.arange(_ROWS) % 40 == 0, LONG, np.where(np.arange(_ROWS) % 40 == 20, EXIT, 0))
    rules = SafeguardNumbers(
        timeframe_ms=_HOUR_MS,
        cooldown_ms=24 * _HOUR_MS,
        most_notional=9_000.0,
        stops_window_ms=_HOUR_MS,
        daily_loss=RuleNumbers(limit=0.02, flattens=True, rearm_ms=_HOUR_MS),
        drawdown=RuleNumbers(limit=0.05),
        losses=RuleNumbers(limit=3, rearm_ms=_HOUR_MS),
    )
    costs = SimulationCosts(capital=10_000.0, safeguards=rules)
    return make_report(run(candles, decisions, costs), candles, costs, timeframe_ms=_HOUR_MS)


def fragments() -> dict[str, object]:
    """Every fragment."""
    shell = views.Shell(csrf_token="", clock=NOW, page="backtests")
    shown = view(shell)
    assert shown.result is not None
    folder = "fragments/backtests"
    of_result = ("kpis", "metrics", "checks", "months", "distribution", "drawdowns", "costs", "reasons", "gaps")
    return {
        **{f"{folder}/_{name}.html": shown.result for name in of_result},
        f"{folder}/_safeguards.html": result_of(guarded(), number=142, trades=shown.result.trades),
        f"{folder}/_list.html": backtests(),
        f"{folder}/_rows.html": backtests(),
        f"{folder}/_form.html": form(),
        f"{folder}/_symbols.html": SymbolOptions(rows=("BTC/USDT", "ETH/USDT")),
        f"{folder}/_head.html": head(),
        f"{folder}/_price.html": head(),
        f"{folder}/_equity.html": shown,
        f"{folder}/_trades.html": shown.result.trades,
        f"{folder}/_trade_rows.html": shown.result.trades,
        f"{folder}/_progress.html": progress(),
        f"{folder}/_output.html": BacktestOutput(text="<b>hello</b>", traceback="Traceback: line 18"),
        f"{folder}/_growing.html": None,
        f"{folder}/_failure.html": BacktestFailure(sentence="It lost.", line=18, href="/strategies/x#L18"),
        f"{folder}/_delete.html": BacktestQuestion(number=142, strategy="EMA cross <b>"),
        f"{folder}/_texts.html": None,
    }
