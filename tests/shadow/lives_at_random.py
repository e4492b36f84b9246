"""Lives of bots at random: the shadow is a simulation, the bot the same one to which things happen that the test knows."""

import random
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from app.domain.account import Account
from app.domain.arrays import DECIDED, EXIT, LONG, Candles, Decisions, deciding_rows, no_decisions
from app.domain.grid import on_tick
from app.domain.outcome import outcome_of
from app.domain.simulated import Reason, SimulationCosts, Wish
from app.domain.simulation import simulate
from app.shadow.causes import Cause
from app.shadow.lives import Act, Kind, LiveLife, Market, ShadowLife, Signal, Span, Trade, exact
from app.shadow.simulated import _KINDS, shadow_life

MINUTE = 60_000
COSTS = SimulationCosts(capital=10_000.0, fee=0.001, maker_fee=0.0004, slippage=0.0, step=0.001, tick=0.01, least_notional=5.0)


def candles(seed: int, rows: int) -> Candles:
    """Prices that wander, each candle opening where the one before closed, or with a gap."""
    source = np.random.default_rng(seed)
    close = np.round(100 * np.exp(source.normal(0, 0.01, rows).cumsum()), 2)
    open_ = np.round(np.append(100.0, close[:-1]) * (1 + source.choice([0, 0, 0, 0.002, -0.002], rows)), 2)
    reach = np.abs(source.normal(0, 0.006, rows))
    high, low = np.round(np.maximum(open_, close) * (1 + reach), 2), np.round(np.minimum(open_, close) * (1 - reach), 2)
    return Candles(1_700_000_040_000 + np.arange(rows, dtype=np.int64) * MINUTE, open_, high, low, close, np.full(rows, 1e6))


def decisions(seed: int, rows: int) -> Decisions:
    """Entries and exits at random, with stops and targets of some of them."""
    source = np.random.default_rng(seed + 1)
    made = no_decisions(rows)
    made.flags[:] = source.choice([0, LONG, EXIT], rows, p=[0.7, 0.2, 0.1])
    stops = np.where(source.random(rows) < 0.7, source.uniform(0.004, 0.03, rows), np.nan)
    profits = np.where(source.random(rows) < 0.5, source.uniform(0.004, 0.03, rows), np.nan)
    adjusts = np.where(source.random(rows) < 0.05, source.uniform(-0.6, 0.5, rows), np.nan)
    sizes = np.where(source.random(rows) < 0.5, source.uniform(0.2, 0.9, rows), np.nan)
    return replace(made, stop_loss=stops, take_profit=profits, adjust=adjusts, size=sizes)


@dataclass
class Happening:
    """What happens to a bot, and how often at a candle."""

    price: float = 0.0
    fee: float = COSTS.fee
    coins: bool = False
    missed: float = 0.0
    denied: float = 0.0
    rejected: float = 0.0
    suspended: float = 0.0
    sold: float = 0.0
    happened: set[Cause] = field(default_factory=set)


class LiveAccount(Account):
    """An account whose orders at the market are filled beside the price that a backtest expects."""

    def __init__(self, costs: SimulationCosts, candles: Candles, source: random.Random, noise: float) -> None:
        super().__init__(costs, candles)
        self._source, self._noise = source, noise

    def _market(self, side: int, price: float) -> float:
        moved = price * (1 + side * self._source.uniform(-0.2, 1.0) * self._noise)
        return on_tick(moved, self._costs.tick, up=side > 0)


@dataclass
class Lived:
    """A life, and what it was made of."""

    live: LiveLife
    shadow: ShadowLife
    market: Market
    happened: set[Cause]


def lived(seed: int, rows: int, happening: Happening, *, costs: SimulationCosts = COSTS) -> Lived:
    """Let the same decisions be simulated, and be lived through while things happen."""
    market_candles, decided = candles(seed, rows), decisions(seed, rows)
    outcome = outcome_of(simulate(market_candles, decided, costs))
    market = Market(
        time=market_candles.time, opens=market_candles.open, closes=market_candles.close, timeframe=MINUTE,
        fee=exact(costs.fee), maker_fee=exact(costs.maker_fee), tick=costs.tick, step=exact(costs.step),
    )  # fmt: skip
    shadow = shadow_life(outcome.fills, decided, market_candles.time, market, by_account=False)
    return Lived(live=_live(seed, market_candles, decided, costs, happening), shadow=shadow, market=market, happened=happening.happened)


class _Living:
    """A bot that lives through its candles while things happen."""

    def __init__(self, seed: int, given: Candles, decided: Decisions, costs: SimulationCosts, happening: Happening) -> None:
        self.source = random.Random(seed)
        self.account = LiveAccount(replace(costs, fee=happening.fee), given, self.source, happening.price)
        self.given, self.decided, self.happening = given, decided, happening
        self.signals: dict[int, Signal] = {}
        self.spans: list[Span] = []
        self.sold_at: set[int] = set()
        self._suspended_until = -1

    def live(self) -> None:
        """Let all candles happen; at the last one nothing is decided that could still be filled."""
        given, rows = self.given, set(deciding_rows(self.decided).tolist())
        for row in range(len(given)):
            if self.account.is_busy:
                self.account.step(row, given.open[row], given.high[row], given.low[row], given.close[row])
            if row < len(given) - 1:
                self._decide(row, _wish(self.decided, row) if row in rows else Wish())

    def _happens(self, rate: float, cause: Cause) -> bool:
        is_so = self.source.random() < rate
        if is_so:
            self.happening.happened.add(cause)
        return is_so

    def _decide(self, row: int, wish: Wish) -> None:
        time, account, happening = int(self.given.time[row]), self.account, self.happening
        if row > self._suspended_until and self._happens(happening.suspended, Cause.HAND):
            self._suspended_until = row + self.source.randrange(2, 12)
            end = time + (self._suspended_until - row + 2) * MINUTE
            self.spans.append(Span(start=time + MINUTE, end=end, cause=Cause.HAND, message="suspended by ada"))
        action = self._action(wish)
        state, code = self._became(row, action)
        if state == "":
            return
        self.signals[time] = Signal(
            id=str(row), action=action, state=state, code=code, message=f"because of {row}", decided_at=time + MINUTE
        )
        if account.quantity > 0 and action == "none" and self._happens(happening.sold, Cause.HAND):
            self.sold_at.add(row + 1)
            wish = Wish(flags=EXIT)
        if state == "done":
            account.decide(wish)

    def _action(self, wish: Wish) -> str:
        if self.account.quantity == 0:
            return "long" if wish.flags & LONG else "none"
        return "exit" if wish.flags & EXIT else "adjust" if wish.adjust else "none"

    def _became(self, row: int, action: str) -> tuple[str, str | None]:
        """What becomes of a decision, and its code; an empty word: nobody was there to decide."""
        happening, is_entry = self.happening, action == "long"
        if row <= self._suspended_until and is_entry:
            return "skipped", None
        if self._happens(happening.missed, Cause.MISSED_CANDLE):
            return "", None
        if is_entry and self._happens(happening.denied, Cause.DENIED):
            return "denied", "INSUFFICIENT_FUNDS"
        if is_entry and self._happens(happening.rejected, Cause.APPROVAL):
            return "rejected", None
        return "done", None


def _live(seed: int, given: Candles, decided: Decisions, costs: SimulationCosts, happening: Happening) -> LiveLife:
    living = _Living(seed, given, decided, costs, happening)
    living.live()
    return LiveLife(
        capital=exact(costs.capital), trades=tuple(_trades(living.account, given, costs, living.sold_at, happening)),
        signals=living.signals, spans=tuple(living.spans), first=int(given.time[0]), is_asking=happening.rejected > 0,
    )  # fmt: skip


def _wish(decided: Decisions, row: int) -> Wish:
    values = (float(getattr(decided, name)[row]) for name in DECIDED)
    return Wish(int(decided.flags[row]), *(None if value != value else value for value in values))


def _trades(account: Account, given: Candles, costs: SimulationCosts, sold_at: set[int], happening: Happening) -> list[Trade]:
    trades: list[Trade] = []
    acts: list[Act] = []
    held = Decimal(0)
    step = exact(costs.step)
    for fill in account.fills:
        kind = _KINDS[fill.reason]
        if fill.candle in sold_at and fill.reason is Reason.EXIT:
            kind = Kind.HAND
        quantity = (exact(fill.quantity) / step).to_integral_value() * step
        # What a backtest would have come to: the level itself, or the open beyond it.
        open_ = float(given.open[fill.candle])
        level = None
        if kind is Kind.STOP:
            level = exact(fill.price - fill.slippage / (-fill.quantity) if fill.quantity else fill.price)
            level = level.quantize(Decimal("0.01"))
            level = exact(open_) if abs(float(level) - open_) < 0.005 else level
        elif kind is Kind.TARGET:
            level = exact(fill.price)
        fee = quantity * exact(fill.price) * (exact(costs.maker_fee) if kind is Kind.TARGET else exact(happening.fee))
        decided = None if kind.is_level or kind is Kind.HAND else int(given.time[fill.candle - 1])
        acts.append(
            Act(
                kind=kind,
                candle=int(given.time[fill.candle]),
                decided=decided,
                parts=((quantity, exact(fill.price)),),
                fee=fee,
                level=level,
            )
        )
        held += quantity if kind.is_buy else -quantity
        if held <= 0:
            trades.append(Trade(acts=tuple(acts)))
            acts, held = [], Decimal(0)
    if acts:
        trades.append(Trade(acts=tuple(acts), is_open=True))
    return trades
