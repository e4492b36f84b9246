"""Holes that somebody wants to be looked at again: the exchange is asked, what it has is stored, and what it has not is written down.

A person asks, so there are bounds: one round at a time, another one no sooner than a few seconds after it, and so many requests in each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.core.waiting import happens_within
from app.domain.candles import LIVE_TIMEFRAMES, Candle, Timeframe
from app.errors import BackfillTooSoon, ExchangeError, NotFound
from app.exchanges.port import ExchangeClient
from app.marketdata.aggregate import aggregate, to_candles
from app.marketdata.backfill import holes
from app.marketdata.events import GapsChanged
from app.marketdata.heartbeat_queries import Gap
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore, Close

log = structlog.get_logger(__name__)

PAUSE_S: Final = 10.0
#: Holes of one round. The ones that are open come first, then those of which the exchange had none, the latest first.
_MOST: Final = 50
_PAGE: Final = 1000
_MOST_PAGES: Final = 100
_IDLE_S: Final = 5.0
_M1: Final = Timeframe.M1
#: A candle may show up on the REST side a little after its close.
_SETTLED: Final = timedelta(seconds=10)
_WANTED_SQL: Final = """
SELECT id, symbol, timeframe, start_at, end_at, found_at, resolved_at, outcome FROM candle_gaps
 WHERE exchange = $1 AND outcome <> 'filled' AND ($2::uuid IS NULL OR id = $2) ORDER BY outcome = 'open' DESC, id DESC LIMIT $3
"""
_KNOWN_SQL: Final = "SELECT EXISTS (SELECT 1 FROM candle_gaps WHERE exchange = $1 AND id = $2)"
_OUTCOME_SQL: Final = "UPDATE candle_gaps SET outcome = $2, resolved_at = $3 WHERE id = $1"
_REST_SQL: Final = """
INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, resolved_at, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (exchange, symbol, timeframe, start_at, end_at) DO NOTHING
"""


class GapFiller:
    """Asks the exchange for what is missing in a hole."""

    def __init__(
        self,
        exchange: str,
        *,
        database: Database,
        store: CandleStore,
        clock: Clock,
        client: Callable[[], Awaitable[ExchangeClient]],
        on_filled: Callable[[str], None] = lambda symbol: None,
    ) -> None:
        self._exchange = exchange
        self._database = database
        self._store = store
        self._clock = clock
        self._client = client
        self._on_filled = on_filled

    async def look_again(self, gap: Gap, *, most_pages: int) -> int:
        """Fetch the minutes of a hole, store them and the longer candles they complete, and write down what became of it.

        Returns:
            How many requests that took; a hole that needs more than `most_pages` stays open, filled from its beginning.

        Raises:
            ExchangeError: the exchange does not answer; what came so far is stored.
        """
        client = await self._client()
        # A hole that reaches into the present is looked at as far as candles have closed.
        end = min(gap.end_at, _M1.floor(await client.server_time() - _SETTLED))
        reached, pages = gap.start_at, 1
        found: list[Candle] = []
        while reached < end and pages < most_pages:
            answer = await client.fetch_candles(gap.symbol, _M1, start=reached, end=end - _M1.duration, limit=_PAGE)
            pages += 1
            page = [candle for candle in answer if reached <= candle.open_time < end]
            await self._store_new(gap.symbol, _M1, page)
            found += page
            reached = page[-1].open_time + _M1.duration if page else end
        if reached > gap.start_at:
            if found:
                await self._add_up(gap.symbol, gap.start_at, reached)
                self._on_filled(gap.symbol)
            await self._write_down(gap, reached, found)
        return pages

    async def _store_new(self, symbol: str, timeframe: Timeframe, candles: list[Candle]) -> None:
        """Store what is not there yet. What is there nobody replaces here: other numbers are a difference, and noted as one."""
        if not candles:
            return
        until = candles[-1].open_time + timeframe.duration
        there = await self._store.between(
            self._exchange,
            symbol,
            timeframe,
            start=candles[0].open_time,
            end=until,
            limit=(until - candles[0].open_time) // timeframe.duration,
        )
        known = {candle.open_time for candle in there}
        fresh = [Close(symbol, timeframe, candle) for candle in candles if candle.open_time not in known]
        await self._store.upsert(self._exchange, fresh, source=CandleSource.REST)

    async def _add_up(self, symbol: str, start: datetime, end: datetime) -> None:
        """Store the longer candles that are complete by now, and put right those that were stored without these minutes."""
        for timeframe in LIVE_TIMEFRAMES[1:]:
            first = timeframe.floor(start)
            until = timeframe.floor(end - _M1.duration) + timeframe.duration
            minutes = await self._store.array(self._exchange, symbol, _M1, start=first, end=until)
            summed, counts = aggregate(minutes, timeframe)
            most = (until - first) // timeframe.duration
            stored = await self._store.between(self._exchange, symbol, timeframe, start=first, end=until, limit=most)
            known = {candle.open_time for candle in stored}
            whole = counts == timeframe.milliseconds // _M1.milliseconds
            candles = [candle for candle, is_whole in zip(to_candles(summed), whole, strict=True) if is_whole or candle.open_time in known]
            await self._store.write(self._exchange, [Close(symbol, timeframe, candle) for candle in candles], source=CandleSource.REST)

    async def _write_down(self, gap: Gap, reached: datetime, found: list[Candle]) -> None:
        now = self._clock.now()
        left = holes([*found, _edge(reached)], last=gap.start_at - _M1.duration, step=_M1.duration)
        if gap.timeframe is not _M1:
            # It is whole or it is not, and what has not closed yet is asked for another time.
            if reached >= gap.end_at:
                await self._outcome(gap, GapOutcome.EXCHANGE_HAS_NONE if left else GapOutcome.FILLED, at=now)
            return
        if left == [(gap.start_at, gap.end_at)]:
            await self._outcome(gap, GapOutcome.EXCHANGE_HAS_NONE, at=now)
            return
        if reached < gap.end_at:
            await self._rest(gap, reached, gap.end_at, GapOutcome.OPEN, at=now)
        for start, end in left:
            await self._rest(gap, start, end, GapOutcome.EXCHANGE_HAS_NONE, at=now)
        await self._outcome(gap, GapOutcome.FILLED if found else GapOutcome.EXCHANGE_HAS_NONE, at=now)

    async def _outcome(self, gap: Gap, outcome: GapOutcome, *, at: datetime) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_OUTCOME_SQL, gap.id, outcome.value, at)

    async def _rest(self, gap: Gap, start: datetime, end: datetime, outcome: GapOutcome, *, at: datetime) -> None:
        resolved_at = None if outcome is GapOutcome.OPEN else at
        row = (new_id(), self._exchange, gap.symbol, gap.timeframe.value, start, end, at, resolved_at, outcome.value)
        async with self._database.connection() as connection:
            await connection.execute(_REST_SQL, *row)


class GapRounds:
    """Takes wishes, and looks at the holes one after the other. `run` is a supervised loop."""

    def __init__(self, exchange: str, filler: GapFiller, *, database: Database, bus: EventBus, pause_s: float = PAUSE_S) -> None:
        self._exchange = exchange
        self._filler = filler
        self._database = database
        self._bus = bus
        self._pause_s = pause_s
        self._waiting: dict[UUID, Gap] = {}
        self._wake = asyncio.Event()
        self._free_at = 0.0
        self.last_error: str | None = None

    @property
    def asked(self) -> frozenset[UUID]:
        """The holes that are being looked at."""
        return frozenset(self._waiting)

    async def begin(self, gap_id: UUID | None = None) -> int:
        """Have one hole looked at again, or all that are open or that the exchange had none of; return how many are looked at now.

        A round that runs takes the wish up where it asks for nothing new.

        Raises:
            NotFound: there is no such hole.
            BackfillTooSoon: somebody asked a few seconds ago.
        """
        if gap_id is not None and not await self._is_known(gap_id):
            raise NotFound("there is no such hole in the candles", code="GAP_NOT_FOUND")
        wait_s = self._free_at - time.monotonic()
        if self._waiting:
            if gap_id is None or gap_id in self._waiting:
                return len(self._waiting)
            wait_s = max(wait_s, self._pause_s)
        if wait_s > 0:
            raise BackfillTooSoon(retry_after_s=wait_s)
        # Before the question, so that of many who ask at the same moment one begins.
        self._free_at = time.monotonic() + self._pause_s
        async with self._database.connection() as connection:
            rows = await connection.fetch(_WANTED_SQL, self._exchange, gap_id, _MOST)
        for row in rows:
            gap = Gap(**{**row, "timeframe": Timeframe(row["timeframe"]), "outcome": GapOutcome(row["outcome"])})
            self._waiting[gap.id] = gap
        self._wake.set()
        return len(self._waiting)

    async def _is_known(self, gap_id: UUID) -> bool:
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_KNOWN_SQL, self._exchange, gap_id))

    async def run(self, beat: Callable[[], None]) -> None:
        """Look at the holes that were asked for, until cancelled."""
        while True:
            beat()
            if self._waiting:
                await self._round(beat)
                continue
            self._wake.clear()
            await happens_within(self._wake, _IDLE_S)

    async def _round(self, beat: Callable[[], None]) -> None:
        left = _MOST_PAGES
        self.last_error = None
        try:
            while self._waiting and left > 0:
                gap = next(iter(self._waiting.values()))
                try:
                    left -= await self._filler.look_again(gap, most_pages=left)
                except NotFound as error:
                    # It lists the symbol no longer, so nobody can say what it had: the hole stays open, and the others have their turn.
                    self.last_error = error.message
                    log.warning("gap_of_an_unknown_symbol", symbol=gap.symbol, start=gap.start_at)
                del self._waiting[gap.id]
                beat()
                self._bus.publish(GapsChanged(exchange=self._exchange))
        except ExchangeError as error:
            self.last_error = error.message
            log.warning("gaps_not_looked_at", error=error.code, waiting=len(self._waiting))
        finally:
            self._waiting.clear()
            self._free_at = time.monotonic() + self._pause_s
            self._bus.publish(GapsChanged(exchange=self._exchange))


def _edge(moment: datetime) -> Candle:
    """A mark behind the last candle of a range, so that what is missing at its end is seen too; it is never stored."""
    return Candle(open_time=moment, open=0.0, high=0.0, low=0.0, close=0.0, volume=0.0)
