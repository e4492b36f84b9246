"""The market that backtests assume (docs/backtest-rules.md), so that what they say can be compared with real orders.

Offers have no end and lie `slippage` beside the last price, on the tick against whoever takes them. A minute goes from its open to its low,
its high and its close: to the worse end of a long position first. On its way from one to the next the market trades at every price that
somebody's order waits for; from one minute to the next it jumps.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from app.domain.matching import Depth, Level
from app.emulator.bars import MINUTE_MS, PRINTS_PER_MINUTE, Bar, Trade

#: Base units: more than any order has.
ENDLESS: Final = Decimal(10) ** 9
STATIONS: Final = 4


def ideal_walk(bar: Bar) -> tuple[Trade, ...]:
    """Return the four trades of a minute, a quarter of it apart; their volumes add up to the bar's."""
    first, quantity = bar.open_time // MINUTE_MS * PRINTS_PER_MINUTE, bar.volume / STATIONS
    prices = (bar.open, bar.low, bar.high, bar.close)
    return tuple(
        Trade(first + index, bar.open_time + index * MINUTE_MS // STATIONS, price, quantity, is_buyer_maker=price < bar.open)
        for index, price in enumerate(prices)
    )


def on_the_way(last: Decimal, trade: Trade, awaited: Iterable[Decimal]) -> Iterator[Trade]:
    """Yield trades at the awaited prices between `last` and `trade`, both excluded, in the order in which the market passes them."""
    low, high = sorted((last, trade.price))
    passed = sorted({price for price in awaited if low < price < high}, reverse=trade.price < last)
    for price in passed:
        yield replace(trade, price=price, quantity=Decimal(0), is_buyer_maker=trade.price < last)


def ideal_depth(price: Decimal, slippage: Decimal, tick: Decimal) -> Depth:
    """Return the two offers around a price, quote per base; `slippage` is a fraction."""
    bid = (price * (1 - slippage) / tick).to_integral_value(ROUND_FLOOR) * tick
    ask = (price * (1 + slippage) / tick).to_integral_value(ROUND_CEILING) * tick
    return Depth(bids=(Level(price=bid, quantity=ENDLESS),) if bid > 0 else (), asks=(Level(price=max(ask, bid + tick), quantity=ENDLESS),))
