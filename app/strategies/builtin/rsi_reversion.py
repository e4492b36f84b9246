from aristobot import Strategy, param, ta


class RsiReversion(Strategy):
    """Buys weakness inside an upward market and sells the recovery.

    Above its long average the market is taken to be rising. When the RSI there falls below the lower bound and turns up again, it buys; it
    leaves when the RSI is back above the upper bound, when the trade has lasted too long, or at a stop that is as wide as the market moves.

    Works in calm upward markets with sharp dips. Fails when a dip is the beginning of a fall: it buys on the way down, and the losses are
    larger than the wins, so one bad week eats many good trades. It also stands aside for months in bear markets, which is intended.
    """

    timeframe = "1h"
    warm_up = 1000
    length = param(14, low=2, high=30, help="Length of the RSI in candles")
    lower = param(30.0, low=5.0, high=45.0, step=1.0, help="RSI below which the market counts as sold out")
    upper = param(55.0, low=45.0, high=90.0, step=1.0, help="RSI above which the recovery is taken")
    trend = param(200, low=50, high=300, step=10, help="Length of the average that the market must be above")
    longest = param(72, low=6, high=500, step=6, help="Candles after which a trade that went nowhere is left")
    stop_atr = param(3.0, low=1.0, high=8.0, step=0.5, help="Distance of the stop in average true ranges")
    risk = param(0.01, low=0.001, high=0.05, step=0.001, help="Fraction of equity lost when the stop is hit")

    def indicators(self, candles):
        self.rsi = ta.RSI(candles.close, self.length)
        self.average = ta.EMA(candles.close, self.trend)
        self.atr = ta.ATR(candles.high, candles.low, candles.close, 14)

    def should_long(self):
        return ta.crossed_above(self.rsi, self.lower) and self.candles.close[-1] > self.average[-1]

    def should_exit(self):
        return self.rsi[-1] >= self.upper or self.position.candles_held >= self.longest

    def stop_price(self):
        # Set once, at the entry: a stop that is moved closer would turn ordinary noise into losses.
        if self.position:
            return None
        return self.candles.close[-1] - self.stop_atr * self.atr[-1]

    def position_size(self):
        return self.risk_to_stop(self.risk)
