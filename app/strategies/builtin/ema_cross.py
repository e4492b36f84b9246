from aristobot import Strategy, param, ta


class EmaCross(Strategy):
    """Follows a trend from the crossing of two exponential moving averages.

    Buys when the fast average crosses above the slow one while the market is moving at all (ADX above a threshold), and leaves when it
    crosses back, at the stop, or at the trailing stop that lets a long trend run.

    Works in markets that trend for weeks. Fails in ranges: the averages cross back and forth, each crossing costs fees and slippage, and
    the ADX filter only softens that. Expect four losing trades out of ten or more, paid for by a few large winners; leave those out and
    nothing remains. Do not tune the lengths until one past looks perfect.
    """

    timeframe = "4h"
    warm_up = 500
    fast = param(21, low=5, high=60, help="Length of the fast average in candles")
    slow = param(55, low=20, high=200, help="Length of the slow average; keep it at least twice the fast one")
    least_adx = param(18.0, low=0.0, high=40.0, step=1.0, help="Strength of the trend below which crossings are ignored; 0 takes all")
    stop_loss = param(0.04, low=0.005, high=0.20, step=0.005, help="Distance of the stop below the entry")
    trailing_stop = param(0.08, low=0.01, high=0.30, step=0.01, optional=True, help="Distance of the trailing stop; empty for none")

    def indicators(self, candles):
        self.fast_ema = ta.EMA(candles.close, self.fast)
        self.slow_ema = ta.EMA(candles.close, self.slow)
        self.strength = ta.ADX(candles.high, candles.low, candles.close, 14)

    def should_long(self):
        return ta.crossed_above(self.fast_ema, self.slow_ema) and self.strength[-1] >= self.least_adx

    def should_exit(self):
        return ta.crossed_below(self.fast_ema, self.slow_ema)
