"""Everything that serves those who look at the live feed: its news, the symbols they watch, and the holes they ask about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.core.supervisor import Supervisor
from app.exchanges.registry import Registry
from app.marketdata.books import Books
from app.marketdata.day import Days
from app.marketdata.feed_news import NewsDesk
from app.marketdata.gap_rounds import GapFiller, GapRounds
from app.marketdata.heartbeat import Heartbeat
from app.marketdata.watchers import Watchers


class Lookout:
    """One of these serves the pages and programs of a process."""

    def __init__(self, heartbeat: Heartbeat, *, database: Database, registry: Registry, bus: EventBus, clock: Clock) -> None:
        exchange = heartbeat.status.exchange
        self.exchange = exchange
        self.heartbeat = heartbeat
        self.database = database
        self.news = NewsDesk(exchange, database=database, bus=bus, clock=clock, feed=lambda: heartbeat.status)
        self.books = Books(exchange, public=registry.public, clock=clock, streams=heartbeat.stream_config)
        self.watchers = Watchers(heartbeat)
        self.days = Days(exchange, database=database, now=heartbeat.venue_now, open_candle=heartbeat.open_candle)
        filler = GapFiller(
            exchange,
            database=database,
            store=heartbeat.store,
            clock=clock,
            client=partial(registry.public, exchange),
            on_filled=heartbeat.reread,
        )
        self.gaps = GapRounds(exchange, filler, database=database, bus=bus)

    @asynccontextmanager
    async def looking(self, symbol: str | None, subscription: Subscription[object]) -> AsyncIterator[None]:
        """Have the news of a symbol, of all when it is None, in this subscription, and the symbol watched inside the block."""
        async with self.watchers.watching(set() if symbol is None else {symbol}):
            with self.news.following(symbol, subscription):
                yield

    def start(self, supervisor: Supervisor) -> None:
        """Start the loops behind it."""
        supervisor.start("heartbeat.news", self.news.run)
        supervisor.start("heartbeat.books", self.books.run)
        supervisor.start("heartbeat.watchers", self.watchers.run)
        supervisor.start("heartbeat.gaps", self.gaps.run, limit_s=120)


def lookout_of(app: FastAPI) -> Lookout:
    """Return the lookout of this application."""
    lookout: Lookout = app.state.lookout
    return lookout
