import json
import shlex
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.journeys.demo_process import DemoProcess, processes_of
from tests.journeys.eventually import eventually
from tests.postgres import data_folder

KEYS = {"url", "username", "password", "broker_id", "webhook_url", "webhook_id", "symbol", "emulator_url", "pid"}
FIRST_START_S = 60
LATER_START_S = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def home() -> Iterator[tuple[Path, int]]:
    """A data directory and a port that the demos of this module use one after the other."""
    folder = data_folder()
    yield folder / "demo", free_port()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run_demo(home: tuple[Path, int]) -> Iterator[DemoProcess]:
    """The demo of that directory, not yet started."""
    demo = DemoProcess(home[0], port=home[1])
    home[0].parent.mkdir(exist_ok=True)
    yield demo
    demo.end()


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Another data directory."""
    folder = data_folder()
    yield folder / "demo"
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def client_of(demo: DemoProcess) -> Iterator[httpx.Client]:
    """A client that is logged in as the demo's user."""
    with httpx.Client(base_url=demo.facts["url"], timeout=20, trust_env=False) as client:
        login = {"username": demo.facts["username"], "password": demo.facts["password"]}
        answer = client.post("/api/auth/login", json=login)
        answer.raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def items(client: httpx.Client, path: str) -> list[Any]:
    answer = client.get(path)
    answer.raise_for_status()
    return list(answer.json()["items"])


def own_orders(demo: DemoProcess, client: httpx.Client) -> list[Any]:
    """The orders of the demo's account: those of its bot are another's."""
    return [order for order in items(client, "/api/orders") if order["broker_id"] == demo.facts["broker_id"]]


def send_printed_alert(demo: DemoProcess, note: str) -> str:
    """Send what the printed curl line would send, with a note that makes it an alert of its own, and return the delivery's id."""
    line = next(line for line in demo.said.splitlines() if line.strip().startswith("curl "))
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("http"))
    assert url == demo.facts["webhook_url"]
    alert = json.loads(words[words.index("-d") + 1]) | {"note": note}
    answer = httpx.post(url, json=alert, trust_env=False)
    assert answer.status_code == 202
    return str(answer.json()["delivery_id"])


def filled_order(demo: DemoProcess, client: httpx.Client, delivery_id: str) -> Any:
    def ask() -> Any:
        return next((o for o in items(client, "/api/orders") if o["delivery_id"] == delivery_id and o["state"] == "filled"), None)

    order = eventually(ask, "the alert is a filled order")
    assert order["client_order_id"] in {placed["clientOrderId"] for placed in demo.emulator().orders()}
    return order


def test_a_demo_trades_at_once_and_leaves_nothing_behind(run_demo: DemoProcess, elsewhere: Path) -> None:
    demo = run_demo.start(within_s=FIRST_START_S)
    print(f"first start {demo.took_s:.1f} s")
    assert demo.facts.keys() == KEYS
    assert demo.summary.stat().st_mode & 0o777 == 0o600
    assert psutil.pid_exists(demo.facts["pid"])
    assert demo.facts["pid"] in demo.processes()
    assert demo.facts["url"] in demo.said
    assert demo.facts["password"] in demo.said
    with client_of(demo) as client, ExitStack() as stack:
        assert [one["id"] for one in items(client, "/api/brokers") if one["exchange"] != "paper"] == [demo.facts["broker_id"]]
        assert [hook["id"] for hook in items(client, "/api/webhooks")] == [demo.facts["webhook_id"]]
        eventually(lambda: client.get("/api/heartbeat/status").json()["is_fresh"], "the feed is fresh")
        order = filled_order(demo, client, send_printed_alert(demo, "the first"))
        assert order["symbol"] == demo.facts["symbol"]
        eventually(lambda: items(client, "/api/positions"), "the order is a position")
        candles = client.get("/api/ohlcv", params={"symbol": demo.facts["symbol"], "limit": 1500}).json()["items"]
        assert len(candles) == 1500
        eventually(lambda: [bot["state"] for bot in items(client, "/api/bots")] == ["running"], "its bot runs", within_s=30)

        other = DemoProcess(elsewhere)
        stack.callback(other.end)
        other.start(within_s=FIRST_START_S)
        print(f"first start of a second one beside it {other.took_s:.1f} s")
        assert other.facts["url"] != demo.facts["url"]
        with client_of(other) as neighbour:
            assert own_orders(other, neighbour) == []
            filled_order(other, neighbour, send_printed_alert(other, "the neighbour's"))
            assert len(own_orders(demo, client)) == 1
        print(f"Ctrl-C took {other.interrupt():.1f} s")
        assert processes_of(elsewhere) == {}
        assert client.get("/healthz").status_code == 200
    print(f"Ctrl-C took {demo.interrupt():.1f} s")
    assert demo.processes() == {}
    assert not demo.summary.exists()
    assert not other.summary.exists()


def test_a_demo_goes_on_where_it_stopped_even_after_a_kill(run_demo: DemoProcess) -> None:
    demo = run_demo.start(within_s=FIRST_START_S)
    first = demo.facts
    with client_of(demo) as client:
        order = filled_order(demo, client, send_printed_alert(demo, "before the stop"))
    demo.interrupt()

    demo.start()
    print(f"later start {demo.took_s:.1f} s")
    assert demo.took_s < LATER_START_S
    same = KEYS - {"pid", "emulator_url"}
    assert {key: demo.facts[key] for key in same} == {key: first[key] for key in same}
    with client_of(demo) as client:
        assert order["id"] in {found["id"] for found in items(client, "/api/orders")}

    left = demo.processes()
    emulator = next(pid for pid, command in left.items() if "app.emulator" in command)
    demo.kill()
    eventually(lambda: not psutil.pid_exists(emulator), "the emulator ends by itself", within_s=10)

    demo.start()
    print(f"start after a kill {demo.took_s:.1f} s")
    assert {key: demo.facts[key] for key in same} == {key: first[key] for key in same}
    with client_of(demo) as client:
        assert order["id"] in {found["id"] for found in items(client, "/api/orders")}
        again = filled_order(demo, client, send_printed_alert(demo, "after the kill"))
        assert again["id"] != order["id"]
    demo.interrupt()
    assert demo.processes() == {}
    assert not demo.summary.exists()
