import asyncio
import time

import pytest

from app.core.clock import SystemClock
from app.domain.enums import Lane
from app.errors import ExchangeRateLimited
from app.exchanges.budgets import Budget, Kind, Unit
from app.exchanges.circuit import CircuitState, Reason
from app.exchanges.gate import VenueGate
from app.exchanges.user_stream_gate import GateTurnstile
from app.exchanges.user_stream_pace import WEIGHT, Pace
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


def made(*budgets: Budget) -> VenueGate:
    gate = VenueGate("binance", budgets, clock=SystemClock())

    async def clock() -> int:
        return time.time_ns() // 1_000_000

    gate.read_time = clock
    return gate


async def test_subscriptions_count_in_the_limit_of_everything_else() -> None:
    gate = made(Budget(unit=Unit.WEIGHT, limit=6000, window_s=60))
    pace = Pace(0.0, GateTurnstile(gate))
    for _ in range(3):
        await pace.turn()
    assert gate.limiter.used == 3 * WEIGHT


async def test_subscription_waits_when_the_limit_is_used_up() -> None:
    gate = made(Budget(unit=Unit.WEIGHT, limit=10, window_s=0.5))
    turnstile = GateTurnstile(gate)
    started = time.monotonic()
    async with asyncio.timeout(10):
        for _ in range(8):
            await turnstile.turn(WEIGHT)
    assert time.monotonic() - started >= 0.5


@row(6)
@pytest.mark.parametrize("is_banned", [True, False])
async def test_refusal_on_the_stream_keeps_everybody_away_until_the_venue_is_well(is_banned: bool) -> None:  # noqa: FBT001
    gate = made()
    pace = Pace(0.0, GateTurnstile(gate))
    pace.hold(0.3, is_banned=is_banned)
    assert gate.circuit.reason is (Reason.BANNED if is_banned else Reason.RATE_LIMITED)
    with pytest.raises(ExchangeRateLimited):
        await gate.admit(Lane.RECONCILE, kind=Kind.READ, deadline=time.monotonic())
    async with asyncio.timeout(10):
        await pace.turn()
    assert gate.circuit.state is CircuitState.CLOSED


async def test_other_host_that_cannot_be_reached_does_not_keep_the_stream_away() -> None:
    gate = made()
    gate.circuit.trip(Reason.UNREACHABLE, 600)
    async with asyncio.timeout(1):
        await GateTurnstile(gate).turn(WEIGHT)
