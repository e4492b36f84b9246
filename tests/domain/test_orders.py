from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Liquidity, OrderState
from app.domain.orders import (
    NOT_AT_VENUE,
    TERMINAL,
    TRANSITIONS,
    UNSETTLED,
    Claimed,
    Denied,
    Fill,
    InDoubt,
    NotFoundAfterWindow,
    OrderEvent,
    OrderStatus,
    Rejected,
    Reported,
    apply,
    average_of,
)
from app.errors import InvalidTransition

S = OrderState
ONE = Decimal(1)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
REPORTABLE = (S.OPEN, S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)


def order(state: OrderState, filled: Decimal = Decimal(0)) -> OrderStatus:
    return OrderStatus(state=state, quantity=ONE, filled_quantity=filled)


def report(state: OrderState, filled: str | Decimal | None = None, *, price: str = "100") -> Reported:
    usual = {S.FILLED: "1", S.PARTIAL: "0.5"}
    quantity = Decimal(filled if filled is not None else usual.get(state, "0"))
    return Reported(state=state, venue_order_id="77", filled_quantity=quantity, average_price=Decimal(price) if quantity else None)


def event_towards(state: OrderState) -> OrderEvent:
    """The event that asks for that state."""
    if state in REPORTABLE:
        return report(state)
    events: dict[OrderState, OrderEvent] = {
        S.SUBMITTING: Claimed(),
        S.DENIED: Denied(code="X", detail="x"),
        S.UNKNOWN: InDoubt(detail="x"),
        S.LOST: NotFoundAfterWindow(detail="x"),
    }
    return events[state]


@pytest.mark.parametrize(("before", "after"), list(TRANSITIONS))
def test_every_row_of_the_table_can_happen(before: OrderState, after: OrderState) -> None:
    filled = Decimal("0.5") if before is S.PARTIAL else Decimal(0)
    event = replace(report(after), filled_quantity=max(filled, report(after).filled_quantity)) if after in REPORTABLE else None
    result = apply(order(before, filled), event or event_towards(after))
    assert result.state is after


@pytest.mark.parametrize("before", [S.OPEN, S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED])
def test_refusal_of_a_request_says_nothing_of_an_order_that_the_venue_has_shown(before: OrderState) -> None:
    shown = order(before)
    assert apply(shown, Rejected(code="X", detail="x")) is shown


@pytest.mark.parametrize("before", sorted(set(S) - {S.OPEN, S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED}))
@pytest.mark.parametrize("event", [Claimed(), Denied(code="X", detail="x"), Rejected(code="X", detail="x")])
def test_step_that_is_not_in_the_table_is_refused(before: OrderState, event: OrderEvent) -> None:
    after = {Claimed: S.SUBMITTING, Denied: S.DENIED, Rejected: S.REJECTED}[type(event)]
    if before is after or (before, after) in TRANSITIONS:
        assert apply(order(before), event).state is after
    else:
        with pytest.raises(InvalidTransition, match=f"from {before} to {after}"):
            apply(order(before), event)


@pytest.mark.parametrize("state", sorted(NOT_AT_VENUE))
@pytest.mark.parametrize("shown", sorted(REPORTABLE))
def test_order_that_is_not_at_the_venue_by_our_books_is_believed_when_the_venue_shows_it(state: OrderState, shown: OrderState) -> None:
    assert apply(order(state), report(shown)).state is shown


def test_states_are_either_finished_or_unsettled_or_not_yet_sent() -> None:
    assert TERMINAL | UNSETTLED | {S.INTENT} == set(S)
    assert not TERMINAL & UNSETTLED


@pytest.mark.parametrize("state", sorted(TERMINAL - {S.LOST}))
def test_not_finding_a_finished_order_says_nothing(state: OrderState) -> None:
    before = order(state)
    assert apply(before, NotFoundAfterWindow(detail="gone")) is before


def test_not_finding_an_open_order_says_nothing_either() -> None:
    before = order(S.OPEN)
    assert apply(before, NotFoundAfterWindow(detail="gone")) is before


@pytest.mark.parametrize("state", sorted(set(S) - {S.SUBMITTING}))
def test_doubt_is_about_an_order_on_its_way_only(state: OrderState) -> None:
    before = order(state)
    assert apply(before, InDoubt(detail="?")) is before


def test_lost_order_comes_back_when_the_venue_shows_it() -> None:
    assert apply(order(S.LOST), report(S.FILLED)).state is S.FILLED


def test_repeated_report_brings_nothing_new() -> None:
    once = apply(order(S.SUBMITTING), report(S.PARTIAL))
    assert apply(once, report(S.PARTIAL)) is once


def test_late_report_with_less_filled_changes_nothing_but_may_bring_the_id() -> None:
    known = replace(order(S.PARTIAL, Decimal("0.7")), average_price=Decimal(100))
    merged = apply(known, report(S.PARTIAL, "0.3", price="90"))
    assert (merged.filled_quantity, merged.average_price, merged.venue_order_id) == (Decimal("0.7"), Decimal(100), "77")


def test_late_fill_completes_a_canceled_order() -> None:
    canceled = apply(order(S.OPEN), report(S.CANCELED, "0.4"))
    assert apply(canceled, report(S.PARTIAL, "0.6")) == replace(canceled, filled_quantity=Decimal("0.6"))
    assert apply(canceled, report(S.FILLED)).state is S.FILLED


def test_more_filled_than_ordered_is_kept_and_flagged() -> None:
    overfilled = apply(order(S.OPEN), report(S.FILLED, "1.2"))
    assert (overfilled.filled_quantity, overfilled.is_overfilled) == (Decimal("1.2"), True)
    assert apply(overfilled, report(S.FILLED)) is overfilled


def test_order_by_notional_is_filled_when_the_venue_says_so_and_never_overfilled() -> None:
    by_notional = replace(order(S.SUBMITTING), is_by_notional=True)
    part = apply(by_notional, report(S.PARTIAL, "1.1"))
    assert (part.state, part.is_overfilled) == (S.PARTIAL, False)
    assert apply(part, report(S.FILLED, "1.1")).state is S.FILLED
    ended = apply(by_notional, report(S.EXPIRED, "0.9"))
    assert apply(ended, report(S.FILLED, "0.98")).state is S.FILLED, "a late fill may complete it"


def test_reason_of_a_refusal_goes_when_the_venue_shows_the_order_after_all() -> None:
    rejected = apply(order(S.SUBMITTING), Rejected(code="ORDER_REJECTED", detail="no"))
    shown = apply(rejected, report(S.FILLED))
    assert (rejected.code, rejected.detail) == ("ORDER_REJECTED", "no")
    assert (shown.state, shown.code, shown.detail) == (S.FILLED, None, None)


def test_mean_price_is_weighted_by_quantity() -> None:
    def fill(trade_id: str, price: int, quantity: int) -> Fill:
        return Fill(
            trade_id=trade_id,
            price=Decimal(price),
            quantity=Decimal(quantity),
            fee=Decimal(0),
            fee_asset="USDT",
            liquidity=Liquidity.TAKER,
            executed_at=MOMENT,
        )

    assert average_of([fill("1", 100, 1), fill("2", 110, 3)]) == (Decimal(4), Decimal("107.5"))
    assert average_of([]) == (Decimal(0), None)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[OrderEvent], Reported]:
    """What a venue truly did, and what reached us of it: parts dropped, doubled, out of order, with doubts in between."""
    parts = draw(st.lists(st.integers(1, 5), max_size=4))
    whole = sum(parts)
    ends = [S.CANCELED, S.EXPIRED] if whole < 20 else []
    quantity_done = Decimal(0)
    told: list[Reported] = [report(S.OPEN)]
    for part in parts:
        quantity_done += Decimal(part) / 20
        told.append(report(S.FILLED if quantity_done == ONE else S.PARTIAL, quantity_done))
    if quantity_done < ONE:
        end = draw(st.sampled_from([*ends, S.FILLED]))
        told.append(report(end, ONE if end is S.FILLED else quantity_done))
    final = told[-1]
    received = draw(st.lists(st.sampled_from(told), max_size=10))
    doubts: list[OrderEvent] = [InDoubt(detail="?"), NotFoundAfterWindow(detail="gone")]
    for doubt in draw(st.lists(st.sampled_from(doubts), max_size=4)):
        received.insert(draw(st.integers(0, len(received))), doubt)  # type: ignore[arg-type]  # a mixed list
    return list(received), final


@given(histories())
def test_whatever_reached_us_one_last_report_makes_it_right(history: tuple[list[OrderEvent], Reported]) -> None:
    events, final = history
    status = order(S.SUBMITTING)
    for event in events:
        before = status
        status = apply(status, event)
        assert status.filled_quantity >= before.filled_quantity, "what was filled never shrinks"
        assert before.state is not S.FILLED or status.state is S.FILLED, "filled is for ever"
        assert status.state is before.state or (before.state, status.state) in TRANSITIONS
    status = apply(status, final)
    assert (status.state, status.filled_quantity, status.average_price) == (final.state, final.filled_quantity, final.average_price)
    assert status.venue_order_id == "77"
    assert apply(status, final) is status, "the second reconcile does nothing"
