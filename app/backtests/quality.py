"""Quality checks: what a careful trader would ask of a backtest before believing it, each answered in one plain sentence.

A check that cannot be made (too short, nothing to divide) is left out rather than passed. Bounds are rules of thumb: docs/metrics.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.backtests.quality_words import SENTENCES, TITLES
from app.backtests.report_parts import Check, Costs, RunFacts, Verdict
from app.domain.arrays import Candles, Floats, Times
from app.domain.candles import from_milliseconds
from app.domain.metrics import DAY_MS, EquityFigures, annual_return, daily_returns, sharpe_ratio
from app.domain.metrics_trades import TradeFigures, closed_rows
from app.domain.outcome import NO_REASON, REASONS, Outcome
from app.domain.safeguards import SafeguardNumbers
from app.domain.simulated import Reason

#: With fewer trades chance alone explains any result.
FEW_TRADES: Final = 30
#: The part of the time that stands for what was known, beside which the rest is looked at.
FIRST_PART: Final = 0.7
_FEWEST_DAYS_A_PART: Final = 10
_SHORT_DAYS: Final = 90
_LARGE_SHARE_OF_GROSS: Final = 0.5
_TOO_GOOD_SHARPE: Final = 4.0
_FEWEST_DAYS_FOR_TOO_GOOD: Final = 30
_MUCH_MISSING: Final = 0.01
_LITTLE_EXPOSURE: Final = 0.02
_FULL_EXPOSURE: Final = 0.95
_BEST_FEW: Final = 3
_LARGE_SHARE_OPEN: Final = 0.5
#: An order that takes more of a candle's volume would move the price; one in twenty of them is too many.
_LARGE_SHARE_OF_VOLUME: Final = 0.1
_MANY_LARGE: Final = 0.05
_ORDER: Final[tuple[Verdict, ...]] = ("fail", "warn", "pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What the checks look at; `candles` and the rows of `outcome` are all, the other columns are from the first decision on."""

    outcome: Outcome
    candles: Candles
    times: Times
    equity: Floats
    figures: EquityFigures
    held: EquityFigures
    trades: TradeFigures
    costs: Costs
    exposure: float
    start: int
    missing: int
    facts: RunFacts
    at_double_slippage: Outcome | None
    safeguards: SafeguardNumbers | None = None


def make_checks(ran: Ran) -> tuple[Check, ...]:
    """Return what came of every check that could be made, worst first."""
    checks = [check for make in _CHECKS if (check := make(ran)) is not None]
    return tuple(sorted(checks, key=lambda check: _ORDER.index(check.verdict)))


def _look_ahead(ran: Ran) -> Check:
    known = ran.facts.has_look_ahead
    if known is None:
        return _check("LOOK_AHEAD", "warn", "UNKNOWN")
    return _check("LOOK_AHEAD", "fail" if known else "pass")


def _sample(ran: Ran) -> Check:
    closed = ran.trades.closed
    numbers = {"trades": float(closed)}
    if not closed:
        return _check("SAMPLE", "fail", numbers=numbers)
    return _check("SAMPLE", "warn" if closed < FEW_TRADES else "pass", numbers=numbers, trades=_whole(closed))


def _few_make_it(ran: Ran) -> Check | None:
    profits = np.sort(ran.outcome.trades.profit[closed_rows(ran.outcome.trades)])[::-1]
    net = float(profits.sum())
    if net <= 0 or len(profits) <= _BEST_FEW:
        return None
    numbers = {"share_of_one": float(profits[0]) / net, "share_of_three": float(profits[:_BEST_FEW].sum()) / net}
    # A share of a small net can be thousands of percent; "all of it" is what that means.
    if numbers["share_of_one"] >= 1:
        return _check("FEW_MAKE_IT", "fail", numbers=numbers)
    if numbers["share_of_three"] >= 1:
        return _check("FEW_MAKE_IT", "warn", "THREE", numbers=numbers)
    verdict: Verdict = "warn" if numbers["share_of_three"] >= 0.5 else "pass"
    return _check("FEW_MAKE_IT", verdict, numbers=numbers, share=_percent(numbers["share_of_three"]))


def _open_trade(ran: Ran) -> Check | None:
    """What is not sold yet is not won yet."""
    net = float(ran.costs.net)
    unrealised = float(ran.outcome.trades.profit[ran.outcome.trades.reason == NO_REASON].sum())
    if not ran.trades.open or net <= 0 or unrealised <= 0:
        return None
    share = unrealised / net
    verdict: Verdict = "warn" if share >= _LARGE_SHARE_OPEN else "pass"
    return _check("OPEN_TRADE", verdict, numbers={"share": share}, share=_percent(min(share, 1.0)))


def _volume(ran: Ran) -> Check | None:
    fills = ran.outcome.fills
    if not len(fills):
        return None
    share = float(np.mean(fills.quantity > _LARGE_SHARE_OF_VOLUME * ran.candles.volume[fills.candle]))
    if share > _MANY_LARGE:
        return _check("VOLUME", "warn", numbers={"share": share}, share=_percent(share))
    return _check("VOLUME", "pass", numbers={"share": share})


def _later_part(ran: Ran) -> Check | None:
    """The last 30 % of the time beside the first 70 %: what was tuned on the past is worse in what came after."""
    split = int(len(ran.equity) * FIRST_PART)
    first = daily_returns(ran.times[: split + 1], ran.equity[: split + 1])
    if ran.equity[split] <= 0:
        return None
    later = daily_returns(ran.times[split:], ran.equity[split:])
    if min(len(first), len(later)) < _FEWEST_DAYS_A_PART:
        return None
    before, after = sharpe_ratio(first), sharpe_ratio(later)
    won = float(ran.equity[split] / ran.equity[0] - 1)
    # Returns that swing have a mean above 0 though they came to a loss.
    if before is None or after is None or before <= 0 or won <= 0:
        return None
    span = int(ran.times[-1] - ran.times[split])
    numbers = {
        "first_sharpe": before,
        "later_sharpe": after,
        "first_return": won,
        "later_return": float(ran.equity[-1] / ran.equity[split] - 1),
        "later_cagr": annual_return(float(ran.equity[split]), float(ran.equity[-1]), span),
    }
    verdict: Verdict = "fail" if min(after, numbers["later_return"] or 0.0) <= 0 else "warn" if after < before / 2 else "pass"
    return _check("LATER_PART", verdict, numbers=numbers, before=_number(before), after=_number(after))


def _slippage(ran: Ran) -> Check | None:
    doubled = ran.at_double_slippage
    if doubled is None or ran.costs.net <= 0:
        return None
    net, left = float(ran.costs.net), float(doubled.equity[-1]) - float(ran.equity[0])
    numbers = {"net": net, "net_at_double": left, "kept": left / net}
    if left <= 0:
        return _check("SLIPPAGE", "fail", numbers=numbers)
    lost = 1 - left / net
    return _check("SLIPPAGE", "warn" if lost > 0.5 else "pass", numbers=numbers, lost=_percent(max(lost, 0.0)))


def _costs(ran: Ran) -> Check | None:
    share = ran.costs.share_of_gross
    if share is None:
        return None
    if share >= 1:
        return _check("COSTS", "fail", numbers={"share": share})
    return _check("COSTS", "warn" if share > _LARGE_SHARE_OF_GROSS else "pass", numbers={"share": share}, share=_percent(share))


def _holding(ran: Ran) -> Check | None:
    if len(ran.equity) < 2:
        return None
    own, held = ran.figures.total_return, ran.held.total_return
    numbers = {"own": own, "held": held}
    return _check("HOLDING", "pass" if own > held else "warn", numbers=numbers, own=_percent(own, 1), held=_percent(held, 1))


def _time_in_market(ran: Ran) -> Check | None:
    if not ran.trades.closed + ran.trades.open:
        return None
    numbers, share = {"exposure": ran.exposure}, _percent(ran.exposure, 1 if ran.exposure < 0.1 else 0)
    if ran.exposure > _FULL_EXPOSURE:
        return _check("EXPOSURE", "warn", "FULL", numbers=numbers, share=share)
    return _check("EXPOSURE", "warn" if ran.exposure < _LITTLE_EXPOSURE else "pass", numbers=numbers, share=share)


def _period(ran: Ran) -> Check:
    days = float(ran.times[-1] - ran.times[0]) / DAY_MS
    return _check("PERIOD", "warn" if days < _SHORT_DAYS else "pass", numbers={"days": days}, days=_whole(int(days)))


def _warm_up(ran: Ran) -> Check | None:
    facts = ran.facts
    if facts.warm_up is not None and ran.start < facts.warm_up:
        numbers = {"had": float(ran.start), "wanted": float(facts.warm_up)}
        return _check("WARM_UP", "warn", numbers=numbers, had=_whole(ran.start), wanted=_whole(facts.warm_up))
    if facts.is_warm_up_short is None:
        return None
    return _check("WARM_UP", "warn", "UNSTABLE") if facts.is_warm_up_short else _check("WARM_UP", "pass")


def _data(ran: Ran) -> Check:
    if not ran.missing:
        return _check("DATA", "pass", numbers={"missing": 0.0, "share": 0.0})
    share = ran.missing / (ran.missing + len(ran.equity))
    numbers = {"missing": float(ran.missing), "share": share}
    verdict: Verdict = "warn" if share < _MUCH_MISSING else "fail"
    return _check("DATA", verdict, numbers=numbers, missing=_whole(ran.missing), share=_percent(share, 2))


def _orders(ran: Ran) -> Check | None:
    denied, capped = ran.outcome.denied, ran.outcome.capped
    numbers = {"denied": float(denied), "capped": float(capped)}
    if denied:
        return _check("ORDERS", "warn", numbers=numbers, denied=_whole(denied))
    return _check("ORDERS", "warn", "CAPPED", numbers=numbers, capped=_whole(capped)) if capped else None


def _safeguards(ran: Ran) -> Check | None:
    """An account that nobody arms again says nothing of what came after."""
    trips = ran.outcome.trips
    if ran.safeguards is None or not trips:
        return None
    last = next((one for one in trips if not ran.safeguards.rules[one.rule].rearm_ms), None)
    if last is None:
        return _check("SAFEGUARDS", "pass", numbers={"trips": float(len(trips))}, trips=_whole(len(trips)))
    after = (len(ran.candles) - 1 - last.candle) / len(ran.equity)
    day = from_milliseconds(int(ran.candles.time[last.candle])).date().isoformat()
    return _check("SAFEGUARDS", "warn", numbers={"share_after": after}, day=day, share=_percent(after))


def _ruin(ran: Ran) -> Check | None:
    if ran.equity.min() <= 0 or bool(np.any(ran.outcome.trades.reason == REASONS.index(Reason.LIQUIDATION))):
        return _check("RUIN", "fail")
    return None


def _too_good(ran: Ran) -> Check | None:
    sharpe = ran.figures.sharpe
    if sharpe is None or sharpe < _TOO_GOOD_SHARPE or ran.figures.days < _FEWEST_DAYS_FOR_TOO_GOOD:
        return None
    return _check("TOO_GOOD", "warn", numbers={"sharpe": sharpe}, sharpe=_number(sharpe))


_CHECKS: Final[tuple[Callable[[Ran], Check | None], ...]] = (
    _look_ahead, _ruin, _sample, _few_make_it, _open_trade, _later_part, _slippage, _volume, _costs, _holding, _warm_up, _data,
    _period, _time_in_market, _orders, _safeguards, _too_good,
)  # fmt: skip


def _check(code: str, verdict: Verdict, variant: str = "", /, *, numbers: Mapping[str, float | None] | None = None, **values: str) -> Check:
    message = SENTENCES[f"{code}_{variant or verdict.upper()}"]
    return Check(code=code, verdict=verdict, title=TITLES[code], message=message, values=values, figures=dict(numbers or {}))


def _percent(fraction: float, places: int = 0) -> str:
    return f"{fraction * 100 + 0:.{places}f}"


def _number(value: float) -> str:
    return f"{value + 0:.2f}"


def _whole(value: int) -> str:
    return str(value)
