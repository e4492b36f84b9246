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

    __slots__ = ("noise", "source")

    def _market(self, side: int, price: float) -> float:
        moved = price * (1 + side * self.source.uniform(-0.2, 1.0) * self.noise)  # type: ignore[has-type]
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


def _live(seed: int, given: Candles, decided: Decisions, costs: SimulationCosts, happening: Happening) -> LiveLife:
    source = random.Random(seed)
    account = LiveAccount(replace(costs, fee=happening.fee), given)
    account.noise, account.source = happening.price, source
    rows, signals, spans, sold_at = set(deciding_rows(decided).tolist()), {}, [], set()
    suspended_until = -1
    for row in range(len(given)):
        if account.is_busy:
            account.step(row, given.open[row], given.high[row], given.low[row], given.close[row])
        time = int(given.time[row])
        wish = _wish(decided, row) if row in rows else Wish()
        if row == len(given) - 1:
            continue
        if row > suspended_until and source.random() < happening.suspended:
            suspended_until = row + source.randrange(2, 12)
            spans.append(Span(start=time + MINUTE, end=time + (suspended_until - row + 2) * MINUTE, cause=Cause.HAND, message="suspended by ada"))
            happening.happened.add(Cause.HAND)
        is_entry = account.quantity == 0 and bool(wish.flags & LONG)
        wants_exit = account.quantity > 0 and bool(wish.flags & EXIT)
        state, code, action = "done", None, "long" if is_entry else "exit" if wants_exit else "none"
        if account.quantity > 0 and action == "none" and wish.adjust:
            action = "adjust"
        if row <= suspended_until and is_entry:
            state = "skipped"
        elif source.random() < happening.missed:
            happening.happened.add(Cause.MISSED_CANDLE)
            continue
        elif is_entry and source.random() < happening.denied:
            state, code = "denied", "INSUFFICIENT_FUNDS"
            happening.happened.add(Cause.DENIED)
        elif is_entry and source.random() < happening.rejected:
            state = "rejected"
            happening.happened.add(Cause.APPROVAL)
        signals[time] = Signal(id=str(row), action=action, state=state, code=code, message=f"because of {row}", decided_at=time + MINUTE)
        if account.quantity > 0 and action == "none" and source.random() < happening.sold:
            sold_at.add(row + 1)
            happening.happened.add(Cause.HAND)
            wish = Wish(flags=EXIT)
        if state == "done":
            account.decide(wish)
    return LiveLife(
        capital=exact(costs.capital), trades=tuple(_trades(account, given, costs, sold_at, happening)), signals=signals, spans=tuple(spans),
        first=int(given.time[0]), is_asking=happening.rejected > 0,
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
            Act(kind=kind, candle=int(given.time[fill.candle]), decided=decided, parts=((quantity, exact(fill.price)),), fee=fee, level=level)
        )
        held += quantity if kind.is_buy else -quantity
        if held <= 0:
            trades.append(Trade(acts=tuple(acts)))
            acts, held = [], Decimal(0)
    if acts:
        trades.append(Trade(acts=tuple(acts), is_open=True))
    return trades
