"""A server is killed, or asked to end, while backtests run: the next one begins them anew, and no process is left behind."""

from typing import Any

import psutil
import pytest

from app.backtests.pool import PROCESS
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.strategies.candles import generated
from tests.app.backtesting import END, URL, slow, wish
from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually
from tests.journeys.trader import Trader

_MINUTES = 2_500


async def _rows(urls: DatabaseUrls, sql: str, *values: object) -> list[Any]:
    database = Database(urls.app)
    await database.open()
    try:
        async with database.connection() as connection:
            return list(await connection.fetch(sql, *values))
    finally:
        await database.close()


async def _store_candles(urls: DatabaseUrls) -> None:
    database = Database(urls.app)
    await database.open()
    try:
        candles = generated(_MINUTES + 200, Timeframe.M1, end_ms=to_milliseconds(END), seed=1)
        await CandleStore(database).load("binance", "BTC/USDT", Timeframe.M1, candles, source=CandleSource.IMPORT)
    finally:
        await database.close()


def _processes_of(parent: int) -> list[psutil.Process]:
    """Those of a server's pool, by what they were told of their parent."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if PROCESS in command and str(parent) in command:
            found.append(process)
    return found


def _state(trader: Trader, backtest_id: str, *states: str) -> dict[str, Any] | None:
    found: dict[str, Any] = trader.call("GET", f"{URL}/{backtest_id}")
    return found if found["state"] in states else None


def _over(trader: Trader, backtest_id: str) -> dict[str, Any]:
    return eventually(lambda: _state(trader, backtest_id, "completed", "failed"), "it is done", within_s=60)


def _begin(trader: Trader, source: str) -> dict[str, Any]:
    strategy = trader.call("POST", "/api/strategies", json={"name": "Slow", "source": source})
    made: dict[str, Any] = trader.call("POST", URL, json=wish(strategy["id"], minutes=_MINUTES))
    return made


@pytest.mark.asyncio(loop_scope="function")
async def test_a_killed_server_loses_no_backtest_and_leaves_no_process(
    paused_market: EmulatorProcess, database_urls: DatabaseUrls, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(paused_market)
    await _store_candles(database_urls)
    trader = make_trader(server, paused_market).log_in()
    made = _begin(trader, slow(60_000))
    waits = trader.call("POST", f"{URL}/{made['id']}/repeat")
    eventually(lambda: _state(trader, made["id"], "running"), "it runs", within_s=30)
    eventually(lambda: _processes_of(server.pid) or None, "the pool has a process", within_s=30)
    pid = server.pid
    server.kill()
    eventually(lambda: True if not _processes_of(pid) else None, "its processes end with it", within_s=5)

    trader.server = start_server(paused_market)
    trader.log_in()
    done = [_over(trader, one["id"]) for one in (made, waits)]
    assert [(one["state"], one["attempts"]) for one in done] == [("completed", 2), ("completed", 1)]
    # Nothing of the first attempt is in what came of the second.
    rows = await _rows(database_urls, "SELECT trades, fills, equity FROM backtest_results ORDER BY backtest_id")
    assert len(rows) == 2
    assert rows[0] == rows[1]


@pytest.mark.asyncio(loop_scope="function")
async def test_a_server_that_is_asked_to_end_hands_its_backtests_on_and_one_that_brings_it_down_is_given_up(
    paused_market: EmulatorProcess, database_urls: DatabaseUrls, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(paused_market)
    await _store_candles(database_urls)
    trader = make_trader(server, paused_market).log_in()
    made = _begin(trader, slow(60_000))
    eventually(lambda: _state(trader, made["id"], "running"), "it runs", within_s=30)
    server.stop()
    (row,) = await _rows(database_urls, "SELECT state, attempts, lease_owner FROM backtests")
    assert tuple(row) == ("queued", 0, None)

    # As if three servers had ended before it was done.
    await _rows(database_urls, "UPDATE backtests SET attempts = 3")
    trader.server = start_server(paused_market)
    trader.log_in()
    failed = eventually(lambda: _state(trader, made["id"], "completed", "failed"), "it is given up", within_s=30)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "BACKTEST_WORKER_LOST")
