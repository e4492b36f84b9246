"""How robust a backtest is, put into words and pictures."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from app.backtests.robustness.report import RobustnessReport, Verdict, WalkedWindow, robustness_of
from app.backtests.search.models import Robustness
from app.core import formatters
from app.core.i18n import N_, current_language, gettext
from app.domain.candles import from_milliseconds
from app.domain.robustness import PERCENTILES, MonteCarlo, Spread
from app.ui.backtest_figures import decimal
from app.ui.searches import value_text
from app.ui.views.searches import FanLine, Robust, RobustnessRegion, SpreadRow, VerdictRow, WindowRow

_PHASES: Final = {
    "candles": N_("Candles are brought together."),
    "fetching": N_("Missing candles are fetched from the exchange."),
    "trades": N_("The trades are put into other orders and at other prices."),
    "windows": N_("Parameters are chosen anew in each window."),
}
#: The picture of the fan, in its own units.
_WIDTH: Final = 600.0
_HEIGHT: Final = 220.0
_LOW, _MIDDLE, _HIGH = (PERCENTILES.index(one) for one in (5, 50, 95))


def robustness_region(number: int, found: Robustness | None) -> RobustnessRegion:
    """Return how far the question is answered; None: nobody asked yet."""
    if found is None:
        return RobustnessRegion(number=number, state="")
    progress: dict[str, Any] = found.progress or {}
    done, total = progress.get("done"), progress.get("total")
    return RobustnessRegion(
        number=number,
        state=found.state,
        phase=gettext(_PHASES.get(progress.get("phase", ""), N_("It waits for its turn."))),
        pct=round(100 * done / total) if total and done is not None else None,
        error=str((found.error or {}).get("message", "")),
        answered_at=found.finished_at,
        robust=None if found.report is None else _robust(robustness_of(found.report)),
    )


def _robust(report: RobustnessReport) -> Robust:
    fan = report.resampled
    lines, band, low, high = ((), "", None, None) if fan is None else _fan(fan)
    return Robust(
        verdicts=tuple(verdict_row(one) for one in report.verdicts),
        windows=tuple(_window(one) for one in report.windows),
        spreads=_spreads(report),
        fan=lines,
        fan_band=band,
        fan_low=low,
        fan_high=high,
        varied=tuple(report.varied),
        sets=report.sets,
        searched=report.searched,
        runs=Decimal(0 if fan is None else fan.runs),
        sharpe=decimal(None if report.sharpe is None else report.sharpe.sharpe),
        expected_best=decimal(None if report.sharpe is None else report.sharpe.expected_best),
    )


def verdict_row(verdict: Verdict) -> VerdictRow:
    """Return an answer in the reader's language."""
    language = current_language()
    values = {
        name: str(value) if isinstance(value, int) else formatters.number(Decimal(repr(value)), decimals=1, language=language)
        for name, value in verdict.values.items()
    }
    sentence = gettext(verdict.message)
    return VerdictRow(grade=verdict.grade, title=gettext(verdict.title), sentence=sentence % values if values else sentence)


def _window(one: WalkedWindow) -> WindowRow:
    window, language = one.window, current_language()
    days = [
        formatters.dt(from_milliseconds(moment), "date", zone="UTC", language=language)
        for moment in (window.train_start_ms, window.test_start_ms, window.test_end_ms)
    ]
    return WindowRow(
        trained=f"{days[0]} – {days[1]}",
        tested=f"{days[1]} – {days[2]}",
        train=Decimal(repr(window.train)),
        test=Decimal(repr(window.test)),
        trades=window.trades,
        chosen=", ".join(f"{name} {value_text(value)}" for name, value in one.parameters.items()),
    )


def _spreads(report: RobustnessReport) -> tuple[SpreadRow, ...]:
    # Equity is told as a multiple of the capital: less one it is a return.
    wanted: list[tuple[str, Spread, int]] = []
    if report.shuffled is not None:
        wanted.append((gettext("Max. drawdown, other orders"), report.shuffled.max_drawdown, 0))
    if report.resampled is not None:
        wanted.append((gettext("Max. drawdown, other trades"), report.resampled.max_drawdown, 0))
        wanted.append((gettext("Return, other trades"), report.resampled.final, 1))
    if report.moved is not None:
        wanted.append((gettext("Return, other prices"), report.moved.final, 1))
    return tuple(_spread(name, spread, less) for name, spread, less in wanted)


def _spread(name: str, spread: Spread, less: int) -> SpreadRow:
    low, middle, high = (Decimal(repr(spread.percentiles[place])) - less for place in (_LOW, _MIDDLE, _HIGH))
    return SpreadRow(name=name, is_return=bool(less), actual=Decimal(repr(spread.actual)) - less, low=low, middle=middle, high=high)


def _fan(found: MonteCarlo) -> tuple[tuple[FanLine, ...], str, Decimal, Decimal]:
    """Return the curves, the band between one in twenty below and above, and the least and the most that the picture shows."""
    curves = [*found.fan, found.actual]
    low, high = min(map(min, curves)), max(map(max, curves))
    room = (high - low) or 1.0
    last = found.steps[-1] or 1

    def points(curve: Sequence[float]) -> list[str]:
        return [
            f"{step / last * _WIDTH:.1f} {_HEIGHT - (value - low) / room * _HEIGHT:.1f}"
            for step, value in zip(found.steps, curve, strict=True)
        ]

    kinds = [f"p{one}" for one in PERCENTILES] + ["actual"]
    lines = tuple(FanLine(kind=kind, path="M" + " L".join(points(curve))) for kind, curve in zip(kinds, curves, strict=True))
    band = "M" + " L".join([*points(found.fan[_LOW]), *reversed(points(found.fan[_HIGH]))]) + " Z"
    return lines, band, Decimal(repr(low)) - 1, Decimal(repr(high)) - 1
