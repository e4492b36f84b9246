"""Markets, decisions and costs at random, with everything that a simulated candle can be: gaps, both levels in one, no volume, limits."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, no_decisions
from app.domain.safeguards import RuleNumbers, SafeguardNumbers
from app.domain.simulation import SimulationCosts

#: Shorter candles in one of the market's.
WITHIN = 5
_LENGTHS_MS = (300_000, 3_600_000, 14_400_000, 86_400_000)


@dataclass(frozen=True, slots=True)
class Case:
    candles: Candles
    decisions: Decisions
    costs: SimulationCosts
    detail: Candles | None


class _Maker:
    def __init__(self, seed: int, rows: int, *, is_plain: bool) -> None:
        self.chance = np.random.default_rng(seed)
        self.rows = rows
        self.is_plain = is_plain

    def pick(self, *values: float, first: float = 0.5) -> float:
        """Return one of some values, the first of them as often as is said."""
        others = (1 - first) / (len(values) - 1)
        return float(self.chance.choice(values, p=[first, *[others] * (len(values) - 1)]))

    def said(self, values: Any, share: float) -> NDArray[np.float64]:
        return np.where(self.chance.random(self.rows) < share, values, np.nan)

    def market(self) -> tuple[Candles, Candles]:
        chance, many = self.chance, self.rows * WITHIN
        scale = 100.0 if self.is_plain else 10 ** chance.uniform(-5, 5)
        digits = 2 if self.is_plain else 12
        volatility = 0.01 if self.is_plain else 10 ** chance.uniform(-4, -0.6)
        close = np.exp(np.cumsum(chance.normal(0, volatility, many)))
        open_ = np.concatenate([[1.0], close[:-1]]) * np.where(chance.random(many) < 0.1, np.exp(chance.normal(0, 3 * volatility, many)), 1)
        reach = np.exp(np.abs(chance.normal(0, volatility / 2, (2, many)))) * (chance.random(many) > 0.1) + 1e-12
        high, low = np.maximum(open_, close) * np.maximum(reach[0], 1), np.minimum(open_, close) / np.maximum(reach[1], 1)
        prices = [np.round(column * scale, digits) for column in (open_, high, low, close)]
        volume = np.where(chance.random(many) < 0.15, 0.0, np.round(chance.lognormal(2, 1.5, many), 3))
        length = int(chance.choice(_LENGTHS_MS))
        minutes = Candles(np.arange(many) * (length // WITHIN), prices[0], prices[1], prices[2], prices[3], volume)
        shape = (self.rows, WITHIN)
        parts = [column.reshape(shape) for column in (minutes.time, *prices, volume)]
        highest, lowest, traded = parts[2].max(axis=1), parts[3].min(axis=1), np.round(parts[5].sum(axis=1), 3)
        return Candles(parts[0][:, 0].copy(), parts[1][:, 0].copy(), highest, lowest, parts[4][:, -1].copy(), traded), minutes

    def decisions(self, candles: Candles, *, plenty: float) -> Decisions:
        chance, rows, close = self.chance, self.rows, candles.close
        digits = 2 if self.is_plain else 12
        spread = float(np.median(candles.high / candles.low - 1)) * 2 + 1e-9

        def price(width: float = 1.0) -> NDArray[np.float64]:
            return np.round(close * np.exp(chance.normal(0, width * spread, rows)), digits)

        def fraction(low: float, high: float) -> NDArray[np.float64]:
            return np.round(chance.uniform(low, high, rows), 3)

        decided = no_decisions(rows)
        decided.flags[:] = chance.choice([0, LONG, SHORT, EXIT, EXIT | LONG, EXIT | SHORT], rows, p=[0.6, 0.12, 0.12, 0.1, 0.03, 0.03])
        decided.size[:] = self.said(fraction(0.01, 1), 0.5)
        decided.stop[:] = self.said(price(2), 0.15)
        decided.target[:] = self.said(price(2), 0.15)
        decided.trailing[:] = self.said(np.round(np.minimum(chance.uniform(0.5, 4, rows) * spread, 0.9), 4), 0.1)
        decided.adjust[:] = self.said(np.round(chance.uniform(-1.2, 1, rows), 2), 0.1)
        decided.stop_loss[:] = self.said(np.round(np.minimum(chance.uniform(0.2, 4, rows) * spread, 0.9), 4), 0.3)
        decided.take_profit[:] = self.said(np.round(chance.uniform(0.2, 4, rows) * spread, 4), 0.3)
        decided.limit[:] = self.said(price(), 0.3 * plenty)
        decided.target_2[:] = self.said(price(3), 0.15 * plenty)
        decided.target_3[:] = self.said(price(4), 0.1 * plenty)
        decided.take_profit_2[:] = self.said(np.round(chance.uniform(0.2, 6, rows) * spread, 4), 0.3 * plenty)
        decided.take_profit_3[:] = self.said(np.round(chance.uniform(0.2, 8, rows) * spread, 4), 0.2 * plenty)
        for part in (decided.part, decided.part_2, decided.part_3):
            part[:] = self.said(fraction(0, 1), 0.5 * plenty)
        return decided

    def costs(self, candles: Candles, *, plenty: float) -> SimulationCosts:
        typical = float(np.median(candles.close))
        capital = self.pick(10_000.0, 100.0, 1_000_000.0)
        units = capital / typical
        return SimulationCosts(
            capital=capital,
            fee=self.pick(0.001, 0.0),
            maker_fee=self.pick(0.0008, 0.0),
            slippage=self.pick(0.0005, 0.0),
            step=self.pick(0.0, 0.001, 0.5) if self.is_plain else self.pick(0.0, units / 7, units * 1e-7),
            tick=self.pick(0.0, 0.01, 0.25) if self.is_plain else self.pick(0.0, typical * 1e-6, typical * 0.01),
            least_notional=self.pick(0.0, capital / 1_000, capital / 30),
            volume_share=self.pick(0.0, 0.1, 1.0) if plenty else 0.0,
            funding_rate=self.pick(0.0, 0.0001, -0.0003) if plenty else 0.0,
        )


def guarded(case: Case, seed: int) -> SimulationCosts:
    """Return the costs of a case with safeguards that are tight enough to trip, of the same seed the same."""
    make = _Maker(seed, len(case.candles), is_plain=True)
    length = int(case.candles.time[1] - case.candles.time[0])

    def rule(low: float, high: float, *, is_count: bool = False) -> RuleNumbers:
        limit = float(make.chance.integers(int(low), int(high))) if is_count else round(make.chance.uniform(low, high), 3)
        rearms = int(make.pick(0, 1, 3, 20))
        return RuleNumbers(limit=limit * make.pick(1, 0, first=0.6), flattens=make.pick(1, 0) == 1, rearm_ms=rearms * length)

    safeguards = SafeguardNumbers(
        timeframe_ms=length,
        cooldown_ms=int(make.pick(0, 1, 5)) * length,
        is_after_losing=make.pick(0, 1) == 1,
        most_notional=make.pick(0.0, case.costs.capital / 3, case.costs.capital * 2),
        stops_window_ms=int(make.pick(10, 30, 1_000)) * length,
        daily_loss=rule(0.002, 0.1),
        drawdown=rule(0.01, 0.3),
        stops=rule(1, 5, is_count=True),
        losses=rule(1, 5, is_count=True),
    )
    return replace(case.costs, safeguards=safeguards)


def random_case(seed: int, rows: int = 400, *, is_plain: bool = True) -> Case:
    """Return a case; of the same seed the same.

    Args:
        seed: Of all chance.
        rows: Candles.
        is_plain: Prices around 100 with two digits; otherwise of any size, down to the last bit.
    """
    make = _Maker(seed, rows, is_plain=is_plain)
    candles, minutes = make.market()
    plenty = make.pick(1.0, 0.0, first=0.8)
    decisions = make.decisions(candles, plenty=plenty)
    costs = make.costs(candles, plenty=plenty)
    if make.pick(0, 1) == 0:
        return Case(candles, decisions, costs, None)
    kept = make.chance.random(len(minutes)) > make.pick(0.0, 0.1)
    prices = [column[kept] for column in (minutes.open, minutes.high, minutes.low, minutes.close, minutes.volume)]
    return Case(candles, decisions, costs, Candles(minutes.time[kept], prices[0], prices[1], prices[2], prices[3], prices[4]))
