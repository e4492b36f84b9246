from aristobot import Strategy, param, ta


class MacdTrend(Strategy):
    """Buys a MACD crossing when the larger timeframe agrees.

    The trend is read on daily candles: the close is above its average and the average rises. Only then is a crossing of the MACD above its
    signal line bought, while it is still below zero or has just left it, that is early. It leaves when the MACD crosses back, or when the
    daily trend turns; the stop follows at a distance of average true ranges.

    Works in swings of an upward market. Fails when the daily trend turns faster than its average: the first weeks of a fall look like a dip
    to be bought. In ranges around the average it switches on and off and pays fees.
    """

    timeframe = "4h"
    warm_up = 300
    informative = ("1d",)
    fast = param(12, low=5, high=30, help="Fast length of the MACD")
    slow = param(26, low=15, high=60, help="Slow length of the MACD")
    smooth = param(9, low=3, high=20, help="Length of the signal line")
    trend = param(50, low=10, high=100, step=5, help="Length of the daily average in days")
    latest = param(0.005, low=0.0, high=0.05, step=0.001, help="How far above zero the MACD may be, as a fraction of the price")
    stop_atr = param(4.0, low=1.0, high=10.0, step=0.5, help="Distance of the stop in average true ranges")

    def indicators(self, candles):
        self.macd, self.signal_line, _ = ta.MACD(candles.close, self.fast, self.slow, self.smooth)
        self.atr = ta.ATR(candles.high, candles.low, candles.close, 14)
        daily = candles.other("1d")
        average = ta.EMA(daily.close, self.trend)
        # Computed on days, then laid beside the candles: each candle sees the last day that had closed.
        self.trend_is_up = daily.align((daily.close > average) & ta.rising(average))

    def should_long(self):
        is_early = self.macd[-1] <= self.latest * self.candles.close[-1]
        return self.trend_is_up[-1] == 1 and is_early and ta.crossed_above(self.macd, self.signal_line)

    def should_exit(self):
        return self.trend_is_up[-1] != 1 or ta.crossed_below(self.macd, self.signal_line)

    def stop_price(self):
        return self.candles.close[-1] - self.stop_atr * self.atr[-1]
