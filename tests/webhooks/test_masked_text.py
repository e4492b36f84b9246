import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadPayload
from app.webhooks.reading import masked_text, read_message

NAMES = [
    "passphrase", "password", "secret", "token", "key", "api_key", "apiKey", "API-SECRET", "email_token", "signalToken", "webhook_secret",
    "access_token", "auth", "PASS", "secretKey", "bva_key", "user.token",
]  # fmt: skip
HUSH = "hUsh7Q"


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ('{"token": "hUsh7Q", "a": 1}', '{"token": "***", "a": 1}'),
        ('{"a":1,"secret" :  "x\\"hUsh7Q", "b": {"key":5}}', '{"a":1,"secret" :  "***", "b": {"key":"***"}}'),
        ('[{"key": {"deep": ["hUsh7Q"]}}, {"token": ["hUsh7Q", 1], "z": 0}]', '[{"key": "***"}, {"token": "***", "z": 0}]'),
        ('{"pass\\u0077ord": "hUsh7Q"}', '{"pass\\u0077ord": "***"}'),
        ('{"comment": "token=hUsh7Q, fine"}', '{"comment": "token=***, fine"}'),
        ('{"inner": "{\\"token\\": \\"hUsh7Q\\", \\"a\\": 1}"}', '{"inner": "{\\"token\\": \\"***\\", \\"a\\": 1}"}'),
        ('{"ticker": "KEYUSDT", "keys": 3, "monkey": 1, "tokens": 2}', '{"ticker": "KEYUSDT", "keys": 3, "monkey": 1, "tokens": 2}'),
        ("{“token”: “hUsh7Q”, “a”: “b”}", "{“token”: “***”, “a”: “b”}"),
        ("{'token': 'hUsh7Q x', 'a': 1}", "{'token': '***', 'a': 1}"),
        ('{"token": "hUsh7Q', '{"token": "***"'),
        ("SYMBOL=BTCUSDT;TOKEN=hUsh7Q;SIGNAL=BUY", "SYMBOL=BTCUSDT;TOKEN=***;SIGNAL=BUY"),
        ('symbol=BTCUSDT secret="hUsh7Q two" action=buy', "symbol=BTCUSDT secret=*** action=buy"),
        ("symbol=BTCUSDT secret=hUsh7Q hUsh7Q action=buy", "symbol=BTCUSDT secret=*** action=buy"),
        ("token: hUsh7Q hUsh7Q\nticker: BTCUSDT", "token: ***\nticker: BTCUSDT"),
        ("hUsh7Q|my macd|buy|BTCUSDT", "***|my macd|buy|BTCUSDT"),
        ("k(BTCUSDT) { market(side=buy, token=hUsh7Q); }", "k(BTCUSDT) { market(side=buy, token=***); }"),
        ("e=binance s=btcusdt key=hUsh7Q b=buy", "e=binance s=btcusdt key=*** b=buy"),
        ("ENTER-LONG_BINANCE_BTCUSDT_My bot_1M_00ff", "ENTER-LONG_BINANCE_BTCUSDT_My bot_1M_***"),
        ('{"code": "EXIT-ALL_BINANCE_BTCUSDT_b_1M_00ff", "a": 1}', '{"code": "EXIT-ALL_BINANCE_BTCUSDT_b_1M_***", "a": 1}'),
        ("buy BTCUSDT 0.01", "buy BTCUSDT 0.01"),
        ("BTCUSDT Crossing 98,200.00", "BTCUSDT Crossing 98,200.00"),
        ("", ""),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept_byte_for_byte(body: str, masked: str) -> None:
    assert masked_text(body) == masked
    assert masked_text(masked) == masked


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_secret = st.sampled_from(
    [HUSH, f"{HUSH} {HUSH}", f'q"{HUSH}', f"{HUSH}\\", f"a, {HUSH}", f"{HUSH}}}", f"={HUSH}", [HUSH], {"x": [HUSH]}, [[{"a": HUSH}]]]
)


@given(
    st.dictionaries(st.text(max_size=5), _values, max_size=4),
    st.sampled_from(NAMES),
    _secret,
    st.integers(min_value=0, max_value=3),
    st.booleans(),
)
def test_no_secret_members_value_is_left_in_json(
    members: dict[str, Any], name: str, secret: Any, depth: int, ascii_only: bool,  # noqa: FBT001  # drawn
) -> None:  # fmt: skip
    value: Any = members | {name: secret}
    for _ in range(depth):
        value = {"inner": [value]}
    hidden = masked_text(json.dumps(value, ensure_ascii=ascii_only))
    assert HUSH not in hidden
    inner = json.loads(hidden)
    for _ in range(depth):
        inner = inner["inner"][0]
    assert inner.keys() == (members | {name: secret}).keys()
    assert inner[name] == "***"


_PAIRS = st.tuples(st.sampled_from(["symbol", "action", "qty", "tag"]), st.sampled_from(["BTCUSDT", "buy", "1", "it's", '5"', "a b"]))
_SPOKEN = st.sampled_from([HUSH, f"{HUSH} {HUSH}", f"'{HUSH}'", f'"{HUSH} x"', f"x,{HUSH}"])


@given(st.lists(_PAIRS, max_size=3), st.sampled_from(NAMES), _SPOKEN, st.sampled_from([" ", ";", "\n"]))
def test_no_secret_members_value_is_left_in_text(pairs: list[tuple[str, str]], name: str, secret: str, joint: str) -> None:
    words = [f"{left}={right}" for left, right in pairs]
    for place in range(len(words) + 1):
        text = joint.join([*words[:place], f"{name}={secret}", *words[place:]])
        assert HUSH not in masked_text(text), text


@pytest.mark.parametrize(
    "body",
    [
        '{"ticker":"BTCUSDT","action":"buy","quantity":"0.01","token":{"a":"b"},"key":1,"client_intent_id":"x"}',
        "SYMBOL=BTCUSDT;TOKEN=hush hush;SIGNAL=BUY;VOLUME=0.01",
        "KEY|my macd|buy|BTCUSDT|0.01",
        "ENTER-LONG_BINANCE_BTCUSDT_My bot_1M_000000000000000000000001",
        "e=binance s=btcusdt b=buy q=1 token=hush",
        "k(BTCUSDT) { market(side=buy, amount=1, token=hush); }",
    ],
)
def test_stored_copy_means_the_same_as_what_came(body: str) -> None:
    assert masked_text(body) != body
    assert read_message(masked_text(body).encode()) == read_message(body.encode())


@given(st.text(max_size=60))
def test_any_text_can_be_masked_and_stays_masked(text: str) -> None:
    once = masked_text(text)
    assert masked_text(once) == once
    try:
        expected = read_message(text.encode("utf-8", "surrogatepass")).alerts
    except BadPayload:
        return
    assert read_message(once.encode()).alerts == expected


@pytest.mark.parametrize(
    "secret",
    ["token: hUsh7Q", "token: 'hUsh7Q", "token: 'hUsh7Q;", 'token: \\"hUsh7Q', "authorization: Bearer hUsh7Q==", "token: hUsh7Q= x"],
)
def test_secret_in_the_midst_of_pairs_does_not_take_the_stop_behind_it(secret: str) -> None:
    body = f"action=buy qty=1 symbol=BTCUSDT comment=x {secret} sl=59000"
    masked = masked_text(body)
    assert HUSH not in masked
    assert masked.endswith(" sl=59000")
    assert read_message(masked.encode()).alerts[0].stop is not None
