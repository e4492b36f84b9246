"""What stops entries by itself, and that only a person resumes them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.clock import ManualClock
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, Side, TradingState
from app.domain.limits import RiskLimits
from app.domain.risk import Scope
from app.errors import DenialReason, OrderDenied
from app.trading import states
from app.trading.limits import put_limits
from app.trading.trips import CLOCK_UNSURE, EXCHANGE_AWAY, MAX_DAILY_LOSS, TOO_MANY_REJECTS, TripWatch
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account
from tests.app.stored import PLENTY, stored, told

pytestmark = pytest.mark.asyncio


@dataclass
class Venue:
    """How a venue is doing, as a test says."""

    exchange: str = "binance"
    is_testnet: bool = False
    open_since: datetime | None = None
    is_clock_sure: bool = True


def watch(pieces: Pieces, *venues: Venue) -> TripWatch:
    return TripWatch(pieces.desk, venues=lambda: venues)


async def causes(pieces: Pieces) -> list[str]:
    return [restraint.code for restraint in await states.list_for(pieces.desk, pieces.user_id)]


async def rejected(pieces: Pieces, count: int) -> None:
    for _ in range(count):
        order = await stored(pieces)
        await pieces.rows("UPDATE orders SET state = 'rejected', updated_at = $2 WHERE id = $1", order.id, pieces.desk.clock.now())


async def limited(pieces: Pieces, *, for_all: bool = False, **limits: Any) -> None:
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(**limits), broker_id=None if for_all else pieces.broker_id)


async def test_too_many_refusals_in_a_minute_stop_entries_but_not_the_way_out(pieces: Pieces) -> None:
    await limited(pieces, rejects_per_minute=3)
    await pieces.filled()
    await rejected(pieces, 3)
    await watch(pieces).once()
    assert await causes(pieces) == []

    await rejected(pieces, 1)
    await watch(pieces).once()
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert (restraint.code, restraint.state, restraint.needs_rearm) == (TOO_MANY_REJECTS, TradingState.REDUCING, True)
    assert restraint.reason == "the exchange has refused 4 orders within a minute, the limit is 3"
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.TRADING_REDUCING
    assert (await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))).order.state is OrderState.FILLED


async def test_refusals_before_the_resuming_are_forgiven_and_new_ones_count(pieces: Pieces) -> None:
    await limited(pieces, rejects_per_minute=1)
    await rejected(pieces, 2)
    await watch(pieces).once()
    await states.rearm(pieces.desk, Scope.broker(pieces.broker_id, pieces.user_id), by="ada")
    await watch(pieces).once()
    assert await causes(pieces) == []
    await rejected(pieces, 2)
    await watch(pieces).once()
    assert await causes(pieces) == [TOO_MANY_REJECTS]


async def test_refusals_of_all_accounts_count_together_where_the_user_says_so(pieces: Pieces) -> None:
    await limited(pieces, for_all=True, rejects_per_minute=3)
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await rejected(pieces, 2)
    await rejected(replace(pieces, broker_id=other), 2)
    await watch(pieces).once()
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert restraint.scope == Scope.user(pieces.user_id)


async def test_old_refusals_stop_nothing(pieces: Pieces) -> None:
    await limited(pieces, rejects_per_minute=1)
    await rejected(pieces, 5)
    await pieces.rows("UPDATE orders SET updated_at = updated_at - interval '61 seconds'")
    await watch(pieces).once()
    assert await causes(pieces) == []


async def test_a_day_s_loss_stops_entries_until_a_person_resumes_and_the_rule_goes_on(pieces: Pieces) -> None:
    scope = Scope.broker(pieces.broker_id, pieces.user_id)
    await limited(pieces, max_daily_loss=Decimal(1))
    await pieces.filled(quantity="0.02")
    await watch(pieces).once()
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert (restraint.code, restraint.state) == (MAX_DAILY_LOSS, TradingState.REDUCING)
    assert restraint.reason == "1.2 USDT were lost today (UTC), the limit is 1 USDT"

    await states.rearm(pieces.desk, scope, by="ada")
    await watch(pieces).once()
    assert await causes(pieces) == [], "whoever resumed knows of it"
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.MAX_DAILY_LOSS, "resuming does not lift the limit"

    await limited(pieces, max_daily_loss=Decimal("1.1"))
    await watch(pieces).once()
    assert await causes(pieces) == [MAX_DAILY_LOSS], "a limit that was changed since is watched anew"


async def test_a_loss_of_all_accounts_together_stops_all_of_them(pieces: Pieces) -> None:
    await limited(pieces, for_all=True, max_daily_loss=Decimal(1))
    await pieces.filled(quantity="0.02")
    await watch(pieces).once()
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert (restraint.code, restraint.scope) == (MAX_DAILY_LOSS, Scope.user(pieces.user_id))


async def test_an_exchange_that_is_away_for_a_minute_stops_its_accounts_and_no_others(pieces: Pieces) -> None:
    clock = ManualClock(pieces.desk.clock.now())
    working = replace(pieces, desk=pieces.with_clock(clock))
    eve = await make_user(pieces.database, "eve")
    await make_broker(pieces.database, pieces.vault, eve, api_key=open_account(pieces.emulator))
    venue = Venue(open_since=clock.now())
    seen: Iterable[Venue] = (venue, Venue(exchange="kraken", open_since=clock.now()), Venue(is_testnet=True, open_since=clock.now()))
    looking = watch(working, *seen)
    clock.advance(timedelta(seconds=60))
    await looking.once()
    assert await causes(pieces) == []
    clock.advance(timedelta(seconds=1))
    await looking.once()
    await looking.once()
    assert await causes(pieces) == [EXCHANGE_AWAY]
    venue.open_since = None
    await looking.once()
    assert await causes(pieces) == [EXCHANGE_AWAY], "it takes a person"
    assert len(await states.list_for(pieces.desk, eve)) == 1


async def test_a_clock_that_stays_unsure_stops_entries(pieces: Pieces) -> None:
    clock = ManualClock(pieces.desk.clock.now())
    venue = Venue(is_clock_sure=False)
    looking = watch(replace(pieces, desk=pieces.with_clock(clock)), venue)
    await looking.once()
    clock.advance(timedelta(seconds=50))
    venue.is_clock_sure = True
    await looking.once()
    venue.is_clock_sure = False
    clock.advance(timedelta(seconds=50))
    await looking.once()
    assert await causes(pieces) == []
    clock.advance(timedelta(seconds=61))
    await looking.once()
    assert await causes(pieces) == [CLOCK_UNSURE]


async def test_a_market_that_its_last_candle_contradicts_is_left_alone_until_somebody_has_looked(pieces: Pieces) -> None:
    await told(pieces, PLENTY)
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=Decimal(59999), ask=Decimal(60000))
    pieces.quotes.put_close(SYMBOL, Decimal(50000))
    with pytest.raises(OrderDenied):
        await pieces.submit()
    pieces.quotes.put_close(SYMBOL, Decimal(60000))
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.TRADING_REDUCING
    assert "away from its last closed candle" in caught.value.message
    await states.rearm(pieces.desk, Scope.symbol(SYMBOL, pieces.user_id), by="ada")
    await pieces.filled()


async def test_the_loop_sees_a_refusal_soon_after_it_happened(pieces: Pieces) -> None:
    await limited(pieces, rejects_per_minute=1)
    await told(pieces, {"USDT": "9000000"})
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("risk.trips", watch(pieces).run)
        for _ in range(2):
            order = (await pieces.submit(pieces.intent(quantity="50"))).order
            assert order.state is OrderState.REJECTED
        async with asyncio.timeout(5):
            while await causes(pieces) != [TOO_MANY_REJECTS]:  # noqa: ASYNC110  # another task's rows, in PostgreSQL
                await asyncio.sleep(0.05)
