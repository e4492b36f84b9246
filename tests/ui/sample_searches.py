"""Searches with awkward values: in every state, with names of markup, trials that failed, and nothing at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from app.backtests.robustness.pool import luck_of
from app.backtests.robustness.report import RobustnessReport, WalkedWindow, robustness_stored, verdicts_of
from app.backtests.search.heat import Cell, Scored, heat_map
from app.backtests.search.models import Robustness
from app.backtests.search.space import Axis, Space
from app.core.i18n import use_language
from app.domain.robustness_walk import Window, walk_forward
from app.ui import views
from app.ui.backtest_figures import decimal
from app.ui.robustness import robustness_region
from app.ui.templating import PageView, Templating
from app.ui.views.backtests import BacktestFields, BacktestForm
from app.ui.views.searches import (
    AxisField,
    Heat,
    HeatCell,
    HeatRow,
    ImportanceRow,
    RobustnessRegion,
    RobustnessView,
    SearchesView,
    SearchFields,
    SearchForm,
    SearchFormView,
    SearchHead,
    SearchList,
    SearchLive,
    SearchQuestion,
    SearchRow,
    SearchView,
    TrialFigures,
    TrialList,
    TrialRow,
)
from app.ui.views.shell import Choice
from tests.ui import sample_backtests

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_DAY_MS = 86_400_000
_IMPORTANCE = (("fast", "0.7133"), ("slow", "0.2867"))
_SPACE = Space(axes=[Axis(name="fast", values=list(range(5, 51, 5))), Axis(name="slow", values=list(range(20, 201, 10)))])


def _score(fast: int, slow: int) -> float:
    return round(2.4 - abs(fast - 20) / 15 - abs(slow - 90) / 60, 4)


def searches() -> SearchList:
    """One in every state."""
    states = ("running", "queued", "stopped", "completed", "failed")
    return SearchList(
        rows=tuple(
            SearchRow(
                number=9 - place,
                strategy="EMA cross <b>with a rather long name of its own</b>" if place == 1 else "EMA cross",
                version=7,
                market="BTC/USDT 1h",
                period="1 Jan 2024 – 30 Jun 2026",
                method="Learning (TPE)",
                objective="Sharpe ratio",
                tried=0 if state == "queued" else 31,
                wanted=50,
                score=None if state in ("queued", "failed") else Decimal("1.8312"),
                state=state,
                created_at=NOW,
                error="line 18: NameError: name 'fst' is not defined <i>" if state == "failed" else "",
            )
            for place, state in enumerate(states)
        ),
        next="/backtests/searches/list?before=5",
    )


def form() -> SearchForm:
    """With every kind of parameter, and complaints."""
    return SearchForm(
        base=replace(sample_backtests.form(), path="/backtests/searches"),
        fields=SearchFields(backtest="142", trials="0"),
        axes=(
            AxisField(name="fast", kind="int", is_varied=True, low="5", high="50", step="5", value="12", default="12", bounds="2 … 60"),
            AxisField(name="stop_loss", kind="float", is_varied=True, low="0.2", high="0.1", step="0.01", error="low <i> is above high"),
            AxisField(name="slow_with_a_very_long_name_indeed", kind="int", is_varied=False, value="26", default="26", help="Candles"),
            AxisField(name="only_long", kind="bool", is_varied=False, value="True", default="True", choices=("True", "False")),
            AxisField(name="kind", kind="choice", is_varied=True, choices=("EMA", "SMA"), value="EMA", default="EMA"),
        ),
        methods=(Choice(value="tpe", label="Learning (TPE)"), Choice(value="grid", label="Every combination")),
        objectives=(Choice(value="sharpe", label="Sharpe ratio"), Choice(value="net", label="Net profit")),
        points=Decimal(20_240),
        errors={"trials": "This must be a whole number from 1 to 5000."},
    )


def head(*, has_draft: bool = False) -> SearchHead:
    """What a search was made of."""
    return SearchHead(
        id="0190a7b2-77aa-7d10-8000-000000000009", number=9, strategy="EMA cross <b>", strategy_id="x", version=7, symbol="BTC/USDT",
        timeframe="1h", exchange="Binance", period="1 Jan 2024 – 30 Jun 2026", test_share=Decimal("0.3"), method="Learning (TPE)",
        objective="Sharpe ratio", least_trades=10, points=Decimal(_SPACE.size), fixed=(("stop_loss", "0.02"),), seed=5_312, engine="1",
        checksum="9f0c2a11b3e4", created_at=NOW, has_draft=has_draft,
    )  # fmt: skip


def trials() -> TrialList:
    """Ranked ones, one with too few trades, one that failed."""

    def figures(net: str, sharpe: str | None, trades: int) -> TrialFigures:
        return TrialFigures(
            net=Decimal(net), sharpe=decimal(float(sharpe)) if sharpe else None, max_drawdown=Decimal("0.1432"), trades=trades
        )

    ranked = [
        TrialRow(
            number=number, values=(str(fast), str(slow)), score=Decimal(repr(_score(fast, slow))),
            train=figures("0.8431" if place else "1.2345", "1.2", 214), test=figures("-0.0712" if place % 2 else "0.2103", "0.4", 71),
            is_best=place == 0,
        )
        for place, (number, fast, slow) in enumerate([(17, 20, 90), (31, 20, 100), (4, 25, 90), (12, 15, 80), (22, 30, 120)])
    ]  # fmt: skip
    few = TrialRow(number=8, values=("50", "200"), score=None, train=figures("0.01", None, 3), test=figures("0", None, 0))
    failed = TrialRow(number=3, values=("50", "20"), score=None, train=None, test=None, problem="fast must be below slow <i>", line=14)
    return TrialList(
        number=9, rows=(*ranked, few, failed), names=("fast", "slow"), has_test=True, is_best_first=True, total=131, is_cut=True
    )


def heat() -> Heat:
    """Half of the cells tried."""
    chance = np.random.default_rng(3)
    points = [_SPACE.point(number) for number in chance.permutation(_SPACE.size)[:110].tolist()]
    scored = [
        Scored(number, point, None if number % 9 == 0 else _score(5 + 5 * point[0], 20 + 10 * point[1]))
        for number, point in enumerate(points, start=1)
    ]
    found = heat_map(_SPACE, scored, "fast", "slow")
    best = max((one for one in scored if one.score is not None), key=lambda one: one.score or 0.0).number
    return Heat(
        x="fast",
        y="slow",
        columns=tuple(str(first) for first, _ in found.columns),
        rows=tuple(
            HeatRow(
                label=f"{found.rows[at][0]}–{found.rows[at][1]}",
                cells=tuple(_cell(cell, is_best=cell.best == best, is_current=(at, beside) == (2, 1)) for beside, cell in enumerate(row)),
            )
            for at, row in enumerate(found.cells)
        ),
        names=("fast", "slow", "stop_loss"),
    )


def _cell(cell: Cell, *, is_best: bool, is_current: bool) -> HeatCell:
    return HeatCell(score=decimal(cell.score), shade=cell.shade or 0, trials=cell.trials, is_best=is_best, is_current=is_current)


def live(state: str = "running") -> SearchLive:
    """What changes while it goes on."""
    is_new = state == "queued"
    found = trials()
    return SearchLive(
        number=9,
        state=state,
        phase="Parameters are tried." if state == "running" else "It waits for its turn." if is_new else "",
        tried=0 if is_new else 31,
        wanted=50,
        speed=Decimal("41.7") if state == "running" else None,
        left_s=Decimal("12.4") if state == "running" else None,
        best=None if is_new else found.rows[0],
        score=None if is_new else found.rows[0].score,
        objective="Sharpe ratio",
        error="line 18: NameError: name 'fst' is not defined <i>" if state == "failed" else "",
        trials=replace(found, rows=(), total=0, is_cut=False) if is_new else found,
        importance=()
        if is_new
        else (ImportanceRow(name="fast", share=Decimal("0.7133")), ImportanceRow(name="slow", share=Decimal("0.2867"))),
        heat=None if is_new else heat(),
        more=19,
    )


def robustness() -> RobustnessRegion:
    """A report of real arithmetic."""
    outcome, _, candles = sample_backtests._run(12, 26)
    closes = candles.time + 3_600_000
    luck = luck_of(outcome, closes, 0, 7, 0.0005, 132, 0.9)
    windows = [
        WalkedWindow(
            window=Window(
                train_start_ms=int(closes[0]) + 30 * _DAY_MS * place,
                test_start_ms=int(closes[0]) + 30 * _DAY_MS * (place + 3),
                test_end_ms=int(closes[0]) + 30 * _DAY_MS * (place + 4),
                train=0.9 - place / 10,
                test=0.4 - place / 8,
                train_sharpe=1.5,
                test_sharpe=0.4,
                trades=12,
            ),
            parameters={"fast": 10 + place, "stop_loss": 0.02},
        )
        for place in range(6)
    ]
    walk = walk_forward([one.window for one in windows])
    report = RobustnessReport(
        seed=7, trades=luck.trades, shuffled=luck.shuffled, resampled=luck.resampled, moved=luck.moved, spread=0.0005, sharpe=luck.sharpe,
        searched=131, walk=walk, windows=windows, varied=["fast", "stop_loss"], sets=64, verdicts=verdicts_of(luck, walk, searched=131),
    )  # fmt: skip
    return robustness_region(142, Robustness(state="completed", finished_at=NOW, report=robustness_stored(report)))


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The pages in every state."""
    with use_language(shell.language):
        return _pages(shell)


def _pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    one, robust = "pages/searches/search.html", "pages/searches/robustness.html"
    about = {"id": "0190a7b2-77aa-7d10-8000-000000000142", "number": 142, "strategy": "EMA cross <b>", "market": "BTC/USDT 1h"}
    nothing = SearchForm(base=BacktestForm(fields=BacktestFields()), fields=SearchFields())
    asked = {
        "": RobustnessRegion(number=142, state=""),
        "-running": RobustnessRegion(number=142, state="running", phase="Parameters are chosen anew in each window.", pct=25),
        "-failed": RobustnessRegion(number=142, state="failed", error="line 18: NameError <i>"),
        "-answered": robustness(),
    }
    return {
        "searches": ("pages/searches/index.html", SearchesView(shell=shell, searches=searches())),
        "searches-empty": ("pages/searches/index.html", SearchesView(shell=shell, searches=SearchList())),
        "search-new": ("pages/searches/new.html", SearchFormView(shell=shell, form=form())),
        "search-new-empty": ("pages/searches/new.html", SearchFormView(shell=shell, form=nothing)),
        **{
            f"search-{state}": (one, SearchView(shell=shell, head=head(has_draft=state == "stopped"), live=live(state)))
            for state in ("queued", "running", "stopped", "completed", "failed")
        },
        **{f"robustness{name}": (robust, RobustnessView(shell=shell, region=region, **about)) for name, region in asked.items()},  # type: ignore[arg-type]
    }


def fragments() -> dict[str, object]:
    """Every fragment."""
    folder = "fragments/searches"
    answered = robustness()
    return {
        f"{folder}/_list.html": searches(),
        f"{folder}/_rows.html": searches(),
        f"{folder}/_form.html": form(),
        f"{folder}/_head.html": head(),
        f"{folder}/_live.html": live(),
        f"{folder}/_trials.html": trials(),
        f"{folder}/_importance.html": live(),
        f"{folder}/_heat.html": live(),
        f"{folder}/_delete.html": SearchQuestion(number=9, strategy="EMA cross <b>"),
        f"{folder}/_robustness.html": answered,
        f"{folder}/_windows.html": answered,
        f"{folder}/_spreads.html": answered,
    }


def routes(templating: Templating) -> list[Route]:
    """What the pages ask for while they are open: what goes on, and the older ones of the list."""
    folder, reader = "fragments/searches", views.Reader(language="en", timezone="UTC")

    def answering(template: str, region: object) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            del request
            return HTMLResponse(templating.fragment(f"{folder}/{template}", region, reader=reader))

        return answer

    async def silent(request: Request) -> Response:
        async def nothing() -> AsyncIterator[str]:
            while not await request.is_disconnected():
                yield ": nothing new\n\n"
                await asyncio.sleep(0.2)

        return StreamingResponse(nothing(), media_type="text/event-stream")

    return [
        Route("/api/searches/{id}/events", silent),
        Route("/api/backtests/{id}/robustness/events", silent),
        Route("/backtests/searches/list", answering("_rows.html", replace(searches(), rows=(), next=""))),
        Route("/backtests/searches/{number}/live", answering("_live.html", live())),
        Route("/backtests/{number}/robustness/live", answering("_robustness.html", robustness())),
    ]
