"""Topics of a page that shows an order book: `book:<exchange>:<symbol>`. What they name must be listed; anything else is nothing."""

import re
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

from fastapi import FastAPI

from app.core.events import Subscription
from app.marketdata.lookout import lookout_of
from app.ui.symbols import book_of

#: Books that one page may show.
_MOST: Final = 2
_TOPIC: Final = re.compile(r"book:([a-z0-9]{2,32}):([^,:/\s]{1,30}/[^,:/\s]{1,30})")


def book_topics(topics: Iterable[str]) -> frozenset[str]:
    """Return those of the topics that could name a book, at most as many as one page may show."""
    return frozenset(sorted(topic for topic in topics if _TOPIC.fullmatch(topic))[:_MOST])


async def look_at_books(app: FastAPI, topics: Iterable[str], stack: AsyncExitStack, subscription: Subscription[object]) -> None:
    """Have the books that the page shows in its subscription for as long as the stack is open."""
    book, books = book_of(app), lookout_of(app).books
    for topic in book_topics(topics):
        _, exchange, symbol = topic.split(":", 2)
        # Only what somebody has loaded is known: a topic makes us ask no exchange for its symbols.
        if await book.stored(exchange) is None:
            continue
        instrument = book.cached(exchange, symbol)
        if instrument is not None and instrument.is_active:
            await stack.enter_async_context(books.looking(exchange, symbol, subscription))
