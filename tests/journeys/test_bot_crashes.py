"""A server that runs a bot dies at each step of a decision, as if the power had failed: the next one trades the candle once, or never."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.clock import SystemClock
from app.core.crash_points import BOT_POINTS
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.strategies.versions import get_version, keep_report
from tests.app.botting import BUYS
from tests.app.library import report_of
from tests.emulator_process import EmulatorProcess, steps, write_candles
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.test_crash_points import MortalServer, let_the_window_pass
from tests.journeys.trader import Trader
from tests.postgres import PostgresForTests

PATIENCE_S = 60.0
#: As BUYS, with a stop that rests at the exchange.
GUARDED = BUYS.replace("    warm_up = 2\n", "    warm_up = 2\n    stop_loss = 0.1\n")


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands until a test moves it."""
    path = write_candles(tmp_path / "binance-BTCUSDT-1m-standing.csv", steps([60000.0] * 600))
    with EmulatorProcess("--replay", str(path), "--history", "60", "--paused") as process:
        yield process


@pytest_asyncio.fixture
async def urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    made = await postgres.create_database()
    yield made
    await postgres.drop_database(made)


@pytest.fixture
def server(venue: EmulatorProcess, urls: DatabaseUrls, tmp_path: Path) -> Iterator[MortalServer]:
    server = MortalServer(tmp_path / "data", **settings_for(venue, urls, registration="open"))
    yield server
    end(server)


async def _validate(urls: DatabaseUrls, user_id: UUID, strategy_id: UUID) -> None:
    """Say of the strategy's version that it may trade."""
    database = Database(urls.app)
    await database.open()
    try:
        async with database.transaction() as session:
            version = await get_version(session, user_id, strategy_id)
            await keep_report(session, user_id, version.id, report_of(version.source), now=SystemClock().now())
    finally:
        await database.close()


def begun(trader: Trader, urls: DatabaseUrls) -> str:
    """A bot that runs and has its strategy loaded."""
    trader.open_account()
    broker_id = trader.add_broker()
    strategy = trader.call("POST", "/api/strategies", json={"name": "Guarded", "source": GUARDED})
    user_id = trader.call("GET", "/api/auth/current")["id"]
    asyncio.run(_validate(urls, UUID(user_id), UUID(strategy["id"])))
    wish = {"strategy_id": strategy["id"], "broker_id": broker_id, "symbol": "BTCUSDT", "mode": "live", "capital": "1000"}
    made = trader.call("POST", "/api/bots", json=wish)
    trader.call("POST", f"/api/bots/{made['id']}/start")
    is_loaded(trader)
    return str(made["id"])


def dies(server: MortalServer, venue: EmulatorProcess) -> int:
    """Let candles close until the server has died, and return by what signal; the first may be one that had closed by the clock already."""
    for _ in range(4):
        venue.advance(1)
        with suppress(subprocess.TimeoutExpired):
            assert server._process is not None
            server._process.wait(6)
            break
    return server.died_by()


def is_loaded(trader: Trader) -> None:
    eventually(lambda: trader.call("GET", "/readyz")["bots"]["loaded"] == 1, "the strategy is loaded", within_s=PATIENCE_S)


def bought(trader: Trader) -> list[Any]:
    return [order for order in trader.placed() if order["side"] == "BUY"]


def _first_state(trader: Trader, bot_id: str) -> str:
    return str(trader.call("GET", f"/api/bots/{bot_id}/signals")["items"][-1]["state"])


def held(trader: Trader, bot_id: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(
        lambda: trader.call("GET", f"/api/bots/{bot_id}")["held"], "the bot holds something", within_s=PATIENCE_S
    )
    return found


@pytest.mark.parametrize("point", [*BOT_POINTS, "P1", "P4"])
def test_a_candle_is_traded_once_whenever_the_server_dies(
    server: MortalServer, venue: EmulatorProcess, urls: DatabaseUrls, make_trader: MakeTrader, point: str
) -> None:
    server.start_mortal(point)
    trader = make_trader(server, venue).sign_up()
    bot_id = begun(trader, urls)
    assert dies(server, venue) == signal.SIGKILL
    assert len(bought(trader)) == (1 if point in ("B2", "P4") else 0)
    server.start_again()
    trader.log_in(trader.username, trader.password)
    is_loaded(trader)
    if point == "P1":
        # Whether it left nobody can know who starts afterwards; the exchange says that it did not, and nothing is sent again.
        eventually(lambda: [one for one in trader.orders() if one["state"] == "unknown"], "the doubt is told", within_s=PATIENCE_S)
        asyncio.run(let_the_window_pass(urls))
        eventually(lambda: _first_state(trader, bot_id) not in ("decided", "submitted"), "it is over", within_s=PATIENCE_S)
        assert bought(trader) == []
        return
    position = held(trader, bot_id)
    (order,) = bought(trader)
    assert Decimal(order["executedQty"]) > 0
    assert position["stop_price"] is not None

    def is_done() -> bool:
        venue.advance(1)
        return len([one for one in trader.call("GET", f"/api/bots/{bot_id}/signals")["items"] if one["state"] == "done"]) > 1

    eventually(is_done, "a later candle is decided at too", within_s=PATIENCE_S)
    assert len(bought(trader)) == 1
