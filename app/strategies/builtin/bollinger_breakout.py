from aristobot import Strategy, param, ta


class BollingerBreakout(Strategy):
    """Buys the break out of a quiet time.

    When the Bollinger bands have been unusually narrow and the close rises above the upper one on more than usual volume, the market has
    often begun to move. It buys then, sells a part when the trade has earned as much as was risked, and leaves the rest when the close
    falls back under the middle band.

    Works when volatility comes in bursts, as it does in crypto. Fails on false breaks, which are frequent at night and at weekends: price
    leaves the band for one candle and returns. Narrow bands say that a move comes, not in which direction.
    """

    timeframe = "4h"
    warm_up = 300
    length = param(20, low=10, high=60, help="Length of the bands in candles")
    width = param(2.0, low=1.0, high=3.5, step=0.1, help="Width of the bands in standard deviations")
    quiet = param(100, low=20, high=200, step=10, help="Candles among which the bands must have been narrow")
    least_volume = param(1.2, low=0.0, high=5.0, step=0.1, help="Volume as a multiple of its average; 0 takes any")
    stop_loss = param(0.03, low=0.005, high=0.15, step=0.005, help="Distance of the stop below the entry")
    takes_part = param(True, help="Sell half of the position once it has earned what was risked")

    def __init__(self):
        # Here and not in indicators, which runs again at each candle when the strategy trades.
        self.has_taken_part = False

    def indicators(self, candles):
        self.upper, self.middle, lower = ta.BBANDS(candles.close, self.length, self.width, self.width)
        bandwidth = (self.upper - lower) / self.middle
        # Narrow: the width is in the lower third of its range, as it was at the candle before this one.
        low, high = ta.lowest(bandwidth, self.quiet), ta.highest(bandwidth, self.quiet)
        self.is_quiet = ta.shift(bandwidth) <= ta.shift(low) + (ta.shift(high) - ta.shift(low)) / 3
        self.usual_volume = ta.SMA(candles.volume, self.length)

    def should_long(self):
        return (
            self.is_quiet[-1]
            and ta.crossed_above(self.candles.close, self.upper)
            and self.candles.volume[-1] >= self.least_volume * self.usual_volume[-1]
        )

    def should_exit(self):
        return self.candles.close[-1] < self.middle[-1]

    def adjust(self):
        if self.takes_part and not self.has_taken_part and self.position.profit >= self.stop_loss:
            self.has_taken_part = True
            return -0.5
        return None

    def on_fill(self, fill):
        if fill.reason == "entry":
            self.has_taken_part = False
