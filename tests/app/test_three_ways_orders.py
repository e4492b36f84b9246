"""The same wishes at the same closes, as market orders with stops and targets: rules of backtests, emulated exchange and paper account."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio

from app.domain.arrays import EXIT, LONG, Candles, Decisions, no_decisions
from app.domain.enums import Side, Source
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.domain.simulation import SimulationCosts, simulate
from app.emulator.bars import MINUTE_MS
from app.emulator.clock import ClockMode
from app.emulator.config import EmulatorConfig, GeneratedSymbol
from app.trading.submit import submit
from tests.app.lived import Happened, candles_of, close_to, lived, simulated
from tests.app.replaying import Replay, quote_of, replayed
from tests.postgres import PostgresForTests
from tests.replay_venue import replaying

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOLS = ("BTC/USDT", "ETH/USDT", "XRP/USDT")
PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "XRPUSDT": "0.6"}
SLIPPAGE, FEE = Decimal("0.0005"), Decimal("0.001")
MINUTES = 30
CAPITAL = Decimal(10_000)


@dataclass(kw_only=True)
class Lane:
    """One symbol on one account, which does what is wished at each close."""

    replay: Replay
    broker_id: UUID
    symbol: str
    decisions: Decisions
    number: int
    made: list[Happened] = field(default_factory=list)

    async def close(self, row: int) -> None:
        """Act on the close of a candle, as its rules say."""
        held = await self._held()
        flags = int(self.decisions.flags[row])
        if held and flags & EXIT:
            await self._submit(row, Side.SELL, close_position=True)
        elif not held and flags & LONG:
            await self._enter(row)

    async def _enter(self, row: int) -> None:
        state = self.replay.app.state
        instrument = (await state.instruments.all("binance"))[self.symbol]
        _, price = quote_of(self.replay, self.symbol)
        equity = CAPITAL + await self._earned()
        quantity = instrument.floor_quantity(equity * Decimal(repr(float(self.decisions.size[row]))) / (price * (1 + FEE)))
        stop = instrument.round_price(Side.BUY, price * (1 - Decimal(repr(float(self.decisions.stop_loss[row])))))
        target = price * (1 + Decimal(repr(float(self.decisions.take_profit[row]))))
        part = Decimal(repr(float(self.decisions.part[row])))
        targets = [Target(price=target, fraction=part)]
        if part < 1:
            further = price * (1 + Decimal(repr(float(self.decisions.take_profit_2[row]))))
            targets.append(Target(price=further, fraction=1 - part))
        await self._submit(row, Side.BUY, quantity=quantity, protection=ProtectionPlan(stop_price=stop, targets=tuple(targets)))

    async def _submit(self, row: int, side: Side, **given: object) -> None:
        intent = OrderIntent(symbol=self.symbol, side=side, source=Source.MANUAL, key=f"lane:{self.number}:{row}", **given)  # type: ignore[arg-type]
        made = (await submit(self.replay.app.state.desk, self.replay.user_id, intent, broker_id=self.broker_id)).order
        assert made.state.value == "filled", made

    async def _held(self) -> bool:
        return bool(
            await self.replay.rows("SELECT 1 FROM positions WHERE broker_id = $1 AND symbol = $2 AND status <> 'closed'", *self._ours)
        )

    async def _earned(self) -> Decimal:
        sql = "SELECT coalesce(sum(realized_pnl), 0) AS earned FROM positions WHERE broker_id = $1 AND symbol = $2"
        return Decimal((await self.replay.rows(sql, *self._ours))[0]["earned"])

    @property
    def _ours(self) -> tuple[UUID, str]:
        return self.broker_id, self.symbol


def wishes(seed: int, rows: int) -> Decisions:
    """Entries and exits at random, each entry with a stop and one or two targets near enough to be reached."""
    random = np.random.default_rng(seed)
    decisions = no_decisions(rows)
    decisions.flags[:] = random.choice([0, LONG, EXIT], rows, p=[0.6, 0.3, 0.1])
    decisions.size[:] = random.choice([0.25, 0.5, 1.0], rows)
    decisions.stop_loss[:] = random.choice([0.001, 0.002, 0.004], rows)
    decisions.take_profit[:] = random.choice([0.001, 0.002], rows)
    decisions.take_profit_2[:] = 0.005
    decisions.part[:] = random.choice([0.5, 1.0], rows)
    return decisions


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replay]:
    folder: Path = tmp_path_factory.mktemp("replay")
    config = EmulatorConfig(
        generate=tuple(GeneratedSymbol(symbol=symbol, price=Decimal(price), volatility=1.5) for symbol, price in PRICES.items()),
        clock=ClockMode(is_virtual=True),
        history_minutes=200,
        ideal=SLIPPAGE,
    )
    async with (
        replaying(config, folder / "time") as venue,
        replayed(postgres, venue, folder, SYMBOLS, heartbeat_history_minutes=120) as running,
    ):
        await running.quiet()
        yield running


async def test_orders_of_the_same_wishes_fill_alike(replay: Replay) -> None:
    quote_fees, base_fees, paper = (
        await replay.live("quote-fees", pays_in_quote=True),
        await replay.live("base-fees"),
        await replay.paper("practice"),
    )
    first_ms = replay.venue.now_ms // MINUTE_MS * MINUTE_MS
    decided = {symbol: wishes(number, MINUTES) for number, symbol in enumerate(SYMBOLS)}
    lanes = [
        Lane(replay=replay, broker_id=broker_id, symbol=symbol, decisions=decided[symbol], number=number)
        for number, (broker_id, symbol) in enumerate((each, symbol) for each in (quote_fees, base_fees, paper) for symbol in SYMBOLS)
    ]
    for row in range(MINUTES - 1):
        await replay.minute()
        for lane in lanes:
            await lane.close(row)
        await replay.quiet()
    await replay.minute()
    for symbol in SYMBOLS:
        market = candles_of(replay.venue, symbol, first_ms=first_ms, last_ms=first_ms + (MINUTES - 1) * MINUTE_MS)
        expected = await rules_of(replay, symbol, market, decided[symbol])
        exact, on_base, on_paper = [await lived(replay, broker_id, symbol) for broker_id in (quote_fees, base_fees, paper)]
        assert len(expected) > MINUTES / 4, "there is something to compare"
        assert len(exact) == len(expected)
        assert [each for each in zip(expected, exact, strict=True) if not close_to(*each)] == []
        assert on_paper == on_base
        # A fee that is taken out of what was bought leaves so much less to sell; and so is the next entry.
        assert [each.shape for each in on_base] == [each.shape for each in expected]
        assert all(abs(one.quantity / other.quantity - 1) <= FEE * 3 for one, other in zip(on_base, expected, strict=True))


async def rules_of(replay: Replay, symbol: str, market: Candles, decisions: Decisions) -> list[Happened]:
    instrument = (await replay.app.state.instruments.all("binance"))[symbol]
    tick, step = instrument.tick_size, instrument.step_size
    costs = SimulationCosts(
        capital=float(CAPITAL),
        fee=float(FEE),
        maker_fee=float(FEE),
        slippage=float(SLIPPAGE),
        tick=float(tick),
        step=float(step),
        least_notional=float(instrument.min_notional or 0),
    )
    return simulated(simulate(market, decisions, costs), market, tick=tick, step=step)
