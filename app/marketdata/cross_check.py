"""Compares stored candles with the exchange's own, and puts right what differs: recorded, told, never silent.

The rule: a candle equals the exchange's when all five numbers are the same. Of a longer candle, which is a sum of floats, the volume may
differ by one part in a hundred million. A longer candle that differs has its minutes fetched again first, for one that was revised explains
it: then the minutes are put right and every longer candle that contains them is summed up anew. What still differs takes the exchange's
numbers. Nothing is asked that costs more than a small share of the exchange's limit, and nothing while the feed is not fresh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.domain.candles import EPOCH, LIVE_TIMEFRAMES, Candle, Timeframe
from app.exchanges.binance_messages import TIMEFRAMES
from app.exchanges.port import ExchangeClient
from app.marketdata.aggregate import aggregate, to_candles
from app.marketdata.events import CandleRevised, GapsChanged
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource, DifferenceCause
from app.marketdata.store import CandleStore, Change, Close

log = structlog.get_logger(__name__)

_M1: Final = Timeframe.M1
#: What the exchange has itself, shortest first; ten minutes are ours alone.
CHECKED: Final = tuple(timeframe for timeframe in LIVE_TIMEFRAMES if timeframe in TIMEFRAMES)
_PAGE: Final = 1000
#: Noise of a sum of floats, as a part of it.
_VOLUME_NOISE: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one comparison came to: candles compared, put right (shorter and longer ones with them), and missing ones stored."""

    compared: int = 0
    corrected: int = 0
    filled: int = 0


def differs(ours: Candle, theirs: Candle, *, is_sum: bool) -> bool:
    """Tell whether two candles of one moment differ; a sum's volume may carry the noise of its floats."""
    if (ours.open, ours.high, ours.low, ours.close) != (theirs.open, theirs.high, theirs.low, theirs.close):
        return True
    noise = _VOLUME_NOISE * max(abs(ours.volume), abs(theirs.volume)) if is_sum else 0.0
    return not abs(ours.volume - theirs.volume) <= noise


class CrossCheck:
    """Compares ranges of one exchange's candles. Times are open times, start inclusive, end exclusive."""

    def __init__(self, exchange: str, *, client: ExchangeClient, database: Database, bus: EventBus, clock: Clock) -> None:
        self._exchange = exchange
        self._client = client
        self._store = CandleStore(database)
        self._database = database
        self._bus = bus
        self._clock = clock
        #: Requests made; each costs the same.
        self.asked = 0

    async def check(self, symbol: str, timeframe: Timeframe, *, start: datetime, end: datetime) -> Checked:
        """Compare what is stored with what the exchange has. Everything up to `end` must have closed.

        What lies before the first stored candle was never wanted, so it is not missing.

        Raises:
            ExchangeError: the exchange does not answer; what was put right before stays so.
        """
        ours = await self._ours(symbol, timeframe, start, end)
        if not ours:
            return Checked()
        theirs = await self._theirs(symbol, timeframe, start, end)
        missing = await self._missing(symbol, timeframe, [candle for moment, candle in theirs.items() if moment not in ours])
        differing = [
            moment for moment, candle in theirs.items() if moment in ours and differs(ours[moment], candle, is_sum=timeframe is not _M1)
        ]
        if unknown := sorted(ours.keys() - theirs.keys()):
            # Nothing can be put in its place, and what was told once is not taken back: a person should know.
            log.warning(
                "candles_not_at_exchange", symbol=symbol, timeframe=timeframe.value, count=len(unknown), first=unknown[0], last=unknown[-1]
            )
        filled = await self._fill(symbol, timeframe, missing) if missing else 0
        corrected = 0
        if timeframe is _M1:
            corrected = await self._put_minutes_right(symbol, [theirs[moment] for moment in differing], filled=missing)
        for moment in differing if timeframe is not _M1 else ():
            explained = await self._explain(symbol, timeframe, theirs[moment])
            corrected, filled = corrected + explained.corrected, filled + explained.filled
        return Checked(compared=len(theirs), corrected=corrected, filled=filled)

    async def _ours(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> dict[datetime, Candle]:
        """What is stored; of a longer timeframe, where it is not stored, sums of complete sets of minutes stand for it."""
        stored = to_candles(await self._store.array(self._exchange, symbol, timeframe, start=start, end=end))
        found = {candle.open_time: candle for candle in stored}
        if timeframe is not _M1:
            for candle in await self._sums(symbol, timeframe, start, end):
                found.setdefault(candle.open_time, candle)
        return found

    async def _sums(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> list[Candle]:
        minutes = await self._store.array(self._exchange, symbol, _M1, start=start, end=end)
        summed, parts = aggregate(minutes, timeframe)
        return to_candles(summed[np.flatnonzero(parts == timeframe.duration // _M1.duration)])

    async def _theirs(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> dict[datetime, Candle]:
        found: dict[datetime, Candle] = {}
        while start < end:
            limit = min(_PAGE, -(-(end - start) // timeframe.duration))
            self.asked += 1
            page = await self._client.fetch_candles(symbol, timeframe, start=start, limit=limit)
            found.update({candle.open_time: candle for candle in page if start <= candle.open_time < end})
            if len(page) < limit:
                break
            start = page[-1].open_time + timeframe.duration
        return found

    async def _missing(self, symbol: str, timeframe: Timeframe, unknown: Sequence[Candle]) -> list[Candle]:
        """Those of the candles that follow one of their kind that is stored: what lies before the first was never wanted."""
        if not unknown:
            return []
        first = await self._store.between(self._exchange, symbol, timeframe, start=EPOCH, limit=1)
        return [candle for candle in unknown if first and candle.open_time > first[0].open_time]

    async def _fill(self, symbol: str, timeframe: Timeframe, missing: Sequence[Candle]) -> int:
        """Store candles that the exchange has and we lack, and write the holes down as found and filled."""
        await self._write([Close(symbol, timeframe, candle) for candle in missing])
        book = GapBook(self._database, self._exchange, timeframe)
        for start, end in ranges((candle.open_time for candle in missing), timeframe.duration):
            await book.found_and_filled(symbol, start, end, at=self._clock.now())
            log.warning("gap_found_and_filled", symbol=symbol, timeframe=timeframe.value, start=start, end=end)
        self._bus.publish(GapsChanged(exchange=self._exchange))
        return len(missing)

    async def _explain(self, symbol: str, timeframe: Timeframe, theirs: Candle) -> Checked:
        """Put a longer candle right that differs: by its minutes if they explain it, else by the exchange's own."""
        start, end = theirs.open_time, theirs.open_time + timeframe.duration
        minutes = await self.check(symbol, _M1, start=start, end=end)
        ours = (await self._ours(symbol, timeframe, start, end)).get(start)
        if ours is not None and not differs(ours, theirs, is_sum=True):
            return minutes
        if ours is not None and not await self._store.between(self._exchange, symbol, timeframe, start=start, end=end, limit=1):
            # A sum that stood for it is stored first, so that the difference says what it was.
            await self._store.write(self._exchange, [Close(symbol, timeframe, ours)], source=CandleSource.REST)
        changed = await self._write([Close(symbol, timeframe, theirs)])
        return replace(minutes, corrected=minutes.corrected + self._tell(changed))

    async def _write(self, closes: Sequence[Close]) -> list[Change]:
        written = await self._store.write(self._exchange, closes, source=CandleSource.REST, cause=DifferenceCause.CROSS_CHECK)
        return list(written.changed)

    async def _put_minutes_right(self, symbol: str, minutes: Sequence[Candle], *, filled: Sequence[Candle]) -> int:
        """Take the exchange's minutes, and sum up anew what is stored of the longer candles that contain them or the `filled` ones."""
        written = await self._write([Close(symbol, _M1, candle) for candle in minutes])
        changed = [candle.open_time for candle in (*minutes, *filled)]
        longer: list[Close] = []
        for timeframe in LIVE_TIMEFRAMES[1:] if changed else ():
            for start in sorted({timeframe.floor(moment) for moment in changed}):
                longer += await self._summed_anew(symbol, timeframe, start)
        written += await self._write(longer)
        return self._tell(written)

    async def _summed_anew(self, symbol: str, timeframe: Timeframe, start: datetime) -> list[Close]:
        end = start + timeframe.duration
        stored = await self._store.between(self._exchange, symbol, timeframe, start=start, end=end, limit=1)
        sums = await self._sums(symbol, timeframe, start, end) if stored else []
        return [Close(symbol, timeframe, candle) for candle in sums if differs(stored[0], candle, is_sum=True)]

    def _tell(self, changes: Sequence[Change]) -> int:
        for change in changes:
            symbol, timeframe, candle = change.close.symbol, change.close.timeframe, change.close.candle
            log.warning(
                "candle_differed", symbol=symbol, timeframe=timeframe.value, open_time=candle.open_time, was=change.was, became=candle
            )
            self._bus.publish(CandleRevised(exchange=self._exchange, symbol=symbol, timeframe=timeframe, candle=candle))
        return len(changes)


def ranges(moments: Iterable[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Return what open times `step` apart cover together, oldest first, each end exclusive."""
    found: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        if found and found[-1][1] == moment:
            found[-1] = (found[-1][0], moment + step)
        else:
            found.append((moment, moment + step))
    return found
