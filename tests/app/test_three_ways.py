"""Same strategy, same candles: a backtest, a bot on paper and bots at the emulated exchange make the same trades."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path

import pytest

from app.domain.candles import Timeframe
from app.emulator.bars import MINUTE_MS
from app.emulator.config import EmulatorConfig, GeneratedSymbol, ReplayFile
from app.strategies.builtins import builtins
from tests.app.lived import Happened, close_to, lived
from tests.app.replaying import Replay, replayed
from tests.app.same_strategy import FEE, SLIPPAGE, Case, backtested, follow, started, until_loaded
from tests.conftest import Size
from tests.postgres import PostgresForTests
from tests.replay_venue import replaying, since_midnight
from tests.shared_data import shared_data

pytestmark = pytest.mark.asyncio

SOURCES = {one.name: one.source for one in builtins()}
#: Does at some minute all that a strategy can do with a position, and comes to its stops and targets often.
RESTLESS = """from aristobot import Strategy


class Restless(Strategy):
    timeframe = "1m"
    warm_up = 10
    stop_loss = 0.002
    take_profit = [(0.001, 0.4), (0.002, 0.3), (0.004, None)]

    def minute(self):
        return int(self.candles.time[-1]) // 60_000

    def should_long(self):
        return self.minute() % 3 == 0

    def should_exit(self):
        return self.minute() % 11 == 0

    def position_size(self):
        return 0.3 + self.minute() % 4 * 0.2

    def stop_price(self):
        return self.candles.close[-1] * 0.9985 if self.position and self.minute() % 2 else None

    def trailing(self):
        return 0.0025 if self.minute() % 7 == 0 else None

    def adjust(self):
        return -0.25 if self.minute() % 5 == 0 else 0.4 if self.minute() % 8 == 0 else None
"""
#: Quick and near, so that minutes are enough for trades.
CASES = (Case(name="Restless", source=RESTLESS),)
XX = (
    Case(
        name="EMA cross",
        source=SOURCES["ema_cross"],
        parameters={"fast": 5, "slow": 20, "least_adx": 0.0, "stop_loss": 0.005, "trailing_stop": 0.01},
    ),
    Case(
        name="Bollinger breakout",
        source=SOURCES["bollinger_breakout"],
        parameters={"length": 10, "width": 1.0, "quiet": 20, "least_volume": 0.0, "stop_loss": 0.005},
    ),
    Case(
        name="DCA with safety orders",
        source=SOURCES["dca_safety_orders"],
        parameters={"weak": 50.0, "trend": 50, "step": 0.005, "profit": 0.003, "last_stop": 0.02, "orders": 3},
    ),
    Case(name="Restless", source=RESTLESS),
)
HISTORY = 1_700
PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "XRPUSDT": "0.6"}
RECORDED = "candles/binance-{}-1m-2021-04-02_2021-05-14.csv.gz"
#: Of a day on which they moved.
BEGIN_MS = 1_618_704_000_000


@dataclass(frozen=True, slots=True)
class Three:
    """What one case did on one symbol: as the rules say, and on each kind of account."""

    rules: list[Happened]
    quote_fees: list[Happened]
    base_fees: list[Happened]
    paper: list[Happened]


async def all_three(replay: Replay, minutes: int) -> dict[tuple[str, str], Three]:
    """Let all cases trade on all symbols and all kinds of accounts for so many minutes."""
    accounts = {
        "quote fees": await replay.live("quote-fees", pays_in_quote=True),
        "base fees": await replay.live("base-fees"),
        "paper": await replay.paper("practice"),
    }
    bots = {}
    for case in CASES:
        for symbol in replay.symbols:
            bots[case.name, symbol] = await started(replay, case, symbol, accounts)
    await until_loaded(replay, 3 * len(bots))
    follow(replay, [Timeframe.M1])
    first_ms = replay.venue.now_ms // MINUTE_MS * MINUTE_MS
    end_ms = first_ms + minutes * MINUTE_MS
    while replay.venue.now_ms < end_ms:
        await replay.minute()
    found = {}
    for case in CASES:
        for symbol in replay.symbols:
            ours = {
                name: [each for each in await lived(replay, accounts[name], symbol, bot_id=bot_id) if each.open_ms < end_ms]
                for name, bot_id in bots[case.name, symbol].items()
            }
            rules = await backtested(replay, case, symbol, first_ms=first_ms, end_ms=end_ms)
            found[case.name, symbol] = Three(rules, ours["quote fees"], ours["base fees"], ours["paper"])
    return found


def first_difference(ones: list[Happened], others: list[Happened], is_same: Callable[[Happened, Happened], bool]) -> str | None:
    """The first execution in which both differ, with the one before it."""
    for number, (one, other) in enumerate(zip_longest(ones, others)):
        if one is None or other is None or not is_same(one, other):
            return f"after {ones[max(number - 1, 0)]}: {one} and {other}"
    return None


def assert_same(three: Three, what: object) -> None:
    """The rules and an exchange that takes fees as they do are equal to the digit; so are an exchange and a paper account that do not."""
    first = first_difference(three.rules, three.quote_fees, close_to)
    assert first is None, f"{what}, rules and exchange: {first}"
    first = first_difference(three.base_fees, three.paper, Happened.__eq__)
    assert first is None, f"{what}, exchange and paper: {first}"
    assert [each.shape for each in three.base_fees] == [each.shape for each in three.rules], what
    # A fee that is taken out of what was bought leaves so much less to sell, and for the next entry.
    least = 3 * FEE * max((each.quantity for each in three.rules), default=Decimal(0))
    assert all(abs(one.quantity - other.quantity) <= least for one, other in zip(three.base_fees, three.rules, strict=True)), what


async def replayed_on(config: EmulatorConfig, postgres: PostgresForTests, folder: Path, minutes: int) -> None:
    """Replay a market with all cases and compare."""
    symbols = tuple(f"{name[:3]}/USDT" for name in PRICES)
    async with (
        replaying(config, folder / "time") as venue,
        replayed(postgres, venue, folder, symbols, heartbeat_history_minutes=HISTORY, strategies_per_user=100) as replay,
    ):
        await replay.quiet()
        found = await all_three(replay, minutes)
        for what, three in found.items():
            assert_same(three, what)
        assert sum(len(three.rules) for three in found.values()) > minutes / 2, "there is something to compare"


async def test_a_strategy_trades_alike_in_a_backtest_on_paper_and_at_the_exchange(
    postgres: PostgresForTests, tmp_path: Path, size: Size
) -> None:
    config = EmulatorConfig(
        generate=tuple(GeneratedSymbol(symbol=symbol, price=Decimal(price), volatility=1.5) for symbol, price in PRICES.items()),
        clock=since_midnight(),
        history_minutes=HISTORY + 60,
        ideal=SLIPPAGE,
    )
    await replayed_on(config, postgres, tmp_path, size(12, full=240))


async def test_it_trades_alike_on_recorded_candles_too(postgres: PostgresForTests, tmp_path: Path, size: Size) -> None:
    files = tuple(ReplayFile(path=shared_data() / RECORDED.format(symbol)) for symbol in PRICES)
    config = EmulatorConfig(replay=files, start_at_ms=BEGIN_MS, clock=since_midnight(), history_minutes=HISTORY + 60, ideal=SLIPPAGE)
    await replayed_on(config, postgres, tmp_path, size(12, full=240))
