"""Bots on replayed candles whose server is killed in the middle of its work: the same trades as the rules make, once, and guarded."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, no_decisions
from app.domain.simulation import SimulationCosts, simulate
from app.emulator.bars import MINUTE_MS
from app.emulator.config import EmulatorConfig, GeneratedSymbol
from benchmarks.bot_fleet import BotSpec
from benchmarks.bot_outcome import Outcome
from benchmarks.bot_replay import Kill, Plan, replay
from tests.app.lived import candles_of, simulated
from tests.postgres import PostgresForTests
from tests.replay_venue import ReplayVenue, since_midnight

pytestmark = pytest.mark.asyncio

SYMBOL, SLIPPAGE = "BTC/USDT", Decimal("0.0005")
STRATEGY = """from aristobot import Strategy, param


class Restless(Strategy):
    timeframe = "1m"
    warm_up = 5
    stop_loss = 0.0005
    size = param(0.5, low=0.1, high=1.0)

    def is_over(self):
        return int(self.candles.time[-1]) // 60_000 % 3 == 0

    def should_long(self):
        return not self.is_over()

    def should_exit(self):
        return self.is_over()

    def position_size(self):
        return self.size
"""
STOP = 0.0005
CANDLES = 7
#: Before anything was decided, and while orders are on their way.
KILLS = {2: Kill(after_s=0.0), 4: Kill(after_s=0.05)}


async def test_bots_of_a_server_that_is_killed_trade_as_if_it_had_not_been(postgres: PostgresForTests, tmp_path: Path) -> None:
    sizes = (0.3, 0.5, 0.9)
    plan = Plan(
        config=EmulatorConfig(
            generate=(GeneratedSymbol(symbol="BTCUSDT", price=Decimal(60000), volatility=1.5),),
            clock=since_midnight(),
            history_minutes=60,
            ideal=SLIPPAGE,
        ),
        symbols=(SYMBOL,),
        strategies={"restless": STRATEGY},
        accounts=("account-0",),
        specs=[
            BotSpec(strategy="restless", symbol=SYMBOL, timeframe="1m", account="account-0", parameters={"size": size}) for size in sizes
        ],
        candles=CANDLES,
        length_ms=MINUTE_MS,
        history_minutes=30,
        kills=KILLS,
    )
    urls = await postgres.create_database()
    async with replay(plan, urls, tmp_path) as running:
        outcome = await running.run()
        venue = running.venue
    await postgres.drop_database(urls)

    assert outcome.kills == len(KILLS)
    assert (outcome.doubled, outcome.missing_stops, outcome.audit) == ([], [], [])
    assert outcome.ledger_difference == 0
    assert set().union(*outcome.missed.values()) == set(), "each candle was decided at, for none was older than its period"
    for number, size in enumerate(sizes):
        assert executed(outcome, number) == ruled(venue, outcome, size)
    assert len(executed(outcome, 0)) > 3, "there is something to compare"


def executed(outcome: Outcome, number: int) -> list[tuple[int, int, Decimal, Decimal]]:
    """What a bot has executed before the replay's last moment: open of the candle, side, price, quantity."""
    end_ms = outcome.first_ms + CANDLES * MINUTE_MS
    found = [each for trade in outcome.trades.get(number, []) for each in trade.executions]
    return sorted((moment, 1 if side == "buy" else -1, price, quantity) for moment, side, price, quantity in found if moment < end_ms)


def ruled(venue: ReplayVenue, outcome: Outcome, size: float) -> list[tuple[int, int, Decimal, Decimal]]:
    """What the rules of backtests make of the same candles."""
    market = candles_of(venue, SYMBOL, first_ms=outcome.first_ms, last_ms=outcome.first_ms + (CANDLES - 1) * MINUTE_MS)
    decisions = no_decisions(len(market))
    decisions.flags[:] = np.where(market.time // MINUTE_MS % 3 == 0, EXIT, LONG)
    decisions.size[:], decisions.stop_loss[:] = size, STOP
    rules = venue.market(SYMBOL).rules
    tick, step = rules.tick_size, rules.step_size
    costs = SimulationCosts(tick=float(tick), step=float(step), least_notional=float(rules.min_notional), slippage=float(SLIPPAGE))
    found = simulated(simulate(market, decisions, costs), market, tick=tick, step=step)
    return sorted((each.open_ms, each.side, each.price, each.quantity) for each in found)
