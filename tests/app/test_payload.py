import json
import time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.symbols import resolve_symbol
from app.errors import BadPayload
from app.webhooks.payload import Alert, body_key, read_alert
from tests.shared_data import shared_data

HOOK = UUID("01234567-89ab-7def-8123-456789abcdef")
DELIVERY = UUID("01234567-89ab-7def-8123-000000000001")
BUY = '"ticker":"BTCUSDT","action":"buy"'


def read(body: str | bytes) -> Alert:
    return read_alert(body.encode() if isinstance(body, str) else body, webhook_id=HOOK, delivery_id=DELIVERY)


def intent_of(body: str | bytes) -> OrderIntent:
    intent = read(body).intent
    assert intent is not None
    return intent


def refused(body: str | bytes) -> BadPayload:
    with pytest.raises(BadPayload) as caught:
        read(body)
    return caught.value


def test_json_alert_is_a_market_order_under_its_deliverys_key() -> None:
    intent = intent_of('{"ticker":"BTCUSDT","action":"buy","quantity":"0.05","price":"98411.21","interval":"1"}')
    assert (intent.symbol, intent.side, intent.type, intent.quantity) == ("BTCUSDT", Side.BUY, OrderType.MARKET, Decimal("0.05"))
    assert intent.price is None, "in a market alert the price is only what the chart showed"
    assert intent.key == f"webhook:{HOOK}:{DELIVERY}"


def test_named_intent_has_a_key_of_its_webhook() -> None:
    assert intent_of(f'{{{BUY},"quantity":1,"client_intent_id":"abc"}}').key == f"webhook:{HOOK}:id:abc"


@pytest.mark.parametrize(
    "body",
    [
        '{"symbol":"BTCUSDT","action":"buy","quantity":0.01}\n',
        '\ufeff{"symbol":"BTCUSDT","action":"buy","quantity":0.01}',
        '{"SYMBOL":"BTCUSDT","Side":"LONG","Qty":"0,01"}',
        '{"symbol":"BTCUSDT","action":"buy","quantity":1e-2,"comment":"Kauf – Ausbruch ↑ 5‰"}',
        "symbol=BTCUSDT side=buy quantity=0.01",
        'SYMBOL="BTCUSDT";SIGNAL=BUY;VOLUME=0.01',
        "EXCHANGE=binance\nSYMBOL=BTCUSDT\nSIGNAL=BUY\nVOLUME=0.01",
        "buy BTCUSDT 0.01",
        "  Buy\tBTCUSDT, 0.01  ",
    ],
)
def test_same_wish_is_read_in_every_way_of_writing_it(body: str) -> None:
    intent = intent_of(body)
    assert (intent.symbol, intent.side, intent.quantity) == ("BTCUSDT", Side.BUY, Decimal("0.01"))


def test_percent_sign_makes_a_share_of_the_balance() -> None:
    for body in (f'{{{BUY},"quantity":"5%"}}', f'{{{BUY},"percent":5}}', "buy BTCUSDT 5%"):
        intent = intent_of(body)
        assert (intent.quantity, intent.percent) == (None, Decimal("0.05"))


def test_limit_order_keeps_price_and_conditions() -> None:
    intent = intent_of(f'{{{BUY},"quantity":1,"type":"LIMIT","price":"60000.5","time_in_force":"IOC","post_only":"true"}}')
    assert (intent.type, intent.price, intent.time_in_force) == (OrderType.LIMIT, Decimal("60000.5"), TimeInForce.IOC)
    assert intent.post_only


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("1", True), ('"yes"', True), ("false", False), ('"no"', False)])
def test_post_only_is_read_as_json_and_as_text(text: str, expected: bool) -> None:  # noqa: FBT001  # a column of the table
    assert intent_of(f'{{{BUY},"quantity":1,"type":"limit","price":1,"post_only":{text}}}').post_only is expected


@pytest.mark.parametrize("action", ["close", "exit", "flat", "EXIT_LONG", "exit-all"])
def test_close_without_a_size_closes_the_position(action: str) -> None:
    intent = intent_of(json.dumps({"ticker": "BTCUSDT", "action": action}))
    assert (intent.side, intent.close_position) == (Side.SELL, True)


def test_close_with_a_size_sells_that_much() -> None:
    intent = intent_of('{"ticker":"BTCUSDT","action":"close","size":"50%"}')
    assert (intent.side, intent.close_position, intent.percent) == (Side.SELL, False, Decimal("0.5"))


@pytest.mark.parametrize("body", ['{"action":"ping"}', "ping", "test", '{"side":"TEST"}'])
def test_ping_asks_for_nothing(body: str) -> None:
    assert read(body).intent is None


@pytest.mark.parametrize("name", ["stop_loss", "stopLoss", "sl", "takeProfit", "take_profit_price", "trailing_percent", "stop_price"])
def test_protection_that_cannot_be_honoured_yet_refuses_the_whole_alert(name: str) -> None:
    error = refused(f'{{{BUY},"quantity":1,"{name}":59000}}')
    assert (error.code, error.field) == ("FIELD_UNSUPPORTED", name.lower())


@pytest.mark.parametrize("value", ["null", '""', "0", '"na"', '"0"'])
def test_protection_left_empty_by_the_strategy_is_no_protection(value: str) -> None:
    assert intent_of(f'{{{BUY},"quantity":1,"stop_loss":{value}}}').quantity == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "EMPTY"),
        (" \n\t ", "EMPTY"),
        (b"\xff\xfe\x00", "NOT_TEXT"),
        (b'{"ticker":"BTC\x00USDT","action":"buy","quantity":1}', "NOT_TEXT"),
        ("buy BTCUSDT\x00 0.01", "NOT_TEXT"),
        (f'{{{BUY},"quantity":1,"comment":"\\u0000"}}', "NOT_TEXT"),
        (f'{{{BUY},"quantity":1,"\\u0000":1}}', "NOT_TEXT"),
        (f'{{{BUY},"quantity":1,"client_intent_id":"\\ud800"}}', "NOT_TEXT"),
        (f'{{{BUY},"quantity":1,"deep":[[{{"x":"\\udfff"}}]]}}', "NOT_TEXT"),
        ("{", "NOT_JSON"),
        ("{“symbol”: “BTCUSDT”, “action”: “buy”}", "NOT_JSON"),
        (f'{{{BUY},"quantity":01}}', "NOT_JSON"),
        ("[]", "NOT_OBJECT"),
        (f"[{{{BUY}}}]", "NOT_OBJECT"),
        (f'{{{BUY},"quantity":NaN}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":-Infinity}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"NaN"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1e400}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1e999"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1e999999999999999999999}}', "NOT_JSON"),
        (f'{{{BUY},"quantity":{"9" * 5000}}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":{"9" * 40}.5}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1,000.5"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":true}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":[1]}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1,"type":"stop"}}', "TYPE_UNKNOWN"),
        (f'{{{BUY},"quantity":1,"tif":"forever"}}', "TIME_IN_FORCE_UNKNOWN"),
        ('{"action":"buy","quantity":1}', "SYMBOL_MISSING"),
        ('{"ticker":{},"action":"buy"}', "SYMBOL_MISSING"),
        ('{"ticker":"BTCUSDT","quantity":1}', "SIDE_MISSING"),
        ('{"ticker":"BTCUSDT","action":"hodl"}', "SIDE_UNKNOWN"),
        ("BTCUSDT Crossing 98,200.00", "UNREADABLE_TEXT"),
        (";", "UNREADABLE_TEXT"),
        (" , ; ", "UNREADABLE_TEXT"),
        ("=", "UNREADABLE_TEXT"),
        ("{" + '"a":{' * 20 + "}" * 21, "NOT_JSON"),
        ('{"a":' + "[" * 400 + "]" * 400 + "}", "NOT_JSON"),
        ('{"a":' + "[" * 700 + "]" * 700 + "}", "NOT_JSON"),
        ("[" * 30000, "NOT_JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code(body: str | bytes, code: str) -> None:
    assert refused(body).code == code


def test_eight_levels_are_deep_enough_and_nine_are_too_many() -> None:
    def nested(levels: int) -> str:
        return f'{{{BUY},"quantity":1,"x":' + '{"x":' * (levels - 1) + "1" + "}" * levels

    assert intent_of(nested(8)).quantity == 1
    assert refused(nested(9)).code == "NOT_JSON"


def test_zero_with_a_huge_exponent_is_left_to_the_sizing() -> None:
    assert intent_of(f'{{{BUY},"quantity":"0e999"}}').quantity == 0


def test_what_was_understood_can_always_be_stored_as_json() -> None:
    parsed = read(f'{{{BUY},"quantity":1e-9,"bar":{{"close":98411.21}},"list":[1,2],"flag":true,"nothing":null}}').parsed
    assert parsed["quantity"] == "1E-9"
    assert parsed["bar"] == {"close": "98411.21"}
    json.dumps(parsed)


def test_key_of_a_body_lasts_where_the_body_names_its_moment() -> None:
    plain_key, is_for_ever = body_key(b"buy BTCUSDT 1")
    assert (body_key(b"buy BTCUSDT 1"), is_for_ever) == ((plain_key, False), False)
    for moment in ("2026-01-01T00:00:07Z", "1767225607", "1767225607123", "2026-01-01 00:00:07"):
        assert body_key(f'{{"time":"{moment}"}}'.encode())[1], moment
    # The opening of a candle is the same for all its alerts.
    for opening in ("2026-01-01T00:00:00Z", "1767225600", "1767225600000", "", "soon"):
        assert body_key(f'{{"time":"{opening}"}}'.encode())[1] is False, opening
    assert body_key(b'{"client_intent_id":"a","x":1}') == body_key(b'{"client_intent_id":"a","x":2}')
    assert body_key(b"\xff") != body_key(b"\xfe")


@pytest.mark.parametrize(
    "part",
    ["x", "x ", "x=", 'x="', "x:", "x.", "a-", " ", "= ", ",", "9", "1.", "%", '{"a":', "[", '"', "\\u", "buy ", "x" * 60 + " "],
)
@pytest.mark.parametrize("start", ["", "x=1 ", "buy ", '{"a":', '{"a":"', "[1,"])
def test_no_body_of_the_largest_size_holds_the_server_up(start: str, part: str) -> None:
    body = (start + part * 65536).encode()[:65536]
    began = time.perf_counter()
    only_alert_or_refusal(body)
    assert time.perf_counter() - began < 2


LISTED = {
    symbol: Instrument(symbol=symbol, base=symbol[:3], quote="USDT", tick_size=Decimal(1), step_size=Decimal(1))
    for symbol in ("BTC/USDT", "ETH/USDT")
}


def trades_what_it_means(intent: OrderIntent, meaning: dict[str, Any]) -> bool:
    """Whether the intent asks for what the body's author meant; an intent that sizing or the symbol refuses asks for nothing."""
    amounts = [value for value in (intent.quantity, intent.notional, intent.percent) if value is not None]
    if resolve_symbol(intent.symbol, LISTED) is None or not (amounts or intent.close_position):
        return True
    side = {"buy": Side.BUY, "sell": Side.SELL, "close": Side.SELL}[meaning["intent"]]
    meant = str(meaning.get("quantity", ""))
    share = Decimal(meant[:-1]) / 100 if meant.endswith("%") else None
    is_sized = intent.percent == share if share is not None else not meant or intent.quantity == Decimal(meant)
    price = meaning.get("price")
    is_priced = price is None or intent.price == Decimal(price)
    return (
        side is intent.side
        and is_sized
        and is_priced
        and resolve_symbol(intent.symbol, LISTED) == resolve_symbol(meaning["symbol"], LISTED)
    )


def test_bodies_of_the_field_are_read_as_they_mean_or_refused() -> None:
    lines = (shared_data() / "webhooks" / "tradingview-bodies.jsonl").read_text().splitlines()
    understood = 0
    for line in lines:
        sample = json.loads(line)
        try:
            alert = read(sample["body"])
        except BadPayload:
            continue
        assert alert.intent is not None, sample["id"]
        assert trades_what_it_means(alert.intent, sample["meaning"]), sample["id"]
        understood += 1
    assert understood >= 10


def only_alert_or_refusal(body: bytes) -> None:
    key, _ = body_key(body)
    assert len(key) == 16
    try:
        alert = read(body)
    except BadPayload:
        return
    json.dumps(alert.parsed).encode()
    if alert.intent is not None:
        amounts = (alert.intent.quantity, alert.intent.notional, alert.intent.percent, alert.intent.price)
        assert all(amount is None or amount.is_finite() for amount in amounts)
        alert.intent.key.encode()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_alert_or_refused(body: bytes) -> None:
    only_alert_or_refusal(body)


@given(st.text(max_size=100))
def test_arbitrary_text_is_an_alert_or_refused(text: str) -> None:
    only_alert_or_refusal(text.encode("utf-8", "surrogatepass"))


_words = st.sampled_from(["buy", "sell", "close", "ping", "BTCUSDT", "0.01", "5%", "=", "symbol=", "qty=", ";", '"', "1e9", "٣", "\0"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(
    [
        "ticker",
        "symbol",
        "action",
        "side",
        "quantity",
        "percent",
        "notional",
        "type",
        "price",
        "tif",
        "post_only",
        "sl",
        "time",
        "client_intent_id",
    ]
)


@given(st.lists(_words, max_size=8).map(" ".join))
def test_arbitrary_words_are_an_alert_or_refused(text: str) -> None:
    only_alert_or_refusal(text.encode())


@given(st.dictionaries(_names, _values, max_size=8))
def test_arbitrary_members_are_an_alert_or_refused(members: dict[str, Any]) -> None:
    only_alert_or_refusal(json.dumps(members).encode())
