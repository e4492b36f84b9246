"""TradingView's placeholders: every way from one position to another, and what a spot account does about it."""

from decimal import Decimal
from typing import Any

import pytest

from app.webhooks.alert import Action, Size
from tests.webhooks.readings import alert_of, base, free, refused


def step(action: str | None, contracts: str | None, before: str | None, after: str | None, **members: Any) -> dict[str, Any]:
    """A message with the placeholders; positions as `long 0.05`, or only `long`."""
    body: dict[str, Any] = {"ticker": "BTCUSDT"}
    for name, value in (("action", action), ("contracts", contracts)):
        if value is not None:
            body[name] = value
    for prefix, place in (("", after), ("prev_", before)):
        if place is not None:
            side, _, size = place.partition(" ")
            body[f"{prefix}market_position"] = side
            if size:
                body[f"{prefix}market_position_size"] = size
    return body | members


@pytest.mark.parametrize(
    ("action", "contracts", "before", "after", "expected", "size"),
    [
        ("buy", "0.05", "flat 0", "long 0.05", Action.BUY, base("0.05")),
        ("buy", "0.02", "long 0.05", "long 0.07", Action.BUY, base("0.02")),
        ("sell", "0.02", "long 0.07", "long 0.05", Action.SELL, base("0.02")),
        ("sell", "0.05", "long 0.05", "flat 0", Action.CLOSE, None),
        ("sell", "0.10", "long 0.05", "short 0.05", Action.CLOSE, None),
        ("sell", "0.05", "flat 0", "short 0.05", Action.NONE, None),
        ("sell", "0.05", "short 0.05", "short 0.10", Action.NONE, None),
        ("buy", "0.05", "short 0.10", "short 0.05", Action.NONE, None),
        ("buy", "0.05", "short 0.05", "flat 0", Action.NONE, None),
        ("buy", "0.12", "short 0.05", "long 0.07", Action.BUY, base("0.07")),
        # Without sizes of the position.
        ("buy", "0.05", "flat", "long", Action.BUY, base("0.05")),
        ("sell", "0.05", "long", "flat", Action.CLOSE, None),
        ("sell", "0.10", "long", "short", Action.CLOSE, None),
        ("buy", "0.12", "short 0.05", "long", Action.BUY, base("0.07")),
        # Without where it came from.
        ("sell", "0.05", None, "flat", Action.CLOSE, None),
        ("buy", "0.05", None, "long 0.05", Action.BUY, base("0.05")),
        ("buy", "0.12", None, "long 0.07", Action.BUY, base("0.07")),
        ("sell", "0.02", None, "long 0.05", Action.SELL, base("0.02")),
        ("sell", "0.10", None, "short 0.05", Action.CLOSE, None),
        ("sell", "0.05", None, "short 0.05", Action.NONE, None),
        ("buy", None, None, "flat", Action.NONE, None),
        # Without an action: the positions say it all.
        (None, None, "flat 0", "long 0.05", Action.BUY, base("0.05")),
        (None, None, "long 0.05", "long 0.07", Action.BUY, base("0.02")),
        (None, None, "long 0.07", "long 0.05", Action.SELL, base("0.02")),
        (None, None, "long 0.05", "long 0.05", Action.NONE, None),
        (None, None, "long 0.05", "flat", Action.CLOSE, None),
        (None, None, "short 0.05", "long 0.05", Action.BUY, base("0.05")),
        # An entry's word for going short is the strategy's, not a wish of its own.
        ("short", None, "long 0.05", "short 0.05", Action.CLOSE, None),
        ("close", None, None, "flat", Action.CLOSE, None),
    ],
)
def test_step_of_a_strategy_is_what_a_spot_account_can_do_about_it(
    action: str | None, contracts: str | None, before: str | None, after: str | None, expected: Action, size: Size | None
) -> None:
    alert = alert_of(step(action, contracts, before, after))
    assert (alert.action, alert.size) == (expected, size)
    if expected is Action.NONE or "short" in f"{before} {after}":
        assert alert.note or before is None, "what differs from the chart is said"


@pytest.mark.parametrize(
    ("members", "position"),
    [
        ({"action": "sell", "position_size": "-0.05"}, "-0.05"),
        ({"action": "buy", "position_size": "0.05"}, "0.05"),
        ({"position_size": 0}, "0"),
        ({"market_position": "long", "market_position_size": "0.05"}, "0.05"),
        ({"action": "sell", "market_position": "short"}, "0"),
        ({"action": "sell", "sentiment": "short", "quantity": 0.1}, "0"),
        ({"action": "sell", "sentiment": "bearish"}, "0"),
    ],
)
def test_where_only_the_target_is_known_it_is_the_target(members: dict[str, Any], position: str) -> None:
    alert = alert_of({"ticker": "BTCUSDT"} | members)
    assert (alert.action, alert.position, alert.size) == (Action.TARGET, Decimal(position), None)


def test_size_of_its_own_stays_through_a_turn() -> None:
    assert alert_of(step("buy", None, "short 0.05", "long 0.05", percent=10)).size == free("0.1")


def test_nested_strategy_is_read_like_a_flat_one() -> None:
    strategy = {
        "position_size": 0, "order_action": "sell", "order_contracts": 0.05, "market_position": "flat", "market_position_size": 0,
        "prev_market_position": "long", "prev_market_position_size": 0.05,
    }  # fmt: skip
    alert = alert_of({"passphrase": "hush", "ticker": "BTCUSDT", "strategy": strategy})
    assert (alert.action, alert.size) == (Action.CLOSE, None)


def test_sentence_of_tradingview_knows_the_way_too() -> None:
    def sentence(action: str, contracts: str, position: str) -> str:
        return f"MACD Strategy (12, 26, 9): order {action} @ {contracts} filled on BINANCE:BTCUSDT. New strategy position is {position}"

    assert alert_of(sentence("sell", "0.05", "0")).action is Action.CLOSE
    assert alert_of(sentence("sell", "0.1", "-0.05")).action is Action.CLOSE
    assert alert_of(sentence("sell", "0.05", "-0.05")).action is Action.NONE
    turned = alert_of(sentence("buy", "0.12", "0.07"))
    assert (turned.action, turned.size, turned.exchange) == (Action.BUY, base("0.07"), "BINANCE")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (step("buy", "0.05", "long 0.05", "flat 0"), "POSITION_CONTRADICTS"),
        (step("sell", "0.05", "flat 0", "long 0.05"), "POSITION_CONTRADICTS"),
        (step("buy", None, None, "short"), "POSITION_CONTRADICTS"),
        (step("close", None, None, "long 0.05"), "POSITION_CONTRADICTS"),
        (step("buy", "1", None, "long 0"), "POSITION_CONTRADICTS"),
        (step("buy", "1", None, "flat 1"), "POSITION_CONTRADICTS"),
        (step("buy", "1", None, "long", position_size=-1), "POSITION_CONTRADICTS"),
        (step("buy", "1", None, "up"), "POSITION_INVALID"),
        (step("buy", "0.12", "short", "long"), "QUANTITY_MISSING"),
        (step(None, None, None, "long"), "SIDE_MISSING"),
        (step("buy", "1", "flat", "long NaN"), "NUMBER_INVALID"),
    ],
)
def test_what_contradicts_itself_is_not_traded(body: dict[str, Any], code: str) -> None:
    assert refused(body).code == code
