"""Longer candles from one-minute ones. Pure numpy."""

from collections.abc import Iterable
from math import fsum
from typing import Final

import numpy as np
import numpy.typing as npt

from app.domain.candles import Candle, Timeframe, from_milliseconds, to_milliseconds
from app.marketdata.bulk import CANDLE_DTYPE, Candles

#: Exchanges give volumes with eight decimals; sums of floats carry noise beyond them.
VOLUME_DECIMALS: Final = 8


def aggregate(candles: Candles, timeframe: Timeframe) -> tuple[Candles, npt.NDArray[np.int64]]:
    """Return `candles` (ascending, shorter than `timeframe`) summed up, and how many went into each.

    A bucket with fewer parts than its length holds what there is: the exchange had no more, or the bucket is still open.
    """
    if not len(candles):
        return candles, np.zeros(0, np.int64)
    buckets = candles["open_time"] // timeframe.milliseconds * timeframe.milliseconds
    firsts = np.flatnonzero(np.r_[True, buckets[1:] != buckets[:-1]])
    lasts = np.r_[firsts[1:], len(candles)] - 1
    longer = np.empty(len(firsts), CANDLE_DTYPE)
    longer["open_time"] = buckets[firsts]
    longer["open"] = candles["open"][firsts]
    longer["high"] = np.maximum.reduceat(candles["high"], firsts)
    longer["low"] = np.minimum.reduceat(candles["low"], firsts)
    longer["close"] = candles["close"][lasts]
    volumes = candles["volume"].tolist()
    # Exact sums, so that neither the order of the minutes nor the way they came changes a bit.
    longer["volume"] = [
        round(fsum(volumes[first:last]), VOLUME_DECIMALS) for first, last in zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)
    ]
    return longer, (lasts - firsts + 1).astype(np.int64)


def to_array(candles: Iterable[Candle]) -> Candles:
    """Return candles as `CANDLE_DTYPE`."""
    rows = [(to_milliseconds(c.open_time), c.open, c.high, c.low, c.close, c.volume) for c in candles]
    return np.array(rows, CANDLE_DTYPE)


def to_candles(array: Candles) -> list[Candle]:
    """Return rows of `CANDLE_DTYPE` as candles."""
    return [
        Candle(open_time=from_milliseconds(moment), open=opened, high=high, low=low, close=close, volume=volume)
        for moment, opened, high, low, close, volume in array.tolist()
    ]
