"""Bots on recorded candles, and their server killed again and again: the same trades, no doubled order, every stop alive, sums that agree.

    uv run python benchmarks/bot_chaos.py [--days 7] [--bots 20] [--kills 50] [--timeframe 15m] [--seed 1] [--quick]

The same candles are replayed twice against the emulated exchange, once with a server that nobody disturbs and once with one that is killed
with SIGKILL at random moments: while strategies decide, while orders are on their way, between candles, while it starts; some of the times
the market goes on without it. Exchange, server and this process live by one clock that stands until everything is acknowledged, so that
both replays would be equal to the last digit. Where a bot has missed a candle, or its order was cut off
before it reached the exchange, what it did is compared again from where both were flat.
Without the recorded candles (ARISTOBOT_SHARED_DATA) the market is made up.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace as changed
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.candles import Timeframe, to_milliseconds
from app.emulator.bars import MINUTE_MS
from app.emulator.config import EmulatorConfig, GeneratedSymbol, ReplayFile
from benchmarks.bot_fleet import BotSpec
from benchmarks.bot_outcome import Outcome, Trade
from benchmarks.bot_replay import Kill, Plan, replay
from tests.postgres import PostgresForTests
from tests.replay_venue import since_midnight

#: Eighteen days without a hole.
RECORDED = "binance-{}-1m-2021-04-02_2021-05-14.csv.gz"
BEGIN = datetime(2021, 4, 8, tzinfo=UTC)
MARKETS = {"BTCUSDT": "60000", "ETHUSDT": "3000", "XRPUSDT": "0.6"}
SYMBOLS = tuple(f"{name[:3]}/USDT" for name in MARKETS)
SLIPPAGE = Decimal("0.0005")
WARM_UP = 60
#: Decides by candles alone, whatever became of it before: where it missed one it comes back to what it would have done.
CROSS = """from aristobot import Strategy, param, ta


class Cross(Strategy):
    timeframe = "15m"
    warm_up = 60
    fast = param(3, low=2, high=20)
    slow = param(8, low=4, high=50)
    stop_loss = param(0.01, low=0.001, high=0.2)
    take_profit = param(0.02, low=0.001, high=0.2)
    size = param(0.5, low=0.1, high=1.0)

    def indicators(self, candles):
        self.a = ta.SMA(candles.close, self.fast)
        self.b = ta.SMA(candles.close, self.slow)

    def should_long(self):
        return ta.crossed_above(self.a, self.b)

    def should_exit(self):
        return ta.crossed_below(self.a, self.b)

    def position_size(self):
        return self.size
"""
TRAILS = CROSS.replace("class Cross", "class Trails").replace(
    "    take_profit = param(0.02, low=0.001, high=0.2)\n", "    trailing_stop = 0.012\n"
)


def market(history: int) -> EmulatorConfig:
    """Return the recorded market, or a made-up one where there is none."""
    given = os.environ.get("ARISTOBOT_SHARED_DATA")
    folder = (Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data") / "candles"
    files = [folder / RECORDED.format(name) for name in MARKETS]
    common = EmulatorConfig(history_minutes=history, ideal=SLIPPAGE, journal_capacity=1)
    if not all(path.exists() for path in files):
        return changed(common, generate=_made_up())
    return changed(common, replay=tuple(ReplayFile(path=path) for path in files), start_at_ms=to_milliseconds(BEGIN))


def _made_up() -> tuple[GeneratedSymbol, ...]:
    return tuple(GeneratedSymbol(symbol=name, price=Decimal(price), volatility=1.2) for name, price in MARKETS.items())


def bots(count: int, timeframe: str) -> list[BotSpec]:
    """Return bots of two strategies, of many lengths, on three symbols and two accounts, several of them on the same."""
    specs = []
    for number in range(count):
        lengths = {"fast": 2 + number % 4, "slow": 7 + number % 9}
        distances = {"stop_loss": 0.004 + 0.003 * (number % 3), "size": round(0.3 + 0.1 * (number % 5), 1)}
        specs.append(
            BotSpec(
                strategy=("cross", "trails")[number % 4 == 3],
                symbol=SYMBOLS[number % 3],
                timeframe=timeframe,
                account=f"account-{number % 2}",
                parameters=lengths | distances,
            )
        )
    return specs


def kills_of(count: int, candles: int, seed: int) -> dict[int, Kill]:
    """Return when the server is killed: in the middle of its work mostly; one in five misses candles, one in six is killed twice."""
    rng = random.Random(seed)
    found: dict[int, Kill] = {}
    for place in sorted(rng.sample(range(1, candles - 6), count)):
        if found and place <= max(found) + found[max(found)].missed:
            place = max(found) + found[max(found)].missed + 1
        missed = rng.randint(1, 4) if rng.random() < 0.2 else 0
        again = rng.uniform(0.05, 1.5) if rng.random() < 1 / 6 else None
        found[place] = Kill(after_s=rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0.1, 1.0)]), missed=missed, again_after_s=again)
    return found


async def both(plan: Plan) -> tuple[Outcome, Outcome]:
    """Replay without kills and with them."""
    postgres = PostgresForTests()
    folder = Path(tempfile.mkdtemp(prefix="aristobot-bench-"))
    found = []
    try:
        await postgres.start()
        for name, each in (("undisturbed", changed(plan, kills={})), ("killed", plan)):
            urls = await postgres.create_database()
            (folder / name).mkdir()
            # Now, so that both begin at the same place of their candles.
            placed = changed(each, config=changed(each.config, clock=since_midnight()))
            async with replay(placed, urls, folder / name) as running:
                found.append(await running.run())
            print(f"… {name}: {plan.candles} candles in {found[-1].seconds:.0f} s, {found[-1].kills} kills", file=sys.stderr)
    finally:
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found[0], found[1]


def compare(calm: Outcome, killed: Outcome, plan: Plan) -> tuple[int, list[str]]:
    """Return how many trades are the same where both could make them, and what is not."""
    same, different = 0, []
    for number in range(len(plan.specs)):
        missed = {(moment - each.first_ms) // plan.length_ms for each in (calm, killed) for moment in each.missed[number]}
        # Claimed and not sent: whether it arrived is known after the venue's window, and an entry is not made up for at another price.
        missed |= {(moment - killed.first_ms) // plan.length_ms for moment in killed.cut_off.get(number, ())}
        ours = [_numbered(trade, calm, plan) for trade in calm.trades.get(number, [])]
        theirs = {trade.entered_ms: trade for trade in (_numbered(trade, killed, plan) for trade in killed.trades.get(number, []))}
        counts = True
        for trade in ours:
            verdict = _verdict(trade, theirs, missed, with_quantity=counts)
            counts = counts and verdict == "same"
            same += verdict == "same" or verdict == "same shape"
            if verdict.startswith("!"):
                different.append(f"bot {number}: {verdict} {trade} {theirs.get(trade.entered_ms)}")
        different += [f"bot {number}: ! only with kills: {trade}" for trade in _unexplained(ours, theirs, missed)]
    return same, different


def _numbered(trade: Trade, outcome: Outcome, plan: Plan) -> Trade:
    first, length = outcome.first_ms, plan.length_ms
    executions = tuple(((moment - first) // length, side, price, quantity) for moment, side, price, quantity in trade.executions)
    return Trade(executions, trade.is_over)


def _verdict(trade: Trade, theirs: dict[int, Trade], missed: set[int], *, with_quantity: bool) -> str:
    # Decided at the close before the candle in which it is executed.
    if missed.intersection(range(trade.entered_ms - 1, trade.left_ms)):
        return "missed"
    if any(other.is_held_at(trade.entered_ms) for other in theirs.values()):
        return "held"  # what it missed to leave it still holds
    other = theirs.get(trade.entered_ms)
    if other is None:
        return "! missing"
    if other.shape != trade.shape:
        return "! other executions"
    if other.executions == trade.executions:
        return "same"
    return "same shape" if not with_quantity else "! other quantities"


def _unexplained(ours: list[Trade], theirs: dict[int, Trade], missed: set[int]) -> Iterator[Trade]:
    known = {trade.entered_ms for trade in ours}
    for entered, trade in theirs.items():
        was_held = any(other.is_held_at(entered) for other in ours)
        if entered not in known and not was_held and entered - 1 not in missed:
            yield trade


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--bots", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--timeframe", default="15m")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    given = parser.parse_args()
    length = Timeframe(given.timeframe).milliseconds
    candles = round(given.days * 86_400_000 / length)
    if given.quick:
        candles, given.kills, given.bots = 24, 3, 6
    history = (WARM_UP + 40) * length // MINUTE_MS
    plan = Plan(
        config=market(history + 120),
        symbols=SYMBOLS,
        strategies={"cross": CROSS, "trails": TRAILS},
        accounts=("account-0", "account-1"),
        specs=bots(given.bots, given.timeframe),
        candles=candles,
        length_ms=length,
        history_minutes=history,
        kills=kills_of(given.kills, candles, given.seed),
    )
    begun = time.monotonic()
    calm, killed = asyncio.run(both(plan))
    same, different = compare(calm, killed, plan)
    # Where a quarter of an hour passes in a second, no order is compared with the exchange each quarter of an hour.
    audit = [f"audit: {found}" for found in [*calm.audit, *killed.audit] if not found.startswith("AUDIT_UNASKED")]
    problems = [*different, *audit, *killed.doubled, *killed.missing_stops]
    for problem in problems[:40]:
        print(problem)
    for name, outcome in (("undisturbed", calm), ("killed", killed)):
        print(f"{name}: {sum(map(len, outcome.missed.values()))} candles of a bot not decided at", *outcome.reasons, sep="\n  ")
    trades = sum(map(len, killed.trades.values()))
    print(
        f"{trades} trades, {same} of them as without kills, {sum(map(len, killed.missed.values()))} candles of a bot missed, "
        f"{killed.stopped_while_dead} executions while no server ran; {time.monotonic() - begun:.0f} s"
    )
    difference = calm.ledger_difference + killed.ledger_difference
    cut_off = sum(map(len, killed.cut_off.values()))
    last = {"kills": killed.kills, "bots": len(plan.specs), "candles": candles, "doubled": len(killed.doubled)}
    last |= {
        "missing_stops": len(killed.missing_stops),
        "ledger_difference": f"{difference:f}",
        "cut_off": cut_off,
        "same_trades": f"{same}/{same + len(different)}",
    }
    print(json.dumps(last))
    # A small run is to show on a busy machine that nothing is lost; which candles a bot came too late for is chance there.
    broken = [*audit, *killed.doubled, *killed.missing_stops] if given.quick else problems
    return 1 if broken or difference else 0


if __name__ == "__main__":
    sys.exit(main())
