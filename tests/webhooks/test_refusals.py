import re
from pathlib import Path

import pytest

from app.webhooks.alert import Action
from tests.webhooks.readings import alert_of, base, buy, refused

BUY = '"ticker":"BTCUSDT","action":"buy"'


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
        ("{“symbol”: “BTCUSDT”, “action”: “buy”}", "SMART_QUOTES"),
        ("symbol=“BTCUSDT” action=buy", "SMART_QUOTES"),
        (f'{{{BUY},"quantity":01}}', "NOT_JSON"),
        (f'{{{BUY},"quantity":}}', "NOT_JSON"),
        ("[]", "NOT_OBJECT"),
        ('["buy", "BTCUSDT"]', "NOT_OBJECT"),
        (f"[[{{{BUY}}}]]", "NOT_OBJECT"),
        (f'{{{BUY},"Action":"sell"}}', "DUPLICATE_KEY"),
        (f'{{{BUY},"action":"buy"}}', "DUPLICATE_KEY"),
        (f'{{{BUY},"x":{{"a":1,"A":2}}}}', "DUPLICATE_KEY"),
        (f'{{{BUY},"stop_loss":1,"stopLoss":1}}', "DUPLICATE_KEY"),
        (f'{{{BUY},"strategy":{{"action":"sell"}}}}', "DUPLICATE_KEY"),
        ("symbol=BTCUSDT side=buy side=sell", "DUPLICATE_KEY"),
        (f'{{{BUY},"quantity":NaN}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":-Infinity}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"NaN"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"na"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1e400}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1e999"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1e999999999999999999999}}', "NOT_JSON"),
        (f'{{{BUY},"quantity":{"9" * 5000}}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":{"9" * 40}.5}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1,000.5"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1.000,5"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1,000,000"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":"1,234"}}', "NUMBER_AMBIGUOUS"),
        (f'{{{BUY},"quantity":"٣"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":true}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":[1]}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":0}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":"0e999"}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":-1}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":"150%"}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":"5s%"}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":1,"notional":100}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":1,"contracts":2}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"notional":"5%"}}', "QUANTITY_INVALID"),
        (f'{{{BUY},"quantity":1,"type":"stop"}}', "TYPE_UNKNOWN"),
        (f'{{{BUY},"quantity":1,"type":"limit"}}', "PRICE_MISSING"),
        (f'{{{BUY},"quantity":1,"type":"limit","price":-1}}', "PRICE_INVALID"),
        (f'{{{BUY},"quantity":1,"type":"limit","price":"98,200"}}', "NUMBER_AMBIGUOUS"),
        (f'{{{BUY},"quantity":1,"type":"limit","price":"NaN"}}', "NUMBER_INVALID"),
        (f'{{{BUY},"quantity":1,"tif":"forever"}}', "TIME_IN_FORCE_UNKNOWN"),
        (f'{{{BUY},"delay_seconds":600}}', "DELAY_UNSUPPORTED"),
        (f'{{{BUY},"max_lag":"soon"}}', "NUMBER_INVALID"),
        ('{"ticker":{},"action":"buy"}', "SYMBOL_INVALID"),
        ('{"ticker":"BTC USDT","action":"buy"}', "SYMBOL_INVALID"),
        ('{"ticker":"<b>","action":"buy"}', "SYMBOL_INVALID"),
        ('{"ticker":"123","action":"buy"}', "SYMBOL_INVALID"),
        ('{"ticker":"BTCUSDT","quantity":1}', "SIDE_MISSING"),
        ('{"ticker":"BTCUSDT","action":"open"}', "SIDE_MISSING"),
        ('{"ticker":"BTCUSDT","action":"hodl"}', "SIDE_UNKNOWN"),
        ('{"ticker":"BTCUSDT","action":{}}', "SIDE_UNKNOWN"),
        ('{"ticker":"BTCUSDT","action":"buy","side":"sell"}', "SIDE_CONTRADICTS"),
        ('{"ticker":"BTCUSDT","action":"close","side":"buy"}', "SIDE_CONTRADICTS"),
        ('{"ticker":"BTCUSDT","action":"cancel","side":"buy"}', "FIELD_UNSUPPORTED"),
        ('{"ticker":"BTCUSDT","action":"reduce"}', "QUANTITY_MISSING"),
        (f'{{{BUY},"client_intent_id":"{"x" * 201}"}}', "NAME_TOO_LONG"),
        ('{"ticker":"{{ticker}}","action":"buy"}', "PLACEHOLDER_UNFILLED"),
        ("{{strategy.order.action}} BTCUSDT", "PLACEHOLDER_UNFILLED"),
        ("BTCUSDT Crossing 98,200.00", "UNREADABLE_TEXT"),
        ("buy low and sell high", "UNREADABLE_TEXT"),
        ("buy 1 2", "UNREADABLE_TEXT"),
        ("buy", "SYMBOL_MISSING"),
        ("do not buy symbol=BTCUSDT", "UNREADABLE_TEXT"),
        ("a|b|buy", "UNREADABLE_TEXT"),
        (";", "UNREADABLE_TEXT"),
        (" , ; ", "UNREADABLE_TEXT"),
        ("=", "UNREADABLE_TEXT"),
        (" ".join(f"n{number}=1" for number in range(500)), "TOO_MANY_MEMBERS"),
        ("{" + '"a":{' * 20 + "}" * 21, "NOT_JSON"),
        ('{"a":' + "[" * 400 + "]" * 400 + "}", "NOT_JSON"),
        ('{"a":' + "[" * 700 + "]" * 700 + "}", "NOT_JSON"),
        ("[" * 30000, "NOT_JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code(body: str | bytes, code: str) -> None:
    assert refused(body).code == code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{“symbol”: “BTCUSDT”}", ("typographic", "straight quotes")),
        ('{"ticker":"{{ticker}}","action":"buy"}', ("{{ticker}}", "not filled in")),
        (f'{{{BUY},"tp":103450.5,"sl":NaN}}', ("NaN", "na")),
        (f'{{{BUY},"sl":}}', ("placeholder", "empty")),
        (f'{{{BUY},"quantity":"98,200.00"}}', ("quantity", "thousands", "98,200.00")),
        ("BTCUSDT Crossing 98,200.00", ("default message", "buy or sell")),
        ("Dear server, please purchase some coins.", ("buy BTCUSDT 0.01",)),
        ('{"ticker":"BTCUSDT","quantity":1}', ("{{strategy.order.action}}",)),
    ],
)
def test_reason_says_what_a_trader_has_to_change(body: str, words: tuple[str, ...]) -> None:
    message = refused(body).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "value"), [("0,01", "0.01"), ("98200,125", "98200.125"), ("0,010", "0.01"), ("1.234", "1.234"), ("+2", "2")]
)
def test_decimal_comma_is_read_where_it_can_be_nothing_else(text: str, value: str) -> None:
    assert alert_of(buy(quantity=text)).size == base(value)


def test_eight_levels_are_deep_enough_and_nine_are_too_many() -> None:
    def nested(levels: int) -> str:
        return f'{{{BUY},"quantity":1,"x":' + '{"x":' * (levels - 1) + "1" + "}" * levels

    assert alert_of(nested(8)).size == base("1")
    assert refused(nested(9)).code == "NOT_JSON"


def test_symbol_may_be_left_to_the_webhook() -> None:
    alert = alert_of({"action": "buy", "quantity": 1})
    assert (alert.action, alert.symbol) == (Action.BUY, None)


def test_refusal_shows_no_secret() -> None:
    for body in ("s=btcusdt b=buy token=hush & sl=1%", "k(BTCUSDT){ market(side=buy; token=hush) }", '{"secret":"hush","action":"x"}'):
        assert "hush" not in refused(body).message


def test_every_code_stands_in_the_reference_of_messages() -> None:
    root = Path(__file__).resolve().parents[2]
    written = {code for path in (root / "app/webhooks/reading").glob("*.py") for code in re.findall(r'code="([A-Z_]+)"', path.read_text())}
    assert {code for code in written if f"`{code}`" not in (root / "docs/webhook-messages.md").read_text()} == set()


@pytest.mark.parametrize("moment", ["Wed, 25 Nov 2020 07:00:00 GMT", 1764054000000000, "yesterday", {"at": 1}, True])
def test_entry_whose_moment_nobody_can_read_is_refused_for_it_may_be_yesterdays(moment: object) -> None:
    assert refused(buy(timenow=moment)).code == "TIME_INVALID"
    assert alert_of(buy(action="close", timenow=moment)).at is None


@pytest.mark.parametrize("moment", ["", "na", None, 0])
def test_entry_that_gives_no_moment_is_read(moment: object) -> None:
    assert alert_of(buy(timenow=moment)).at is None
