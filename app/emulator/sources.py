"""Where a symbol's minutes come from: a recorded file, or a seeded generator that looks like a market."""

import csv
import gzip
import math
import re
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Protocol

from app.emulator.bars import MINUTE_MS, Bar, minute_bar
from app.errors import ConfigError

HEADER = ["open_time", "open", "high", "low", "close", "volume"]
GENERATOR_EPOCH_MS = 1_704_067_200_000  # 2024-01-01, so that a seed gives the same series whenever it is started

_FILE_NAME = re.compile(r"^[a-z][a-z-]*?-([A-Z0-9]{5,20})-1m[-.]")
_BLOCK_MINUTES = 240
_CACHED_BLOCKS = 64
_MINUTES_OF_A_YEAR = 525_600
_USUAL_SIGMA = 0.00045
_SCRIPTED_VOLUME = "48"


class CandleSource(Protocol):
    """One symbol's 1m candles in the source's own time."""

    symbol: str
    first_ms: int
    last_ms: int | None
    """Open time of the last candle, None when it never ends."""

    def bars(self, first_ms: int, last_ms: int) -> Iterator[Bar]:
        """Yield the bars that open in [first_ms, last_ms], ascending; minutes without a candle are left out."""
        ...

    def before(self, open_ms: int) -> Bar | None:
        """Return the last bar that opens before `open_ms`."""
        ...


class RowSource:
    """Candles that are all there: ascending open times, and for each the texts open, high, low, close, volume."""

    def __init__(self, symbol: str, times: "array[int]", rows: list[list[str]]) -> None:
        self.symbol = symbol
        self._times = times
        self._rows = rows
        self.first_ms = times[0]
        self.last_ms: int | None = times[-1]

    def bars(self, first_ms: int, last_ms: int) -> Iterator[Bar]:
        """See CandleSource."""
        index = bisect_left(self._times, first_ms)
        while index < len(self._times) and self._times[index] <= last_ms:
            yield minute_bar(self._times[index], self._rows[index])
            index += 1

    def before(self, open_ms: int) -> Bar | None:
        """See CandleSource."""
        index = bisect_left(self._times, open_ms) - 1
        return minute_bar(self._times[index], self._rows[index]) if index >= 0 else None

    def decimals(self) -> tuple[int, int]:
        """Return how many decimals (prices, volumes) have."""
        sample = self._rows[:: max(1, len(self._rows) // 2000)]
        return (
            max(len(text.partition(".")[2].rstrip("0")) for row in sample for text in row[:4]),
            max(len(row[4].partition(".")[2].rstrip("0")) for row in sample),
        )


def replayed(path: Path, *, symbol: str | None = None) -> RowSource:
    """Return the candles of a csv or csv.gz file, kept as the file's own texts.

    Raises:
        ConfigError: it cannot be read, or its name tells no symbol and none is given.
    """
    name = symbol or _symbol_of(path)
    times, kept = array("q"), list[list[str]]()
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
            rows = csv.reader(lines)
            if next(rows, None) != HEADER:
                raise ConfigError(f"{path}: the first line must be {','.join(HEADER)}")
            for row in rows:
                times.append(int(row[0]))
                kept.append(row[1:6])
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise ConfigError(f"{path}: line {len(kept) + 2} cannot be read as a candle: {error}") from error
    if not kept:
        raise ConfigError(f"{path}: there is no candle in it")
    if any(b <= a or a % MINUTE_MS for a, b in pairwise(times)) or times[-1] % MINUTE_MS:
        raise ConfigError(f"{path}: open times must be whole minutes, ascending")
    return RowSource(name, times, kept)


def scripted(symbol: str, prices: Sequence[Decimal], *, start_ms: int, history_minutes: int) -> RowSource:
    """Return candles that go straight from each price to the next, one a minute from `start_ms`; flat at the first price before."""
    path = [prices[0]] * history_minutes + list(prices)
    times = array("q", (start_ms + (index - history_minutes) * MINUTE_MS for index in range(len(path) - 1)))
    return RowSource(symbol, times, [[str(a), str(max(a, b)), str(min(a, b)), str(b), _SCRIPTED_VOLUME] for a, b in pairwise(path)])


class SilentSource:
    """A symbol that is listed and quoted but not traded: one flat candle just before `start_ms`, and never another one."""

    last_ms: int | None = None

    def __init__(self, symbol: str, *, price: Decimal, start_ms: int) -> None:
        self.symbol = symbol
        self.first_ms = start_ms - MINUTE_MS
        self._bar = minute_bar(self.first_ms, (*[str(price)] * 4, "0"))

    def bars(self, first_ms: int, last_ms: int) -> Iterator[Bar]:
        """See CandleSource."""
        if first_ms <= self.first_ms <= last_ms:
            yield self._bar

    def before(self, open_ms: int) -> Bar | None:
        """See CandleSource."""
        return self._bar if open_ms > self.first_ms else None


class GeneratedSource:
    """An endless market made of four-hour blocks, each computed from the seed and its number alone.

    That makes any moment reachable without the ones before it, so a restart after months costs nothing. Volatility clusters inside a block,
    the level wanders slowly around `price`. `volatility` is that of a year, 0.6 meaning 60 %.
    """

    last_ms: int | None = None

    def __init__(
        self, symbol: str, *, price: Decimal, seed: int, tick_size: Decimal, step_size: Decimal, volatility: float | None = None
    ) -> None:
        self.symbol = symbol
        self.first_ms = GENERATOR_EPOCH_MS
        self._price = float(price)
        self._seed = f"{seed}:{symbol}"
        self._tick = tick_size
        self._step = step_size
        self._sigma = volatility / math.sqrt(_MINUTES_OF_A_YEAR) if volatility is not None else _USUAL_SIGMA
        self._volume = 2_000_000 / self._price
        self._blocks: OrderedDict[int, list[Bar]] = OrderedDict()
        phases = Random(self._seed)  # noqa: S311  # a price curve, no secret
        self._waves = [
            (amplitude, period * phases.uniform(0.8, 1.2), phases.uniform(0, math.tau))
            for amplitude, period in ((0.11, 900.0), (0.05, 190.0), (0.025, 44.0), (0.012, 13.0))
        ]

    def bars(self, first_ms: int, last_ms: int) -> Iterator[Bar]:
        """See CandleSource."""
        minute = max(first_ms, self.first_ms) // MINUTE_MS
        while minute * MINUTE_MS <= last_ms:
            yield self._bar(minute)
            minute += 1

    def before(self, open_ms: int) -> Bar | None:
        """See CandleSource."""
        return self._bar(open_ms // MINUTE_MS - 1) if open_ms > self.first_ms else None

    def _bar(self, minute: int) -> Bar:
        block, offset = divmod(minute, _BLOCK_MINUTES)
        bars = self._blocks.get(block)
        if bars is None:
            bars = self._blocks[block] = self._generate(block)
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return bars[offset]

    def _level(self, block: int) -> float:
        """Log price at the first minute of a block, relative to the anchor."""
        slow = sum(amplitude * math.sin(math.tau * block / period + phase) for amplitude, period, phase in self._waves)
        return slow + Random(f"{self._seed}:{block}:level").gauss(0, 0.006)  # noqa: S311  # see above

    def _generate(self, block: int) -> list[Bar]:
        random = Random(f"{self._seed}:{block}")  # noqa: S311  # see above
        sigma = calm = self._sigma * math.exp(random.gauss(0, 0.35))
        steps: list[float] = []
        sigmas: list[float] = []
        for _ in range(_BLOCK_MINUTES):
            shock = random.gauss(0, 1)
            sigma = min(max(math.sqrt(0.08 * calm**2 + 0.77 * sigma**2 + 0.15 * (sigma * shock) ** 2), calm / 3), calm * 6)
            steps.append(sigma * shock)
            sigmas.append(sigma)
        start, end = self._level(block), self._level(block + 1)
        # A bridge: the random steps are bent so that the block ends where the next one begins.
        drift = (end - start - sum(steps)) / _BLOCK_MINUTES
        bars: list[Bar] = []
        level = start
        for index, (step, sigma) in enumerate(zip(steps, sigmas, strict=True)):
            following = end if index == _BLOCK_MINUTES - 1 else level + step + drift
            bars.append(self._make(block * _BLOCK_MINUTES + index, level, following, activity=sigma / calm, sigma=sigma, random=random))
            level = following
        return bars

    def _make(self, minute: int, level: float, following: float, *, activity: float, sigma: float, random: Random) -> Bar:
        first, last = self._price * math.exp(level), self._price * math.exp(following)
        high = max(first, last) * math.exp(sigma * random.expovariate(2.2))
        low = min(first, last) * math.exp(-sigma * random.expovariate(2.2))
        move = abs(following - level) / sigma
        volume = self._volume * (0.35 + 0.5 * activity + 0.35 * move) * math.exp(random.gauss(0, 0.45))
        prices = (round(value / float(self._tick)) * self._tick for value in (first, high, low, last))
        return minute_bar(minute * MINUTE_MS, (*map(str, prices), str(max(1, round(volume / float(self._step))) * self._step)))


def _symbol_of(path: Path) -> str:
    match = _FILE_NAME.match(path.name)
    if match is None:
        raise ConfigError(f"{path}: no symbol in a name like binance-BTCUSDT-1m-…; give one with --symbol")
    return match[1]
