"""Books and tapes in the stream of a page, and to a program: who names what is not listed is sent nothing."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from app.core.tenancy import working_for
from app.ui.book_topics import book_topics
from tests.app.conftest import standing_emulator
from tests.app.test_page_streams import page
from tests.app.whole_site import Site

__all__ = ["standing_emulator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPIC = "book:binance:BTC/USDT"


async def first_of(site: Site, *topics: str, wanted: set[str], timeout_s: float = 20.0) -> dict[str, Any]:
    """The first message of each wanted name that a page with these topics is sent, as far as they come in time."""
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    found: dict[str, Any] = {}
    with working_for(principal.user_id):
        try:
            async with asyncio.timeout(timeout_s), aclosing(page(site, principal, *topics).messages()) as messages:
                async for message in messages:
                    fields = dict(line.split(": ", 1) for line in message.decode().splitlines() if ": " in line)
                    if fields.get("event") in wanted:
                        found.setdefault(fields["event"], orjson.loads(fields["data"]))
                    if found.keys() == wanted:
                        break
        except TimeoutError:
            pass
    return found


async def test_a_page_that_names_a_book_is_sent_it_and_the_last_trades(site: Site) -> None:
    found = await first_of(site, TOPIC, "status", wanted={"book", "tape"})

    assert found["book"]["s"] == found["tape"]["s"] == "BTC/USDT"
    assert (len(found["book"]["b"]), len(found["book"]["a"]), len(found["tape"]["trades"])) == (15, 15, 50)
    assert found["tape"]["whole"] is True


async def test_a_paper_account_is_shown_the_book_of_the_exchange_it_imitates(site: Site) -> None:
    assert (await first_of(site, "book:paper:BTC/USDT", wanted={"book"}))["book"]["s"] == "BTC/USDT"


@pytest.mark.parametrize(
    "topic",
    [
        "book:binance:NOPE/USDT",
        "book:binance:BTCUSDT",
        "book:binance:btc/usdt",
        "book:nosuchexchange:BTC/USDT",
        "book:kraken:BTC/USDT",
        "book:Binance:BTC/USDT",
        "book:../../etc:BTC/USDT",
        "book:binance:BTC/USDT@aggTrade",
        "book:binance:BTC/USDT\n",
        "book:binance:'; DROP TABLE users; --/X",
        "book:",
        "book",
    ],
)
async def test_what_is_not_listed_is_nothing_and_asks_nobody(site: Site, topic: str) -> None:
    books = site.app.state.lookout.books
    before = books.looked_at

    assert await first_of(site, topic, wanted={"book", "tape"}, timeout_s=0.7) == {}
    assert books.looked_at.keys() <= before.keys()


async def test_a_page_shows_two_books_at_most() -> None:
    topics = {f"book:binance:C{number}/USDT" for number in range(100)} | {"status", "book:binance:" + "A" * 500 + "/USDT"}

    assert len(book_topics(topics)) == 2


async def test_what_a_browser_asks_for_is_what_the_page_names(site: Site) -> None:
    """Through the route: the answer never ends, so the first part of it must do."""
    principal = await site.app.state.accounts.by_cookie(site.eve.cookie)
    lines: list[bytes] = []
    leave = asyncio.Event()
    is_asked = False

    async def receive() -> dict[str, Any]:
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        lines.append(message.get("body", b""))
        if b"event: tape" in lines[-1]:
            leave.set()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/events", "raw_path": b"/events", "root_path": "", "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        "query_string": b"topics=book%3Abinance%3ABTC%2FUSDT,book%3Abinance%3ANOPE%2FUSDT",
        "headers": [(b"host", b"testserver"), (b"cookie", f"sid={site.eve.cookie}".encode())],
    }  # fmt: skip
    async with asyncio.timeout(20):
        await site.app(scope, receive, send)

    assert any(b"event: book" in line for line in lines)
    assert not any(b"NOPE" in line for line in lines)
    assert principal.user_id not in site.app.state.page_streams
