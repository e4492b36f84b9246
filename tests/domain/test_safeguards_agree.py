"""A live bot and a simulated one that lived through the same trades trip at the same moments and are refused the same entries.

All numbers are sums of powers of two, so that floats and Decimals are the same to the last bit.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions, no_decisions
from app.domain.candles import Timeframe, from_milliseconds
from app.domain.guarded_account import STOPPING
from app.domain.safeguard_judge import ClosedTrade, SafeguardState, entry_refusal, judge
from app.domain.safeguards import TRIPPING, Cooldown, Loss, LossStreak, Rule, Safeguards, Span, StopGuard, Tripping, numbers_of
from app.domain.simulation import Simulation, SimulationCosts, simulate
from tests.conftest import Size

HOUR = Timeframe.H1
CAPITAL = 16_384
ROWS = 160


def market(chance: np.random.Generator) -> Candles:
    steps = chance.integers(-6, 7, ROWS) / 4
    close = np.maximum(64 + np.cumsum(steps), 8.0)
    open_ = np.concatenate([[64.0], close[:-1]])
    high, low = np.maximum(open_, close) + chance.integers(0, 8, ROWS) / 4, np.minimum(open_, close) - chance.integers(0, 8, ROWS) / 4
    return Candles(np.arange(ROWS) * HOUR.milliseconds, open_, high, low, close, np.ones(ROWS))


def decisions(chance: np.random.Generator, candles: Candles) -> Decisions:
    decided = no_decisions(ROWS)
    decided.flags[:] = chance.choice([0, LONG, SHORT, EXIT], ROWS, p=[0.5, 0.2, 0.15, 0.15])
    distance = chance.integers(1, 12, ROWS) / 4
    side = np.where(decided.flags == SHORT, -1, 1)
    decided.stop[:] = np.where((decided.flags & (LONG | SHORT)) != 0, candles.close - side * distance, np.nan)
    return decided


def rules(chance: np.random.Generator) -> Safeguards:
    def rearm() -> int:
        return int(chance.choice([0, 1, 7, 30]))

    def loss() -> Loss | None:
        return None if chance.random() < 0.4 else Loss(fraction=Decimal(int(chance.integers(1, 9))) / 64, rearm_after=rearm())

    stops = StopGuard(stops=int(chance.integers(1, 5)), window=Span(candles=int(chance.integers(1, 60))), rearm_after=rearm())
    losses = LossStreak(trades=int(chance.integers(1, 6)), rearm_after=rearm())
    cooldown = Cooldown(span=Span(candles=int(chance.integers(1, 6))), is_after_losing=bool(chance.random() < 0.5))
    return Safeguards(
        cooldown=cooldown if chance.random() < 0.5 else None,
        daily_loss=loss(),
        drawdown=loss(),
        stops=stops if chance.random() < 0.6 else None,
        losses=losses if chance.random() < 0.6 else None,
    )


@dataclass
class LiveBot:
    """What a live bot would know after the fills of a simulation, candle by candle."""

    safeguards: Safeguards
    cash: Decimal = Decimal(CAPITAL)
    held: Decimal = Decimal(0)
    day_start: Decimal = Decimal(CAPITAL)
    peak: Decimal = Decimal(CAPITAL)
    trades: list[ClosedTrade] = field(default_factory=list)
    since: dict[Rule, datetime] = field(default_factory=dict)
    tripped: dict[Rule, datetime] = field(default_factory=dict)

    def state(self, now: datetime, price: float = 0.0) -> SafeguardState:
        return SafeguardState(
            now=now,
            timeframe=HOUR,
            capital=Decimal(CAPITAL),
            equity=self.equity(price),
            day_start=self.day_start,
            peak=self.peak,
            trades=tuple(self.trades),
            since=self.since,
            tripped=frozenset(self.tripped),
        )

    def equity(self, price: float) -> Decimal:
        return self.cash + self.held * Decimal(price)

    def look(self, now: datetime, price: float = 0.0) -> list[Rule]:
        found = [one.rule for one in judge(self.safeguards, self.state(now, price))]
        self.tripped |= dict.fromkeys(found, now)
        return found

    def begin(self, now: datetime, last_close: float) -> None:
        equity = self.equity(last_close)
        if now.hour == 0:
            self.day_start = equity
        for rule, at in list(self.tripped.items()):
            after = _tripping(self.safeguards, rule).rearm_after
            if after and now >= at + HOUR.duration * (1 + after):
                del self.tripped[rule]
                self.since[rule] = now - timedelta(milliseconds=1)
                if rule is Rule.DAILY_LOSS:
                    self.day_start = equity
                elif rule is Rule.DRAWDOWN:
                    self.peak = equity


def _tripping(safeguards: Safeguards, rule: Rule) -> Tripping:
    found = safeguards.tripping(rule)
    assert found is not None
    return found


def lived(candles: Candles, decided: Decisions, simulation: Simulation, safeguards: Safeguards) -> tuple[list[tuple[int, Rule]], int]:
    """Return the candles in which a live bot's rules trip, and how many entries it is refused."""
    bot, trips, refused = LiveBot(safeguards), [], 0
    fills, trades = list(simulation.fills), iter(simulation.trades)
    for row in range(ROWS):
        now = from_milliseconds(int(candles.time[row]))
        bot.begin(now, candles.close[row - 1] if row else 64.0)
        if row and not bot.held and decided.flags[row - 1] & (LONG | SHORT):
            refused += entry_refusal(safeguards, bot.state(now)) is not None
        while fills and fills[0].candle == row:
            fill = fills.pop(0)
            bot.cash -= Decimal(fill.side * fill.quantity * fill.price)
            bot.held += Decimal(fill.side * fill.quantity)
            if not bot.held:
                trade = next(trades)
                bot.trades.append(ClosedTrade(closed_at=now, profit=Decimal(trade.profit), is_stop=trade.reason in STOPPING))
                trips += [(row, rule) for rule in bot.look(now)]
        trips += [(row, rule) for rule in bot.look(now, candles.low[row] if bot.held > 0 else candles.high[row])]
        bot.peak = max(bot.peak, bot.equity(candles.close[row]))
    return trips, refused


def test_they_trip_at_the_same_candles_and_are_refused_the_same_entries(size: Size) -> None:
    seen: set[Rule] = set()
    for seed in range(size(150, full=5_000)):
        chance = np.random.default_rng(seed)
        candles = market(chance)
        decided, safeguards = decisions(chance, candles), rules(chance)
        costs = SimulationCosts(
            capital=float(CAPITAL), fee=0.0, maker_fee=0.0, slippage=0.0, step=1.0, safeguards=numbers_of(safeguards, HOUR.milliseconds)
        )
        simulation = simulate(candles, decided, costs)
        trips, refused = lived(candles, decided, simulation, safeguards)
        assert trips == [(trip.candle, TRIPPING[trip.rule]) for trip in simulation.trips], f"seed {seed}"
        assert refused == simulation.refused, f"seed {seed}"
        seen |= {rule for _, rule in trips}
    assert seen == set(TRIPPING)
