"""Fetches what the live feed missed, in order, page by page, and writes down the holes that the exchange has itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.domain.candles import Candle, Timeframe
from app.exchanges.port import ExchangeClient
from app.marketdata.gaps import GapBook

log = structlog.get_logger(__name__)

_PAGE: Final = 1000
#: A closed candle may show up on the REST side a little after the stream told of it.
_LAGGING_TRIES: Final = 4
_LAGGING_REST_S: Final = 0.5

#: Stores a page of closed candles and whatever follows from them, or raises.
Keep = Callable[[list[Candle]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfilled:
    """`last` is the newest candle that is now stored; without a hole before it that the exchange could fill. None: nothing at all."""

    last: datetime | None
    count: int


class Backfill:
    """Backfill of one exchange and timeframe. It fetches and explains; whoever calls it stores."""

    def __init__(self, timeframe: Timeframe, *, client: ExchangeClient, gaps: GapBook) -> None:
        self._timeframe = timeframe
        self._step = timeframe.duration
        self._client = client
        self._gaps = gaps

    async def venue_time(self) -> datetime:
        """Return the venue's clock. Raises as `history`."""
        return await self._client.server_time()

    async def newest(self, symbol: str) -> datetime | None:
        """Return the open time of the venue's newest candle, closed or not. Raises as `history`."""
        candles = await self._client.fetch_candles(symbol, self._timeframe, limit=1)
        return candles[-1].open_time if candles else None

    async def history(self, symbol: str, *, start: datetime, now: datetime, keep: Keep) -> Backfilled:
        """Fetch everything closed from `start` for a symbol with nothing stored. What lies before its first candle is no hole.

        Args:
            symbol: Unified symbol.
            start: First open time wanted.
            now: The venue's time.
            keep: Called with each page of candles, oldest first; it stores them. Holes before and in a page are in the book by then.

        Raises:
            RetryableError: the exchange does not answer; what came so far is stored.
        """
        return await self._fetch(symbol, start=start, now=now, last=None, keep=keep)

    async def catch_up(self, symbol: str, *, last: datetime, now: datetime, keep: Keep) -> Backfilled:
        """Fetch what closed after the stored candle `last`. Arguments and errors as `history`."""
        done = await self._fetch(symbol, start=last + self._step, now=now, last=last, keep=keep)
        assert done.last is not None  # noqa: S101  # it starts from `last`
        await self._gaps.covered(symbol, last + self._step, done.last + self._step, at=now)
        return done

    async def up_to(self, symbol: str, *, last: datetime, newer: datetime, keep: Keep) -> Backfilled:
        """Fill the hole between `last` and a candle `newer` that the stream has already closed. Raises as `history`.

        When the exchange still shows nothing there after a few tries, it has none.
        """
        count, since = 0, last + self._step
        now = await self.venue_time()
        for attempt in range(_LAGGING_TRIES):
            if attempt:
                await asyncio.sleep(_LAGGING_REST_S)
            done = await self.catch_up(symbol, last=last, now=now, keep=keep)
            assert done.last is not None  # noqa: S101  # it starts from `last`
            last, count = done.last, count + done.count
            if last + self._step >= newer:
                return Backfilled(last=last, count=count)
        log.info("exchange_has_no_candles", symbol=symbol, start=last + self._step, end=newer)
        await self._gaps.exchange_has_none(symbol, last + self._step, newer, at=now)
        await self._gaps.covered(symbol, since, newer, at=now)
        return Backfilled(last=newer - self._step, count=count)

    async def _fetch(self, symbol: str, *, start: datetime, now: datetime, last: datetime | None, keep: Keep) -> Backfilled:
        count = 0
        is_noted = last is None or await self._note_gap(symbol, start, self._timeframe.floor(now), now=now)
        async for page in self._pages(symbol, start, now):
            is_noted = is_noted or await self._note_gap(symbol, start, page[-1].open_time + self._step, now=now)
            # A hole counts only with a candle on either side: at the end the exchange may just be late.
            for hole_start, hole_end in holes(page, last=last, step=self._step):
                await self._gaps.exchange_has_none(symbol, hole_start, hole_end, at=now)
            await keep(page)
            last = page[-1].open_time
            start = last + self._step
            count += len(page)
        return Backfilled(last=last, count=count)

    async def _note_gap(self, symbol: str, start: datetime, end: datetime, *, now: datetime) -> bool:
        # One candle that has just closed is no hole yet: its close comes a moment late, or REST shows it so.
        if end > start + self._step:
            await self._gaps.found(symbol, start, end, at=now)
        return end > start + self._step

    async def _pages(self, symbol: str, start: datetime, now: datetime) -> AsyncIterator[list[Candle]]:
        """Yield closed candles. The newest one a venue shows is open unless its time has passed; any before it are closed."""
        while True:
            answer = await self._client.fetch_candles(symbol, self._timeframe, start=start, limit=_PAGE)
            page = [candle for candle in answer if candle.open_time >= start]
            if page and page[-1].open_time + self._step > now:
                page.pop()
            if not page:
                return
            yield page
            if len(answer) < _PAGE:
                return
            start = page[-1].open_time + self._step


def holes(candles: list[Candle], *, last: datetime | None, step: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the ranges of open times, end exclusive, missing between `last` and the first candle and among the candles."""
    found = []
    for candle in candles:
        if last is not None and candle.open_time > last + step:
            found.append((last + step, candle.open_time))
        last = candle.open_time
    return found
