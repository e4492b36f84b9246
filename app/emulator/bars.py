"""One-minute bars with exact decimals, their sums, and the walk of trades inside one.

The stored numbers are the source's own text; nothing here rounds a price or a volume of a finished bar.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from random import Random

MINUTE_MS = 60_000
PRINTS_PER_MINUTE = 48

_EIGHT = Decimal("0.00000001")
_WIGGLE = 0.12


@dataclass(frozen=True, slots=True)
class Bar:
    """A candle. `open_time` in ms since the epoch, prices in quote per base, `volume` in base, `quote_volume` in quote units."""

    open_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int


@dataclass(frozen=True, slots=True)
class Trade:
    """A public trade. `time` in ms; `is_buyer_maker` means that a seller took."""

    id: int
    time: int
    price: Decimal
    quantity: Decimal
    is_buyer_maker: bool


def minute_bar(open_time: int, numbers: Iterable[str]) -> Bar:
    """Return the bar of a source's texts `open, high, low, close, volume`.

    The quote volume is not in the sources: it is estimated at the mean of the four prices, the same for every reader.
    """
    first, high, low, last, volume = map(Decimal, numbers)
    quote_volume = (volume * (first + high + low + last) / 4).quantize(_EIGHT)
    return Bar(open_time, first, high, low, last, volume, quote_volume, PRINTS_PER_MINUTE if volume else 0)


def merge(open_time: int, bars: Iterable[Bar]) -> Bar | None:
    """Return one bar over `bars` in order, or None when there is none."""
    total: Bar | None = None
    for bar in bars:
        total = join(total, bar, open_time=open_time)
    return total


def join(total: Bar | None, bar: Bar, *, open_time: int) -> Bar:
    """Return `total` with the next `bar` added to it."""
    if total is None:
        return Bar(open_time, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trades)
    return Bar(
        open_time,
        total.open,
        max(total.high, bar.high),
        min(total.low, bar.low),
        bar.close,
        total.volume + bar.volume,
        total.quote_volume + bar.quote_volume,
        total.trades + bar.trades,
    )


def walk(bar: Bar, *, symbol: str, tick_size: Decimal, step_size: Decimal) -> tuple[Trade, ...]:
    """Return the trades that make `bar`: from the open over both extremes to the close, volumes adding up exactly.

    A rising bar visits its low first, a falling one its high. The same bar always gives the same walk. A bar without volume has no trades.
    """
    unit = step_size if bar.volume % step_size == 0 and bar.volume >= step_size * PRINTS_PER_MINUTE else _EIGHT
    units = int(bar.volume // unit)
    if units == 0:
        return ()
    random = Random(zlib.crc32(f"{symbol}:{bar.open}:{bar.high}:{bar.low}:{bar.close}:{bar.volume}".encode()))  # noqa: S311  # a walk, no secret
    count = min(PRINTS_PER_MINUTE, units)
    prices = _prices(bar, tick_size, count=count, random=random)
    quantities = _split(units, count, random)
    minute = bar.open_time // MINUTE_MS
    trades: list[Trade] = []
    previous, is_buyer_maker = bar.open, bar.close < bar.open
    for index, (price, share) in enumerate(zip(prices, quantities, strict=True)):
        if price != previous:
            is_buyer_maker = price < previous
        previous = price
        trades.append(
            Trade(minute * PRINTS_PER_MINUTE + index, bar.open_time + index * MINUTE_MS // count, price, share * unit, is_buyer_maker)
        )
    return tuple(trades)


def _prices(bar: Bar, tick_size: Decimal, *, count: int, random: Random) -> list[Decimal]:
    corners = [bar.open, bar.low, bar.high, bar.close] if bar.close >= bar.open else [bar.open, bar.high, bar.low, bar.close]
    if count < len(corners):
        return corners[len(corners) - count :]
    low, high = float(bar.low), float(bar.high)
    lengths = [abs(float(b) - float(a)) + (high - low) * 0.1 + 1e-12 for a, b in pairwise(corners)]
    whole = sum(lengths)
    first = 1 + round((count - 4) * lengths[0] / whole)
    second = first + 1 + round((count - 4) * lengths[1] / whole)
    stops = [0, first, min(second, count - 2), count - 1]
    prices: list[Decimal] = []
    for (a, b), (start, end) in zip(pairwise(corners), pairwise(stops), strict=True):
        prices.append(a)
        for index in range(1, end - start):
            straight = float(a) + (float(b) - float(a)) * index / (end - start)
            bent = min(max(straight + random.uniform(-_WIGGLE, _WIGGLE) * (high - low), low), high)
            prices.append(min(max(round(bent / float(tick_size)) * tick_size, bar.low), bar.high))
    return [*prices, bar.close]


def _split(units: int, count: int, random: Random) -> list[int]:
    weights = [random.randint(1, 100) ** 2 for _ in range(count)]
    whole, done, heaviest = sum(weights), 0, 0
    shares: list[int] = []
    for weight in weights:
        heaviest += weight
        share = units * heaviest // whole - done
        shares.append(share)
        done += share
    return shares
