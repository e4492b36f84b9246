"""Reads a range of candles from any venue, in order, and tells a hole that the venue has itself from candles that it did not give.

Venues differ in what they make of a question for [start, end]: some give the first candles of it, some the last ones, some always their
newest few hundred, and none says that a candle does not exist. So a hole counts as the venue's own only where it gave a candle before it
in the same run and another after it; and wherever an answer leaves out its first candles, these alone are asked for again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from app.domain.candles import Candle, Timeframe
from app.domain.instruments import Instrument
from app.errors import ExchangeRateLimited, RetryableError
from app.exchanges.candle_pages import CandleOffer
from app.marketdata.coverage import Range

#: Waits after a venue that does not answer, seconds; after the last one it is given up.
_PATIENCE_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_WAIT_S: Final = 300.0

#: Told why nothing happens for how many seconds.
OnWait = Callable[[str, float], None]


class CandleVenue(Protocol):
    """What is needed of a venue: `CcxtClient` without an account."""

    exchange: str

    @property
    def candle_offer(self) -> CandleOffer:
        """Which candles it has, and how many it gives at once."""

    async def instruments(self) -> dict[str, Instrument]:
        """As of `ExchangeClient`."""

    async def server_time(self) -> datetime:
        """As of `ExchangeClient`."""

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        """As of `ExchangeClient`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One step through a range: everything up to `until` (exclusive) is known now.

    `holes` are ranges in it of which the venue has no candles. What is neither a candle nor in a hole lies before the venue's first candle.
    """

    candles: list[Candle]
    holes: list[Range]
    until: datetime


class CandleReader:
    """Candles of one symbol, of a length that the venue has. `now` is the venue's time: what closes later is not read."""

    def __init__(self, venue: CandleVenue, symbol: str, timeframe: Timeframe, *, now: datetime, on_wait: OnWait) -> None:
        self._venue = venue
        self._symbol = symbol
        self._timeframe = timeframe
        self._step = timeframe.duration
        self._closed_until = timeframe.floor(now)
        self._on_wait = on_wait
        self._at_once = max(venue.candle_offer.at_once, 3)
        self.requests = 0
        #: The oldest candle that the venue gave in this run.
        self.oldest: datetime | None = None
        #: Before this the venue gave nothing although it was asked. None: it was not asked for anything that old.
        self.nothing_before: datetime | None = None

    async def pages(self, start: datetime, end: datetime) -> AsyncIterator[Page]:
        """Yield [start, end) in ascending pages; it ends early where the venue gives nothing more.

        Raises:
            RetryableError: the venue did not answer for half a minute.
        """
        cursor, end = max(start, self.nothing_before or start), min(end, self._closed_until)
        while cursor < end:
            fresh = await self._from(cursor, end)
            following = fresh[0].open_time if fresh else await self._next(cursor + self._window, end)
            if following is None:
                return
            if following > cursor and not self._is_given_before(cursor):
                # Does it have candles that old at all? What a venue no longer gives is no hole of its own.
                self._note(await self._ask(cursor - self._window, cursor - self._step))
            page = self._page(fresh, cursor, following, end)
            yield page
            cursor = page.until

    @property
    def _window(self) -> timedelta:
        # One candle before the first that is wanted, and one after the last, are asked for too: they prove holes at the edges.
        return (self._at_once - 1) * self._step

    def _page(self, fresh: list[Candle], cursor: datetime, following: datetime, end: datetime) -> Page:
        holes: list[Range] = []
        moments = [candle.open_time for candle in fresh] or [following]
        for moment in moments:
            if moment > cursor and self._is_given_before(cursor):
                holes.append((cursor, min(moment, end)))
            elif moment > cursor:
                self.nothing_before = moment
            self.oldest = min(self.oldest or moment, moment)
            cursor = moment + self._step
        wanted = [candle for candle in fresh if candle.open_time < end]
        return Page(candles=wanted, holes=[hole for hole in holes if hole[0] < hole[1]], until=min(cursor if fresh else following, end))

    def _is_given_before(self, moment: datetime) -> bool:
        return self.oldest is not None and self.oldest < moment

    async def _from(self, cursor: datetime, end: datetime) -> list[Candle]:
        """Return the first candles from `cursor` on, as many as one question gives; none if the first window has none."""
        last = min(cursor + self._window - self._step, end, self._closed_until - self._step)
        answer = await self._ask(cursor - self._step, last)
        while True:
            self._note([candle for candle in answer if candle.open_time < cursor])
            fresh = [candle for candle in answer if candle.open_time >= cursor]
            is_whole = len(fresh) < len(answer) or not fresh or fresh[0].open_time == cursor
            if is_whole:
                return fresh
            # The answer begins too late: there is nothing, or the venue gave the last candles of what was asked for.
            answer = await self._ask(cursor - self._step, fresh[0].open_time - self._step)
            self._note([candle for candle in answer if candle.open_time < cursor])
            if not any(candle.open_time >= cursor for candle in answer):
                return fresh

    def _note(self, answer: list[Candle]) -> None:
        if answer:
            self.oldest = min(self.oldest or answer[0].open_time, answer[0].open_time)

    async def _next(self, start: datetime, end: datetime) -> datetime | None:
        """Return the open time of the venue's first candle from `start` on, it may lie after `end`; None if there is none before `end`."""
        answer = await self._ask(start, None)
        if answer:
            first = answer[0].open_time
            if first == start or not await self._ask(max(start, first - self._window), first - self._step):
                return first
        # Without an end the venue answers with nothing, or with its newest candles: it is looked for by longer ones.
        return await self._next_by_longer(start, end)

    async def _next_by_longer(self, start: datetime, end: datetime) -> datetime | None:
        longer = max(self._venue.candle_offer.timeframes, key=lambda each: each.duration)
        if longer.duration <= self._step:
            return await self._first_in(start, end)
        spans: list[Range] = []
        cursor = longer.floor(start)
        while cursor < end:
            last = cursor + (self._at_once - 1) * longer.duration
            spans += [(each.open_time, each.open_time + longer.duration) for each in await self._ask(cursor, last, longer)]
            cursor = last + longer.duration
        spans = [(max(span[0], start), min(span[1], end)) for span in spans if span[1] > start and span[0] < end]
        # The first one may have had its trades before `start`.
        for span in spans[:2]:
            if (found := await self._first_in(*span)) is not None:
                return found
        # The venue has long candles there and no short ones: it keeps those for some time only. From where on?
        low, high, found = 2, len(spans), None
        while low < high:
            middle = (low + high) // 2
            here = await self._first_in(*spans[middle])
            low, high, found = (low, middle, here) if here is not None else (middle + 1, high, found)
        return found

    async def _first_in(self, start: datetime, end: datetime) -> datetime | None:
        cursor = start
        while cursor < end:
            last = min(cursor + self._window, end) - self._step
            answer = await self._ask(cursor, last)
            while answer and answer[0].open_time > cursor:
                earlier = await self._ask(cursor, answer[0].open_time - self._step)
                if not earlier:
                    break
                answer = earlier
            if answer:
                return answer[0].open_time
            cursor = last + self._step
        return None

    async def _ask(self, first: datetime, last: datetime | None, timeframe: Timeframe | None = None) -> list[Candle]:
        """Return the closed candles of [first, last] that one question gives, oldest first."""
        chosen = timeframe or self._timeframe
        if last is not None and last < first:
            return []
        limit = self._at_once if last is None else min(self._at_once, (last - first) // chosen.duration + 1)
        for pause_s in (*_PATIENCE_S, None):
            self.requests += 1
            try:
                answer = await self._venue.fetch_candles(self._symbol, chosen, start=first, end=last, limit=limit)
            except RetryableError as error:
                if pause_s is None:
                    raise
                await self._wait(error, pause_s)
            else:
                return [each for each in answer if chosen is not self._timeframe or each.open_time < self._closed_until]
        raise AssertionError("the last try returns or raises")

    async def _wait(self, error: RetryableError, pause_s: float) -> None:
        asked_s = error.retry_after_s if isinstance(error, ExchangeRateLimited) else None
        if asked_s is not None and asked_s > _LONGEST_WAIT_S:
            raise error
        wait_s = max(pause_s, asked_s or 0.0)
        self._on_wait(error.message, wait_s)
        await asyncio.sleep(wait_s)
