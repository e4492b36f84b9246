"""The fields of safeguards: what is typed is what is read, and what cannot be read is said at its field."""

from decimal import Decimal

import pytest

from app.domain.safeguards import Action, Cooldown, Loss, LossStreak, MaxNotional, MaxPositions, Safeguards, Span, StopGuard
from app.ui.safeguard_form import TypedSafeguards, fields_of, read_fields
from app.ui.views.safeguards import SafeguardScope

ALL = Safeguards(
    cooldown=Cooldown(span=Span(candles=3), is_after_losing=True),
    max_positions=MaxPositions(most=4),
    max_notional=MaxNotional(most=Decimal("2500.5")),
    daily_loss=Loss(fraction=Decimal("0.025"), action=Action.FLATTEN, rearm_after=12),
    drawdown=Loss(fraction=Decimal("0.2")),
    stops=StopGuard(stops=3, window=Span(minutes=240), action=Action.FLATTEN),
    losses=LossStreak(trades=5, rearm_after=7),
)


def test_what_was_read_is_typed_again_as_it_was() -> None:
    typed = TypedSafeguards(**fields_of(ALL)).safeguard_fields()
    assert read_fields(typed, "bot") == (ALL, {})
    assert typed["sg_daily"] == "2.5"


def test_empty_fields_are_no_rules() -> None:
    assert read_fields(TypedSafeguards().safeguard_fields(), "bot") == (Safeguards(), {})


def test_safeguards_of_all_bots_know_no_candles() -> None:
    found, wrong = read_fields({"sg_cooldown": "30", "sg_daily": "5", "sg_daily_rearm": "9"}, "user")
    assert wrong == {}
    assert found == Safeguards(cooldown=Cooldown(span=Span(minutes=30)), daily_loss=Loss(fraction=Decimal("0.05")))


@pytest.mark.parametrize(
    ("scope", "fields", "wrong"),
    [
        ("bot", {"sg_daily": "100"}, "sg_daily"),
        ("bot", {"sg_drawdown": "0"}, "sg_drawdown"),
        ("bot", {"sg_drawdown": "lots"}, "sg_drawdown"),
        ("bot", {"sg_losses": "2.5"}, "sg_losses"),
        ("bot", {"sg_stops": "3"}, "sg_stops_window"),
        ("user", {"sg_cooldown": "0"}, "sg_cooldown"),
        ("backtest", {"sg_notional": "1e99"}, "sg_notional"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(scope: SafeguardScope, fields: dict[str, str], wrong: str) -> None:
    found, errors = read_fields(fields, scope)
    assert found is None
    assert set(errors) == {wrong}
