"""The engine of bots: keeps a locked worker for each, asks it when its candle closes, and sees to what happens in between.

It runs while this process holds the engine's role. The event bus tells it of candles at once; the candle table, which it looks at as well,
tells of those that the bus did not: another process may run the feed, and a queue may overflow. What it has in memory is read from the
tables again whenever it starts, so that a process that died loses nothing.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.bots import words
from app.bots.acting import Actor
from app.bots.apart import alone
from app.bots.cell import Cell, Fault, FaultError, NotYetError, last_open
from app.bots.events import BotAsked, BotChanged
from app.bots.faults import fault_bot
from app.bots.history import Histories
from app.bots.log import said
from app.bots.metrics import Figures
from app.bots.models import BotState
from app.bots.retention import thin
from app.bots.roster import LiveBot, Market, read_bots, read_heads
from app.bots.rounds import Due, Feed, Rounds
from app.bots.seats import Seat, decided_by, missed
from app.bots.standing import Standings
from app.bots.states import explain
from app.bots.upkeep import Upkeep
from app.core.supervisor import Beat
from app.domain.candles import Candle, to_milliseconds
from app.domain.orders import TERMINAL
from app.marketdata.events import CandleClosed, HeartbeatChanged
from app.marketdata.feed_health import FeedReader
from app.sandbox.jail import Jail
from app.trading.desk import Desk
from app.trading.events import BotShort, FillRecorded, OrderChanged

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 1.0
_THIN_EVERY_S: Final = 3_600.0
#: Closes come in a burst: so long the engine waits for the others of the same moment, seconds.
_GATHER_S: Final = 0.004
#: For a candle of another market that closes at the same moment, seconds.
_PATIENCE_S: Final = 2.0
#: Workers that are made at a time: each takes a processor for ten milliseconds.
_LOADED_AT_ONCE: Final = 4
_EVENTS: Final = 50_000


class Engine:
    """Runs all bots of the server.

    Args:
        desk: What trading works with.
        jail: Where strategies run.
        histories: Brings candles together.
        feed: Tells how the market's feed is.
        figures: Counts.
    """

    def __init__(self, desk: Desk, jail: Jail, histories: Histories, feed: FeedReader, figures: Figures) -> None:
        self._desk = desk
        self._jail = jail
        self._histories = histories
        self._reader = feed
        self._standings = Standings(desk)
        self._actor = Actor(desk)
        self._upkeep = Upkeep(desk, self._actor, self._standings)
        self._rounds = Rounds(desk, self._standings, self._actor, figures, feed=self._feed, on_fault=self._fault)
        self._seats: dict[UUID, Seat] = {}
        #: Bots by the markets that they want, their own or as another one.
        self._wanting: defaultdict[Market, set[UUID]] = defaultdict(set)
        self._heads: dict[UUID, int] = {}
        self._loading = asyncio.Semaphore(_LOADED_AT_ONCE)
        self._is_fresh = False
        self._ahead = timedelta(0)
        self._group: asyncio.TaskGroup | None = None
        self._thinned_at = float("-inf")
        #: Bots of whom a candle waits to be decided at.
        self._due: set[UUID] = set()
        #: Orders of bots that are over and have not been told of.
        self._over: set[UUID] = set()
        self._is_settling = False

    def states(self) -> Iterable[tuple[tuple[str, ...], float]]:
        """Return how many bots are in each state, for `/metrics`."""
        found = Counter(seat.cell.bot.state.value for seat in self._seats.values())
        return [((state,), float(count)) for state, count in found.items()]

    def summary(self) -> dict[str, int]:
        """Return how it is doing, for `/readyz`."""
        return {
            "bots": len(self._seats),
            "running": sum(seat.cell.bot.state is BotState.RUNNING for seat in self._seats.values()),
            "loaded": sum(seat.cell.is_ready for seat in self._seats.values()),
        }

    async def run(self, beat: Beat) -> None:
        """Work until cancelled, or until the engine's role is lost."""
        wanted = (CandleClosed, HeartbeatChanged, FillRecorded, OrderChanged, BotShort, BotAsked)
        try:
            with self._desk.bus.subscribe(*wanted, size=_EVENTS, wanted=self._is_wanted) as events:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    await self._sweep()
                    swept = time.monotonic()
                    while True:
                        beat()
                        is_asked = await self._take(events, until=swept + _SWEEP_S)
                        if is_asked or time.monotonic() - swept >= _SWEEP_S:
                            await alone("sweep", self._sweep())
                            swept = time.monotonic()
        finally:
            self._group = None
            for seat in self._seats.values():
                await seat.cell.close()
            self._seats.clear()
            self._wanting.clear()
            self._heads.clear()
            self._due.clear()

    # What comes by the bus.

    def _is_wanted(self, event: Any) -> bool:
        if isinstance(event, CandleClosed):
            return event.exchange == self._reader.exchange and Market(symbol=event.symbol, timeframe=event.timeframe) in self._wanting
        if isinstance(event, OrderChanged):
            return event.bot_id is not None and event.state in TERMINAL
        return not isinstance(event, FillRecorded) or event.bot_id is not None

    async def _take(self, events: Any, *, until: float) -> bool:
        """Take what has come by `until`, and begin what is to be done about it; whether somebody asked something of a bot."""
        first = await _within(events, max(until - time.monotonic(), 0.0))
        if first is None:
            self._begin_waiting()
            return False
        if isinstance(first, CandleClosed):
            await asyncio.sleep(_GATHER_S)
        is_asked, event = False, first
        while event is not None:
            is_asked = self._hear(event) or is_asked
            event = events.get_nowait()
        self._begin_waiting()
        if self._over and not self._is_settling:
            self._is_settling = True
            self._begin("settle", self._settle())
        return is_asked

    def _hear(self, event: Any) -> bool:
        match event:
            case CandleClosed():
                return self._closed(Market(symbol=event.symbol, timeframe=event.timeframe), event.candle, is_told=True)
            case HeartbeatChanged():
                self._is_fresh = event.is_fresh if event.exchange == self._reader.exchange else self._is_fresh
            case FillRecorded(bot_id=UUID() as bot_id):
                self._rounds.untold.setdefault(bot_id, event.executed_at - timedelta(microseconds=1))
                self._desk.bus.publish(BotChanged(user_id=event.user_id, bot_id=bot_id))
            case OrderChanged():
                self._over.add(event.order_id)
            case BotShort():
                self._begin("short", self._upkeep.short(event))
            case BotAsked():
                return True
        return False

    def _closed(self, market: Market, candle: Candle, *, is_told: bool = False) -> bool:
        """A candle closed: those who trade it are due, those who only look at it remember it; whether one before it is to be looked for.

        Of what the bus tells (`is_told`) only the next one is taken: one that closed while a strategy was loaded stands in the table.
        """
        has_gap, opened = False, to_milliseconds(candle.open_time)
        for bot_id in self._wanting.get(market, ()):
            seat = self._seats[bot_id]
            cell = seat.cell
            if not cell.is_ready:
                continue
            if is_told and seat.skips(market, opened):
                has_gap = True
                continue
            if market != cell.bot.market:
                cell.hear(market, candle)
                continue
            # What a round is asking about just now is not due a second time, though the strategy does not know it yet.
            if opened > max(cell.known[0], seat.heard) and cell.bot.state is not BotState.FAULTED:
                seat.heard = opened
                seat.dues.append(Due(cell=cell, candle=candle))
                self._due.add(bot_id)
        return has_gap

    def _begin_waiting(self) -> None:
        """Begin a round of all that are due and free."""
        dues = []
        for bot_id in tuple(self._due):
            seat = self._seats.get(bot_id)
            if seat is None or not seat.dues:
                self._due.discard(bot_id)
            elif not seat.is_busy and seat.cell.is_ready and self._has_what_it_needs(seat):
                seat.is_busy, seat.patience = True, None
                dues.append(seat.dues.popleft())
        if dues:
            self._begin("round", self._round(dues))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin something that the others do not wait for, and that does not end them."""
        if self._group is None:
            work.close()
        else:
            self._group.create_task(alone(name, work), name=f"bots:{name}")

    @contextmanager
    def _held(self, bot_id: UUID) -> Iterator[bool]:
        """Keep rounds from a bot; whether that could be had."""
        seat = self._seats.get(bot_id)
        if seat is None or seat.is_busy:
            yield False
            return
        seat.is_busy = True
        try:
            yield True
        finally:
            seat.is_busy = False
            self._begin_waiting()

    def _has_what_it_needs(self, seat: Seat) -> bool:
        if not seat.cell.lacks(seat.dues[0].closed_at):
            return True
        if seat.patience is None:
            seat.patience = time.monotonic() + _PATIENCE_S
        return time.monotonic() >= seat.patience

    async def _round(self, dues: list[Due]) -> None:
        """What a round that fails had not written down is missed, what it had is looked at again."""
        try:
            await self._rounds.run(dues)
        finally:
            for due in dues:
                seat = self._seats.get(due.cell.bot.id)
                if seat is not None:
                    seat.is_busy, seat.decided = False, max(seat.decided or due.candle.open_time, due.candle.open_time)
            self._begin_waiting()

    async def _fault(self, bot: LiveBot, fault: Fault) -> None:
        await fault_bot(self._desk, bot, fault)
        seat = self._seats.get(bot.id)
        if seat is not None:
            seat.dues.clear()
            await seat.cell.close()

    # What is looked at once a second.

    async def _sweep(self) -> None:
        feed = await self._reader.status()
        self._is_fresh = feed.is_fresh
        self._ahead = self._reader.venue_now(feed) - self._desk.clock.now()
        await self._refresh()
        bots = {bot_id: seat.cell.bot for bot_id, seat in self._seats.items()}
        now = self._feed().venue_now
        await self._upkeep.ends(list(bots.values()), self._desk.clock.now())
        await self._upkeep.settle()
        # Candles are heard of, and other bots go on, while an exchange is being asked.
        self._begin("tend", self._upkeep.tend(bots, self.venue_now, held=self._held))
        for seat in [seat for seat in self._seats.values() if seat.is_early]:
            await self._say_what_it_waits_for(seat, now)
        self._begin_loading(now)
        await self._look_for_missed()
        self._begin_waiting()
        if time.monotonic() - self._thinned_at > _THIN_EVERY_S:
            self._thinned_at = time.monotonic()
            await thin(self._desk)

    async def _settle(self) -> None:
        """Tell of orders that are over, and let their signals say so."""
        try:
            while self._over:
                over, self._over = self._over, set()
                await self._upkeep.tell_orders(over)
                await self._upkeep.settle()
        finally:
            self._is_settling = False

    def venue_now(self) -> datetime:
        """Return the time by the clock of the venue whose candles are followed."""
        return self._feed().venue_now

    def _feed(self) -> Feed:
        return Feed(is_fresh=self._is_fresh, venue_now=self._desk.clock.now() + self._ahead)

    async def _refresh(self) -> None:
        """Read bots that have changed."""
        async with self._desk.database.connection() as connection:
            heads = await read_heads(connection)
            changed = [bot_id for bot_id, revision in heads.items() if self._heads.get(bot_id) != revision]
            bots = await read_bots(connection, changed)
        self._heads = heads
        for bot_id in self._seats.keys() - heads.keys():
            await self._leave(bot_id)
        for bot in bots:
            await self._sit(bot)

    async def _sit(self, bot: LiveBot) -> None:
        seat = self._seats.get(bot.id)
        if seat is None:
            seat = self._seats[bot.id] = Seat(cell=Cell(bot, self._jail, self._histories), decided=decided_by(bot))
            if bot.last_candle_at is not None:
                self._rounds.untold[bot.id] = bot.last_candle_at + bot.period
        was, seat.cell.bot = seat.cell.bot.state, bot
        if bot.state in (BotState.FAULTED, BotState.STOPPED):
            seat.dues.clear()
            if not seat.is_busy:
                await seat.cell.close()
        elif was is BotState.FAULTED:
            seat.failures, seat.retry_at = 0, 0.0
        elif bot.state is BotState.RUNNING and seat.cell.is_ready:
            await self._say_what_it_waits_for(seat, self._feed().venue_now)
        self._wanting[bot.market].add(bot.id)

    async def _leave(self, bot_id: UUID) -> None:
        seat = self._seats.pop(bot_id)
        for wanting in self._wanting.values():
            wanting.discard(bot_id)
        for market in [market for market, wanting in self._wanting.items() if not wanting]:
            del self._wanting[market]
        self._rounds.untold.pop(bot_id, None)
        await seat.cell.close()

    def _begin_loading(self, now: datetime) -> None:
        for seat in self._seats.values():
            bot = seat.cell.bot
            wants = bot.state in (BotState.RUNNING, BotState.SUSPENDED) and not seat.is_loading and not seat.is_busy
            if wants and not seat.cell.is_ready and time.monotonic() >= seat.retry_at:
                seat.is_loading = True
                self._begin("load", self._load(seat, now))

    async def _load(self, seat: Seat, now: datetime) -> None:
        cell, bot = seat.cell, seat.cell.bot
        try:
            async with self._loading:
                await cell.open(until=self._feed().venue_now)
        except FaultError as error:
            await self._fault(bot, error.fault)
        except NotYetError as error:
            seat.retry_later()
            await explain(self._desk, bot, error.told)
        except Exception:
            seat.retry_later()
            raise
        else:
            seat.failures = 0
            for market in cell.markets:
                self._wanting[market].add(bot.id)
            await self._say_what_it_waits_for(seat, now)
            await self._catch_up(seat)
        finally:
            seat.is_loading = False
            if self._seats.get(bot.id) is not seat:
                await cell.close()

    async def _say_what_it_waits_for(self, seat: Seat, now: datetime) -> None:
        """Of a bot whose strategy is loaded: its start, or nothing."""
        bot = seat.cell.bot
        seat.is_early = bot.start_at is not None and bot.start_at > now
        told = said(words.STARTS_LATER, at=f"{bot.start_at:%Y-%m-%d %H:%M} UTC") if seat.is_early else None
        await explain(self._desk, bot, told)

    async def _catch_up(self, seat: Seat) -> None:
        """Let the candle that closed last be decided at, if that was while nobody was here, and tell how many were missed before it."""
        cell, bot = seat.cell, seat.cell.bot
        opened = last_open(cell)
        if seat.decided is None or opened <= seat.decided:
            return
        missed = (opened - seat.decided) // bot.period - 1
        if missed > 0 and bot.last_candle_at is not None:
            await self._actor.log_line(bot, "away", said(words.AWAY, count=missed))
        candle = cell.newest
        if candle is not None and not seat.dues and self._feed().venue_now - (opened + bot.period) < bot.period:
            seat.dues.append(Due(cell=cell, candle=candle, is_loaded=True))
            self._due.add(bot.id)
            self._begin_waiting()

    async def _look_for_missed(self) -> None:
        """Find closed candles in the table that nobody told of."""
        async with self._desk.database.connection() as connection:
            for market, candle in await missed(connection, self._reader.exchange, self._seats.values()):
                self._closed(market, candle)


async def _within(events: Any, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await events.get()
    except TimeoutError:
        return None
