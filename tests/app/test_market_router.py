"""Prices and books over the API: of an exchange, and of the exchange of one's own account."""

from decimal import Decimal

import pytest

from app.core.clock import SystemClock
from app.core.ids import new_id
from tests.app.conftest import standing_emulator
from tests.app.whole_site import Site
from tests.emulator_process import EmulatorProcess

__all__ = ["standing_emulator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_book_is_told_in_exact_text_best_level_first(site: Site, standing_emulator: EmulatorProcess) -> None:
    found = await site.ada.call("GET", "/api/orderbook", params={"symbol": "BTCUSDT", "limit": 100})
    book = found.json()
    of_venue = standing_emulator.get("/api/v3/depth", symbol="BTCUSDT", limit=100)

    assert (found.status_code, book["exchange"], book["symbol"]) == (200, "binance", "BTC/USDT")
    assert len(book["bids"]) == len(book["asks"]) == 100
    for side in ("bids", "asks"):
        assert [[Decimal(text) for text in level] for level in book[side]] == [
            [Decimal(text) for text in level] for level in of_venue[side]
        ]
        assert all(isinstance(text, str) and not text.endswith(".") for level in book[side] for text in level)
    assert Decimal(book["bids"][0][0]) > Decimal(book["bids"][-1][0])
    assert Decimal(book["asks"][0][0]) < Decimal(book["asks"][-1][0])


async def test_a_book_has_as_many_levels_as_were_asked_for(site: Site) -> None:
    for limit in (1, 20, 21):
        book = (await site.ada.call("GET", "/api/orderbook", params={"symbol": "BTC/USDT", "limit": limit})).json()
        assert (len(book["bids"]), len(book["asks"])) == (limit, limit)
    for text in ("0", "101", "-1", "all"):
        assert (await site.ada.call("GET", "/api/orderbook", params={"symbol": "BTC/USDT", "limit": text})).status_code == 422


async def test_an_account_stands_for_its_exchange(site: Site) -> None:
    mine = site.ada.ids["broker_id"]
    for path in ("/api/orderbook", "/api/ticker"):
        found = await site.ada.call("GET", path, params={"symbol": "BTCUSDT", "broker_id": mine})
        assert (found.status_code, found.json()["exchange"], found.json()["symbol"]) == (200, "binance", "BTC/USDT")
        both = await site.ada.call("GET", path, params={"symbol": "BTCUSDT", "broker_id": mine, "exchange": "kraken"})
        assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "exchange")


async def test_a_paper_account_stands_for_the_exchange_whose_prices_it_trades_at(site: Site) -> None:
    paper = (await site.eve.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Paper"})).json()["id"]

    book = (await site.eve.call("GET", "/api/orderbook", params={"symbol": "BTCUSDT", "broker_id": paper})).json()

    assert (book["exchange"], len(book["bids"])) == ("binance", 50)


async def test_somebody_elses_account_stands_for_nothing(site: Site) -> None:
    hers = site.ada.ids["broker_id"]
    for path in ("/api/orderbook", "/api/ticker"):
        answers = [
            await site.eve.call("GET", path, params={"symbol": "BTCUSDT", "broker_id": broker_id}) for broker_id in (hers, str(new_id()))
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "BROKER_NOT_FOUND")] * 2


async def test_unusable_questions_are_refused_with_a_reason(site: Site) -> None:
    for path in ("/api/orderbook", "/api/ticker"):
        perpetual = await site.ada.call("GET", path, params={"symbol": "BTCUSDT.P"})
        assert "derivative" in perpetual.json()["detail"]
        unknown = await site.ada.call("GET", path, params={"symbol": "NOSUCHCOIN"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "SYMBOL_NOT_FOUND")
        assert (await site.ada.call("GET", path, params={"symbol": "BTCUSDT", "exchange": "nosuchexchange"})).status_code == 422
        assert (await site.ada.call("GET", path)).status_code == 422
        assert (await site.http.get(path, params={"symbol": "BTCUSDT"})).status_code == 401


async def test_a_book_that_the_exchange_does_not_give_is_an_outage_and_no_empty_book(
    site: Site, standing_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_knows(exchange: str, symbol: str) -> None:
        assert (exchange, symbol) == ("binance", "BTC/USDT")

    monkeypatch.setattr(site.app.state.lookout.books, "whole_depth", nobody_knows)

    found = await site.ada.call("GET", "/api/orderbook", params={"symbol": "BTCUSDT"})

    assert (found.status_code, found.json()["code"]) == (503, "EXCHANGE_UNAVAILABLE")


async def test_a_ticker_comes_from_the_feed_or_else_from_the_exchange(site: Site) -> None:
    quotes = site.app.state.quotes
    quotes._quotes.pop("BTC/USDT", None)
    asked = (await site.ada.call("GET", "/api/ticker", params={"symbol": "BTCUSDT"})).json()
    quotes.put("BTC/USDT", at=SystemClock().now(), bid=Decimal("1.10"), ask=Decimal("1.2"), last=Decimal("1.15"))
    fed = (await site.ada.call("GET", "/api/ticker", params={"symbol": "BTCUSDT"})).json()
    quotes._quotes.pop("BTC/USDT", None)

    assert Decimal(asked["last"]) == 60000
    assert (fed["bid"], fed["ask"], fed["last"]) == ("1.1", "1.2", "1.15")


async def test_the_documentation_says_what_a_book_is(site: Site) -> None:
    document = site.app.openapi()
    book, levels = document["paths"]["/api/orderbook"]["get"], document["components"]["schemas"]["OrderBookOut"]["properties"]["bids"]

    assert {parameter["name"] for parameter in book["parameters"]} == {"symbol", "broker_id", "exchange", "limit"}
    assert book["summary"] == "Order book of a symbol"
    assert {"200", "404", "422", "503"} <= book["responses"].keys()
    assert levels["items"]["prefixItems"] == [{"type": "string"}, {"type": "string"}]
