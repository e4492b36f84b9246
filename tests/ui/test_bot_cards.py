"""What cards of bots are computed of: the line of a day, what is lost if a stop is hit, what an address may ask for."""

from decimal import Decimal

import pytest

from app.bots.monitor import Held
from app.core.ids import new_id
from app.ui.bot_cards import Shown, risk_of, spark_of
from tests.ui.sample_bot_cards import NOW


def held(stop: str | None) -> Held:
    return Held(
        position_id=new_id(),
        quantity=Decimal("0.5"),
        entry_price=Decimal(100),
        stop_price=None if stop is None else Decimal(stop),
        target_price=None,
        opened_at=NOW,
        unrealized=None,
    )


def test_a_line_goes_from_the_first_value_to_the_present_one_within_its_box() -> None:
    found = spark_of([Decimal(100), Decimal(90)], Decimal(110))
    assert found is not None
    points = [tuple(map(float, point.split(","))) for point in found.points.split()]
    assert [across for across, _ in points] == [0.0, 50.0, 100.0]
    assert [down for _, down in points] == [14.0, 26.0, 2.0], "the highest is at the top"
    assert found.change == Decimal("0.1")


def test_what_never_changed_is_a_line_in_the_middle_and_one_value_is_none() -> None:
    flat = spark_of([Decimal(5)], Decimal(5))
    assert flat is not None
    assert flat.points == "0.0,14.0 100.0,14.0"
    assert spark_of([], Decimal(5)) is None


@pytest.mark.parametrize(("stop", "risk"), [("90", Decimal(10)), ("115", Decimal(0)), (None, None)])
def test_at_risk_is_what_the_way_from_here_to_the_stop_costs(stop: str | None, risk: Decimal | None) -> None:
    assert risk_of(held(stop), Decimal(110)) == risk


def test_a_search_never_breaks_the_topic_that_it_becomes_part_of() -> None:
    assert Shown.of(search=" a,b:c\x00\u202e " + "x" * 60).search == "a b c " + "x" * 34
    assert Shown.of(show="nothing", log="nothing") == Shown()
