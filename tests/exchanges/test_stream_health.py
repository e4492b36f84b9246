import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.exchanges.stream_funnel import Funnel
from app.exchanges.stream_health import AttemptLimit, StreamConfig, Vitals, judge

CONFIG = StreamConfig()
WELL = {"age_s": 60.0, "silent_s": 0.1}


@pytest.mark.parametrize(
    ("vitals", "what"),
    [
        ({}, ""),
        ({"silent_s": 5.0}, ""),
        ({"silent_s": 5.1}, "replace: no data for 5 s"),
        ({"silent_s": 10.1}, "drop: no data for 10 s"),
        ({"unanswered_s": 10.1}, "drop: a subscription was not answered for 10 s"),
        ({"lagging_s": 29.0}, ""),
        ({"lagging_s": 30.1}, "replace: more than 3 s from the exchange's clock"),
        ({"is_shutting_down": True}, "replace: the server is shutting down"),
        ({"age_s": 23 * 3600 - 1.0}, ""),
        ({"age_s": 23 * 3600 + 1.0}, "replace: old age"),
        ({"age_s": 24 * 3600.0, "silent_s": 11.0}, "drop: no data for 10 s"),
    ],
)
def test_a_connection_is_judged_by_its_data_its_answers_its_lag_and_its_age(vitals: dict[str, Any], what: str) -> None:
    verdict = judge(Vitals(**{**WELL, **vitals}), CONFIG)
    assert ("" if verdict is None else f"{'drop' if verdict.is_dead else 'replace'}: {verdict.reason}") == what


def test_the_defaults_keep_the_venues_limits() -> None:
    assert CONFIG.streams_per_connection + 1 <= 1024, "the canary may be one more"
    assert 1 / CONFIG.between_requests_s <= 3, "pongs count too"
    assert CONFIG.attempts_per_5_min <= 300
    assert CONFIG.rotate_after_s < 24 * 3600
    assert all(url.startswith("wss://") for url in CONFIG.urls)


@settings(deadline=None)
@given(limit=st.integers(1, 40), pauses=st.lists(st.floats(0, 40), min_size=1, max_size=200))
def test_no_five_minutes_see_more_attempts_than_allowed_and_each_gets_its_turn(limit: int, pauses: list[float]) -> None:
    attempts, now = AttemptLimit(limit), 1000.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        wait = attempts.wait_s(now)
        assert wait <= 300
        now += wait + 1e-6
        assert attempts.wait_s(now) == 0
        attempts.take(now)
        taken.append(now)
    assert all(sum(1 for at in taken if first <= at < first + 300) <= limit for first in taken)


def test_attempts_are_spread_before_they_are_used_up() -> None:
    attempts = AttemptLimit(240)
    for _ in range(120):
        assert attempts.wait_s(0.0) == 0
        attempts.take(0.0)
    assert attempts.wait_s(0.0) == 2.5


def test_a_pause_that_the_venue_asks_for_is_kept() -> None:
    attempts = AttemptLimit(240)
    attempts.hold(10.0, 60.0)
    attempts.hold(11.0, 5.0)
    assert attempts.wait_s(20.0) == 50.0


@pytest.mark.asyncio
async def test_readers_wait_until_what_they_read_is_half_taken() -> None:
    funnel: Funnel[int] = Funnel(10)
    pushed = 0

    async def read() -> None:
        nonlocal pushed
        while pushed < 100:
            funnel.push(pushed)
            pushed += 1
            if funnel.is_full:
                await funnel.room()

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.sleep(0)
        assert pushed == 10
        events = funnel.drain()
        assert [await anext(events) for _ in range(4)] == [0, 1, 2, 3]
        await asyncio.sleep(0)
        assert pushed == 10
        assert [await anext(events) for _ in range(96)] == list(range(4, 100))
        await events.aclose()
