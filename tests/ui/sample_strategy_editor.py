"""The strategy editor with awkward values: markup in names and messages, problems of each severity, few trades, nothing yet."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.ui import views
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_ID = "0190a7b2-77aa-7d10-8000-000000000081"
_PAGE = "pages/strategies/editor.html"
SOURCE = '''from aristobot import Strategy, param, ta


class EmaCross(Strategy):
    """Long when the fast EMA crosses above the slow one, </textarea> and all."""

    timeframe = "1h"
    warm_up = 200
    fast = param(12, low=5, high=50)
    slow = param(26, low=20, high=200)
    stop_loss = param(0.02, low=0.005, high=0.10)  # a fraction below the entry
    take_profit = 0.04

    def indicators(self, candles):
        self.fast_ema = ta.EMA(candles.close, self.fast)
        self.slow_ema = ta.EMA(candles.close, self.slow)

    def should_long(self) -> bool:
        return ta.crossed_above(self.fast_ema, slow_ema)

    def should_exit(self) -> bool:
        return ta.crossed_below(self.fast_ema, self.slow_ema)
'''


def versions() -> views.VersionList:
    """Three versions: a used one, one that looks ahead, one that nobody has looked at."""
    return views.VersionList(
        id=_ID,
        rows=(
            views.VersionRow(number=7, created_at=NOW - timedelta(minutes=2), note="with a stop <b>that follows</b>, see the log"),
            views.VersionRow(number=6, created_at=NOW - timedelta(days=1), validity="look_ahead"),
            views.VersionRow(number=5, created_at=NOW - timedelta(days=3), validity="valid", is_used=True),
        ),
        templates=(views.Choice(value="blank", label="A first strategy"), views.Choice(value="dca", label="DCA <with> safety orders")),
    )


def steps() -> tuple[views.StepRow, ...]:
    """A validation on its way: one passed, one warned, one failed, one not run, one running."""
    return (
        views.StepRow(name="syntax", title="Syntax", state="passed", seconds=0.003),
        views.StepRow(name="lint", title="Usual mistakes", state="warned", seconds=0.18),
        views.StepRow(name="contract", title="The strategy's contract", state="failed", seconds=1.34),
        views.StepRow(name="dry_run", title="Dry run on stored candles", state="running"),
        views.StepRow(name="look_ahead", title="Look-ahead", state="skipped"),
        views.StepRow(name="warm_up", title="Warm-up", words="200 candles of BTC/USDT"),
    )


def problems() -> views.ProblemList:
    """One of each severity; the last has no line, but an attribute and a candle."""
    return views.ProblemList(
        checked_at=NOW,
        rows=(
            views.ProblemRow(severity="error", message="Unknown name <slow_ema>", code="F821", line=19, column=48),
            views.ProblemRow(severity="warning", message="The variable is never used", code="F841", line=15, column=9),
            views.ProblemRow(severity="note", message="It knows later candles", attribute="slow_ema", at=NOW - timedelta(days=4)),
        ),
    )


def parameters() -> views.ParameterForm:
    """One field of each kind, one with a mistake in it."""
    return views.ParameterForm(
        is_described=True,
        rows=(
            views.ParameterField(name="fast", kind="int", value="12", default="12", low="5", high="50", help="Of the <fast> average"),
            views.ParameterField(name="stop_loss", kind="float", value="a", default="0.02", low="0.005", error="That is not a number."),
            views.ParameterField(name="uses_trend", kind="bool", value="true", default="true"),
            views.ParameterField(name="average", kind="choice", value="EMA", default="EMA", choices=("EMA", "SMA", "KAMA")),
            views.ParameterField(name="take_profit", kind="float", value="", default="", is_optional=True),
        ),
    )


def trial() -> views.TrialView:
    """A thousand hours of a wave, with few trades."""
    start = NOW - timedelta(hours=1000)
    times = [int((start + timedelta(hours=step)).timestamp() * 1000) for step in range(1000)]
    closes = [58000 + 900 * math.sin(step / 40) + 300 * math.sin(step / 7) for step in range(1000)]
    candles = [[time, close - 20, close + 60, close - 70, close] for time, close in zip(times, closes, strict=True)]
    marks = [{"t": times[at], "side": "buy" if at // 97 % 2 else "sell", "is_entry": bool(at // 97 % 2)} for at in range(97, 1000, 97)]
    numbers = views.TrialNumbers(
        symbol="BTC/USDT", timeframe="1h", candles=1000, since=start, until=NOW, trades=5, net=Decimal("0.0412"), hold=Decimal("-0.013"),
        drawdown=Decimal("0.062"), win_rate=Decimal("0.6"), profit_factor=Decimal("1.84"), exposure=Decimal("0.31"),
        costs=Decimal("61.80"), denied=2, quote="USDT", has_few_trades=True, is_open=True,
    )  # fmt: skip
    equity = [[time, 10_000 + step * 0.4 + 80 * math.sin(step / 40)] for step, time in enumerate(times)]
    return views.TrialView(
        numbers=numbers,
        chart={
            "candles": candles,
            "marks": marks,
            "equity": equity,
            "held": [[time, 10_000 * close / closes[0]] for time, close in zip(times, closes, strict=True)],
            "tick": "0.01",
        },
        notes=("Too few candles of <BTC/USDT> 1h are stored.",),
    )


def state() -> views.EditorState:
    """A draft after version 7."""
    return views.EditorState(
        number=7, saved_at=NOW - timedelta(minutes=2), draft_at=NOW - timedelta(seconds=9), revision=41, validity="invalid"
    )


def market() -> views.MarketChoice:
    """Two symbols, the strategy's own timeframe."""
    return views.MarketChoice(symbols=("BTC/USDT", "ETH/USDT"), symbol="BTC/USDT", timeframes=("1m", "5m", "1h", "1d"))


def editor(shell: views.Shell) -> views.StrategyEditorView:
    """After a validation that found something."""
    return views.StrategyEditorView(
        shell=shell,
        id=_ID,
        name="EMA cross <12/26>",
        source=SOURCE,
        state=state(),
        versions=versions(),
        market=market(),
        steps=steps(),
        problems=problems(),
        output=views.OutputText(text="fast 12\n<b>slow</b> 26\n", traceback='  File "strategy", line 19\nNameError'),
        parameters=parameters(),
        trial=trial(),
        completions={
            "ta": [{"label": "EMA", "type": "function", "detail": "(series, length)", "info": "Exponential moving average"}],
            "names": [{"label": "param", "type": "function", "detail": "(default, low, high)"}],
        },
    )


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The page with everything, and of a strategy that was made a moment ago."""
    first = views.VersionList(id=_ID, rows=(views.VersionRow(number=1, created_at=NOW),))
    young = replace(
        editor(shell), name="New", state=views.EditorState(number=1, saved_at=NOW, error="That name is taken."), versions=first,
        steps=(), problems=views.ProblemList(failure="This machine cannot run strategies safely."), output=views.OutputText(),
        parameters=views.ParameterForm(), trial=views.TrialView(), completions={},
    )  # fmt: skip
    return {"strategy-editor": (_PAGE, editor(shell)), "strategy-editor-new": (_PAGE, young)}


def fragments() -> dict[str, object]:
    """Every fragment of the page."""
    return {
        "fragments/strategies/_state.html": state(),
        "fragments/strategies/_market.html": market(),
        "fragments/strategies/_versions.html": versions(),
        "fragments/strategies/_step.html": steps()[2],
        "fragments/strategies/_problems.html": problems(),
        "fragments/strategies/_output.html": views.OutputText(text="<script>alert(1)</script>"),
        "fragments/strategies/_parameters.html": parameters(),
        "fragments/strategies/_trial.html": trial(),
        "fragments/strategies/_editor_texts.html": None,
    }
