import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row
from tests.journeys.conftest import MakeTrader
from tests.journeys.eventually import eventually
from tests.journeys.trader import SYMBOL, Trader
from tests.server_process import ServerProcess

LARGEST = 64 * 1024
MEGABYTE = 1_000_000


def body(**members: Any) -> bytes:
    return json.dumps({"ticker": "BTCUSDT", "action": "buy", "quantity": "0.001"} | members).encode()


def nested(levels: int) -> bytes:
    return b'{"ticker": "BTCUSDT", "action": "buy", "quantity": "0.001", "x": ' + b"[" * levels + b"]" * levels + b"}"


#: Name → body, decision, code, and what the reason must say so that a trader knows what to change.
REFUSED: dict[str, tuple[bytes, str, str, tuple[str, ...]]] = {
    "NaN": (b'{"ticker": "BTCUSDT", "action": "buy", "quantity": NaN}', "unreadable", "NUMBER_INVALID", ("NaN",)),
    "NaN as text": (body(quantity="NaN"), "unreadable", "NUMBER_INVALID", ("quantity", "NaN")),
    "infinity": (b'{"ticker": "BTCUSDT", "action": "buy", "quantity": -Infinity}', "unreadable", "NUMBER_INVALID", ("Infinity",)),
    "1e400": (b'{"ticker": "BTCUSDT", "action": "buy", "quantity": 1e400}', "unreadable", "NUMBER_INVALID", ("quantity", "1E+400")),
    "true": (body(quantity=True), "unreadable", "NUMBER_INVALID", ("quantity",)),
    "a list": (body(quantity=[1]), "unreadable", "NUMBER_INVALID", ("quantity", "list")),
    "negative": (body(quantity=-1), "unreadable", "QUANTITY_INVALID", ("quantity", "-1")),
    "zero": (body(quantity="0.000"), "unreadable", "QUANTITY_INVALID", ("quantity", "0")),
    "too small": (body(quantity="0.00002"), "denied", "NOTIONAL_BELOW_MINIMUM", ("USDT", "5")),
    "below a step": (body(quantity="0.000000001"), "denied", "QUANTITY_BELOW_MINIMUM", ("smallest quantity", SYMBOL)),
    "200 %": (body(quantity="200%"), "unreadable", "QUANTITY_INVALID", ("percent", "200")),
    "two sizes": (body(notional=100), "unreadable", "QUANTITY_INVALID", ("quantity", "notional")),
    "no size": (b'{"ticker": "BTCUSDT", "action": "buy"}', "denied", "QUANTITY_MISSING", ("quantity",)),
    "unknown symbol": (body(ticker="NOSUCHUSDT"), "denied", "SYMBOL_UNKNOWN", ("NOSUCHUSDT", "binance")),
    "a perpetual": (body(ticker="BTCUSDT.P"), "unreadable", "SYMBOL_DERIVATIVE", ("BTCUSDT.P", "derivative")),
    "no symbol": (b'{"action": "buy", "quantity": 1}', "denied", "SYMBOL_MISSING", ("ticker",)),
    "no action": (b'{"ticker": "BTCUSDT", "quantity": 1}', "unreadable", "SIDE_MISSING", ("action",)),
    "unknown action": (body(action="hodl"), "unreadable", "SIDE_UNKNOWN", ("hodl",)),
    "a stop above the entry": (body(stop_loss="90000000"), "denied", "PLAN_INVALID", ("stop", "below")),
    "a stop that is not known": (body(stop_limit_distance="5"), "unreadable", "FIELD_UNSUPPORTED", ("stop_limit_distance",)),
    "nothing to close": (b'{"ticker": "BTCUSDT", "action": "close"}', "denied", "NO_POSITION", ("position", SYMBOL)),
    "more than one has": (body(quantity="50"), "denied", "INSUFFICIENT_BALANCE", ("enough",)),
    "malformed JSON": (b'{"ticker": "BTCUSDT", "action": buy}', "unreadable", "NOT_JSON", ("JSON", "line 1, column")),
    "cut off": (b'{"ticker": "BTCUSDT", "act', "unreadable", "NOT_JSON", ("JSON", "column")),
    "a JSON list": (b'["buy", "BTCUSDT"]', "unreadable", "NOT_OBJECT", ("object",)),
    "prose": (b"Dear server, please purchase some coins.", "unreadable", "UNREADABLE_TEXT", ("buy BTCUSDT 0.01",)),
    "empty": (b"", "unreadable", "EMPTY", ("empty",)),
    "spaces": (b" \r\n\t ", "unreadable", "EMPTY", ("empty",)),
    "not UTF-8": (b"buy \xff\xfe BTCUSDT", "unreadable", "NOT_TEXT", ("U+FFFD",)),
    "NUL bytes": (b"\x00\x00buy BTCUSDT 1\x00", "unreadable", "NOT_TEXT", ("U+FFFD",)),
    "NUL byte inside JSON": (b'{"ticker": "BTC\x00USDT", "action": "buy", "quantity": 1}', "unreadable", "NOT_TEXT", ("U+FFFD",)),
    "escaped NUL": (body(ticker="BTC\x00USDT"), "unreadable", "NOT_TEXT", ("U+0000",)),
    "escaped NUL in a name": (body(**{"no\x00te": "x"}), "unreadable", "NOT_TEXT", ("U+0000",)),
    "nine levels deep": (nested(9), "unreadable", "NOT_JSON", ("nested", "8")),
    "600 levels deep": (nested(600), "unreadable", "NOT_JSON", ("nested",)),
    "30,000 levels deep": (nested(30_000), "unreadable", "NOT_JSON", ("nested",)),
    "half a surrogate": (body(ticker="\ud800"), "unreadable", "NOT_TEXT", ("U+D800",)),
    "a number of 5,000 digits": (
        b'{"ticker": "BTCUSDT", "action": "buy", "quantity": ' + b"9" * 5000 + b"}", "unreadable", "NUMBER_INVALID", ("5000 digits",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def trader(shared_server: ServerProcess, market: EmulatorProcess) -> Iterator[Trader]:
    """One trader for all bodies; each test looks that nothing was bought."""
    one = Trader(shared_server, market).sign_up().set_up()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def nothing_is_bought_and_nothing_breaks(trader: Trader) -> Iterator[None]:
    log = trader.server.log_path
    bought, said = len(trader.placed()), log.stat().st_size
    yield
    assert len(trader.placed()) == bought
    assert b"Traceback" not in log.read_bytes()[said:]


@pytest.mark.parametrize(("raw", "decision", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_an_alert_that_cannot_be_traded_is_logged_with_its_reason(
    trader: Trader, raw: bytes, decision: str, code: str, words: tuple[str, ...]
) -> None:
    # Before the feed has brought a price only the exchange can tell that an order is worth too little.
    chart = "/api/ohlcv?symbol=BTCUSDT&limit=1"
    eventually(lambda: trader.call("GET", chart)["is_last_open"], "the feed has a price", within_s=20)
    answer = trader.knock(raw)
    assert answer.status_code == 202, answer.text
    found = trader.decided(answer.json()["delivery_id"])
    assert (found["decision"], found["code"]) == (decision, code), found
    assert all(word in found["reason"] for word in words), found["reason"]
    assert found["size"] == len(raw)


@pytest.mark.parametrize("levels", [100, 300, 480, 900, 990])
def test_no_depth_of_nesting_makes_the_server_stumble(trader: Trader, levels: int) -> None:
    answer = trader.knock(nested(levels))
    assert answer.status_code == 202, answer.text
    assert trader.decided(answer.json()["delivery_id"])["code"] == "NOT_JSON"


@pytest.mark.parametrize("given", ["\ud800", "\x00", "x" * 60_000])
def test_an_intent_id_that_cannot_be_stored_is_refused_in_words(trader: Trader, given: str) -> None:
    answer = trader.knock(body(client_intent_id=given, quantity="0"))
    assert answer.status_code == 202, answer.text
    found = trader.decided(answer.json()["delivery_id"])
    assert found["decision"] in ("unreadable", "denied")
    assert found["code"] != "INTERNAL"


@pytest.mark.parametrize(
    "raw",
    [b"a" * LARGEST, b"key " * (LARGEST // 4), b"a=" * (LARGEST // 2), b'a="' * (LARGEST // 3)],
    ids=["a word", "words", "pairs", "quotes"],
)
def test_a_long_message_without_sense_is_read_at_once(trader: Trader, raw: bytes) -> None:
    started = time.monotonic()
    answer = trader.knock(raw, content_type="text/plain")
    assert answer.status_code == 202, answer.text
    assert trader.decided(answer.json()["delivery_id"])["decision"] == "unreadable"
    assert time.monotonic() - started < 2


def test_an_address_nobody_has_is_answered_404_and_shown_to_the_administrator(
    trader: Trader, shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader
) -> None:
    stranger = make_trader(shared_server, market)
    stranger.hook_paths.append("/hooks/this-is-not-the-secret")
    answer = stranger.knock(body(note="a stranger"))
    large = stranger.knock(b"x" * MEGABYTE)
    assert answer.status_code == large.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "WEBHOOK_UNKNOWN"
    assert not [line for line in trader.deliveries() if "a stranger" in line["raw"]]
    found = next(line for line in stranger.log_in().deliveries() if "a stranger" in line["raw"])
    assert (found["webhook_id"], found["decision"], found["code"]) == (None, "unreadable", "WEBHOOK_UNKNOWN")
    assert "no webhook has that address" in found["reason"]


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 10_000):
        yield b" " * 10_000


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_message_of_a_megabyte_is_refused(trader: Trader, is_chunked: bool) -> None:  # noqa: FBT001  # a parametrised case
    answer = trader.knock(pieces(MEGABYTE) if is_chunked else b" " * MEGABYTE)
    assert answer.status_code == 413
    assert answer.json()["code"] == "BODY_TOO_LARGE"
    found = next(line for line in trader.deliveries() if line["code"] == "BODY_TOO_LARGE")
    assert found["decision"] == "unreadable"
    assert str(LARGEST) in found["reason"]
    # The connection still serves: what was not read did not get into the next request.
    assert trader.knock(body(quantity="0", note=f"after a megabyte, {is_chunked}")).status_code == 202


def test_the_limit_is_one_byte_beyond_64_kib(trader: Trader) -> None:
    frame = len(body(quantity="0", note=""))
    exactly = body(quantity="0", note="x" * (LARGEST - frame))
    assert len(exactly) == LARGEST
    answer = trader.knock(exactly)
    assert answer.status_code == 202
    found = trader.decided(answer.json()["delivery_id"])
    assert (found["code"], found["size"]) == ("QUANTITY_INVALID", LARGEST)
    assert trader.knock(exactly + b" ").status_code == 413


@row(27)
def test_the_same_message_again_is_answered_200_and_logged_as_a_duplicate(
    shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader
) -> None:
    buyer = make_trader(shared_server, market).sign_up().set_up()
    first = buyer.knock(body())
    assert first.status_code == 202
    bought = buyer.decided(first.json()["delivery_id"])
    assert bought["decision"] == "executed"
    again = buyer.knock(body())
    assert (again.status_code, again.json()["decision"]) == (200, "duplicate")
    found = buyer.delivery(again.json()["delivery_id"])
    assert (found["decision"], found["order_ids"]) == ("duplicate", [])
    assert "the same message" in found["reason"]
    assert len(buyer.orders()) == len(buyer.placed()) == 1
    # A sender that repeats with other spaces means the same alert only if it says so itself.
    named = body(client_intent_id="one-and-only", note="first")
    assert buyer.knock(named).status_code == 202
    assert buyer.knock(body(client_intent_id="one-and-only", note="second")).status_code == 200
    eventually(lambda: len(buyer.placed()) == 2, "the named intent is traded once")
