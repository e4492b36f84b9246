"""Who goes when: one after the other where they trade the same, at once where they do not."""

from collections.abc import Callable
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.lanes import Lanes, Place, Turn

USER, OTHER = UUID(int=1), UUID(int=2)
ACCOUNT, SECOND = UUID(int=11), UUID(int=12)


def place(symbol: str | None = "BTCUSDT", broker_id: UUID | None = ACCOUNT, user_id: UUID = USER) -> Place:
    return Place(user_id=user_id, broker_id=broker_id, symbol=symbol)


class Queue:
    """Lanes whose turns are told by numbers."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.turns: list[Turn] = []
        self.running: list[int] = []
        self.forgotten: list[int] = []

    def enter(self, *places: Place) -> int:
        number = len(self.turns)
        turn = Turn(places=frozenset(places), begin=self._noting(self.running, number), forget=self._noting(self.forgotten, number))
        self.turns.append(turn)
        self.lanes.enter(turn)
        return number

    def leave(self, number: int, *, is_lost: bool = False) -> None:
        self.running.remove(number)
        self.lanes.leave(self.turns[number], is_lost=is_lost)

    def _noting(self, where: list[int], number: int) -> Callable[[Turn], None]:
        return lambda _: where.append(number)


def test_the_same_symbol_waits_and_another_symbol_account_or_user_does_not() -> None:
    queue = Queue()
    first = queue.enter(place())
    second = queue.enter(place())
    others = [queue.enter(place("ETHUSDT")), queue.enter(place(broker_id=SECOND)), queue.enter(place(user_id=OTHER)), queue.enter()]
    assert queue.running == [first, *others]
    queue.leave(first)
    assert second in queue.running


def test_whole_account_waits_for_its_symbols_and_they_for_it() -> None:
    queue = Queue()
    first = queue.enter(place("BTCUSDT"), place("ETHUSDT"))
    whole = queue.enter(place(None))
    behind = queue.enter(place("SOLUSDT"))
    anywhere = queue.enter(place("SOLUSDT", None))
    assert queue.running == [first]
    queue.leave(first)
    assert queue.running == [whole]
    queue.leave(whole)
    assert queue.running == [behind]
    queue.leave(behind)
    assert queue.running == [anywhere]


def test_what_waits_behind_a_lost_turn_is_forgotten_and_nothing_else() -> None:
    queue = Queue()
    first = queue.enter(place())
    behind = [queue.enter(place()) for _ in range(5000)]
    other = queue.enter(place("ETHUSDT"))
    both = queue.enter(place("ETHUSDT"), place())
    queue.leave(first, is_lost=True)
    assert queue.forgotten == behind
    queue.leave(other)
    assert queue.forgotten == [*behind, both]
    fresh = queue.enter(place())
    assert queue.running == [fresh]


places = st.builds(place, st.sampled_from([None, "A", "B", "C"]), st.sampled_from([None, ACCOUNT, SECOND]), st.sampled_from([USER, OTHER]))


def meet(one: Place, other: Place) -> bool:
    return (
        one.user_id == other.user_id
        and (one.broker_id is None or other.broker_id is None or one.broker_id == other.broker_id)
        and (one.symbol is None or other.symbol is None or one.symbol == other.symbol)
    )


@given(st.lists(st.one_of(st.lists(places, min_size=1, max_size=3), st.integers(0, 9)), max_size=60))
def test_no_two_that_meet_run_at_once_all_go_in_their_order_and_all_have_their_turn(steps: list[list[Place] | int]) -> None:
    queue, ended = Queue(), set[int]()

    def end(number: int) -> None:
        queue.leave(number)
        ended.add(number)
        check()

    def check() -> None:
        for number in queue.running:
            mine = queue.turns[number].places
            for earlier in range(number):
                if earlier not in ended:
                    assert not any(meet(one, other) for one in mine for other in queue.turns[earlier].places)

    for step in steps:
        if isinstance(step, int):
            if queue.running:
                end(queue.running[step % len(queue.running)])
        else:
            queue.enter(*step)
            check()
    while queue.running:
        end(queue.running[0])
    assert len(ended) == len(queue.turns)
