import numpy as np
import pytest

from app.domain.arrays import EXIT, LONG, SHORT, Candles
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Costs, Decide, Decision, Failed, Frame, Holding, LiveFill, Load, Run
from tests.sandbox.guest.market import decisions_of, described, made_candles, resampled
from tests.sandbox.guest.test_running import EVERYTHING
from tests.sandbox.guest.three_styles import PER_CANDLE, SIGNALS, TEMPLATE

FLAT = Holding(quantity=0.0, entry_price=0.0, equity=1_000.0)
HEAD = "from aristobot import Strategy\n\nclass A(Strategy):\n"


def closed(candles: Candles, row: int) -> tuple[int, float, float, float, float, float]:
    return (
        int(candles.time[row]),
        float(candles.open[row]),
        float(candles.high[row]),
        float(candles.low[row]),
        float(candles.close[row]),
        float(candles.volume[row]),
    )


def guest_at(candles: Candles, rows: int, source: str) -> Guest:
    guest = Guest([(Frame(symbol="BTC/USDT", timeframe="1h", rows=rows), candles.until(rows))], None)
    described(guest, source.replace("warm_up = 1000", "warm_up = 100"))
    return guest


def decided(guest: Guest, request: Decide) -> Decision:
    reply = guest.handle(request)
    assert isinstance(reply, Decision), reply
    return reply


@pytest.mark.parametrize("source", [PER_CANDLE, SIGNALS, TEMPLATE], ids=["per candle", "signals", "template"])
def test_candle_by_candle_it_enters_where_a_run_does(source: str) -> None:
    candles = made_candles(1_600, volatility=0.02)
    # Kept flat, so that every crossing is an entry in both.
    always = decisions_of(SIGNALS, candles, start=1_000)
    expected = np.flatnonzero(always.flags[1_200:] & LONG) + 1_200
    guest = guest_at(candles, 1_200, source)

    entries = [row for row in range(1_200, 1_600) if decided(guest, Decide(candle=closed(candles, row), holding=FLAT)).action == "long"]

    assert entries == expected.tolist()
    assert len(entries) > 3


@pytest.mark.parametrize("source", [PER_CANDLE, SIGNALS, TEMPLATE], ids=["per candle", "signals", "template"])
def test_with_a_position_it_is_asked_whether_to_leave(source: str) -> None:
    candles = made_candles(1_600, volatility=0.02)
    always = decisions_of(SIGNALS, candles, start=1_000)
    expected = np.flatnonzero(always.flags[1_200:] & EXIT) + 1_200
    guest = guest_at(candles, 1_200, source)
    holding = Holding(quantity=2.0, entry_price=90.0, equity=1_000.0, opened_at_ms=int(candles.time[1_190]), stop=50.0)

    actions = {row: decided(guest, Decide(candle=closed(candles, row), holding=holding)).action for row in range(1_200, 1_600)}

    assert [row for row, action in actions.items() if action == "exit"] == expected.tolist()
    assert set(actions.values()) == {"none", "exit"}


def test_an_entry_tells_size_levels_and_fractions() -> None:
    candles = made_candles(300)
    source = EVERYTHING.replace("return ta.crossed_above(self.candles.close, self.ema)", "return True")
    guest = guest_at(candles, 300, source)

    told = decided(guest, Decide(candle=None, holding=FLAT))

    close = float(candles.close[-1])
    assert told.action == "long"
    assert told.stop is not None
    assert told.size is not None
    assert 0 < told.stop < close
    assert [told.target, told.target_2] == pytest.approx([close * 1.02, close * 1.04])
    assert (told.part, told.part_2, told.part_3, told.limit) == (0.5, 1.0, None, None)
    assert (told.stop_loss, told.take_profit, told.take_profit_2, told.take_profit_3, told.trailing) == (0.05, 0.03, 0.05, 0.08, 0.06)
    assert told.size == pytest.approx(min(1.0, 0.02 / ((close - told.stop) / close)))


def test_a_position_shows_what_is_held_since_when() -> None:
    candles = made_candles(300)
    source = """
from aristobot import Strategy

class Tried(Strategy):
    def should_exit(self):
        p = self.position
        is_best = p.best_price == max(self.candles.high[-10:])
        print(p.quantity, p.entry_price, p.candles_held, p.stop, p.target, is_best, round(self.equity, 6), self.side)
        return False

    def should_long(self):
        return False
"""
    guest = guest_at(candles, 300, source)
    holding = Holding(quantity=1.5, entry_price=88.0, equity=500.0, opened_at_ms=int(candles.time[290]), stop=80.0, target=120.0)

    assert decided(guest, Decide(candle=None, holding=holding)).output == "1.5 88.0 10 80.0 120.0 True 500.0 1\n"


def test_what_it_keeps_in_itself_stays_from_candle_to_candle_and_the_window_its_length() -> None:
    candles = made_candles(120)
    source = """
from aristobot import Strategy

class Tried(Strategy):
    def __init__(self):
        self.times = 0

    def should_long(self):
        self.times += 1
        print(self.times, len(self.candles), self.candles.time[0])
        return False
"""
    guest = guest_at(candles, 100, source)

    output = [decided(guest, Decide(candle=closed(candles, row), holding=FLAT)).output for row in range(100, 103)]

    assert output == [f"{row + 1} 100 {candles.time[row + 1]}\n" for row in range(3)]


def test_the_same_candle_again_takes_its_own_place_and_an_older_one_is_refused() -> None:
    candles = made_candles(120)
    guest = guest_at(
        candles,
        100,
        f"{HEAD}    def should_long(self):\n        print(self.candles.close[-2:].tolist())\n        return False\n",
    )
    last = closed(candles, 99)

    again = decided(guest, Decide(candle=(*last[:4], 77.0, 1.0), holding=FLAT))
    older = guest.handle(Decide(candle=closed(candles, 98), holding=FLAT))

    assert again.output == f"[{candles.close[98]}, 77.0]\n"
    assert isinstance(older, Failed)
    assert older.kind == "CANDLE_OUT_OF_ORDER"


def test_candles_of_other_timeframes_come_with_the_one_that_closes_them() -> None:
    hours = made_candles(400)
    days = resampled(hours, "1h", "1d")
    known = int((days.time + 86_400_000 <= hours.time[299] + 3_600_000).sum())
    source = """
from aristobot import Strategy

class Tried(Strategy):
    informative = ["1d"]

    def indicators(self, candles):
        day = candles.other("1d")
        self.day_close = day.align(day.close)

    def should_long(self):
        print(self.day_close[-1])
        return False
"""
    frames = [
        (Frame(symbol="B", timeframe="1h", rows=300), hours.until(300)),
        (Frame(symbol="B", timeframe="1d", rows=known), days.until(known)),
    ]
    guest = Guest(frames, None)
    described(guest, source)

    for row in range(300, 400):
        closes_at = hours.time[row] + 3_600_000
        ended = [index for index in range(len(days)) if days.time[index] + 86_400_000 == closes_at]
        others = [(1, closed(days, index)) for index in ended]
        told = decided(guest, Decide(candle=closed(hours, row), holding=FLAT, others=others))
        last = int((days.time + 86_400_000 <= closes_at).sum()) - 1
        assert told.output == f"{days.close[last]}\n"


def test_fills_are_told_before_it_decides() -> None:
    guest = guest_at(
        made_candles(120),
        120,
        f"{HEAD}    def on_fill(self, fill):\n        print(fill.side, fill.reason, fill.price)\n\n"
        "    def should_long(self):\n        return True\n",
    )
    fill = LiveFill(side="sell", quantity=1.0, price=99.5, fee=0.1, reason="stop", time=5)

    told = decided(guest, Decide(candle=None, holding=FLAT, fills=[fill]))

    assert (told.output, told.action) == ("sell stop 99.5\n", "long")


def test_before_the_warm_up_it_decides_nothing() -> None:
    guest = guest_at(made_candles(60), 60, PER_CANDLE)

    assert decided(guest, Decide(candle=None, holding=FLAT)).action == "none"


def test_shorts_are_told_apart_from_longs() -> None:
    source = f"{HEAD}    stop_loss = 0.1\n\n    def should_short(self):\n        return self.side == 0\n"

    assert decided(guest_at(made_candles(60), 60, source), Decide(candle=None, holding=FLAT)).action == "short"
    assert decisions_of(source, made_candles(60)).flags[0] == SHORT


def test_a_later_run_is_not_disturbed_by_live_decisions() -> None:
    candles = made_candles(60)
    guest = guest_at(candles, 60, PER_CANDLE)
    decided(guest, Decide(candle=None, holding=FLAT))

    assert isinstance(guest.handle(Run(start=0, costs=Costs())), Failed)
    assert not isinstance(guest.handle(Load(source=SIGNALS)), Failed)
