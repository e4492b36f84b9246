import hashlib
import json
from datetime import UTC, datetime

import pytest

from app.webhooks.reading import delivery_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def key_of(**members: object) -> tuple[bytes, bool]:
    return delivery_key(json.dumps({"ticker": "BTCUSDT", "action": "buy"} | members).encode())


def test_promised_name_is_known_for_ever_whatever_stands_beside_it() -> None:
    first = key_of(client_intent_id="a", x=1)
    assert first[1]
    assert first == key_of(x=2, clientIntentId="a")
    assert first != key_of(client_intent_id="b", x=1)
    assert key_of(client_intent_id="", x=1) != key_of(client_intent_id="", x=2)


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:07Z", "1767225607", "1767225607123", "2026-01-01 00:00:07", "2026-01-01T01:00:07+01:00"]
)
@pytest.mark.parametrize("name", ["time", "timenow", "timestamp", "alert_timestamp", "sent_at"])
def test_body_that_names_its_moment_is_known_for_ever(name: str, moment: str) -> None:
    assert key_of(**{name: moment})[1]
    assert delivery_key(f"symbol=BTCUSDT action=buy {name}={moment}".encode())[1]


@pytest.mark.parametrize("opening", ["2026-01-01T00:00:00Z", "1767225600", "1767225600000", "", "soon", None, 7])
def test_opening_of_a_candle_is_no_moment_of_an_alert(opening: object) -> None:
    assert key_of(time=opening)[1] is False


@pytest.mark.parametrize(
    "name",
    [
        "Long",
        "Close entry(s) order Long",
        "TP1",
        "1234567",
        "00000000-0000-4000-8000-000000000002",
        "my strategy 2026",
        "2026-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("member", ["id", "alert_id", "uuid"])
def test_name_that_repeats_with_every_trade_makes_no_duplicate(member: str, name: str) -> None:
    first, is_for_ever = key_of(**{member: name, "price": 1})
    later, _ = key_of(**{member: name, "price": 2})
    assert (is_for_ever, first == later) == (False, False)


def test_strategy_order_id_does_not_spoil_the_moment() -> None:
    first, later = (key_of(id="Long", timenow=f"2026-01-01T00:00:0{second}Z") for second in (1, 2))
    assert (first[1], later[1], first[0] == later[0]) == (True, True, False)


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("event_id", "2025-06-22T20:19:01Z-Long"),
        ("id", "Long 1750623541"),
        ("alert_id", "1750623541123"),
        ("id", "01978f5e-0000-7000-8000-000000000002"),
        ("signal_id", "01JYCPKK00ABCDEFGHJKMNPQRS"),
        ("id", "01jycpkk00abcdefghjkmnpqrs"),
    ],
)
def test_name_of_one_alert_is_known_for_ever_with_its_symbol_and_action(member: str, name: str) -> None:
    first = key_of(**{member: name, "price": 1})
    assert first[1]
    assert first == key_of(**{member: name, "price": 2})
    assert first != key_of(**{member: name, "ticker": "ETHUSDT"})
    assert first != key_of(**{member: name, "action": "sell"})


@pytest.mark.parametrize("member", ["event_id", "message_id", "signal_id"])
def test_name_of_an_event_without_a_moment_is_a_repeat_for_a_while_only(member: str) -> None:
    fixed = {member: "7f1c1f4e-3b57-4b0c-9d2e-2f8a54b1a1c2"}
    first, is_for_ever = key_of(**fixed, price=1)
    assert not is_for_ever, "somebody may have typed it into the alert's message, the same at every trade"
    assert first == key_of(**fixed, price=2)[0]
    beside = "\t".join([fixed[member], "", "BTCUSDT", "", "", "", "buy", "", "", ""])
    before = hashlib.blake2b(f"id:{beside}".encode(), digest_size=16)
    assert first != before.digest(), "what was kept for ever when such a name counted so holds nothing back"
    assert len({first, key_of(**fixed, action="sell")[0], key_of(**fixed, ticker="ETHUSDT")[0]}) == 3


@pytest.mark.parametrize("fixed", [{"signal_id": "7f1c1f4e-3b57-4b0c-9d2e-2f8a54b1a1c2"}, {"id": "1750623541"}])
def test_name_that_holds_for_a_while_does_not_spoil_the_moment(fixed: dict[str, str]) -> None:
    bodies = [
        json.dumps({"ticker": "BTCUSDT", "action": "buy", "timenow": f"2026-01-01T00:00:0{second}Z", **fixed}).encode() for second in (1, 2)
    ]
    first, later = (delivery_key(body, now=NOW) for body in bodies)
    assert (first[1], later[1], first[0] == later[0]) == (True, True, False)


def test_twenty_six_signs_that_are_no_ulid_name_nothing() -> None:
    for name in ("my strategy for the mornings", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "01JYCPKK00ABCDEFGHJKMNPQRU", "00000000000000000000000000"):
        first, is_for_ever = key_of(id=name, price=1)
        assert (is_for_ever, first == key_of(id=name, price=2)[0]) == (False, False), name


def test_list_has_the_names_of_all_its_alerts_or_none() -> None:
    named = [{"client_intent_id": "a"}, {"client_intent_id": "b"}]
    assert delivery_key(json.dumps(named).encode())[1]
    assert delivery_key(json.dumps(named).encode())[0] != delivery_key(json.dumps(named[:1]).encode())[0]
    assert delivery_key(json.dumps([*named, {}]).encode())[1] is False


@pytest.mark.parametrize("body", [b"buy BTCUSDT 1", b"\xff", b"", b"{", b"[]", b"[1]", b"a|b|buy|c", b'{"a":1,"A":2}', b"[" * 30000])
def test_any_other_body_is_known_by_its_bytes_for_a_while(body: bytes) -> None:
    key, is_for_ever = delivery_key(body)
    assert (len(key), is_for_ever, delivery_key(body)) == (16, False, (key, False))
    assert key != delivery_key(body + b" ")[0]


def named(name: str) -> bytes:
    return json.dumps({"ticker": "BTCUSDT", "action": "buy", "id": name}).encode()


@pytest.mark.parametrize("name", ["1234567890", "bot 1111111111"])
def test_ten_digits_of_a_bot_make_no_duplicate_of_its_next_alert(name: str) -> None:
    first, is_for_ever = delivery_key(json.dumps({"id": name, "price": 1}).encode(), now=NOW)
    later, _ = delivery_key(json.dumps({"id": name, "price": 2}).encode(), now=NOW)
    assert (is_for_ever, first == later) == (False, False)


@pytest.mark.parametrize("name", ["1767225607", "019b76f0-0000-7000-8000-000000000002"])
def test_name_made_when_it_came_is_known_for_ever(name: str) -> None:
    assert delivery_key(named(name), now=NOW) == (delivery_key(named(name))[0], True)


@pytest.mark.parametrize(
    "name",
    [
        "1750623541",
        "2650623541",
        "01978f5e-0000-7000-8000-000000000002",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "1ec9414c-232a-6b00-b3c8-9f6bdeced846",
        "01JYCPKK00ABCDEFGHJKMNPQRS",
    ],
)
def test_name_made_on_another_day_is_a_repeat_for_a_while_only(name: str) -> None:
    assert delivery_key(named(name), now=NOW) == (delivery_key(named(name))[0], False)
