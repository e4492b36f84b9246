"""One strategy in the three spellings there are: the EMA example of the guide."""

PER_CANDLE = '''
from aristobot import Strategy, param, ta


class EmaCross(Strategy):
    """Long when the fast EMA crosses above the slow one."""

    timeframe = "1h"
    warm_up = 1000
    fast = param(10, low=5, high=50)
    slow = param(20, low=20, high=200)
    stop_loss = param(0.02, low=0.005, high=0.10)
    take_profit = 0.04

    def indicators(self, candles):
        self.fast_ema = ta.EMA(candles.close, self.fast)
        self.slow_ema = ta.EMA(candles.close, self.slow)

    def should_long(self) -> bool:
        return ta.crossed_above(self.fast_ema, self.slow_ema)

    def should_exit(self) -> bool:
        return ta.crossed_below(self.fast_ema, self.slow_ema)

    def position_size(self):
        return 0.1
'''

SIGNALS = '''
import numpy as np
from aristobot import Strategy, param, ta


class EmaCross(Strategy):
    """Long when the fast EMA crosses above the slow one."""

    timeframe = "1h"
    warm_up = 1000
    fast = param(10, low=5, high=50)
    slow = param(20, low=20, high=200)
    stop_loss = param(0.02, low=0.005, high=0.10)
    take_profit = 0.04

    def signals(self, candles):
        fast, slow = ta.EMA(candles.close, self.fast), ta.EMA(candles.close, self.slow)
        return {
            "long": ta.crossed_above(fast, slow),
            "exit": ta.crossed_below(fast, slow),
            "size": np.full(len(candles), 0.1),
        }
'''

#: As the mission has it, word for word, but for the comments.
TEMPLATE = """
import pandas_ta as ta

class MaNouvelleStrategie(Strategy):
    def __init__(self, candles, balance, position=None):
        self.candles = candles
        self.balance = balance
        self.position = position

        self.candles["ema10"] = ta.ema(self.candles["close"], length=10)
        self.candles["ema20"] = ta.ema(self.candles["close"], length=20)

    def should_long(self) -> bool:
        if len(self.candles) < 21:
            return False

        ema10_now = self.candles["ema10"].iloc[-1]
        ema10_prev = self.candles["ema10"].iloc[-2]

        ema20_now = self.candles["ema20"].iloc[-1]
        ema20_prev = self.candles["ema20"].iloc[-2]

        return ema10_prev < ema20_prev and ema10_now > ema20_now

    def should_short(self) -> bool:
        if len(self.candles) < 21:
            return False

        ema10_now = self.candles["ema10"].iloc[-1]
        ema10_prev = self.candles["ema10"].iloc[-2]

        ema20_now = self.candles["ema20"].iloc[-1]
        ema20_prev = self.candles["ema20"].iloc[-2]

        return ema10_prev > ema20_prev and ema10_now < ema20_now

    def calculate_position_size(self) -> float:
        return self.balance * 0.1

    def calculate_stop_loss(self) -> float:
        return 0.02

    def calculate_take_profit(self) -> float:
        return 0.04
"""
