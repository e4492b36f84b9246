"""Who goes when: deliveries that trade the same symbol of the same account go one after the other, in the order they came; others at once.

Nothing runs for one that waits, so a long queue costs its entries alone. A delivery waits for those before it only: no circle can form.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

_Key = tuple[UUID | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an alert trades. `broker_id` or `symbol` None: any of the user's accounts, any symbol."""

    user_id: UUID
    broker_id: UUID | None
    symbol: str | None


@dataclass(slots=True, eq=False)
class Turn:
    """One delivery's place in all its lanes. Of `begin` and `forget` one is called, once, when all before it have left."""

    places: frozenset[Place]
    begin: Callable[["Turn"], None]
    forget: Callable[["Turn"], None]
    waits_for: int = 0
    is_lost: bool = False
    followers: "list[Turn]" = field(default_factory=list)


class Lanes:
    """Turns by user and place; of each place the last turn stands for all before it, which it waits for."""

    def __init__(self) -> None:
        self._last: dict[UUID, dict[_Key, Turn]] = {}

    def enter(self, turn: Turn) -> None:
        """Queue a turn behind all that trade at one of its places; one that nobody is before begins at once."""
        before: set[Turn] = set()
        for place in turn.places:
            before.update(self._at(place))
        for place in turn.places:
            self._last.setdefault(place.user_id, {})[place.broker_id, place.symbol] = turn
        turn.waits_for = len(before)
        for other in before:
            other.followers.append(turn)
        if not before:
            turn.begin(turn)

    def _at(self, place: Place) -> Iterable[Turn]:
        lanes = self._last.get(place.user_id, {})
        if place.broker_id is not None and place.symbol is not None:
            keys: list[_Key] = [(place.broker_id, place.symbol), (place.broker_id, None), (None, place.symbol), (None, None)]
            return [lanes[key] for key in keys if key in lanes]
        return [
            turn
            for (broker_id, symbol), turn in lanes.items()
            if (place.broker_id is None or broker_id in (place.broker_id, None))
            and (place.symbol is None or symbol in (place.symbol, None))
        ]

    def leave(self, turn: Turn, *, is_lost: bool = False) -> None:
        """Let those behind go on; with `is_lost` they are forgotten, for none may overtake what was not done."""
        leaving = [(turn, is_lost)]
        while leaving:
            gone, was_lost = leaving.pop()
            self._remove(gone)
            for follower in gone.followers:
                follower.waits_for -= 1
                follower.is_lost |= was_lost
                if follower.waits_for:
                    continue
                if follower.is_lost:
                    follower.forget(follower)
                    leaving.append((follower, True))
                else:
                    follower.begin(follower)

    def _remove(self, turn: Turn) -> None:
        for place in turn.places:
            lanes = self._last.get(place.user_id, {})
            if lanes.get((place.broker_id, place.symbol)) is turn:
                del lanes[place.broker_id, place.symbol]
                if not lanes:
                    del self._last[place.user_id]
