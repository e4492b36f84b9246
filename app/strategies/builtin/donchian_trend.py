from aristobot import Strategy, param, ta


class DonchianTrend(Strategy):
    """Trades breakouts of the highest high, in the manner of the turtles, with a stop in average true ranges.

    Buys when the close is above the highest high of the last weeks, risks the same small part of the equity in every trade, moves the stop
    up behind the highest close, and leaves when the close falls below the lowest low of a shorter time. Sells short in the same way where
    shorts are switched on.

    Works in long trends, on several markets at once. Fails in ranges, where every breakout is bought at the top; six of ten trades lose.
    Profits come in few trades that last for weeks, and after one much of it is given back before the exit. Long losing streaks are normal:
    with a higher risk than one percent they are hard to live through.
    """

    timeframe = "4h"
    warm_up = 250
    entry = param(55, low=10, high=200, help="Candles whose highest high must be broken")
    leave = param(20, low=5, high=100, help="Candles whose lowest low ends the trade")
    stop_atr = param(4.0, low=1.0, high=8.0, step=0.5, help="Distance of the stop in average true ranges")
    risk = param(0.01, low=0.001, high=0.05, step=0.001, help="Fraction of equity lost when the first stop is hit")
    shorts = param(False, help="Sell short on breakouts downwards, where the market allows it")

    def indicators(self, candles):
        # Of the candles before this one: a candle cannot break a range that it belongs to.
        self.highest = ta.shift(ta.highest(candles.high, self.entry))
        self.lowest = ta.shift(ta.lowest(candles.low, self.entry))
        self.leave_low = ta.shift(ta.lowest(candles.low, self.leave))
        self.leave_high = ta.shift(ta.highest(candles.high, self.leave))
        self.atr = ta.ATR(candles.high, candles.low, candles.close, 20)

    def should_long(self):
        return self.candles.close[-1] > self.highest[-1]

    def should_short(self):
        return self.shorts and self.candles.close[-1] < self.lowest[-1]

    def should_exit(self):
        if self.position.is_long:
            return self.candles.close[-1] < self.leave_low[-1]
        return self.candles.close[-1] > self.leave_high[-1]

    def stop_price(self):
        # Asked at every close; a stop that would be looser than the present one is ignored.
        return self.candles.close[-1] - self.side * self.stop_atr * self.atr[-1]

    def position_size(self):
        return self.risk_to_stop(self.risk)
