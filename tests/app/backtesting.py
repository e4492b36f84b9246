"""Backtests through the API of a running application, on candles that are made up and stored."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.strategies.candles import generated
from tests.app.library import made
from tests.app.whole_site import Person, Site

URL = "/api/backtests"
SYMBOL = "BTC/USDT"
END = datetime(2026, 3, 1, tzinfo=UTC)
ROLES = ("web", "engine", "backtests")
#: Crosses often enough for trades within a day of minutes.
CROSS = """from aristobot import Strategy, param, ta


class Cross(Strategy):
    timeframe = "1m"
    warm_up = 120
    fast = param(5, low=2, high=50)
    slow = param(20, low=5, high=200)
    stop_loss = param(0.02, low=0.001, high=0.2)
    take_profit = 0.03

    def indicators(self, candles):
        self.a = ta.EMA(candles.close, self.fast)
        self.b = ta.EMA(candles.close, self.slow)

    def should_long(self):
        return ta.crossed_above(self.a, self.b)

    def should_exit(self):
        return ta.crossed_below(self.a, self.b)
"""
#: Takes a millisecond a candle or so: what is to be watched, canceled or killed.
SLOW = CROSS.replace(
    "    def should_exit(self):\n",
    "    def should_exit(self):\n        self.work()\n",
).replace(
    "    def should_long(self):\n",
    "    def work(self):\n        total = 0\n        for number in range({loops}):\n            total += number\n\n"
    "    def should_long(self):\n        self.work()\n",
)


def slow(loops: int = 20_000) -> str:
    return SLOW.replace("{loops}", str(loops))


async def store_candles(
    site: Site, rows: int, *, timeframe: Timeframe = Timeframe.M1, symbol: str = SYMBOL, end: datetime = END, seed: int = 1
) -> None:
    candles = await asyncio.to_thread(generated, rows, timeframe, end_ms=to_milliseconds(end), seed=seed)
    store = CandleStore(site.app.state.platform_database)
    await store.load("binance", symbol, timeframe, candles, source=CandleSource.IMPORT)


async def strategy(person: Person, source: str = CROSS, name: str = "Cross") -> str:
    return str((await made(person, name, source=source))["id"])


def wish(strategy_id: str, *, minutes: int = 2_000, **given: Any) -> dict[str, Any]:
    start = (END - timedelta(minutes=minutes)).isoformat()
    return {"strategy_id": strategy_id, "symbol": "BTCUSDT", "timeframe": "1m", "start_at": start, "end_at": END.isoformat(), **given}


async def begun(person: Person, strategy_id: str, **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", URL, json=wish(strategy_id, **given))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def got(person: Person, backtest_id: str) -> dict[str, Any]:
    answer = await person.call("GET", f"{URL}/{backtest_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def until(person: Person, backtest_id: str, *states: str, within_s: float = 40.0) -> dict[str, Any]:
    """The backtest once it has one of these states; completed, canceled or failed when none is named."""
    wanted, deadline = states or ("completed", "canceled", "failed"), time.monotonic() + within_s
    while (found := await got(person, backtest_id))["state"] not in wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found
