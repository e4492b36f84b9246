import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from app.core.database_url import DatabaseUrls
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.fault_matrix import row
from tests.journeys.conftest import MakeTrader, StartServer, end, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.trader import PENDING, SYMBOL, Trader
from tests.server_process import ServerProcess

ORDER_REQUEST = {"method": "POST", "path": "/api/v3/order"}
ALERTS = 30


class Onlooker(ServerProcess):
    """A server that need not own the engine role to count as started."""

    def _is_ready(self, offset: int) -> bool:
        if super()._is_ready(offset):
            return True
        try:
            return bool(self.url) and httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False, verify=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def venue() -> Iterator[EmulatorProcess]:
    """An exchange of the test's own, for its faults are everybody's."""
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", "60", *WITHOUT_LIMITS) as process:
        yield process


def order_requests_lost(venue: EmulatorProcess) -> int:
    """How many order requests the fault in force has hit."""
    (rule,) = venue.control("GET", "/_fault")
    hits: int = rule["hits"]
    return hits


@row(21)
def test_a_kill_between_the_order_and_its_reply_leaves_one_filled_order(
    venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(venue)
    trader = make_trader(server, venue).log_in().set_up()
    venue.fault("delay", **ORDER_REQUEST, delay_ms=8000)
    delivery_id = trader.alert(quantity="0.01")
    eventually(trader.placed, "the exchange has the order")
    assert [order["state"] for order in trader.orders()] == ["submitting"]
    assert trader.delivery(delivery_id)["decision"] == PENDING

    server.kill()
    server.start()
    started = time.monotonic()
    (order,) = eventually(lambda: [o for o in trader.orders() if o["state"] == "filled"], "the order is filled", within_s=5)
    delivery = trader.decided(delivery_id, within_s=5)
    print(f"settled {time.monotonic() - started:.1f} s after the restart")

    assert len(trader.orders()) == 1
    (placed,) = trader.placed()
    assert placed["clientOrderId"] == order["client_order_id"]
    assert (delivery["decision"], delivery["order_ids"]) == ("executed", [order["id"]])
    one_fill_and_one_position(trader, placed)
    time.sleep(2.5)  # two more rounds of reconcile and of the inbox change nothing
    assert [o["orderId"] for o in trader.placed()] == [placed["orderId"]]
    one_fill_and_one_position(trader, placed)


def one_fill_and_one_position(trader: Trader, placed: Any) -> None:
    fills = trader.call("GET", "/api/fills")["items"]
    assert sum(Decimal(fill["quantity"]) for fill in fills) == Decimal(placed["executedQty"])
    (position,) = trader.positions()
    assert position["symbol"] == SYMBOL
    assert Decimal(position["quantity"]) == trader.venue_balances()["BTC"][0]


@row(21)
def test_a_kill_before_the_request_arrives_is_never_taken_for_a_fill_nor_sent_again(
    venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(venue)
    trader = make_trader(server, venue).log_in().set_up()
    venue.fault("drop_before", **ORDER_REQUEST, times=5)
    delivery_id = trader.alert(quantity="0.01")
    eventually(lambda: order_requests_lost(venue) == 1, "the one request is lost on its way")
    server.kill()
    server.start()

    (order,) = eventually(lambda: [o for o in trader.orders() if o["state"] != "submitting"], "the doubt is written down", within_s=5)
    assert order["delivery_id"] == delivery_id
    time.sleep(3)  # reconcile asks again and again; it must not send
    (order,) = trader.orders()
    assert order["state"] == "unknown"
    assert Decimal(order["filled_quantity"]) == 0
    assert trader.delivery(delivery_id)["decision"] == PENDING, "nobody knows yet what became of it"
    assert order_requests_lost(venue) == 1
    assert trader.placed() == []
    assert trader.positions() == []


@row(21)
def test_a_kill_in_the_middle_of_many_alerts_trades_each_of_them_once(
    venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(venue)
    trader = make_trader(server, venue).log_in().set_up(hooks=3)
    warm = trader.alert(quantity="0.001", note="so that everything is loaded")
    assert trader.decided(warm)["decision"] == "executed"
    venue.fault("delay", **ORDER_REQUEST, delay_ms=120, times=1000)
    promised = {warm} | send_many(trader)
    moment_s = random.uniform(0.0, 0.4)
    time.sleep(moment_s)
    server.kill()
    placed_before = len(trader.placed())
    print(f"killed {moment_s * 1000:.0f} ms after the last answer, with {placed_before} of {len(promised)} orders at the exchange")
    assert placed_before < len(promised), "the kill came too late to prove anything"
    server.start()
    every_promise_is_kept(trader, promised)


def send_many(trader: Trader) -> set[str]:
    """Send alerts from three senders at once, and return the ids of those that were answered with 202."""
    promised: set[str] = set()

    def send(hook: int) -> None:
        for number in range(ALERTS // 3):
            promised.add(trader.alert(hook=hook, quantity="0.001", note=f"{hook}-{number}"))

    senders = [threading.Thread(target=send, args=(hook,)) for hook in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return promised


def every_promise_is_kept(trader: Trader, promised: set[str]) -> None:
    """Each delivery is decided, and each order that was made is at the exchange once, under its own client order id."""
    # A kill between "claimed" and "sent" leaves an order that never arrived; it is given up when the venue's window has passed.
    eventually(lambda: all(d["decision"] != PENDING for d in trader.deliveries()), "every delivery is decided", within_s=40)
    deliveries = {delivery["id"]: delivery for delivery in trader.deliveries()}
    orders = {order["client_order_id"]: order for order in trader.orders()}
    assert promised <= deliveries.keys()
    assert Counter(order["delivery_id"] for order in orders.values()) == Counter(list(deliveries))
    assert {order["state"] for order in orders.values()} <= {"filled", "lost"}

    placed = Counter(order["clientOrderId"] for order in trader.placed())
    assert set(placed.values()) == {1}
    assert placed.keys() == {known for known, order in orders.items() if order["state"] == "filled"}
    decisions = Counter(delivery["decision"] for delivery in deliveries.values())
    assert decisions["executed"] == len(placed)
    # Each webhook has one order on its way at a time.
    lost = {order["delivery_id"] for order in orders.values() if order["state"] == "lost"}
    assert decisions["denied"] == len(lost) <= len(trader.hook_paths)
    assert {deliveries[known]["code"] for known in lost} <= {"LOST"}
    assert sum(Decimal(order["filled_quantity"]) for order in orders.values()) == Decimal("0.001") * len(placed)
    (position,) = trader.positions()
    assert Decimal(position["quantity"]) == trader.venue_balances()["BTC"][0]


@pytest.fixture
def two_servers(venue: EmulatorProcess, database_urls: DatabaseUrls, tmp_path: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers on one database with the same secrets; the first one owns the engine role."""
    shared = {"jwt_secret": os.urandom(32).hex(), "fernet_key": Fernet.generate_key().decode()}
    settings = settings_for(venue, database_urls, **shared)
    pair = ServerProcess(tmp_path / "first", **settings), Onlooker(tmp_path / "second", **settings)
    with ExitStack() as stack:
        for server in pair:
            stack.callback(end, server)
            server.start()
        yield pair


def is_engine(server: ServerProcess) -> bool:
    answer: bool = httpx.get(f"{server.url}/readyz", timeout=5, trust_env=False, verify=False).json()["is_engine"]
    return answer


def executed(trader: Trader, *delivery_ids: str) -> None:
    """Wait until these alerts are traded, and look that the exchange has each order once."""
    for delivery_id in delivery_ids:
        assert trader.decided(delivery_id)["decision"] == "executed"
    eventually(lambda: {order["state"] for order in trader.orders()} == {"filled"}, "every order is filled")
    assert {order["client_order_id"] for order in trader.orders()} == {order["clientOrderId"] for order in trader.placed()}
    assert len(trader.orders()) == len(trader.placed())


def the_same_alert_to_both_is_traded_once(trader: Trader, *servers: ServerProcess) -> None:
    """Send one message to each server at the same moment, as a sender does whose proxy repeats it."""
    before = len(trader.placed())
    body = '{"ticker": "BTCUSDT", "action": "buy", "quantity": "0.001", "client_intent_id": "to both"}'
    together = threading.Barrier(len(servers))

    def knock(server: ServerProcess) -> httpx.Response:
        together.wait()
        return httpx.post(server.url + trader.hook_paths[0], content=body, timeout=20, trust_env=False, verify=False)

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(knock, servers))
    assert sorted(answer.status_code for answer in answers) == [200, 202]
    executed(trader, *(answer.json()["delivery_id"] for answer in answers if answer.status_code == 202))
    assert len(trader.placed()) == before + 1


@row(23, 25, 26)
def test_the_engine_role_moves_from_a_frozen_server_and_back_from_a_killed_one(
    venue: EmulatorProcess, two_servers: tuple[ServerProcess, ServerProcess], make_trader: MakeTrader
) -> None:
    first, second = two_servers
    trader = make_trader(first, venue).log_in().set_up()
    assert (is_engine(first), is_engine(second)) == (True, False)

    # Both take alerts, one trades them.
    by_first = trader.alert(quantity="0.001", note="to the first")
    trader.server = second
    executed(trader, by_first, trader.alert(quantity="0.001", note="to the second"))
    the_same_alert_to_both_is_traded_once(trader, first, second)

    os.kill(first.pid, signal.SIGSTOP)
    try:
        frozen = time.monotonic()
        waiting = trader.alert(quantity="0.001", note="while the first is frozen")
        eventually(lambda: is_engine(second), "the role has moved from the frozen server", within_s=12)
        print(f"taken over {time.monotonic() - frozen:.1f} s after the freeze")
        executed(trader, waiting)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: not is_engine(first), "the woken server knows that it lost the role", within_s=3)
    trader.server = first
    executed(trader, trader.alert(quantity="0.001", note="to the woken one"))

    # Killed with one order on its way and one alert behind it.
    venue.fault("delay", **ORDER_REQUEST, delay_ms=8000)
    on_its_way = trader.alert(quantity="0.001", note="on its way")
    eventually(lambda: len(trader.placed()) == 6, "the exchange has the sixth order")
    behind = trader.alert(quantity="0.001", note="behind it")
    second.kill()
    killed = time.monotonic()
    afterwards = trader.alert(quantity="0.001", note="while nobody trades")
    eventually(lambda: is_engine(first), "the role has moved from the dead server", within_s=12)
    print(f"taken over {time.monotonic() - killed:.1f} s after the kill")
    executed(trader, on_its_way, behind, afterwards)
    assert len(trader.placed()) == 8
