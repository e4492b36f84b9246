"""Strategies that may sell short, run as on a spot account."""

import pytest

from app.domain.arrays import LONG, SHORT
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Frame, Ran, Run
from app.sandbox.sheet import Sheet
from tests.sandbox.guest.market import COSTS, described, made_candles
from tests.sandbox.guest.test_running import EVERYTHING, HEAD


@pytest.mark.parametrize("spelling", ["per candle", "signals"])
def test_on_a_spot_account_no_strategy_is_asked_to_sell_short(spelling: str) -> None:
    candles = made_candles(400)
    signals = f"""{HEAD}
    def signals(self, candles):
        ema = ta.EMA(candles.close, 10)
        return {{"long": candles.close > ema, "short": candles.close < ema, "exit": candles.close < ema}}
"""
    results = Sheet(len(candles))
    guest = Guest([(Frame(symbol="BTC/USDT", timeframe="1h", rows=len(candles)), candles)], results)
    described(guest, EVERYTHING if spelling == "per candle" else signals)
    assert guest.handle(Run(start=0, costs=COSTS)) == Ran(rows=len(candles))
    assert (results.decisions().flags & SHORT).any()
    assert guest.handle(Run(start=0, costs=COSTS, is_long_only=True)) == Ran(rows=len(candles))
    flags = results.decisions().flags
    assert not (flags & SHORT).any()
    assert (flags & LONG).any()
