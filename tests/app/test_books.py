"""Order books and tapes: what is asked for, what is streamed, and what it costs."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.core.clock import SystemClock
from app.domain.book import Depth, Level
from app.errors import ExchangeUnavailable
from app.exchanges.binance_stream import StreamConfig
from app.marketdata import depths
from app.marketdata.books import Books

pytestmark = pytest.mark.asyncio

SYMBOL = "BTC/USDT"
BOOK = Depth(bids=(Level(price=Decimal(99), quantity=Decimal(1)),), asks=(Level(price=Decimal(101), quantity=Decimal(2)),))


class SlowVenue:
    """Public data of which the book takes a moment; counts the questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails = False

    async def public(self, exchange: str) -> Any:
        self.exchange = exchange
        return self

    async def fetch_depth(self, symbol: str, *, limit: int) -> Depth:
        self.asked.append((self.exchange, symbol))
        await asyncio.sleep(0.01)
        if self.fails:
            raise ExchangeUnavailable("nobody answers")
        assert limit == depths.LEVELS
        return BOOK


def books_of(venue: SlowVenue) -> Books:
    return Books("binance", public=venue.public, clock=SystemClock(), streams=StreamConfig())


async def test_many_who_want_a_book_at_once_ask_the_exchange_once() -> None:
    venue = SlowVenue()
    books = books_of(venue)

    found = await asyncio.gather(*(books.depth("kraken", SYMBOL) for _ in range(50)))

    assert found == [BOOK] * 50
    assert venue.asked == [("kraken", SYMBOL)]


async def test_a_book_is_asked_for_again_when_it_is_a_second_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "FRESH_S", 0.0)
    venue = SlowVenue()
    books = books_of(venue)

    await books.depth("kraken", SYMBOL)
    await books.depth("kraken", SYMBOL)

    assert len(venue.asked) == 2


async def test_an_exchange_that_does_not_answer_is_not_asked_by_everyone_who_comes() -> None:
    venue = SlowVenue()
    venue.fails = True
    books = books_of(venue)

    assert [await books.depth("kraken", SYMBOL) for _ in range(5)] == [None] * 5
    assert len(venue.asked) == 1


async def test_an_exchange_that_does_not_answer_for_long_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "_FAILED_S", 0.0)
    monkeypatch.setattr(depths, "FRESH_S", 0.0)
    venue = SlowVenue()
    books = books_of(venue)

    with capture_logs() as logged:
        for fails in (True, True, True, False, True):
            venue.fails = fails
            await books.depth("kraken", SYMBOL)

    assert len(venue.asked) == 5
    assert [entry["event"] for entry in logged] == ["book_not_read"] * 2


async def test_a_book_that_does_not_come_in_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "_PATIENCE_S", 0.001)

    assert await books_of(SlowVenue()).depth("kraken", SYMBOL) is None


async def test_a_paper_account_meets_the_book_of_the_exchange_it_imitates() -> None:
    venue = SlowVenue()

    await books_of(venue).depth("paper", SYMBOL)

    assert venue.asked == [("binance", SYMBOL)]
