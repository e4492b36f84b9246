import numpy as np
import pytest

from app.sandbox.guest.candles import TradedCandles, known_at
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.messages import Frame
from tests.sandbox.guest.market import decisions_in_process, decisions_of, described, guest_with, made_candles, resampled

HOURS = made_candles(200)
FOURS = resampled(HOURS, "1h", "4h")
FRAMES = [(Frame(symbol="BTC/USDT", timeframe="1h", rows=200), HOURS), (Frame(symbol="BTC/USDT", timeframe="4h", rows=len(FOURS)), FOURS)]


def test_only_the_last_closed_candle_of_another_timeframe_is_visible() -> None:
    candles = TradedCandles(FRAMES)
    other = candles.other("4h")

    aligned = other.align(other.close)

    for row in range(200):
        closes_at = HOURS.time[row] + 3_600_000
        closed = [index for index in range(len(FOURS)) if FOURS.time[index] + 4 * 3_600_000 <= closes_at]
        assert (aligned[row] == FOURS.close[closed[-1]]) if closed else np.isnan(aligned[row])


def test_a_gap_in_the_other_candles_leaves_the_last_one_visible() -> None:
    kept = np.r_[0:3, 10 : len(FOURS)]
    gap = type(FOURS)(*(getattr(FOURS, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))
    other = TradedCandles([FRAMES[0], (FRAMES[1][0], gap)]).other("4h")

    aligned = other.align(other.close)

    row = int((FOURS.time[9] + 4 * 3_600_000 - HOURS.time[0]) // 3_600_000) - 1
    assert aligned[row] == FOURS.close[2]


def test_what_is_aligned_must_have_a_value_for_each_candle_of_its_timeframe() -> None:
    with pytest.raises(ValueError, match="was an array of"):
        TradedCandles(FRAMES).other("4h").align(HOURS.close)


def test_candles_that_were_not_asked_for_are_named() -> None:
    with pytest.raises(StrategyMistake, match="there are no 1d candles of ETH/USDT: name them in informative"):
        TradedCandles(FRAMES).other("1d", "ETH/USDT")


def test_what_is_known_at_a_candle_holds_no_other_candle_that_closes_later() -> None:
    for end in range(1, 200):
        (_, own), (_, others) = known_at(FRAMES, 0, end)
        closes_at = own.time[-1] + 3_600_000
        assert len(own) == end
        assert (others.time + 4 * 3_600_000 <= closes_at).all()
        assert len(others) == int((FOURS.time + 4 * 3_600_000 <= closes_at).sum())


def test_candles_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        TradedCandles(FRAMES).close[0] = 1


def test_columns_have_names_and_the_usual_means() -> None:
    candles = TradedCandles(FRAMES)

    assert candles["close"] is candles.close
    assert candles.hl2[3] == (HOURS.high[3] + HOURS.low[3]) / 2
    assert candles.hlc3[3] == pytest.approx((HOURS.high[3] + HOURS.low[3] + HOURS.close[3]) / 3)
    assert candles.ohlc4[3] == pytest.approx((HOURS.open[3] + HOURS.high[3] + HOURS.low[3] + HOURS.close[3]) / 4)
    with pytest.raises(KeyError):
        candles["nothing"]


def test_per_candle_methods_see_all_columns_as_series() -> None:
    source = """
from aristobot import Strategy

class Tried(Strategy):
    def should_long(self):
        c = self.candles
        assert len(c) == len(c.close) == self.row + 1
        assert c["close"][-1] == c.close[-1]
        assert c.hl2[-1] == (c.high[-1] + c.low[-1]) / 2
        return c.close[-1] > c.open[-1] and c.volume[-1] > 0 and c.time[-1] > 0

    def should_exit(self):
        return True
"""
    candles = made_candles(100)
    flags = decisions_of(source, candles).flags

    first = int(np.flatnonzero(candles.close > candles.open)[0])
    assert np.flatnonzero(flags)[0] == first


def test_other_candles_reach_a_strategy_by_what_it_asked_for() -> None:
    source = """
from aristobot import Strategy, ta

class Tried(Strategy):
    informative = ["4h"]
    warm_up = 40

    def indicators(self, candles):
        four = candles.other("4h")
        self.trend = four.align(ta.SMA(four.close, 3))

    def should_long(self):
        return self.candles.close[-1] > self.trend[-1]
"""
    guest = guest_with(HOURS, others={"4h": FOURS})

    assert [each.timeframe for each in described(guest, source).informative] == ["4h"]


BESIDE = """
import numpy as np
from aristobot import Strategy, ta

class Tried(Strategy):
    informative = ["4h"]
    warm_up = 40

    def indicators(self, candles):
        self.own = candles
        self.four = candles.other("4h")
        self.both = {"own": candles, "four": self.four}
        self.unaligned = ta.SMA(self.four.close, 3)
        self.aligned = self.four.align(self.unaligned)

    def should_long(self):
        closed = [at for at in self.four.time if at + 4 * 3_600_000 <= self.candles.time[-1] + 3_600_000]
        assert len(closed) == len(self.four) == len(self.four.close) == len(self.unaligned)
        assert self.four.time[-1] == closed[-1] and self.four.time[-2] == closed[-2]
        assert self.four.time[-1] + 4 * 3_600_000 <= self.candles.time[-1] + 3_600_000 < self.four.time[-1] + 8 * 3_600_000
        assert self.unaligned[-1] == self.aligned[-1] and abs(self.aligned[-1] - np.mean(self.four.close[-3:])) < 1e-9
        assert self.own.close[-1] == self.candles.close[-1] == self.both["own"].close[-1]
        assert self.both["four"].close[-1] == self.four.close[-1]
        assert self.four.close.values[-1] == self.four.close[-1]
        above = self.unaligned[-1] > self.candles.close[-1] and self.unaligned[-2] <= self.candles.close[-2]
        assert ta.crossed_above(self.unaligned, self.candles.close) == above
        return False
"""


def test_other_candles_and_what_is_computed_of_them_end_with_the_last_that_closed() -> None:
    decisions_in_process(BESIDE, FRAMES)


def test_arrays_that_could_belong_to_two_others_belong_to_none() -> None:
    twin = (Frame(symbol="ETH/USDT", timeframe="4h", rows=len(FOURS)), FOURS)

    with pytest.raises(AssertionError, match="Failed"):
        decisions_in_process(BESIDE, [*FRAMES, twin])
