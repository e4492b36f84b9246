"""The candles that `indicators` and `signals` are given, and other markets laid beside them without looking ahead."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Candles
from app.domain.candles import Timeframe
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.messages import Frame


class MarketCandles:
    """Candles of one market as whole, read-only arrays, oldest first.

    Attributes:
        time: Open times in ms since 1970 UTC.
        open: Quote per base, as `high`, `low` and `close`.
        volume: Base units.
        closed: For each candle that the strategy trades, how many of these had closed by its close; None of those that it trades.
    """

    closed: NDArray[np.int64] | None = None

    def __init__(self, candles: Candles, *, symbol: str, timeframe: str) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.time = _read_only(candles.time)
        self.open = _read_only(candles.open)
        self.high = _read_only(candles.high)
        self.low = _read_only(candles.low)
        self.close = _read_only(candles.close)
        self.volume = _read_only(candles.volume)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in ("time", "open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4"):
            raise KeyError(name)
        column: NDArray[Any] = getattr(self, name)
        return column

    @property
    def hl2(self) -> NDArray[np.float64]:
        """Middle of high and low."""
        return _floats((self.high + self.low) / 2)

    @property
    def hlc3(self) -> NDArray[np.float64]:
        """Mean of high, low and close."""
        return _floats((self.high + self.low + self.close) / 3)

    @property
    def ohlc4(self) -> NDArray[np.float64]:
        """Mean of all four prices."""
        return _floats((self.open + self.high + self.low + self.close) / 4)

    def __repr__(self) -> str:
        return f"<{len(self)} candles of {self.symbol} {self.timeframe}>"


class OtherCandles(MarketCandles):
    """Candles of another timeframe or symbol, in their own length: compute on them, then lay the result beside yours with `align`."""

    def __init__(self, candles: Candles, *, symbol: str, timeframe: str, closed: NDArray[np.int64]) -> None:
        super().__init__(candles, symbol=symbol, timeframe=timeframe)
        self.closed: NDArray[np.int64] = closed

    def align(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return for each candle of the strategy the value of the last candle here that had closed by its close; NaN before the first.

        Raises:
            ValueError: there is not one value a candle of this timeframe.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.shape != (len(self),):
            raise ValueError(f"align() wants one value for each of the {len(self)} {self.timeframe} candles, was an array of {given.shape}")
        return np.where(self.closed > 0, np.append(given, np.nan)[self.closed - 1], np.nan)


class TradedCandles(MarketCandles):
    """The candles that the strategy trades; `other` gives what `informative` asked for."""

    def __init__(self, frames: Sequence[tuple[Frame, Candles]]) -> None:
        frame, candles = frames[0]
        super().__init__(candles, symbol=frame.symbol, timeframe=frame.timeframe)
        self._frames = frames[1:]

    def others(self) -> list[OtherCandles]:
        """Return all other candles that there are."""
        return [self._laid_beside(frame, candles) for frame, candles in self._frames]

    def other(self, timeframe: str, symbol: str = "") -> OtherCandles:
        """Return the candles of another timeframe, or of another symbol.

        Raises:
            StrategyMistake: `informative` did not ask for them.
        """
        wanted = symbol or self.symbol
        for frame, candles in self._frames:
            if frame.timeframe == timeframe and frame.symbol == wanted:
                return self._laid_beside(frame, candles)
        raise StrategyMistake(
            "INFORMATIVE_MISSING",
            f"there are no {timeframe} candles of {wanted}: name them in informative, for example informative = "
            f"[{(symbol, timeframe) if symbol else timeframe!r}]",
            attribute="informative",
        )

    def _laid_beside(self, frame: Frame, candles: Candles) -> OtherCandles:
        closes = self.time + Timeframe(self.timeframe).milliseconds
        closed = np.searchsorted(candles.time + Timeframe(frame.timeframe).milliseconds, closes, side="right")
        return OtherCandles(candles, symbol=frame.symbol, timeframe=frame.timeframe, closed=closed)


def known_at(frames: Sequence[tuple[Frame, Candles]], start: int, end: int) -> list[tuple[Frame, Candles]]:
    """Return what is known when row `end − 1` of the first frame has closed, from its row `start` on.

    Other frames keep their older candles, which cost nothing, but none that closes later.
    """
    frame, candles = frames[0]
    known = [(frame, candles.between(start, end))]
    closes_at = int(candles.time[end - 1]) + Timeframe(frame.timeframe).milliseconds if end else 0
    for other, theirs in frames[1:]:
        rows = int(np.searchsorted(theirs.time + Timeframe(other.timeframe).milliseconds, closes_at, side="right"))
        known.append((other, theirs.until(rows)))
    return known


def _floats(array: NDArray[Any]) -> NDArray[np.float64]:
    return array


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
