import json

import pytest

from app.emulator.config import EmulatorConfig
from app.emulator.fault_rules import read_rule
from app.emulator.requests import Received
from app.emulator.venue import build_venue
from tests.emulator.conftest import account_on
from tests.emulator_process import EmulatorProcess, SignedClient

BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
PATH = "/api/v3/order"
PING = Received(method="GET", path="/api/v3/ping", query="", body="", given={}, malformed=None, api_key=None, ip="127.0.0.1", received_ns=0)


@pytest.fixture
def emulator(standing_emulator: EmulatorProcess) -> EmulatorProcess:
    return standing_emulator


def statuses(emulator: EmulatorProcess, count: int, path: str = "/api/v3/ping") -> list[int]:
    return [emulator.request("GET", path).status for _ in range(count)]


def buy(client: SignedClient, client_order_id: str) -> int:
    return client.order(**BUY, newClientOrderId=client_order_id).status


def test_rules_count_skips_and_times_and_can_be_cleared(emulator: EmulatorProcess) -> None:
    emulator.fault("status_before", path="/api/v3/ping", times=2, skip=1, status=503, body={"code": -1000, "msg": "Busy"})
    assert statuses(emulator, 4) == [200, 503, 503, 200]
    emulator.fault("status_before", path="/api/v3/ping", times=100, status=503)
    emulator.control("DELETE", "/_fault")
    assert statuses(emulator, 1) == [200]
    assert emulator.state()["faults"] == []


def test_one_rule_can_be_taken_back_by_its_number(emulator: EmulatorProcess) -> None:
    first = emulator.fault("status_before", path="/api/v3/ping", times=100)
    second = emulator.fault("status_before", path="/api/v3/time", times=100)
    emulator.control("DELETE", f"/_fault?id={first}")
    assert [rule["id"] for rule in emulator.control("GET", "/_fault")] == [second]
    assert (statuses(emulator, 1), statuses(emulator, 1, "/api/v3/time")) == ([200], [504])
    assert emulator.request("DELETE", f"/_fault?id={first}").status == 404
    emulator.control("DELETE", "/_fault")


def test_rule_can_hit_the_orders_of_one_symbol_account_or_client_id_only(client: SignedClient) -> None:
    other = account_on(client.emulator)
    client.emulator.fault("status_before", path=PATH, symbol="ETHUSDT", times=100)
    assert buy(client, "any") == 200
    client.emulator.fault("status_before", path=PATH, api_key=other.api_key, times=100)
    assert (buy(client, "mine"), buy(other, "theirs")) == (200, 504)
    client.emulator.fault("status_before", path=PATH, client_order_id_prefix="bot-", times=100)
    assert (buy(client, "hand-1"), buy(client, "bot-1")) == (200, 504)


def test_rule_hits_the_nth_order_since_the_start(client: SignedClient) -> None:
    before = len(client.emulator.log())
    client.emulator.fault("status_before", at=f"order[{before + 2}]")
    assert [buy(client, f"nth-{number}") for number in range(4)] == [200, 200, 504, 200]
    client.emulator.fault("status_before", at=f"POST /api/v3/order[{before + 4}]", times=2)
    assert [buy(client, f"nth-{number}") for number in range(4, 7)] == [504, 504, 200]


def test_rule_with_an_end_hits_every_request_until_then(emulator: EmulatorProcess) -> None:
    emulator.fault("status_before", path="/api/v3/ping", for_ms=300)
    seen = statuses(emulator, 1)
    while emulator.control("GET", "/_fault"):
        seen += statuses(emulator, 1)
    seen += statuses(emulator, 1)
    assert (seen[0], seen[-1]) == (504, 200)
    assert seen == sorted(seen, reverse=True)


def test_chance_comes_from_the_seed_alone() -> None:
    def run(seed: int) -> list[bool]:
        faults = build_venue(EmulatorConfig(seed=seed, is_paused=True)).faults
        faults.put(read_rule({"do": "drop_after", "p": 0.5}))
        return [faults.take(PING) is not None for _ in range(40)]

    first = run(7)
    assert first == run(7)
    assert first != run(8)
    assert 5 < first.count(True) < 35


@pytest.mark.parametrize(
    "rule",
    [
        {"do": "explode"},
        {},
        {"do": "delay", "speed": 1},
        {"do": "delay", "times": "many"},
        {"do": "delay", "times": True},
        {"do": "delay", "times": 0},
        {"do": "drop_after", "delay_ms": 5},
        {"do": "drop_after", "p": 0},
        {"do": "drop_after", "p": "half"},
        {"do": "drop_after", "at": "cake[3]"},
        {"do": "drop_after", "at": "order[3]", "path": "/api/v3/order"},
        {"do": "drop_after", "at": "later"},
        {"do": "drop_after", "for": "30s", "for_ms": 30000},
        {"do": "drop_after", "for": "0s"},
        {"do": "ws_silent", "at": "order[3]"},
        {"do": "ws_close", "for": "3s"},
        {"do": "close_code"},
        {"do": "close_code", "code": 999},
        {"do": "clock_skew"},
        {"do": "clock_skew", "clock_skew_ms": 10**12},
        {"do": "status_before", "headers": {"Retry-After": 5}},
        {"do": "unavailable_1008", "executed": 1},
    ],
)
def test_rule_that_means_nothing_is_refused(emulator: EmulatorProcess, rule: dict[str, object]) -> None:
    assert emulator.request("POST", "/_fault", body=json.dumps(rule).encode()).status == 422
    assert emulator.control("GET", "/_fault") == []
