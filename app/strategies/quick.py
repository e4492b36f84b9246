"""The quick backtest: the last thousand candles, decided in the jail and simulated here, beside having bought and held."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from app.core.i18n import N_
from app.domain.arrays import Candles, Floats
from app.domain.simulation import SimulatedTrade, Simulation, SimulationCosts, simulate
from app.errors import StrategyFailed
from app.sandbox.frames import CANDLE_COLUMNS
from app.sandbox.messages import Described, Failed, Load, Ran, Reply, Run, Value
from app.strategies.candles import Gathered, TrialCandles, with_costs
from app.strategies.report import Found, TriedOn
from app.strategies.service import Market, check_source
from app.strategies.validation import simulation_costs
from app.strategies.workers import TrialWorkers

ROWS: Final = 1_000
MOST_POINTS: Final = 500
MOST_TRADES: Final = 500
#: With fewer trades chance alone explains any result.
FEW_TRADES: Final = 30
_LONGEST_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the simulated account begins with and pays; None is the usual. Fractions are of one."""

    capital: float | None = None
    fee: float | None = None
    slippage: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The account at the close of a candle, in quote units, and what buying and holding would have left."""

    at_ms: int
    equity: float
    held: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickTrade:
    """A round trip with the places of its markers; `exit_ms` of an open one is the last candle. Money is in quote units."""

    side: str
    entry_ms: int
    exit_ms: int
    quantity: float
    entry_price: float
    exit_price: float
    profit: float
    fees: float
    slippage: float
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickResult:
    """What a quick backtest came to.

    Attributes:
        capital: Quote units at the start.
        net: Profit after fees and slippage, quote units.
        gross: The same before them.
        net_return: `net` as a fraction of the capital.
        held_return: What buying at the first and holding to the last candle would have brought, after the same costs.
        max_drawdown: Largest fall from a peak of the equity, a positive fraction of the peak.
        held_max_drawdown: The same of buying and holding.
        exposure: Fraction of the candles at whose close there was a position.
        win_rate: Fraction of the closed trades that made a profit; None without any.
        trade_count: All of them; `trades` are the last ones.
        has_few_trades: Whether there are too few to say anything.
        series: The candles that it decided at, of the traded market.
        tick: Quote units that its prices are multiples of; 0 where that is not known.
    """

    described: Described
    tried_on: TriedOn
    candles: int
    capital: float
    net: float
    gross: float
    fees: float
    slippage: float
    net_return: float
    held_return: float
    max_drawdown: float
    held_max_drawdown: float
    exposure: float
    win_rate: float | None
    trade_count: int
    denied: int
    has_few_trades: bool
    points: tuple[Point, ...]
    trades: tuple[QuickTrade, ...]
    notes: tuple[Found, ...]
    output: str
    series: Candles
    tick: float


class QuickBacktest:
    """Runs quick backtests of all users.

    Args:
        workers: Where their code runs.
        candles: What it is run on.
    """

    def __init__(self, workers: TrialWorkers, candles: TrialCandles) -> None:
        self._workers = workers
        self._candles = candles

    async def describe(self, user_id: UUID, source: str) -> Described:
        """Return what a strategy says of itself. Raises as `run`."""
        async with self._workers.worker(user_id) as worker:
            described = await worker.ask(Load(source=check_source(source)))
        if not isinstance(described, Described):
            raise failure(described)
        return described

    async def run(
        self,
        user_id: UUID,
        source: str,
        *,
        market: Market | None = None,
        parameters: dict[str, Value] | None = None,
        account: Account | None = None,
    ) -> QuickResult:
        """Return what the strategy would have done in the last thousand candles.

        Raises:
            StrategyFailed: its code failed; the sentence says where.
            StrategyKilled: it was stopped.
            JailClosed: strategies may not be run here.
            JailBusy: the user has as many under way as one may have.
            SymbolNotFound: the exchange does not list the symbol.
        """
        load = Load(source=check_source(source), parameters=dict(parameters or {}))
        async with self._workers.worker(user_id) as worker:
            described = await worker.ask(load)
        if not isinstance(described, Described):
            raise failure(described)
        gathered = await self._candles.gather(described, market or Market(), rows=ROWS)
        chosen = account or Account()
        costs = with_costs(gathered.costs, capital=chosen.capital, fee=chosen.fee, slippage=chosen.slippage)
        rows = len(gathered.candles)
        start = max(described.warm_up, rows - ROWS)
        async with self._workers.worker(user_id, frames=gathered.frames, result_rows=rows) as worker:
            loaded = await worker.ask(load)
            if not isinstance(loaded, Described):
                raise failure(loaded)
            ran = await worker.ask(Run(start=start, costs=costs), wall_s=_LONGEST_S)
            if not isinstance(ran, Ran):
                raise failure(ran)
            decisions = worker.decisions()
        simulated = simulation_costs(costs)
        simulation = await asyncio.to_thread(simulate, gathered.candles, decisions, simulated, start)
        return _result(loaded, gathered, simulation, simulated, start, ran.output)


def failure(reply: Reply) -> StrategyFailed:
    """Return the error that says what a strategy raised."""
    if not isinstance(reply, Failed):
        return StrategyFailed(N_("The jail answered with something else than it was asked for."))
    told = reply.message if reply.kind.isupper() else f"{reply.kind}: {reply.message}"
    if reply.line:
        told = N_(f"line {reply.line}: {told}")
    return StrategyFailed(told, field="source", line=reply.line, column=reply.column, traceback=reply.traceback)


def _result(
    described: Described, gathered: Gathered, simulation: Simulation, costs: SimulationCosts, start: int, output: str
) -> QuickResult:
    candles = gathered.candles
    equity, held = simulation.equity[start:], _held(candles, costs, start)
    net = float(equity[-1]) - costs.capital
    closed = [trade for trade in simulation.trades if not trade.is_open]
    return QuickResult(
        described=described,
        tried_on=gathered.tried_on,
        candles=len(equity),
        capital=costs.capital,
        net=net,
        gross=net + simulation.fees + simulation.slippage,
        fees=simulation.fees,
        slippage=simulation.slippage,
        net_return=net / costs.capital,
        held_return=float(held[-1]) / costs.capital - 1,
        max_drawdown=_max_drawdown(equity),
        held_max_drawdown=_max_drawdown(held),
        exposure=simulation.candles_held / len(equity),
        win_rate=sum(trade.profit > 0 for trade in closed) / len(closed) if closed else None,
        trade_count=len(simulation.trades),
        denied=simulation.denied,
        has_few_trades=len(simulation.trades) < FEW_TRADES,
        points=_points(candles.time[start:].tolist(), equity, held),
        trades=tuple(_trade(trade, candles) for trade in simulation.trades[-MOST_TRADES:]),
        notes=gathered.notes,
        output=output,
        series=Candles(*(getattr(candles, name)[start:] for name in CANDLE_COLUMNS)),
        tick=costs.tick,
    )


def _held(candles: Candles, costs: SimulationCosts, start: int) -> Floats:
    """Return the equity of buying at the open after the first candle and selling at the last close, with the strategy's own costs."""
    held = np.full(len(candles) - start, costs.capital)
    if len(held) < 2:
        return held
    price = float(candles.open[start + 1]) * (1 + costs.slippage)
    quantity = costs.capital / (price * (1 + costs.fee))
    held[1:] = quantity * candles.close[start + 1 :]
    held[-1] = quantity * float(candles.close[-1]) * (1 - costs.slippage) * (1 - costs.fee)
    return held


def _max_drawdown(equity: Floats) -> float:
    peaks = np.maximum.accumulate(equity)
    # An account that lost more than it had is at minus something: all of it is gone.
    return float(np.clip(np.max(1 - equity / peaks), 0.0, 1.0)) if len(equity) else 0.0


def _points(times: list[int], equity: Floats, held: Floats) -> tuple[Point, ...]:
    """Return so many points that a small chart has no use for more; the first and the last are among them."""
    places = np.unique(np.linspace(0, len(equity) - 1, min(len(equity), MOST_POINTS)).astype(int)).tolist()
    return tuple(Point(times[place], round(float(equity[place]), 2), round(float(held[place]), 2)) for place in places)


def _trade(trade: SimulatedTrade, candles: Candles) -> QuickTrade:
    return QuickTrade(
        side="long" if trade.side > 0 else "short",
        entry_ms=int(candles.time[trade.entry_candle]),
        exit_ms=int(candles.time[trade.exit_candle]),
        quantity=trade.quantity,
        entry_price=trade.entry_price,
        exit_price=trade.exit_price,
        profit=trade.profit,
        fees=trade.fees,
        slippage=trade.slippage,
        reason=None if trade.reason is None else trade.reason.value,
    )
