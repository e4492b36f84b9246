"""The builder's message is JSON that says what was chosen, and its script the same."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.ui.message_builder import build, members_of
from app.ui.views import BuilderFields, BuiltMessage

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
BUY = BuilderFields(kind="indicator", action="buy", symbol="BTC/USDT", size_kind="base", size_value="0.01")


def built(chosen: BuilderFields) -> BuiltMessage:
    return build(chosen, hook_name="tv", url="https://your.host/hooks/…", now=NOW)


def message(chosen: BuilderFields) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(built(chosen).message)
    return found


def test_a_strategy_says_from_where_to_where_it_goes() -> None:
    found = message(BuilderFields())
    assert found["market_position"] == "{{strategy.market_position}}"
    assert found["prev_market_position"] == "{{strategy.prev_market_position}}"
    assert (found["symbol"], found["quantity"], found["timenow"]) == ("{{ticker}}", "{{strategy.order.contracts}}", "{{timenow}}")


@pytest.mark.parametrize(
    ("kind", "value", "member"),
    [
        ("base", "0,01", ("quantity", "0.01")),
        ("quote", "100", ("notional", "100")),
        ("free", "5", ("percent", "5")),
        ("equity", "2.5", ("equity_percent", "2.5")),
        ("risk", "1", ("risk_percent", "1")),
    ],
)
def test_each_size_has_its_member(kind: str, value: str, member: tuple[str, str]) -> None:
    found = message(replace(BUY, size_kind=kind, size_value=value))
    assert (member[0], found[member[0]]) == member


def test_stops_and_targets_are_prices_or_percentages_off_the_entry() -> None:
    guarded = replace(BUY, stop_kind="percent", stop_value="2", target_kind="price", target_value="{{plot_0}}", trailing="1,5")
    found = message(guarded)
    assert (found["stop_loss"], found["take_profit"], found["trailing_percent"]) == ("2%", "{{plot_0}}", "1.5")
    two = message(replace(guarded, target_kind="percent", target_value="4", target2_value="8", target_part="60"))
    assert two["targets"] == [{"price": "4%", "fraction": "60%"}, {"price": "8%", "fraction": "40%"}]
    assert "take_profit" not in two


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_value", ""),
        ("size_value", "1.234,5"),
        ("size_value", "-1"),
        ("size_value", "1e5"),
        ("symbol", "BTC USDT"),
        ("trailing", "101"),
    ],
)
def test_what_cannot_be_used_is_named_and_left_out(field: str, value: str) -> None:
    members, errors = members_of(replace(BUY, **{field: value}))  # type: ignore[arg-type]  # a field of text
    assert set(errors) == {field}
    assert json.dumps(members)


def test_the_sample_has_values_in_place_of_every_placeholder() -> None:
    sample = built(replace(BuilderFields(), stop_kind="price", stop_value="{{plot_3}}")).sample
    assert "{{" not in sample
    found = json.loads(sample)
    assert (found["action"], found["symbol"], found["timenow"]) == ("buy", "BTCUSDT", "2026-11-21T14:04:58Z")


@pytest.mark.parametrize("version", ["5", "6"])
@pytest.mark.parametrize("kind", ["strategy", "indicator"])
def test_the_script_sends_the_same_members(version: Any, kind: Any) -> None:
    chosen = replace(BUY, kind=kind, symbol="", pine=version, stop_kind="percent", stop_value="2")
    script = built(chosen).script
    assert script.startswith(f"//@version={version}\n{kind}(")
    (entry,) = re.findall(r"^entryMessage = (.*)$", script, re.MULTILINE)
    text = "".join(
        piece[1:-1] if piece.startswith("'") else {"syminfo.ticker": "BTCUSDT", "moment()": "now"}[piece] for piece in entry.split(" + ")
    )
    assert json.loads(text) == {**message(chosen), "symbol": "BTCUSDT", "timenow": "now"}
    assert ("alert_message = entryMessage" in script) == (kind == "strategy")
    assert "{{" not in entry


def test_a_quotation_mark_in_a_symbol_cannot_leave_the_script() -> None:
    script = built(replace(BUY, stop_kind="price", stop_value="{{plot('x')}}")).script
    assert "{{" not in script.split("entryMessage = ")[1].splitlines()[0]
