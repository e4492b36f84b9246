"""One strategy on one market three times: as a bot at the exchange, as a bot on paper, and as a backtest of the same candles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.backtests.data import Wanted
from app.backtests.deciding import decide, describe, load
from app.domain.candles import Timeframe
from app.domain.simulation import SimulationCosts, simulate
from app.sandbox.quotas import Purpose
from tests import settled
from tests.app.botting import act, bot, valid_strategy
from tests.app.lived import Happened, simulated
from tests.app.replaying import Replay

CAPITAL = Decimal(10_000)
FEE, SLIPPAGE = Decimal("0.001"), Decimal("0.0005")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A strategy with its parameters, on candles of a length."""

    name: str
    source: str
    parameters: dict[str, Any] = field(default_factory=dict)
    timeframe: Timeframe = Timeframe.M1


async def started(replay: Replay, case: Case, symbol: str, accounts: dict[str, UUID]) -> dict[str, UUID]:
    """Start a bot of that case on each account; return the bots by the account's name."""
    strategy_id, found = await _strategy(replay, case), {}
    for name, broker_id in accounts.items():
        given = {"mode": "paper" if name == "paper" else "live", "symbol": symbol, "timeframe": case.timeframe.value}
        made = await bot(replay.person, strategy_id, str(broker_id), parameters=case.parameters, capital=str(CAPITAL), **given)
        await act(replay.person, made["id"], "start")
        found[name] = UUID(made["id"])
    return found


async def _strategy(replay: Replay, case: Case) -> str:
    rows = await replay.rows("SELECT id FROM strategies WHERE name = $1", case.name)
    return str(rows[0]["id"]) if rows else await valid_strategy(replay, replay.person, case.source, case.name)


async def until_loaded(replay: Replay, count: int) -> None:
    """Wait until so many bots have their candles and their strategies."""

    async def waits() -> str:
        rows = await replay.rows("SELECT state, state_reason FROM bots WHERE state <> 'running' OR state_reason IS NOT NULL")
        return str([dict(row) for row in rows]) if rows else ""

    replay.waits.append(waits)
    await replay.quiet()
    replay.waits.remove(waits)
    (row,) = await replay.rows("SELECT count(*) FROM bots WHERE state = 'running'")
    assert row["count"] == count


def follow(replay: Replay, timeframes: Sequence[Timeframe]) -> None:
    """Let time go on only when every bot was asked about the candle that closed, and has done what it wanted."""

    async def waits() -> str:
        for timeframe in timeframes:
            length = timeframe.milliseconds
            closed = datetime.fromtimestamp((replay.venue.now_ms // length * length - length) / 1000, UTC)
            (row,) = await replay.rows(f"{settled.BOTS}", closed)
            if row["waiting"] or row["acting"]:
                return f"bots {row['waiting']} {row['acting']}"
        return ""

    replay.waits.append(waits)


async def backtested(replay: Replay, case: Case, symbol: str, *, first_ms: int, end_ms: int) -> list[Happened]:
    """What a backtest of the case executes, with the stored candles and the exchange's rules."""
    state, instrument = replay.app.state, (await replay.app.state.instruments.all("binance"))[symbol]
    costs = SimulationCosts(
        capital=float(CAPITAL),
        fee=float(FEE),
        maker_fee=float(FEE),
        slippage=float(SLIPPAGE),
        tick=float(instrument.tick_size),
        step=float(instrument.step_size),
        least_notional=float(instrument.min_notional or 0),
    )
    described = await describe(state.jail, replay.user_id, case.source, case.parameters)
    wanted = Wanted(
        exchange="binance",
        symbol=symbol,
        timeframe=case.timeframe,
        start=datetime.fromtimestamp(first_ms / 1000, UTC),
        end=datetime.fromtimestamp(end_ms / 1000, UTC),
        is_detailed=True,
    )
    prepared = await state.backtest_tools.data.prepare(wanted, described, told=lambda *_: None)
    rows = len(prepared.candles)
    async with state.jail.worker(user_id=replay.user_id, purpose=Purpose.BACKTEST, frames=prepared.lent_frames, result_rows=rows) as worker:
        await load(worker, case.source, case.parameters)
        await decide(worker, prepared, costs)
        decisions = await worker.decided(rows)
    result = simulate(prepared.candles, decisions, costs, prepared.start, detail=prepared.detail)
    return simulated(result, prepared.candles, tick=instrument.tick_size, step=instrument.step_size)
