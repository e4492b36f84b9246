"""Strategies are validated in the real jail, step by step, on stored candles."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio

from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.strategies.candles import generated
from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = '''
from aristobot import Strategy, param, ta


class Cross(Strategy):
    """Long when the fast average crosses above the slow one."""

    timeframe = "1h"
    warm_up = 150
    fast = param(12, low=5, high=50)
    stop_loss = 0.02

    def indicators(self, candles):
        self.fast_ema = ta.EMA(candles.close, self.fast)
        self.slow_ema = ta.EMA(candles.close, 26)

    def should_long(self):
        return ta.crossed_above(self.fast_ema, self.slow_ema)

    def should_exit(self):
        return ta.crossed_below(self.fast_ema, self.slow_ema)
'''
STEPS = ["syntax", "lint", "contract", "dry_run", "look_ahead", "warm_up", "values", "speed"]
URL = "/api/strategies/validate"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def stored(site: Site) -> AsyncIterator[None]:
    """Two thousand stored hours of one market, made up."""
    store = CandleStore(site.app.state.platform_database)
    end = Timeframe.H1.floor(site.app.state.clock.now()) - timedelta(hours=3)
    candles = generated(2_000, Timeframe.H1, end_ms=to_milliseconds(end), seed=3)
    await store.load("binance", "BTC/USDT", Timeframe.H1, candles, source=CandleSource.IMPORT)
    yield


async def validate(site: Site, source: str, **given: Any) -> dict[str, Any]:
    answer = await site.ada.call("POST", URL, json={"source": source, **given})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_good_strategy_passes_every_step_on_stored_candles(site: Site) -> None:
    report = await validate(site, GOOD, symbol="BTCUSDT")
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    assert [step["step"] for step in report["steps"]] == STEPS
    assert report["is_valid"]
