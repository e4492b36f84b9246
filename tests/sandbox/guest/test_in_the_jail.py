"""The same strategies in this process and in a locked one decide the same."""

from uuid import uuid4

import numpy as np
import pytest

from app.domain.arrays import DECIDED
from app.sandbox.jail import Jail
from app.sandbox.messages import Check, Checked, Decide, Decision, Described, Frame, Holding, Load, Ran, Run
from app.sandbox.quotas import Purpose
from app.strategies.builtins import builtins
from tests.sandbox.guest.market import COSTS, decisions_in_process, made_candles, resampled
from tests.sandbox.guest.three_styles import PER_CANDLE, SIGNALS, TEMPLATE

CANDLES = made_candles(3_000)
DAYS = resampled(CANDLES, "1h", "1d")
FRAMES = [
    (Frame(symbol="BTC/USDT", timeframe="1h", rows=len(CANDLES)), CANDLES),
    (Frame(symbol="BTC/USDT", timeframe="1d", rows=len(DAYS)), DAYS),
]
SOURCES = {each.name: each.source for each in builtins()} | {"per candle": PER_CANDLE, "signals": SIGNALS, "template": TEMPLATE}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", SOURCES)
async def test_a_strategy_decides_in_the_jail_as_it_does_here(jail: Jail, name: str) -> None:
    expected = decisions_in_process(SOURCES[name], FRAMES)
    async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=FRAMES, result_rows=len(CANDLES)) as worker:
        assert isinstance(await worker.ask(Load(source=SOURCES[name])), Described)
        assert isinstance(await worker.ask(Run(start=0, costs=COSTS)), Ran)
        decided = worker.decisions()
        for step in ("contract", "look_ahead", "warm_up", "values", "speed"):
            checked = await worker.ask(Check(step=step, costs=COSTS))
            assert isinstance(checked, Checked)
            assert [each.code for each in checked.findings if each.severity == "error"] == []
        flat = Holding(quantity=0.0, entry_price=0.0, equity=1_000.0)
        assert isinstance(await worker.ask(Decide(candle=None, holding=flat)), Decision)

    for column in ("flags", *DECIDED):
        assert np.array_equal(getattr(decided, column), getattr(expected, column), equal_nan=column != "flags"), column
