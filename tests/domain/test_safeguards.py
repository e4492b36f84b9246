"""Safeguards of a live bot: a trip needs exactly its numbers, and what happened before a re-arming counts no more."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.domain.candles import Timeframe
from app.domain.safeguard_judge import ClosedTrade, SafeguardState, entry_refusal, judge, largest_quantity
from app.domain.safeguards import (
    Action,
    Cooldown,
    Loss,
    LossStreak,
    MaxNotional,
    MaxPositions,
    Rule,
    Safeguards,
    Span,
    StopGuard,
    plain_safeguards,
    read_safeguards,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
CENT = Decimal("0.01")


def minutes(count: int) -> datetime:
    return NOON + timedelta(minutes=count)


def state(**given: Any) -> SafeguardState:
    usual: dict[str, Any] = {"now": NOON, "timeframe": Timeframe.M5}
    usual |= dict.fromkeys(("capital", "equity", "day_start", "peak"), Decimal(10_000))
    return SafeguardState(**usual | given)


def trade(at: datetime, profit: int = -1, *, is_stop: bool = True) -> ClosedTrade:
    return ClosedTrade(closed_at=at, profit=Decimal(profit), is_stop=is_stop)


def test_daily_loss_trips_at_its_fraction_of_the_capital_and_not_a_cent_before() -> None:
    safeguards = Safeguards(daily_loss=Loss(fraction=Decimal("0.05"), action=Action.FLATTEN))
    start, limit = Decimal(12_000), Decimal(11_500)
    assert judge(safeguards, state(day_start=start, equity=limit + CENT)) == ()
    (tripped,) = judge(safeguards, state(day_start=start, equity=limit))
    assert (tripped.rule, tripped.action, tripped.measured) == (Rule.DAILY_LOSS, Action.FLATTEN, Decimal("0.05"))
    assert tripped.reason.values == {"lost": "5", "limit": "5", "day": "2026-11-26", "equity": "11500.00", "base": "12000.00"}


def test_drawdown_trips_at_its_fraction_of_the_peak_and_not_a_cent_before() -> None:
    safeguards = Safeguards(drawdown=Loss(fraction=Decimal("0.1")))
    assert judge(safeguards, state(peak=Decimal(15_000), equity=Decimal(13_500) + CENT)) == ()
    (tripped,) = judge(safeguards, state(peak=Decimal(15_000), equity=Decimal(13_500)))
    assert (tripped.rule, tripped.measured, tripped.base) == (Rule.DRAWDOWN, Decimal("0.1"), Decimal(15_000))


def test_stops_trip_when_so_many_lie_within_the_window() -> None:
    safeguards = Safeguards(stops=StopGuard(stops=3, window=Span(minutes=60)))
    near, far = [minutes(-70), minutes(-20), minutes(-15)], [minutes(-75), minutes(-20), minutes(-15)]
    assert judge(safeguards, state(trades=tuple(map(trade, far)))) == ()
    (tripped,) = judge(safeguards, state(trades=tuple(map(trade, near))))
    assert (tripped.measured, tripped.reason.values["window"]) == (Decimal(3), "60")
    assert judge(safeguards, state(trades=(trade(near[0]), trade(near[1], is_stop=False), trade(near[2])))) == ()


def test_a_window_of_candles_is_the_candle_of_the_last_stop_and_those_before_it() -> None:
    safeguards = Safeguards(stops=StopGuard(stops=2, window=Span(candles=2)))
    assert judge(safeguards, state(trades=(trade(minutes(1)), trade(minutes(9)))))
    assert judge(safeguards, state(trades=(trade(minutes(4)), trade(minutes(10))))) == ()


def test_a_streak_of_losses_trips_at_its_length_and_a_trade_that_did_not_lose_ends_it() -> None:
    safeguards = Safeguards(losses=LossStreak(trades=3))
    lost = [trade(minutes(place), is_stop=False) for place in range(3)]
    assert judge(safeguards, state(trades=tuple(lost[:2]))) == ()
    assert judge(safeguards, state(trades=tuple(lost)))[0].measured == 3
    assert judge(safeguards, state(trades=(*lost[:2], trade(minutes(2), 0), lost[2]))) == ()


def test_what_was_before_a_re_arming_does_not_trip_again() -> None:
    safeguards = Safeguards(losses=LossStreak(trades=2), stops=StopGuard(stops=2, window=Span(minutes=600)))
    trades = (trade(minutes(0)), trade(minutes(5)), trade(minutes(10)))
    assert [one.rule for one in judge(safeguards, state(trades=trades))] == [Rule.STOPS, Rule.LOSSES]
    assert judge(safeguards, state(trades=trades, since={Rule.STOPS: minutes(5), Rule.LOSSES: minutes(5)})) == ()
    assert judge(safeguards, state(trades=trades, tripped=frozenset({Rule.STOPS, Rule.LOSSES}))) == ()


@pytest.mark.parametrize(("minute", "waits"), [(10, True), (14, True), (15, False)])
def test_a_cooldown_lasts_so_many_candles_after_the_one_in_which_a_trade_closed(minute: int, waits: bool) -> None:  # noqa: FBT001
    safeguards = Safeguards(cooldown=Cooldown(span=Span(candles=2)))
    # Closed within the candle of 12:00, which closes at 12:05.
    refusal = entry_refusal(safeguards, state(now=minutes(minute), trades=(trade(minutes(3), 5),)))
    assert (refusal is not None) is waits
    if refusal is not None:
        assert (refusal.rule, refusal.until) == (Rule.COOLDOWN, minutes(15))


def test_a_cooldown_after_losing_trades_looks_at_the_last_one_that_lost() -> None:
    safeguards = Safeguards(cooldown=Cooldown(span=Span(candles=3), is_after_losing=True))
    assert entry_refusal(safeguards, state(now=minutes(6), trades=(trade(minutes(1), 7),))) is None
    refusal = entry_refusal(safeguards, state(now=minutes(6), trades=(trade(minutes(1)), trade(minutes(4), 7))))
    assert refusal is not None
    assert refusal.reason.values == {"closed": "2026-11-26 12:01 UTC", "until": "2026-11-26 12:20 UTC"}


def test_entries_wait_for_a_re_arming_and_for_a_free_place() -> None:
    safeguards = Safeguards(max_positions=MaxPositions(most=2))
    refusal = entry_refusal(safeguards, state(held_positions=2))
    assert refusal is not None
    assert refusal.rule is Rule.MAX_POSITIONS
    assert entry_refusal(safeguards, state(held_positions=1)) is None
    assert entry_refusal(safeguards, state(tripped=frozenset({Rule.DRAWDOWN}))) is not None


def test_a_position_may_be_worth_so_much_with_what_is_held_already() -> None:
    safeguards = Safeguards(max_notional=MaxNotional(most=Decimal(500)))
    assert largest_quantity(safeguards, price=Decimal(100)) == 5
    assert largest_quantity(safeguards, price=Decimal(100), held=Decimal(3)) == 2
    assert largest_quantity(safeguards, price=Decimal(100), held=Decimal(9)) == 0
    assert largest_quantity(Safeguards(), price=Decimal(100)) is None


def test_they_are_stored_as_plain_json_and_read_again() -> None:
    safeguards = Safeguards(
        cooldown=Cooldown(span=Span(candles=3), is_after_losing=True),
        max_notional=MaxNotional(most=Decimal("250.5")),
        daily_loss=Loss(fraction=Decimal("0.03"), action=Action.FLATTEN, rearm_after=24),
        stops=StopGuard(stops=4, window=Span(minutes=90)),
    )
    stored = msgspec.json.decode(msgspec.json.encode(plain_safeguards(safeguards)))
    assert stored["daily_loss"] == {"fraction": "0.03", "action": "flatten", "rearm_after": 24}
    assert read_safeguards(stored) == safeguards


@pytest.mark.parametrize(
    "stored",
    [
        {"daily_loss": {"fraction": "1"}},
        {"daily_loss": {"fraction": "0"}},
        {"daily_loss": {"fraction": "NaN"}},
        {"max_notional": {"most": "-5"}},
        {"stops": {"stops": 2, "window": {}}},
        {"cooldown": {"span": {"candles": 2, "minutes": 3}}},
        {"losses": {"trades": 0}},
        {"losses": {"trades": 2, "action": "shrug"}},
        {"loses": {"trades": 2}},
    ],
)
def test_what_means_nothing_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_safeguards(stored)
