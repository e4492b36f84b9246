import contextlib
import http.client
import json
import re
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.emulator.config import EmulatorConfig
from app.emulator.scenario import read_scenario
from app.emulator.venue import build_venue
from app.emulator.verdict import judge
from app.errors import ConfigError
from tests.emulator.conftest import StartEmulator
from tests.emulator_process import EmulatorProcess, SignedClient, steps, write_candles

PAGE = Path(__file__).resolve().parents[2] / "docs/emulator.md"
ORDER = "/api/v3/order"
START_MS = 1_767_225_600_000


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenario that the emulator's page shows."""
    (shown,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path_factory.mktemp("scenario") / "run.toml"
    path.write_text(shown)
    return path


class Trader:
    """A client that never asks twice for the same thing, in virtual time."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self._client = SignedClient(emulator=emulator, api_key="k1", api_secret="s1")

    def call(self, method: str, path: str, **params: object) -> Any:
        """Return the document of an answer, None when none came."""
        now = self.emulator.state()["server_time"]
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            return self._client.call(method, path, params, timestamp=now).document
        return None

    def buy(self, client_order_id: str, *, price: str | None = None) -> Any:
        how = {"type": "MARKET"} if price is None else {"type": "LIMIT", "timeInForce": "GTC", "price": price}
        return self.call("POST", ORDER, symbol="BTCUSDT", side="BUY", quantity="0.01", newClientOrderId=client_order_id, **how)

    def query(self, client_order_id: str) -> Any:
        return self.call("GET", ORDER, symbol="BTCUSDT", origClientOrderId=client_order_id)


def play(emulator: EmulatorProcess) -> list[Any]:
    """Trade through the whole scenario and return what came back."""
    trader = Trader(emulator)
    seen: list[Any] = [trader.buy(f"intent-{number}") for number in range(5)]
    seen.append(trader.query("intent-3"))
    emulator.advance_ms(5 * 60_000 + 1)
    seen += [trader.buy("hidden", price="40000"), trader.query("hidden")]
    emulator.advance_ms(30_000)
    seen.append(trader.query("hidden"))
    emulator.advance_ms(10 * 60_000)
    seen.append(trader.call("GET", "/api/v3/account"))
    emulator.advance_ms(120_000)
    seen.append(trader.call("GET", "/api/v3/account"))
    return seen


def test_scenario_does_what_its_file_says(start_emulator: StartEmulator, everything: Path) -> None:
    emulator = start_emulator("--scenario", str(everything))
    assert emulator.state()["server_time"] == START_MS
    *bought, found, placed, denied, shown, banned, account = play(emulator)
    assert [each["status"] if each else None for each in bought] == ["FILLED", "FILLED", "FILLED", None, "FILLED"]
    assert found["status"] == "FILLED"
    assert (placed["status"], denied["code"], shown["status"]) == ("NEW", -2013, "NEW")
    assert (banned["code"], "balances" in account) == (-1003, True)
    verdict = emulator.verdict()
    assert {check["name"]: check["passed"] for check in verdict["checks"]} == {
        "venue_orders_per_intent": True,
        "posts_per_intent": True,
        "statuses.418": True,
        "statuses.429": True,
        "audit": True,
        "fills_equal": None,
    }
    assert verdict["passed"] is True
    emulator.stop()
    assert (emulator.exit_code, json.loads(emulator.last_words)["verdict"]) == (0, verdict)


def test_same_scenario_twice_gives_the_same_run_to_the_last_stamp(start_emulator: StartEmulator, everything: Path) -> None:
    def run() -> list[Any]:
        emulator = start_emulator("--scenario", str(everything))
        seen = play(emulator)
        log = emulator.control("GET", "/_log")["entries"]
        klines = emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=200)
        state = emulator.state()
        return [seen, log, emulator.orders(), klines, state["accounts"], state["symbols"]]

    first, second = run(), run()
    assert first == second
    assert len(first[1]) == 11


def test_fills_are_compared_with_the_clients_and_a_doubled_order_fails(start_emulator: StartEmulator, everything: Path) -> None:
    emulator = start_emulator("--scenario", str(everything))
    trader = Trader(emulator)
    trader.buy("one")
    trader.buy("two", price="40000")

    def check(fills: dict[str, dict[str, str]]) -> Any:
        return next(each for each in emulator.verdict(fills)["checks"] if each["name"] == "fills_equal")

    assert check({"k1": {"one": "0.01"}})["passed"] is True
    assert check({"k1": {"one": "0.02"}})["detail"] == ["k1: one: the client says 0.02, the venue 0.01"]
    assert check({"k1": {"one": "0.01", "ghost": "1"}})["passed"] is False
    assert check({})["passed"] is False
    trader.buy("twice")
    trader.buy("twice")
    verdict = emulator.verdict()
    wrong = {check["name"]: check["detail"] for check in verdict["checks"] if check["passed"] is False}
    assert wrong == {"venue_orders_per_intent": ["k1: twice: 2"], "posts_per_intent": ["k1: twice: 2"], "statuses.418": None}
    emulator.stop()
    assert emulator.exit_code == 1


def test_intent_that_never_arrived_breaks_a_lower_bound(start_emulator: StartEmulator, tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    account = {"key": "k1", "secret": "s1", "balances": {"USDT": "1000"}}
    faults = [{"do": "drop_before", "path": ORDER, "client_order_id_prefix": "lost"}]
    expect = {"venue_orders_per_intent": {"min": 1, "max": 1}, "orders": {"max": 5}, "open_orders": {"max": 0}, "executions": {"min": 1}}
    document = {"clock": "virtual", "market": {"BTCUSDT": {"feed": "gbm", "px": 50000}}, "accounts": [account], "faults": faults}
    path.write_text(json.dumps({**document, "expect": expect}))
    emulator = start_emulator("--scenario", str(path))
    trader = Trader(emulator)
    trader.buy("good")
    assert emulator.verdict()["passed"] is True
    trader.buy("lost")
    failed = [check for check in emulator.verdict()["checks"] if not check["passed"]]
    assert [(check["name"], check["detail"]) for check in failed] == [("venue_orders_per_intent", ["k1: lost: 0"])]


def test_verdict_says_when_it_cannot_know(start_emulator: StartEmulator, tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(
        json.dumps({"journal": 2, "expect": {"posts_per_intent": {"max": 1}, "statuses": {"404": {"max": 1}, "200": {"max": 5}}}})
    )
    emulator = start_emulator("--scenario", str(path))
    for _ in range(3):
        emulator.request("GET", "/api/v3/nothing")
    assert [check["passed"] for check in emulator.verdict()["checks"]] == [None, False, None]


def test_without_a_scenario_there_is_no_verdict(standing_emulator: EmulatorProcess) -> None:
    assert standing_emulator.request("GET", "/_verdict").status == 404


def test_books_that_do_not_add_up_are_found(everything: Path) -> None:
    venue = build_venue(read_scenario(everything, EmulatorConfig()))
    assert venue.config.expect is not None

    def audit() -> Any:
        assert venue.config.expect is not None
        return next(check for check in judge(venue, venue.config.expect).checks if check.name == "audit")

    assert audit().is_passed is True
    venue.exchange.accounts["k1"].balance("USDT").free += Decimal("0.01")
    assert audit().is_passed is False
    assert audit().detail == ["k1 holds 100000.01 USDT, its opening and its executions give 100000"]


def test_market_feeds_are_what_they_are_called(start_emulator: StartEmulator, everything: Path) -> None:
    emulator = start_emulator("--scenario", str(everything))
    emulator.advance(6)

    def closes(symbol: str, count: int) -> list[float]:
        return [float(row[4]) for row in emulator.get("/api/v3/klines", symbol=symbol, interval="1m", limit=count)]

    assert [row[0] for row in emulator.get("/api/v3/klines", symbol="DEADUSDT", interval="1m", limit=10)] == [START_MS - 60_000]
    assert float(emulator.get("/api/v3/ticker/bookTicker", symbol="DEADUSDT")["bidPrice"]) == pytest.approx(0.25, rel=0.01)
    assert closes("RAMPUSDT", 6) == [100, 100, 101, 99, 99, 105]
    assert len(set(closes("BTCUSDT", 100))) > 50


@pytest.mark.parametrize(("volatility", "largest"), [("0.001", 0.02), ("3", 5.0)])
def test_volatility_decides_how_far_the_price_goes(volatility: str, largest: float, tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(f'clock = "virtual"\n[market.BTCUSDT]\nfeed = "gbm"\npx = 50000\nvol = {volatility}\n')
    venue = build_venue(read_scenario(path, EmulatorConfig()))
    market = venue.exchange.markets["BTCUSDT"]
    bars = list(market.bars(market.minute - 240 * 60_000, market.minute))
    ranges = sorted(float((bar.high - bar.low) / bar.close) * 100 for bar in bars)
    assert largest / 20 < ranges[len(ranges) // 2] < largest


def test_recording_is_replayed_from_beside_the_scenario(start_emulator: StartEmulator, tmp_path: Path) -> None:
    write_candles(tmp_path / "any-name.csv", steps(range(1000, 1100)))
    path = tmp_path / "scenario.toml"
    path.write_text('clock = "virtual"\nhistory = 10\n[market.ETHUSDT]\nfeed = "replay"\nfile = "any-name.csv"\n')
    emulator = start_emulator("--scenario", str(path))
    assert [float(row[1]) for row in emulator.get("/api/v3/klines", symbol="ETHUSDT", interval="1m", limit=5)[:4]] == [
        1006,
        1007,
        1008,
        1009,
    ]


def test_json_and_toml_say_the_same(everything: Path, tmp_path: Path) -> None:
    document = tomllib.loads(everything.read_text())
    same = tmp_path / "same.json"
    same.write_text(json.dumps(document, default=lambda moment: moment.isoformat()))
    assert read_scenario(same, EmulatorConfig()) == read_scenario(everything, EmulatorConfig())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("colour = 1", "colour"),
        ("seed = true", "seed"),
        ('clock = "imaginary"', "clock"),
        ('start = "yesterday"', "start"),
        ("history = -5", "history"),
        ('[market.X]\nfeed = "magic"', "market"),
        ('[market.XUSDT]\nfeed = "gbm"', "market"),
        ('[market.XUSDT]\nfeed = "silent"\npx = 1\nvol = 2', "vol"),
        ('[market.XUSDT]\nfeed = "scripted"\nprices = [1]', "at least two"),
        ('[[accounts]]\nkey = "k"', "accounts"),
        ('[[accounts]]\nkey = "k"\nsecret = "s"\nbalances = {USDT = "lots"}', "lots"),
        ('[[accounts]]\nkey = "k"\nsecret = "s"\nbnb_fee = "yes"', "bnb_fee"),
        ('[[faults]]\ndo = "drop_after"\n[[faults]]\ndo = "explode"', "fault 1"),
        ("[limits]\nweight = 1", "weight"),
        ("[expect]\nhappiness = {min = 1}", "happiness"),
        ("[expect]\norders = {about = 1}", "orders"),
        ("[expect]\nstatuses = {ok = {max = 1}}", "ok"),
        ("this is no toml", "scenario.toml"),
    ],
)
def test_scenario_that_means_nothing_is_refused_and_the_place_is_named(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=place):
        read_scenario(path, EmulatorConfig())


@pytest.mark.parametrize("write", [lambda path: path.write_text("seed: 42"), lambda _path: None])
def test_file_that_is_no_scenario_ends_the_start(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "scenario.yaml"
    write(path)
    with pytest.raises(RuntimeError, match=r"scenario\.yaml"):
        EmulatorProcess("--scenario", str(path)).start()
