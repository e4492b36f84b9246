import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.events import EventBus
from app.core.http import Failure, install_error_handlers
from app.errors import ExchangeError, SymbolNotFound
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.feed_health import FeedReader
from app.marketdata.heartbeat import Heartbeat, HeartbeatConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.quotes import Quotes
from app.marketdata.router import router
from app.marketdata.symbols_router import router as symbols_router
from tests.emulator_process import EmulatorProcess


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--generate", "ETHUSDT:3000", "--history", "300") as process:
        process.control("POST", "/_pause")
        yield process


@pytest_asyncio.fixture
async def app(emulator: EmulatorProcess, emptied_urls: DatabaseUrls) -> AsyncIterator[FastAPI]:
    clock = SystemClock()
    database = Database(emptied_urls.app)
    await database.open()
    app = FastAPI()
    app.include_router(router)
    app.include_router(symbols_router)

    async def page(request: Request, failure: Failure) -> Response:
        return PlainTextResponse("", failure.problem.status)

    install_error_handlers(app, page)
    app.state.database = database
    app.state.registry = Registry(RegistryConfig(binance_rest_url=emulator.url), clock=clock)
    app.state.quotes = Quotes("binance")
    app.state.instruments = InstrumentBook(database, app.state.registry, clock=clock)
    app.state.emulator_url = emulator.ws_url
    config = HeartbeatConfig(symbols=("BTC/USDT",), history=timedelta(hours=4), stream_urls=(emulator.ws_url,), is_timed=False)
    app.state.heartbeat = Heartbeat(
        config, database=database, registry=app.state.registry, quotes=app.state.quotes, bus=EventBus(), clock=clock
    )
    app.state.feed = FeedReader("binance", live=app.state.heartbeat, database=database, clock=clock)
    yield app
    await app.state.registry.close()
    await database.close()


@pytest_asyncio.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def fill(app: FastAPI) -> None:
    """Run the heartbeat until the history is there."""
    task: asyncio.Task[None]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(app.state.heartbeat.run(lambda: None))
        while not app.state.heartbeat.status.is_fresh:  # noqa: ASYNC110  # told by another task in many steps
            await asyncio.sleep(0.02)
        task.cancel()


@pytest.mark.asyncio
async def test_candles_come_oldest_first_in_any_spelling_and_timeframe(app: FastAPI, http: httpx.AsyncClient) -> None:
    await fill(app)

    minutes = (await http.get("/api/ohlcv", params={"symbol": "BINANCE:btcusdt", "limit": 60})).json()
    hours = (await http.get("/api/ohlcv", params={"symbol": "BTC/USDT", "timeframe": "1h", "limit": 3})).json()
    first = minutes["items"][0]
    ranged = await http.get("/api/ohlcv", params={"symbol": "BTCUSDT", "start": "2026-01-01T00:00:00Z", "limit": 5})

    assert minutes["symbol"] == "BTC/USDT"
    assert len(minutes["items"]) == 60
    assert [row[0] for row in minutes["items"]] == [first[0] + 60_000 * i for i in range(60)]
    assert [row[0] % 3_600_000 for row in hours["items"]] == [0, 0, 0]
    assert len(ranged.json()["items"]) == 5


@pytest.mark.asyncio
async def test_unusable_questions_are_refused_with_a_reason(http: httpx.AsyncClient) -> None:
    unknown = await http.get("/api/ohlcv", params={"symbol": "NOSUCHCOIN"})
    perpetual = await http.get("/api/ohlcv", params={"symbol": "BTCUSDT.P"})
    backwards = {"symbol": "BTCUSDT", "start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}

    assert (unknown.status_code, unknown.json()["code"]) == (404, "SYMBOL_NOT_FOUND")
    assert "derivative" in perpetual.json()["detail"]
    assert (await http.get("/api/ohlcv", params=backwards)).status_code == 422
    assert (await http.get("/api/ohlcv", params={"symbol": "BTCUSDT", "timeframe": "7m"})).status_code == 422
    assert (await http.get("/api/ohlcv", params={"symbol": "BTCUSDT", "exchange": "nosuchexchange"})).status_code == 422


@pytest.mark.asyncio
async def test_symbols_are_searched_and_paged(http: httpx.AsyncClient) -> None:
    everything = (await http.get("/api/symbols")).json()
    first = (await http.get("/api/symbols", params={"limit": 1})).json()
    second = (await http.get("/api/symbols", params={"limit": 1, "cursor": first["next"]})).json()
    searched = (await http.get("/api/symbols", params={"search": "eth", "quote": "usdt"})).json()

    assert [item["symbol"] for item in everything["items"]] == ["BTC/USDT", "ETH/USDT"]
    assert everything["next"] is None
    assert [page["items"][0]["symbol"] for page in (first, second)] == ["BTC/USDT", "ETH/USDT"]
    assert [item["symbol"] for item in searched["items"]] == ["ETH/USDT"]
    assert isinstance(everything["items"][0]["tick_size"], str)


@pytest.mark.asyncio
async def test_the_state_of_the_feed_can_be_asked_while_it_runs_and_afterwards(app: FastAPI, http: httpx.AsyncClient) -> None:
    registry: Registry = app.state.registry
    registry.keep_clock("binance")

    async def asked() -> dict[str, Any]:
        answer = await http.get("/api/heartbeat/status")
        assert answer.status_code == 200
        return dict(answer.json())

    before = await asked()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop(lambda: None)) for loop in (app.state.heartbeat.run, registry.run)]
        while not app.state.heartbeat.status.is_fresh or (await asked())["clock_offset_ms"] is None:  # noqa: ASYNC110  # as in `fill`
            await asyncio.sleep(0.02)
        running = await asked()
        for task in tasks:
            task.cancel()
    after = await asked()
    async with app.state.database.connection() as connection:
        row = await connection.fetchrow("SELECT lag_ms, clock_offset_ms, reconnects, connections FROM heartbeat_status")

    assert (before["is_running"], before["is_connected"], before["sessions"], before["coherence"]) == (False, False, [], "ok")
    assert before["symbols_monitored"] == [{"symbol": "BTC/USDT", "last_closed": None, "age_s": None, "open_gaps": 0, "differences_24h": 0}]
    assert (running["is_running"], running["is_fresh"], running["reconnects"], running["alerts"]) == (True, True, 0, [])
    assert running["connections"][0].keys() == {"host", "streams", "opened_at", "age_ms"}, "never the whole address"
    assert (running["connections"][0]["host"], running["connections"][0]["streams"]) == (urlsplit(app.state.emulator_url).netloc, 2)
    assert running["symbols_monitored"][0]["age_s"] >= 0
    assert len(running["sessions"]) == 1
    # A process that does not run the feed answers with what was written down.
    assert (after["is_running"], after["is_fresh"], after["connections"]) == (False, False, [])
    assert after["started_at"] == running["started_at"]
    assert after["symbols_monitored"][0]["last_closed"] == running["symbols_monitored"][0]["last_closed"]
    assert after["sessions"][0]["stop_reason"] == "stopped"
    assert row["clock_offset_ms"] == after["clock_offset_ms"]
    assert (row["reconnects"], row["connections"]) == (0, [])


@pytest.mark.asyncio
async def test_instruments_are_stored_and_read_without_the_exchange(app: FastAPI, emulator: EmulatorProcess) -> None:
    book: InstrumentBook = app.state.instruments
    fetched = await book.get("binance", "BTC/USDT")
    emulator.fault("status_before", path="/api/v3/exchangeInfo", times=100, status=503)

    again = InstrumentBook(app.state.database, app.state.registry, clock=SystemClock())

    assert await again.get("binance", "BTC/USDT") == fetched
    assert await again.resolve("binance", "BINANCE:ETHUSDT") == "ETH/USDT"
    with pytest.raises(SymbolNotFound, match="not listed"):
        await again.require("binance", "DOGEUSDT")
    with pytest.raises(ExchangeError):
        await again.refresh("binance")
    assert await again.get("binance", "BTC/USDT") == fetched


@pytest.mark.asyncio
async def test_a_symbol_that_is_no_longer_listed_is_kept_as_inactive(app: FastAPI) -> None:
    book: InstrumentBook = app.state.instruments
    await book.refresh("binance")
    async with app.state.database.connection() as connection:
        await connection.execute("UPDATE instruments SET symbol = 'GONE/USDT', base = 'GONE' WHERE symbol = 'ETH/USDT'")

    changes = await book.refresh("binance")
    gone = await book.get("binance", "GONE/USDT")

    assert (changes.listed, changes.added, changes.removed) == (2, ("ETH/USDT",), ("GONE/USDT",))
    assert gone is not None
    assert not gone.is_active


@pytest.mark.asyncio
async def test_a_list_that_lost_most_of_its_symbols_changes_nothing(app: FastAPI) -> None:
    book: InstrumentBook = app.state.instruments
    await book.refresh("binance")
    async with app.state.database.connection() as connection:
        await connection.execute(
            "INSERT INTO instruments (id, exchange, symbol, base, quote, type, is_active, last_updated, tick_size, step_size, raw_info)"
            " SELECT gen_random_uuid(), exchange, n || '/USDT', n::text, 'USDT', type, true, last_updated, tick_size, step_size, raw_info"
            " FROM instruments, generate_series(1, 5) n WHERE symbol = 'BTC/USDT'"
        )
    with pytest.raises(ExchangeError, match="taken for incomplete") as refused:
        await book.refresh("binance")
    assert refused.value.code == "LISTING_INCOMPLETE"
    async with app.state.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM instruments WHERE is_active") == 7
