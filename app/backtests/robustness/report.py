"""What was found out about how robust a backtest is, as it is stored, and its verdicts in plain words.

Amounts are fractions and multiples only, so there is no money here. None means that something could not be asked: too few trades, nothing
that varies, no such figure.
"""

from typing import Any, Final, Literal

import msgspec

from app.core.i18n import N_
from app.domain.robustness import PERCENTILES, MonteCarlo
from app.domain.robustness_sharpe import DeflatedSharpe
from app.domain.robustness_walk import Stability, WalkForward, Window

Grade = Literal["pass", "warn", "fail", "unknown"]

#: A ratio that is above what luck gives with this probability is usually believed.
BELIEVED: Final = 0.95
_DOUBTED: Final = 0.80
#: Below so many trades nothing that is done with them says much.
FEWEST_TRADES: Final = 10
_LIKELY_LOSS: Final = 0.30
_POSSIBLE_LOSS: Final = 0.10
#: How much deeper the drawdown of one in twenty orders may be than the one that came, before it is worth a warning.
_MUCH_DEEPER: Final = 1.5
_TWICE: Final = 2.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `message` is a sentence of the catalogue with `values` as `%(name)s`, in which numbers stand as they are computed."""

    code: Literal["walk_forward", "trade_order", "other_trades", "fill_prices", "deflated_sharpe"]
    grade: Grade
    title: str
    message: str
    values: dict[str, float | int] = {}


class WalkedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window and the parameters that were chosen on its first part; empty where nothing varies."""

    window: Window
    parameters: dict[str, Any]


class RobustnessReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole.

    Attributes:
        seed: Of everything that is random in it.
        trades: Closed ones of the backtest.
        shuffled: The same trades in other orders.
        resampled: As many trades drawn of them.
        moved: The same trades at prices a little beside theirs.
        spread: Deviation of those prices, a fraction.
        sharpe: What is left of the Sharpe ratio.
        searched: Trials of all searches of the strategy, which are counted in it.
        walk: What the windows say together.
        windows: One by one, oldest first.
        varied: Parameters that were chosen anew in each window.
        sets: Sets of parameters that were tried for that.
        verdicts: In the order in which they are shown.
    """

    seed: int
    trades: int
    shuffled: MonteCarlo | None
    resampled: MonteCarlo | None
    moved: MonteCarlo | None
    spread: float
    sharpe: DeflatedSharpe | None
    searched: int
    walk: WalkForward | None
    windows: list[WalkedWindow]
    varied: list[str]
    sets: int
    verdicts: list[Verdict]


class Luck(msgspec.Struct, frozen=True, kw_only=True):
    """The part that is computed of the backtest's own trades alone."""

    trades: int
    shuffled: MonteCarlo | None
    resampled: MonteCarlo | None
    moved: MonteCarlo | None
    sharpe: DeflatedSharpe | None


def verdicts_of(luck: Luck, walk: WalkForward | None, *, searched: int) -> list[Verdict]:
    """Return the answers to "How robust is it?"."""
    return [_of_walk(walk), _of_order(luck), _of_others(luck), _of_prices(luck), _of_sharpe(luck.sharpe, searched)]


def _of_walk(walk: WalkForward | None) -> Verdict:
    title = N_("Does it hold in the months after?")
    if walk is None or walk.stability is Stability.UNKNOWN:
        message = N_("It cannot be told: there are too few windows or trades, or it earned nothing where it was chosen.")
        return Verdict(code="walk_forward", grade="unknown", title=title, message=message)
    grades: dict[Stability, tuple[Grade, str]] = {
        Stability.STABLE: (
            "pass",
            N_("Yes: %(winning)s of %(windows)s later windows won, and they kept %(efficiency)s %% of what was promised."),
        ),
        Stability.FRAGILE: (
            "warn",
            N_("Only in part: %(winning)s of %(windows)s later windows won, and they kept %(efficiency)s %% of what was promised."),
        ),
        Stability.UNSTABLE: (
            "fail",
            N_(
                "No: %(winning)s of %(windows)s later windows won, and they kept %(efficiency)s %% of what was promised. What worked in "
                "one part of the past did not work in the next."
            ),
        ),
    }
    grade, message = grades[walk.stability]
    values: dict[str, float | int] = {
        "winning": round(walk.winning * walk.windows),
        "windows": walk.windows,
        "efficiency": round(100 * (walk.efficiency or 0.0)),
    }
    return Verdict(code="walk_forward", grade=grade, title=title, message=message, values=values)


def _too_few(code: Any, title: str) -> Verdict:
    message = N_("It cannot be told: there are fewer than %(least)s closed trades.")
    return Verdict(code=code, grade="unknown", title=title, message=message, values={"least": FEWEST_TRADES})


def _of_order(luck: Luck) -> Verdict:
    title = N_("How deep could it have fallen?")
    found = luck.shuffled
    if found is None:
        return _too_few("trade_order", title)
    actual, deep = found.max_drawdown.actual, found.max_drawdown.percentiles[PERCENTILES.index(95)]
    ratio = deep / actual if actual > 0 else 1.0
    message = N_(
        "From trade to trade it fell by %(actual)s %%. Had the same trades come in another order, one in twenty times it would have been "
        "%(deep)s %% or more."
    )
    grade: Grade = "pass" if ratio < _MUCH_DEEPER else "warn" if ratio < _TWICE else "fail"
    return Verdict(
        code="trade_order", grade=grade, title=title, message=message, values={"actual": _percent(actual), "deep": _percent(deep)}
    )


def _of_others(luck: Luck) -> Verdict:
    title = N_("Could it have lost money?")
    found = luck.resampled
    if found is None:
        return _too_few("other_trades", title)
    message = N_("With other trades of the same kind it would have ended below its capital in %(chance)s %% of %(runs)s runs.")
    grade: Grade = "fail" if found.chance_of_loss > _LIKELY_LOSS else "warn" if found.chance_of_loss > _POSSIBLE_LOSS else "pass"
    values = {"chance": _percent(found.chance_of_loss), "runs": found.runs}
    return Verdict(code="other_trades", grade=grade, title=title, message=message, values=values)


def _of_prices(luck: Luck) -> Verdict:
    title = N_("Does it depend on exact prices?")
    found = luck.moved
    if found is None:
        return _too_few("fill_prices", title)
    low, actual = found.final.percentiles[PERCENTILES.index(5)] - 1, found.final.actual - 1
    message = N_(
        "Its closed trades returned %(actual)s %%. With fills a little beside their prices, one in twenty times it would have been "
        "%(low)s %% or less."
    )
    grade: Grade = "pass" if low > 0 or (actual <= 0 and low >= actual / 2) else "warn" if found.chance_of_loss < _LIKELY_LOSS else "fail"
    values = {"actual": _percent(actual), "low": _percent(low)}
    return Verdict(code="fill_prices", grade=grade, title=title, message=message, values=values)


def _of_sharpe(sharpe: DeflatedSharpe | None, searched: int) -> Verdict:
    title = N_("Is it more than luck?")
    if sharpe is None:
        message = N_("It cannot be told: there are too few days.")
        return Verdict(code="deflated_sharpe", grade="unknown", title=title, message=message)
    values: dict[str, float | int] = {"chance": _percent(sharpe.deflated), "searched": searched}
    if searched:
        message = N_(
            "After %(searched)s trials in searches, some of which look good by luck alone, it is %(chance)s %% likely that the Sharpe "
            "ratio is more than that."
        )
    else:
        message = N_("Nothing was searched for it. It is %(chance)s %% likely that the Sharpe ratio is above zero.")
    grade: Grade = "pass" if sharpe.deflated >= BELIEVED else "warn" if sharpe.deflated >= _DOUBTED else "fail"
    return Verdict(code="deflated_sharpe", grade=grade, title=title, message=message, values=values)


def _percent(fraction: float) -> float:
    return round(100 * fraction, 1)


def robustness_stored(report: RobustnessReport) -> dict[str, Any]:
    """Return a report as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def robustness_of(stored: dict[str, Any]) -> RobustnessReport:
    """Return the report that `robustness_stored` was given."""
    return msgspec.convert(stored, RobustnessReport, strict=False)
