import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.domain.enums import OrderState
from app.domain.orders import TRANSITIONS, InDoubt, NotFoundAfterWindow, OrderEvent, OrderStatus, Reported, apply
from tests.conftest import Size
from tests.domain.order_histories import History, random_history
from tests.fault_matrix import row

Merge = Callable[[OrderStatus, OrderEvent], OrderStatus]


def heard(history: History, merge: Merge) -> OrderStatus:
    """The order after everything that reached us, each step looked at."""
    status = history.start
    for event in history.events:
        before = status
        status = merge(status, event)
        assert status.filled_quantity >= before.filled_quantity, "what was filled never shrinks"
        assert before.state is not OrderState.FILLED or status.state is OrderState.FILLED, "filled is for ever"
        assert status.state is before.state or (before.state, status.state) in TRANSITIONS
        assert merge(status, event) == status, "the same event twice is one event"
    return status


def settled(history: History, status: OrderStatus, merge: Merge) -> OrderStatus:
    """The order after reconcile: in doubt if nothing was heard, then the venue's one answer."""
    status = merge(status, InDoubt(detail="?"))
    return merge(status, history.answer or NotFoundAfterWindow(detail="gone"))


def told(status: OrderStatus) -> OrderStatus:
    """Everything but the words: why an order was refused here depends on what was heard of it."""
    return replace(status, code=None, detail=None)


def ends_of(count: int, merge: Merge) -> set[OrderState]:
    """Live through so many random histories and return the states in which they end."""
    seen: set[OrderState] = set()
    for seed in range(count):
        history = random_history(random.Random(seed))
        quiet = settled(history, history.start, merge)
        status = settled(history, heard(history, merge), merge)
        assert told(status) == told(quiet), f"seed {seed}: the end depends on the way"
        assert settled(history, status, merge) is status, f"seed {seed}: a second reconcile changes something"
        if history.answer is not None:
            assert status.filled_quantity == history.answer.filled_quantity, f"seed {seed}"
        else:
            assert status.state is OrderState.LOST, f"seed {seed}"
        seen.add(status.state)
    return seen


@row(12, 15)
def test_every_history_ends_where_the_venue_stands_after_one_answer(size: Size) -> None:
    """reliability.md §1.2: drops, duplicates, reordering, torn reports, wrong refusals and orders given up too early."""
    ends = ends_of(size(5_000, full=200_000), apply)
    assert {state.value for state in ends} == {"open", "partial", "filled", "canceled", "expired", "rejected", "lost"}


def last_filled_wins(order: OrderStatus, event: OrderEvent) -> OrderStatus:
    merged = apply(order, event)
    return replace(merged, filled_quantity=event.filled_quantity) if isinstance(event, Reported) else merged


def last_state_wins(order: OrderStatus, event: OrderEvent) -> OrderStatus:
    merged = apply(order, event)
    return replace(merged, state=event.state) if isinstance(event, Reported) else merged


def lost_is_for_ever(order: OrderStatus, event: OrderEvent) -> OrderStatus:
    return order if order.state is OrderState.LOST else apply(order, event)


@pytest.mark.parametrize("wrong", [last_filled_wins, last_state_wins, lost_is_for_ever])
def test_a_wrong_merge_does_not_survive_the_histories(wrong: Merge) -> None:
    with pytest.raises(AssertionError):
        ends_of(5_000, wrong)
