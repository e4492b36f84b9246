"""The names of a message's orders: no two wishes of one webhook share one, and a wish has the same one each time it is worked."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from app.webhooks.alert import Action, Alert, Reading
from app.webhooks.errand import OPEN, Errand
from app.webhooks.receive import Delivery
from app.webhooks.rules import HookRules

HOOK, USER, NOW = UUID(int=1), UUID(int=2), datetime(2026, 5, 1, tzinfo=UTC)
#: Of the signs of which names of ours are made, too.
names = st.none() | st.lists(st.sampled_from(["x", "|", "2", "3", "open", ":", "%", "id"]), min_size=1, max_size=6).map("".join)
messages = st.lists(st.lists(names, min_size=1, max_size=4), min_size=1, max_size=3)


def errand(number: int, keys: list[str | None], *, replay_of: UUID | None = None) -> Errand:
    delivery = Delivery(
        id=UUID(int=100 + number), webhook_id=HOOK, user_id=USER, account=None, raw=b"", received_at=NOW, replay_of=replay_of
    )
    alerts = tuple(Alert(action=Action.BUY, dialect="test", symbol="BTCUSDT", key=key) for key in keys)
    return Errand(delivery=delivery, reading=Reading(alerts=alerts), rules=HookRules(), max_age_s=60)


@given(messages)
@example([["x", "x"], ["x|2"]])
@example([["x"], ["x|open"]])
@example([["x|", "x|"], ["x||2"], ["x|2|"]])
def test_two_orders_have_one_name_only_if_they_are_the_same_wish(said: list[list[str | None]]) -> None:
    meant: dict[str, object] = {}
    for number, keys in enumerate(said):
        one = errand(number, keys)
        for place, key in enumerate(keys):
            nth = keys[:place].count(key)
            for is_opening in (False, True):
                wish = (number if key is None else None, key, nth, is_opening)
                name = one.key_of(place) + (OPEN if is_opening else "")
                assert meant.setdefault(name, wish) == wish, "the name is another wish's"
                assert errand(number, keys).key_of(place) == one.key_of(place), "after a crash it is another"
    assert len(set(meant.values())) == len(meant), "a wish has two names"


@given(st.lists(names, min_size=1, max_size=4))
def test_orders_of_a_replay_are_named_by_their_delivery(keys: list[str | None]) -> None:
    found = [errand(number, keys, replay_of=UUID(int=9)).key_of(place) for number in (1, 2) for place in range(len(keys))]
    assert len(set(found)) == len(found)


def test_names_that_were_given_before_stay_what_they_were() -> None:
    one = errand(0, ["mine", "mine", None])
    assert [one.key_of(place) for place in range(3)] == [
        f"webhook:{HOOK}:id:mine",
        f"webhook:{HOOK}:id:mine|2",
        f"webhook:{HOOK}:{UUID(int=100)}",
    ]
