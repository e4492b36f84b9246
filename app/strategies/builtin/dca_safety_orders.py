from aristobot import Strategy, param, ta


class DcaSafetyOrders(Strategy):
    """Buys in parts on the way down and sells all of it a little above the mean price.

    Begins with a small position when the market is weak in an upward trend. Each time the price has fallen a step below the mean price, a
    safety order adds more, which pulls the mean down; the target lies a fixed distance above it. A last stop, set at the entry, ends the
    trade when the fall goes on.

    Works in ranges and dips that recover: most trades win, which looks better than it is. Fails in a real fall: the position is largest
    when the market is worst, and the last stop takes in one trade what ten or twenty wins have brought. Never raise the number of safety
    orders to avoid a loss, and never run it without the stop.
    """

    timeframe = "15m"
    warm_up = 1500
    first = param(0.10, low=0.02, high=0.5, step=0.01, help="Fraction of equity of the first order")
    orders = param(4, low=1, high=10, help="Safety orders after the first")
    step = param(0.025, low=0.005, high=0.10, step=0.005, help="Fall below the mean price that the next safety order waits for")
    growth = param(1.3, low=1.0, high=2.0, step=0.1, help="Size of each safety order as a multiple of the one before")
    profit = param(0.012, low=0.003, high=0.10, step=0.001, help="Distance of the target above the mean price")
    last_stop = param(0.12, low=0.02, high=0.40, step=0.01, help="Fall below the first entry that ends the trade")
    length = param(14, low=2, high=30, help="Length of the RSI")
    weak = param(35.0, low=10.0, high=50.0, step=1.0, help="RSI below which the market counts as weak")
    trend = param(200, low=50, high=300, step=10, help="Length of the average that must rise")

    def indicators(self, candles):
        self.rsi = ta.RSI(candles.close, self.length)
        self.trend_is_up = ta.rising(ta.EMA(candles.close, self.trend), 3)

    def should_long(self):
        return self.rsi[-1] < self.weak and self.trend_is_up[-1]

    def position_size(self):
        return self.first

    def adjust(self):
        used = self.orders_used()
        if used < self.orders and self.candles.close[-1] <= self.position.entry_price * (1 - self.step):
            # At most ten times what is held: where there was little to buy, the first order may have got nearly nothing.
            return min(10.0, self.order_size(used + 1) / self.share())
        return None

    def target_price(self):
        # Follows the mean price; before the fill there is none.
        return self.position.entry_price * (1 + self.profit) if self.position else None

    def stop_price(self):
        return None if self.position else self.candles.close[-1] * (1 - self.last_stop)

    def order_size(self, number):
        """Fraction of equity of an order: 0 is the first, 1 the first safety order."""
        return self.first * self.growth**number

    def share(self):
        """Fraction of equity that the position has cost."""
        return self.position.quantity * self.position.entry_price / self.equity

    def orders_used(self):
        """Safety orders in the position, read off its size: nothing to remember, so nothing is lost at a restart."""
        used, reached = 0, self.first
        while used < self.orders and self.share() > reached + self.order_size(used + 1) / 2:
            used += 1
            reached += self.order_size(used)
        return used
