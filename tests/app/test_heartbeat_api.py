"""What programs and pages are told of the live feed: signals, holes and the stream, by whom it may be asked and within which bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from fastapi import Request

from app.accounts import tokens
from app.core.ids import new_id
from app.core.streams import counted
from app.domain.candles import LIVE_TIMEFRAMES, Candle, Timeframe
from app.marketdata.events import CandleClosed, TickerChanged
from app.marketdata.heartbeat_router import FeedStream
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore, Close
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]


def candle(open_time: datetime, close: float = 60000.5) -> Candle:
    return Candle(open_time=open_time, open=60000.0, high=60001.0, low=59999.0, close=close, volume=1.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def now(site: Site) -> AsyncIterator[datetime]:
    """The minute that is open; behind it lie seventy closed ones of three symbols, and of each longer timeframe three."""
    state = site.app.state
    moment = Timeframe.M1.floor(state.clock.now())
    database = state.platform_database
    store = CandleStore(database)
    closes = [
        Close(symbol, timeframe, candle(timeframe.floor(moment) - number * timeframe.duration))
        for timeframe in LIVE_TIMEFRAMES
        for symbol in SYMBOLS
        for number in range(1, 71 if timeframe is Timeframe.M1 else 4)
    ]
    await store.upsert("binance", closes, source=CandleSource.STREAM)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO heartbeat_status (exchange, is_connected, is_fresh, symbols_monitored, lag_ms, reconnects, last_heartbeat,"
            " connections, updated_at) VALUES ('binance', true, true, $1, 12.5, 3, $2,"
            " $3, $2)",
            SYMBOLS,
            state.clock.now(),
            [{"url": "wss://u:p@stream.example:9443/stream?x=1", "streams": 4, "opened_at": moment.isoformat(), "age_ms": 5}],
        )
        for number in range(60):
            await connection.execute(
                "INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, outcome)"
                " VALUES ($1, 'binance', $2, '1m', $3, $4, $4, $5)",
                new_id(),
                SYMBOLS[number % 2],
                moment - timedelta(days=1, minutes=2 * number + 1),
                moment - timedelta(days=1, minutes=2 * number),
                "open" if number % 3 == 0 else "filled",
            )
    yield moment


def request_of(site: Site) -> Request:
    return Request({"type": "http", "app": site.app, "method": "GET", "path": "/", "headers": [], "query_string": b""})


async def principal_of(site: Site) -> Any:
    return await site.app.state.accounts.by_cookie(site.ada.cookie)


def parsed(message: bytes) -> tuple[str, int, Any]:
    fields = dict(line.split(b": ", 1) for line in message.strip().split(b"\n"))
    return fields[b"event"].decode(), int(fields[b"id"]), orjson.loads(fields[b"data"])


async def take(stream: Any, wanted: str) -> tuple[int, Any]:
    """Return id and data of the next message of that name."""
    async with asyncio.timeout(15):
        async for message in stream:
            if f"event: {wanted}\n".encode() in message:
                _, number, data = parsed(message)
                return number, data
    raise AssertionError(f"the stream ended before {wanted}")


# Signals.


async def test_pages_of_signals_give_every_candle_once_newest_first(site: Site, now: datetime) -> None:
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        params = {"limit": 13} | ({"cursor": cursor} if cursor else {})
        answer = (await site.ada.call("GET", "/api/heartbeat/signals", params=params)).json()
        found += [(item["open_time"], item["symbol"]) for item in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert len(found) == len(set(found)) == 70 * len(SYMBOLS)
    assert found == sorted(sorted(found, key=lambda row: row[1]), key=lambda row: row[0], reverse=True)


async def test_signals_of_one_symbol_and_timeframe(site: Site, now: datetime) -> None:
    answer = await site.ada.call("GET", "/api/heartbeat/signals", params={"timeframe": "1h", "symbol": "btcusdt"})
    items = answer.json()["items"]
    assert [(item["symbol"], item["timeframe"], item["close"], item["source"]) for item in items] == [
        ("BTC/USDT", "1h", 60000.5, "stream")
    ] * 3


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"timeframe": "7m"}, 422),
        ({"limit": 0}, 422),
        ({"limit": 501}, 422),
        ({"cursor": "yesterday"}, 422),
        ({"cursor": "99999999999999999999.BTC/USDT"}, 422),
        ({"cursor": "1795000000000.\x00"}, 422),
        ({"symbol": "NOSUCHCOIN"}, 404),
    ],
)
async def test_signals_that_cannot_be_are_refused_in_words(site: Site, now: datetime, params: dict[str, Any], status: int) -> None:
    answer = await site.ada.call("GET", "/api/heartbeat/signals", params=params)
    assert (answer.status_code, bool(answer.json()["code"])) == (status, True), answer.text


# Holes.


async def test_holes_are_paged_and_filtered(site: Site, now: datetime) -> None:
    first = (await site.ada.call("GET", "/api/heartbeat/gaps")).json()
    assert (len(first["items"]), first["next"]) == (50, first["items"][-1]["id"])
    second = (await site.ada.call("GET", "/api/heartbeat/gaps", params={"cursor": first["next"]})).json()
    assert (len(second["items"]), second["next"]) == (10, None)
    assert len({item["id"] for item in first["items"] + second["items"]}) == 60
    of_btc = (await site.ada.call("GET", "/api/heartbeat/gaps", params={"outcome": "open", "symbol": "BTCUSDT"})).json()
    assert {(item["outcome"], item["symbol"], item["candles"]) for item in of_btc["items"]} == {("open", "BTC/USDT", 1)}


async def test_a_token_that_may_only_read_reads_all_of_it_and_asks_for_nothing(site: Site, now: datetime) -> None:
    made = await site.ada.call("POST", "/api/auth/tokens", json={"name": "Reader", "scopes": ["read"]})
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    for path in ("signals", "gaps", "status"):
        assert (await site.http.get(f"/api/heartbeat/{path}", headers=headers)).status_code == 200, path
    refused = await site.http.post("/api/heartbeat/backfill", json={}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "SCOPE_MISSING")
    for path in ("signals", "gaps", "stream"):
        assert (await site.http.get(f"/api/heartbeat/{path}")).status_code == 401, path


async def test_whoever_trades_has_holes_looked_at_again_but_not_over_and_over(site: Site, now: datetime) -> None:
    unknown = await site.eve.call("POST", "/api/heartbeat/backfill", json={"gap": str(new_id())})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "GAP_NOT_FOUND")
    bodies: tuple[object, ...] = ({"gap": "one"}, {"hole": 1}, [])
    wrong = [await site.eve.call("POST", "/api/heartbeat/backfill", json=body) for body in bodies]
    assert [answer.status_code for answer in wrong] == [422] * 3
    listed = (await site.eve.call("GET", "/api/heartbeat/gaps", params={"outcome": "open"})).json()["items"]
    gap = next(gap for gap in listed if gap["symbol"] == "BTC/USDT")
    begun = await site.eve.call("POST", "/api/heartbeat/backfill", json={"gap": gap["id"]})
    assert (begun.status_code, begun.json()) == (202, {"gaps": 1})
    async with asyncio.timeout(10):
        while site.app.state.lookout.gaps.asked:  # noqa: ASYNC110  # the loop under test is what it waits for
            await asyncio.sleep(0.02)
    again = await site.ada.call("POST", "/api/heartbeat/backfill", json={})
    assert (again.status_code, again.json()["code"]) == (429, "BACKFILL_TOO_SOON")
    assert 1 <= int(again.headers["retry-after"]) <= 10
    page = await site.ada.browse("POST", "/heartbeat/backfill", headers={"X-CSRF-Token": site.ada.csrf}, data={"gap": gap["id"]})
    assert (page.status_code, "Ask again in" in page.headers["hx-trigger"]) == (200, True)
    without = await site.ada.browse("POST", "/heartbeat/backfill", data={"gap": gap["id"]})
    assert without.status_code == 403


# The stream.


async def test_a_stream_begins_with_what_is_stored_and_goes_on_with_what_comes(site: Site, now: datetime) -> None:
    stream = FeedStream(request_of(site), await principal_of(site), symbol=None, with_raw=True)
    async with aclosing(stream.messages()) as messages:
        number, stored = await take(messages, "feed-stored")
        assert stored.keys() == {timeframe.value for timeframe in LIVE_TIMEFRAMES}
        assert [len(rows) for rows in stored.values()] == [60] + [9] * 9
        assert stored["1m"][:3] == [[int((now - timedelta(minutes=1)).timestamp() * 1000), symbol, 60000.5] for symbol in SYMBOLS]
        _, status = await take(messages, "feed-status")
        assert (status["lag"], status["reconnects"], status["watched"]) == (12.5, 3, 3)
        assert status["connections"] == [{"host": "stream.example:9443", "streams": 4, "age_ms": 5}], "never what stood before the host"
        site.app.state.bus.publish(
            CandleClosed(
                exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.M1, candle=candle(now), source=CandleSource.STREAM, is_late=False
            )
        )
        later, live = await take(messages, "feed")
        assert live == {"1m": [[int(now.timestamp() * 1000), "BTC/USDT", 60000.5, False]]}
        assert later > number


async def test_a_stream_of_one_symbol_has_that_symbol_watched_and_tells_of_no_other(site: Site, now: datetime) -> None:
    lookout, bus = site.app.state.lookout, site.app.state.bus
    stream = FeedStream(request_of(site), await principal_of(site), symbol="ETH/USDT", with_raw=True)
    async with aclosing(stream.messages()) as messages:
        _, stored = await take(messages, "feed-stored")
        assert {row[1] for rows in stored.values() for row in rows} == {"ETH/USDT"}
        assert lookout.watchers.watched == {"ETH/USDT": 1}
        await take(messages, "feed-status")
        for symbol in ("BTC/USDT", "ETH/USDT"):
            bus.publish(TickerChanged(exchange="binance", symbol=symbol, bid=None, ask=None, last=None, at=now))
        _, raw = await take(messages, "feed-raw")
        assert raw == {"lines": [[int(now.timestamp() * 1000), "ETH/USDT", None, None, None]], "count": 1}
    assert (lookout.watchers.watched, lookout.news.followers) == ({}, 0)


async def test_fifty_who_look_share_each_message_and_one_reading_of_the_table(site: Site, now: datetime) -> None:
    request, principal, state = request_of(site), await principal_of(site), site.app.state
    state.lookout.news._channels.clear()
    streams = [
        PageStream(
            request,
            frozenset({"feed"}),
            principal=principal,
            regions=regions_of(request, principal),
            templating=templating_of(request),
        ).messages()
        for _ in range(50)
    ]
    await asyncio.gather(*(take(stream, "feed-stored") for stream in streams))
    (channel,) = state.lookout.news._channels.values()
    assert len(channel.followers) == 50
    state.bus.publish(
        CandleClosed(
            exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.H4, candle=candle(now), source=CandleSource.STREAM, is_late=True
        )
    )
    told = await asyncio.gather(*(take(stream, "feed") for stream in streams))
    assert {number for number, _ in told} == {told[0][0]}, "one message, written once"
    assert told[0][1]["4h"][0][3] is True
    for stream in streams:
        await stream.aclose()
    assert state.lookout.news.followers == 0


async def test_a_dashboard_is_not_sent_what_only_the_heartbeats_page_shows(site: Site, now: datetime) -> None:
    request, principal = request_of(site), await principal_of(site)
    page = PageStream(
        request, frozenset({"status"}), principal=principal, regions=regions_of(request, principal), templating=templating_of(request)
    )
    seen = b""
    async with asyncio.timeout(10), aclosing(page.messages()) as messages:
        async for message in messages:
            seen += message
            if b"status-items" in message:
                break
    assert b"event: feed" not in seen
    assert b"Coherence" in seen


async def test_the_stream_of_a_revoked_token_ends(site: Site, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.marketdata.heartbeat_router._CHECK_S", 0.2)
    made = (await site.ada.call("POST", "/api/auth/tokens", json={"name": "Streamer", "scopes": ["read"]})).json()
    principal = await tokens.by_token(site.app.state.platform_database, made["token"], now=site.app.state.clock.now())
    assert principal is not None
    stream = counted(
        site.app.state.page_streams,
        principal.user_id,
        FeedStream(request_of(site), principal, symbol=None, with_raw=False),
    )
    await take(stream, "feed-status")
    assert (await site.ada.call("DELETE", f"/api/auth/tokens/{made['id']}")).status_code == 204
    async with asyncio.timeout(10):
        async for _ in stream:
            pass


# The page.


async def test_the_page_shows_the_feed_of_all_or_of_one_and_says_what_it_does_not_know(site: Site, now: datetime) -> None:
    page = await site.ada.browse("GET", "/heartbeat")
    assert page.status_code == 200
    assert 'href="/heartbeat" aria-current="page"' in page.text
    assert "19 open gaps" in page.text, "of the one that was looked at the exchange has none"
    one = await site.ada.browse("GET", "/heartbeat", params={"symbol": "btc-usdt"})
    assert "feed%3ABTC/USDT" in one.text
    unknown = await site.ada.browse("GET", "/heartbeat", params={"symbol": "<b>"})
    assert (unknown.status_code, "There is no symbol &lt;b&gt;" in unknown.text) == (200, True)
    hits = await site.ada.browse("GET", "/heartbeat/symbols", params={"symbol": "bt"})
    assert 'href="/heartbeat?symbol=BTC/USDT"' in hits.text
    strangers = await site.http.get("/heartbeat", follow_redirects=False)
    assert strangers.status_code in (303, 401)


async def test_the_list_of_holes_goes_on_and_comes_back(site: Site, now: datetime) -> None:
    first = await site.ada.browse("GET", "/heartbeat/gaps")
    assert first.text.count('<tr id="gap-') == 50
    following = first.text.split('hx-get="/heartbeat/gaps?before=')[1].split('"')[0]
    second = await site.ada.browse("GET", "/heartbeat/gaps", params={"before": following})
    assert second.text.count('<tr id="gap-') == 10
    for wrong in ({"before": "x"}, {"symbol": "x" * 41}):
        assert (await site.ada.browse("GET", "/heartbeat/gaps", params=wrong)).status_code == 422
    assert (await site.ada.browse("GET", "/heartbeat/gaps", params={"symbol": "\x00"})).status_code == 200
