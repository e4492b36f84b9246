"""The server dies at each step of an alert's way to the exchange, as if the power had failed, and the sender repeats the alert."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.core.crash_points import NOTICE_POINT, POINTS, VARIABLE
from app.core.database_url import DatabaseUrls
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.fault_matrix import row
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.trader import PENDING, Trader
from tests.postgres import PostgresForTests, connected
from tests.server_process import ServerProcess

#: A loaded machine takes its time; each wait ends as soon as what it waits for is there.
PATIENCE_S = 60.0
#: The claim was the last that was written; whether the request left, nobody who starts afterwards can know.
CLAIMED_ONLY = ("P1", "P2")
ALERT = {"ticker": "BTCUSDT", "action": "buy", "quantity": "0.01", "client_intent_id": "one-wish"}


class MortalServer(ServerProcess):
    """A server that can be told, before it starts, at which step to die."""

    def start_mortal(self, point: str) -> None:
        """Start it so that it dies when it comes to that step. Raises as `start`."""
        self._settings[VARIABLE] = point
        self.start()

    def start_again(self) -> None:
        """Start it as it is in production. Raises as `start`."""
        self._settings.pop(VARIABLE, None)
        self.start()

    def died_by(self) -> int:
        """Wait until it has died by itself, and return the number of the signal."""
        assert self._process is not None
        status = self._process.wait(PATIENCE_S)
        self._process = None
        return -status


@pytest.fixture(scope="module")
def venue() -> Iterator[EmulatorProcess]:
    """An exchange for the orders of this file."""
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", "60", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    """A database for this file: what one server leaves there the next one finds."""
    made = await postgres.create_database()
    yield made
    await postgres.drop_database(made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for this file, so that all its servers know the same secrets."""
    return tmp_path_factory.mktemp("mortal")


@pytest.fixture
def server(venue: EmulatorProcess, urls: DatabaseUrls, folder: Path) -> Iterator[MortalServer]:
    """A server that was not started yet."""
    server = MortalServer(folder, **settings_for(venue, urls, registration="open", heartbeat_history_minutes=0))
    yield server
    end(server)


def try_to_alert(trader: Trader) -> None:
    """Send the alert to a server that may die before it answers."""
    with suppress(httpx.TransportError):
        trader.knock(json.dumps(ALERT))


def is_at_both_once(trader: Trader, order: dict[str, Any]) -> None:
    """Order, fills and position here are those of the exchange, once."""
    assert [known["id"] for known in trader.orders()] == [order["id"]]
    (placed,) = trader.placed()
    assert (placed["clientOrderId"], placed["status"]) == (order["client_order_id"], "FILLED")
    fills = trader.call("GET", "/api/fills")["items"]
    assert sum(Decimal(fill["quantity"]) for fill in fills) == Decimal(placed["executedQty"])
    (position,) = trader.positions()
    assert Decimal(position["quantity"]) == trader.venue_balances()["BTC"][0]


def filled_order(trader: Trader) -> dict[str, Any]:
    (order,) = eventually(lambda: [o for o in trader.orders() if o["state"] == "filled"], "the order is filled", within_s=PATIENCE_S)
    return dict(order)


def all_decided(trader: Trader) -> dict[str, Any]:
    """Wait until each delivery is decided, and return the codes by decision."""
    eventually(lambda: PENDING not in {found["decision"] for found in trader.deliveries()}, "all is decided", within_s=PATIENCE_S)
    return {found["decision"]: found["code"] for found in trader.deliveries()}


@row(21)
@pytest.mark.parametrize("point", [point for point in POINTS if point not in CLAIMED_ONLY])
def test_an_alert_repeated_after_a_death_at_any_step_is_traded_once(
    server: MortalServer, venue: EmulatorProcess, make_trader: MakeTrader, point: str
) -> None:
    server.start_mortal(point)
    trader = make_trader(server, venue).sign_up().set_up()
    try_to_alert(trader)
    assert server.died_by() == signal.SIGKILL
    assert len(trader.placed()) == (1 if point in ("P4", "P5") else 0)
    server.start_again()
    again = trader.knock(json.dumps(ALERT))
    was_stored = point != "P_INBOX_BEFORE"
    assert again.status_code == (200 if was_stored else 202), "a sender that is told 2xx stops repeating"
    is_at_both_once(trader, filled_order(trader))
    assert all_decided(trader) == {"executed": None} | ({"duplicate": None} if was_stored else {})


@row(21)
@pytest.mark.parametrize("point", ["P_INBOX_AFTER", "P0", "P4", "P5"])
def test_a_message_of_two_alerts_is_finished_after_a_death_in_the_first_and_each_is_traded_once(
    server: MortalServer, venue: EmulatorProcess, make_trader: MakeTrader, point: str
) -> None:
    wishes = [{"ticker": "BTCUSDT", "action": "buy", "quantity": quantity} for quantity in ("0.01", "0.02")]
    server.start_mortal(point)
    trader = make_trader(server, venue).sign_up().set_up()
    with suppress(httpx.TransportError):
        trader.knock(json.dumps(wishes))
    assert server.died_by() == signal.SIGKILL
    assert len(trader.placed()) == (1 if point in ("P4", "P5") else 0)
    server.start_again()
    assert all_decided(trader) == {"executed": None}
    assert sorted(order["origQty"] for order in trader.placed()) == ["0.01000000", "0.02000000"]
    (position,) = trader.positions()
    assert Decimal(position["quantity"]) == trader.venue_balances()["BTC"][0]


@row(21)
@pytest.mark.parametrize("point", CLAIMED_ONLY)
def test_an_order_claimed_by_a_server_that_died_is_never_sent_by_its_successor(
    server: MortalServer, venue: EmulatorProcess, urls: DatabaseUrls, make_trader: MakeTrader, point: str
) -> None:
    server.start_mortal(point)
    trader = make_trader(server, venue).sign_up().set_up()
    try_to_alert(trader)
    assert server.died_by() == signal.SIGKILL
    server.start_again()
    assert trader.knock(json.dumps(ALERT)).status_code == 200
    (order,) = eventually(lambda: [o for o in trader.orders() if o["state"] == "unknown"], "the doubt is told", within_s=PATIENCE_S)
    assert trader.placed() == []
    asyncio.run(let_the_window_pass(urls))
    eventually(lambda: trader.orders()[0]["state"] == "lost", "it is given up", within_s=PATIENCE_S)
    assert all_decided(trader) == {"denied": "LOST", "duplicate": None}
    assert ([o["id"] for o in trader.orders()], trader.placed(), trader.positions()) == ([order["id"]], [], [])


async def let_the_window_pass(urls: DatabaseUrls) -> None:
    """As if the orders in doubt had been sent a minute ago: the exchange takes none of them any more."""
    minute = "interval '1 minute'"
    async with connected(urls.owner) as owner:
        await owner.execute(
            f"UPDATE orders SET created_at = created_at - {minute}, sent_at = sent_at - {minute} WHERE state IN ('submitting', 'unknown')"
        )


@row(21)
def test_a_notice_handed_on_by_a_server_that_died_is_handed_on_again_by_its_successor(server: MortalServer, urls: DatabaseUrls) -> None:
    asyncio.run(tell_nothing_old(urls))
    server.start_mortal(NOTICE_POINT)
    asyncio.run(wish_to_tell(urls))
    assert server.died_by() == signal.SIGKILL
    server.start_again()
    eventually(lambda: server.log_path.read_text().count("a word to the trader") == 2, "it is told again", within_s=PATIENCE_S)
    eventually(lambda: asyncio.run(untold(urls)) == 0, "and that is written down", within_s=PATIENCE_S)


async def tell_nothing_old(urls: DatabaseUrls) -> None:
    """What earlier deaths left to be told must not be what this server dies of, before it is ready."""
    async with connected(urls.owner) as owner:
        await owner.execute("UPDATE outbox SET done_at = now() WHERE done_at IS NULL")


async def wish_to_tell(urls: DatabaseUrls) -> None:
    """A notice as it is committed with what it is about."""
    async with connected(urls.owner) as owner:
        await owner.execute(
            "INSERT INTO outbox (user_id, kind, body, created_at)"
            " SELECT id, 'order_lost', '{\"text\": \"a word to the trader\"}', now() FROM users LIMIT 1"
        )


async def untold(urls: DatabaseUrls) -> int:
    """How many notices wait to be handed on."""
    async with connected(urls.owner) as owner:
        return int(await owner.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL"))


@row(22, 27)
def test_a_request_repeated_after_a_kill_gets_the_order_it_had_made(
    server: MortalServer, venue: EmulatorProcess, make_trader: MakeTrader
) -> None:
    server.start_again()
    trader = make_trader(server, venue).sign_up().set_up()
    venue.fault("delay", method="POST", path="/api/v3/order", delay_ms=60_000)
    wish = {"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"}

    def ask() -> Any:
        return trader.call("POST", "/api/orders", json=wish, headers={"Idempotency-Key": "one-click"})

    with ThreadPoolExecutor() as pool:
        cut_off = pool.submit(ask)
        eventually(trader.placed, "the exchange has the order", within_s=PATIENCE_S)
        server.kill()
        with pytest.raises(httpx.TransportError):
            cut_off.result(PATIENCE_S)
    server.start_again()
    first = ask()
    order = filled_order(trader)
    assert (first["id"], ask()["id"]) == (order["id"], order["id"])
    is_at_both_once(trader, order)
