"""Books of exchanges that are asked, while another exchange is slow or something breaks the loop."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.supervisor import Supervisor
from app.domain.book import Depth, Level
from app.exchanges.binance_stream import StreamConfig
from app.exchanges.port import MarketTrade
from app.marketdata.books import Books
from tests.app.test_book_streams import Looker, running, until

pytestmark = pytest.mark.asyncio

BOOK = Depth(bids=(Level(price=Decimal(99), quantity=Decimal(1)),), asks=(Level(price=Decimal(101), quantity=Decimal(2)),))


class Venues:
    """Public data of venues, of which one takes its time for ever and one breaks down when told to."""

    def __init__(self) -> None:
        self.breaks = asyncio.Event()
        self.has_broken = False
        self.questions = 0

    async def public(self, exchange: str) -> Any:
        return Venue(self, exchange)


class Venue:
    def __init__(self, venues: Venues, exchange: str) -> None:
        self._venues = venues
        self._exchange = exchange

    async def fetch_depth(self, symbol: str, *, limit: int) -> Depth:
        del symbol, limit
        if self._exchange == "kraken":
            await asyncio.Event().wait()
        if self._exchange == "kucoin" and not self._venues.has_broken:
            self._venues.has_broken = True
            raise ZeroDivisionError("nobody thought of that")
        await asyncio.sleep(0.2)
        self._venues.questions += 1
        return BOOK

    async def fetch_market_trades(self, symbol: str, *, limit: int) -> list[MarketTrade]:
        del symbol, limit
        if self._exchange == "kraken":
            await asyncio.Event().wait()
        return []


def books_of(venues: Venues) -> Books:
    return Books("binance", public=venues.public, clock=SystemClock(), streams=StreamConfig(), poll_s=0.05)


async def test_exchange_that_does_not_answer_keeps_no_other_exchanges_books_waiting() -> None:
    venues, looker = Venues(), Looker()
    async with running(books_of(venues)) as books, asyncio.TaskGroup() as group:
        over = asyncio.Event()
        for number in range(40):
            group.create_task(_look(books, "kraken", f"S{number}/USDT", Looker(), over))
        await asyncio.sleep(0.6)
        async with books.looking("okx", "BTC/USDT", looker.subscription):
            async with asyncio.timeout(3):
                await until(lambda: looker.books)
        over.set()


async def test_books_are_asked_for_again_after_something_broke_the_loop() -> None:
    venues, looker, odd = Venues(), Looker(), Looker()
    books = books_of(venues)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("books", books.run)
        async with books.looking("okx", "BTC/USDT", looker.subscription):
            await until(lambda: venues.questions >= 2)
            async with books.looking("kucoin", "BTC/USDT", odd.subscription):
                await until(lambda: venues.has_broken)
                await until(lambda: any("b" in told for told in odd.books))
                asked = venues.questions
                await until(lambda: venues.questions > asked + 2)


async def _look(books: Books, exchange: str, symbol: str, looker: Looker, over: asyncio.Event) -> None:
    async with books.looking(exchange, symbol, looker.subscription):
        await over.wait()
