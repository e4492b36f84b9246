"""No exception escapes, no order from garbage, and no body of the largest size holds the server up."""

import contextlib
import gc
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadPayload
from app.webhooks.alert import Action, Alert
from app.webhooks.reading import delivery_key, masked_text, read_message
from app.webhooks.reading.words import word_of, words
from tests.webhooks.bodies import BODIES

#: The words after which something is bought or sold: a deal that 3Commas starts has no other word than its `bot`.
ORDER_WORDS = {word for word in words() if word_of(word) is not None} - {"b", "s"}
LARGEST = 64 * 1024


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Keep the collector off what a whole run has imported: going through it took longer than reading a body, and is not the reader's."""
    gc.freeze()
    yield
    gc.unfreeze()


def only_alerts_or_refusal(body: bytes) -> None:
    """Read a body in every way; what comes out must be storable, the same each time, and no order without its words in the text."""
    assert delivery_key(body) == delivery_key(body)
    masked_text(body.decode("utf-8", "replace"))
    try:
        reading = read_message(body)
    except BadPayload:
        return
    json.dumps(reading.parsed).encode()
    assert read_message(body) == reading
    for alert in reading.alerts:
        check_ground(alert, body.decode("utf-8-sig"))


def check_ground(alert: Alert, text: str) -> None:
    """Whether an order stands in the text: an action's word, and the symbol, unless the message leaves that to its webhook."""
    assert all(size.is_finite() and size > 0 for size in ([] if alert.size is None else [alert.size.value]))
    if alert.action not in (Action.BUY, Action.SELL):
        return
    plain = plainly(text)
    assert (
        any(word in plain for word in ORDER_WORDS)
        or "messagetype" in plain
        or "marketposition" in plain
        or '"b"' in plain
        or "b=" in plain
        or {"b", "s"} & set(text.lower().split())  # the short words count where they stand alone: "s SOLUSDT"
    )
    if alert.symbol is None:
        assert text.lstrip("\ufeff \t\r\n")[:1] in "{[" or "=" in text or "ENTER-" in text.upper()
    else:
        assert all(plainly(part) in plain for part in alert.symbol.split("/"))


def plainly(text: str) -> str:
    with contextlib.suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return "".join(sign for sign in text.lower() if sign not in " _-.\t")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_alerts_or_refused(body: bytes) -> None:
    only_alerts_or_refusal(body)


@given(st.text(max_size=100))
def test_arbitrary_text_is_alerts_or_refused(text: str) -> None:
    only_alerts_or_refusal(text.encode("utf-8", "surrogatepass"))


_words = st.sampled_from(
    [
        "buy", "sell", "close", "ping", "BTCUSDT", "0.01", "5%", "=", "symbol=", "qty=", ";", '"', "1e9", "٣", "\0", "|", "b=", "s=", "c=",
        "signal=", "k(", "){", "market(", "side=buy", ",", ")", "}", "\n", "sl=", "order buy @ 1 filled on X.", "{{", "ENTER-LONG_A_B_c_1",
    ]
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(
    [
        "ticker", "symbol", "pair", "action", "side", "signal", "direction", "quantity", "percent", "notional", "risk_percent", "type",
        "price", "tif", "post_only", "sl", "tp", "tp1", "targets", "stopLoss", "takeProfit", "trailing_stop", "time", "timestamp",
        "client_intent_id", "market_position", "prev_market_position", "market_position_size", "prev_market_position_size", "position_size",
        "strategy", "order", "message_type", "bot_id", "bot_uuid", "signalToken", "investmentType", "amount", "code", "amountPerTrade",
        "amountPerTradeType", "stub", "mode", "quantityType", "prix", "PrixSL", "PourCent", "interval", "bar", "max_lag", "delay", "token",
    ]
)  # fmt: skip
_hints = st.sampled_from(
    ["buy", "sell", "long", "short", "flat", "close", "cancel", "maj", "BTCUSDT", "0.05", 0.05, "2%", 100, "limit", "base", "quote"]
)


@given(st.lists(_words, max_size=10).map(" ".join) | st.lists(_words, max_size=10).map("".join))
def test_arbitrary_words_are_alerts_or_refused(text: str) -> None:
    only_alerts_or_refusal(text.encode())


@given(st.dictionaries(_names, _values | _hints, max_size=9))
def test_arbitrary_members_are_alerts_or_refused(members: dict[str, Any]) -> None:
    only_alerts_or_refusal(json.dumps(members).encode())


@given(st.lists(st.tuples(_names, _hints), max_size=9))
def test_arbitrary_pairs_are_alerts_or_refused(pairs: list[tuple[str, Any]]) -> None:
    only_alerts_or_refusal("\n".join(f"{name}={value}" for name, value in pairs).encode())


@given(st.sampled_from(BODIES), st.data())
def test_damaged_bodies_of_the_field_are_alerts_or_refused(sample: tuple[str, str, str], data: st.DataObject) -> None:
    body = bytearray(sample[1].encode())
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(body)))
        end = at + data.draw(st.integers(min_value=0, max_value=6))
        piece = data.draw(st.binary(max_size=3) | _words.map(str.encode) | st.just(bytes(body[:at])))
        body[at:end] = piece
    only_alerts_or_refusal(bytes(body[:LARGEST]))


_PARTS = [
    "x", "x ", "x=", 'x="', "x:", "x.", "a-", " ", "= ", ",", "9", "1.", "%", '{"a":', "[", '"', "\\u", '\\"', "\\", "buy ", "x" * 60 + " ",
    "x=x=", "key=", "token:", '"token":', "a=1 ", "b=buy s=x\n", "{{", "a(b){", "x(y)", "_", "|", "ENTER-LONG_a_", "-", "order buy @ 1",
    "“", "'", "\n", "=\t",
]  # fmt: skip
_STARTS = [
    "", "x=1 ", "buy ", '{"a":', '{"a":"', '{"token":', "[1,", "b=buy s=x\n", "a(b){", "ENTER-LONG_A_B_", "key: ", "a|b|buy|",
    "order buy @ 1 filled on ",
]  # fmt: skip


@pytest.mark.parametrize("part", _PARTS)
def test_no_body_of_the_largest_size_holds_the_server_up(part: str) -> None:
    for start in _STARTS:
        body = (start + part * LARGEST).encode()[:LARGEST]
        for name, read in (("read", read_message), ("key", delivery_key), ("mask", _masked)):
            took = _seconds(read, body)
            for _ in range(4):
                # What another process takes from this one is not the reader's.
                took = took if took < 0.2 else min(took, _seconds(read, body))
            assert took < 0.2, f"{name} of {start!r} and {part!r} took {took:.3f} s"


def _masked(body: bytes) -> str:
    return masked_text(body.decode("utf-8", "replace"))


def _seconds(read: Callable[[bytes], object], body: bytes) -> float:
    began = time.process_time()
    with contextlib.suppress(BadPayload):
        read(body)
    return time.process_time() - began
