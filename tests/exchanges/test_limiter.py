import asyncio
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.domain.enums import Lane
from app.errors import AppError, ExchangeRateLimited, NotSent
from app.exchanges.budgets import Budget, Kind, Unit
from app.exchanges.limiter import Limiter, Slot
from app.exchanges.rate_window import QUOTAS


def weight_budget(limit: int, window_s: float = 60.0, *, dormant: bool = False) -> Budget:
    return Budget(unit=Unit.WEIGHT, limit=limit, window_s=window_s, header="used", dormant=dormant)


def order_budget(limit: int, window_s: float) -> Budget:
    return Budget(unit=Unit.ORDERS, limit=limit, window_s=window_s, kinds=frozenset({Kind.PLACE}), per_account=True, header="orders")


@dataclass
class HandClock:
    """Monotonic seconds that stand still."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def says(**counts: int) -> Callable[[str], int | None]:
    return counts.get


async def go(limiter: Limiter, lane: Lane, *, weight: int = 1, kind: Kind = Kind.READ, account: str = "a", wait_s: float = 0.0) -> bool:
    """Whether there is room now."""
    try:
        async with limiter.slot(lane=lane, weight=weight, kind=kind, account=account, deadline=limiter._monotonic() + wait_s):
            return True
    except (NotSent, ExchangeRateLimited):
        return False


@pytest.mark.asyncio
async def test_each_lane_may_fill_its_part_of_the_budget_and_protection_all_of_it() -> None:
    filled = {}
    for lane in Lane:
        limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
        filled[lane] = sum([await go(limiter, lane) for _ in range(101)])

    assert filled == {lane: round(100 * quota) for lane, quota in QUOTAS.items()}
    assert list(filled.values()) == [100, 95, 90, 80, 60, 40]


@pytest.mark.asyncio
async def test_a_window_is_free_again_a_window_after_the_answer_and_not_before() -> None:
    clock = HandClock()
    limiter = Limiter("Binance", [weight_budget(10, 60.0)], monotonic=clock)
    async with limiter.slot(lane=Lane.PROTECTIVE, weight=10):
        clock.now += 30  # a slow answer: the venue may have counted it only now
    clock.now += 59.9
    was_free = await go(limiter, Lane.PROTECTIVE)
    clock.now += 1.1

    assert not was_free
    assert await go(limiter, Lane.PROTECTIVE)


@pytest.mark.asyncio
async def test_an_order_of_the_protective_lane_passes_fifty_reads_that_wait() -> None:
    limiter = Limiter("Binance", [weight_budget(60, 0.3)])
    order: list[str] = []

    async def one(name: str, lane: Lane, kind: Kind) -> None:
        async with limiter.slot(lane=lane, kind=kind, deadline=time.monotonic() + 10):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        for index in range(86):
            group.create_task(one(f"read {index}", Lane.RECONCILE, Kind.READ))
        await asyncio.sleep(0)
        assert len(order) == 36  # 60 % of 60
        group.create_task(one("stop", Lane.PROTECTIVE, Kind.PLACE))
        await asyncio.sleep(0)
        assert order[-1] == "stop"

    assert [name for name in order if name != "stop"] == [f"read {index}" for index in range(86)]


@pytest.mark.asyncio
async def test_those_who_wait_go_by_right_and_within_a_lane_by_arrival() -> None:
    limiter = Limiter("Binance", [weight_budget(1, 0.01)])
    order: list[tuple[Lane, int]] = []

    async def one(lane: Lane, index: int) -> None:
        async with limiter.slot(lane=lane):
            order.append((lane, index))

    async with asyncio.TaskGroup() as group, limiter.slot(lane=Lane.MARKET):
        for index in range(2):
            for lane in reversed(Lane):
                group.create_task(one(lane, index))
        await asyncio.sleep(0)
        assert limiter.waiting() == dict.fromkeys(Lane, 2)

    assert order == [(lane, index) for lane in Lane for index in range(2)]


@pytest.mark.asyncio
async def test_a_heavy_request_is_not_starved_by_light_ones_that_come_later() -> None:
    limiter = Limiter("Binance", [weight_budget(100, 0.05)])
    order: list[str] = []

    async def one(name: str, weight: int, lane: Lane = Lane.ENTRY) -> None:
        async with limiter.slot(lane=lane, weight=weight):
            order.append(name)

    async with asyncio.TaskGroup() as group, limiter.slot(lane=Lane.PROTECTIVE, weight=70):
        for name, weight in (("heavy", 20), ("light", 1)):
            group.create_task(one(name, weight))
        group.create_task(one("stop", 1, Lane.PROTECTIVE))
        await asyncio.sleep(0)
        assert order == ["stop"]

    assert order == ["stop", "heavy", "light"]


@pytest.mark.asyncio
async def test_no_order_waits_for_ever() -> None:
    limiter = Limiter("Binance", [weight_budget(1, 60.0)])
    async with limiter.slot(lane=Lane.PROTECTIVE):
        started = time.monotonic()
        with pytest.raises(NotSent, match="Binance's rate limit left no room in time") as caught:
            async with limiter.slot(lane=Lane.ENTRY, kind=Kind.PLACE, deadline=started + 0.05):
                pytest.fail("there was no room")
        with pytest.raises(ExchangeRateLimited):
            async with limiter.slot(lane=Lane.RECONCILE, kind=Kind.READ, deadline=time.monotonic()):
                pytest.fail("there was no room")

    assert caught.value.code == "RATE_LIMIT"
    assert 0.05 <= time.monotonic() - started < 5
    assert limiter.waiting() == {}
    assert limiter.used == 1


@pytest.mark.asyncio
async def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    limiter = Limiter("Binance", [weight_budget(1, 0.05)])
    went: list[str] = []

    async def one(name: str) -> None:
        async with limiter.slot(lane=Lane.ENTRY):
            went.append(name)

    async with asyncio.TaskGroup() as group, limiter.slot(lane=Lane.ENTRY):
        first = group.create_task(one("first"))
        group.create_task(one("second"))
        await asyncio.sleep(0)
        first.cancel()

    assert went == ["second"]


@pytest.mark.asyncio
async def test_what_never_left_has_used_nothing() -> None:
    limiter = Limiter("Binance", [weight_budget(10)], monotonic=HandClock())

    with pytest.raises(AppError):
        async with limiter.slot(lane=Lane.ENTRY, weight=8, kind=Kind.PLACE):
            raise NotSent("the lease was lost")
    assert limiter.used == 0
    with pytest.raises(ConnectionError):
        async with limiter.slot(lane=Lane.ENTRY, weight=8, kind=Kind.PLACE):
            raise ConnectionError

    assert limiter.used == 8


@pytest.mark.asyncio
async def test_the_venue_counts_what_others_of_this_address_used() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
    async with limiter.slot(lane=Lane.RECONCILE) as slot:
        slot.observe(says(used=79))

    assert limiter.used == 79
    assert not await go(limiter, Lane.RECONCILE)
    assert await go(limiter, Lane.ENTRY)
    assert not await go(limiter, Lane.ENTRY)


@pytest.mark.asyncio
async def test_the_venue_has_begun_a_new_minute_and_is_believed() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
    for _ in range(59):
        assert await go(limiter, Lane.RECONCILE)
    async with limiter.slot(lane=Lane.RECONCILE) as slot:
        slot.observe(says(used=1))

    assert limiter.used == 1


@pytest.mark.asyncio
async def test_requests_under_way_are_not_forgotten_when_the_venue_has_not_counted_them() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
    before, asking, after = (limiter.slot(lane=Lane.ENTRY, weight=weight) for weight in (7, 1, 11))
    async with before, asking, after:
        asking.observe(says(used=1))

        assert limiter.used == 1 + 7 + 11


@pytest.mark.asyncio
async def test_an_older_answer_that_comes_late_changes_nothing() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
    async with limiter.slot(lane=Lane.RECONCILE) as old:
        async with limiter.slot(lane=Lane.RECONCILE) as new:
            new.observe(says(used=1))
            old.observe(says(used=98))

        assert limiter.used == 2


@pytest.mark.asyncio
async def test_orders_count_for_their_account_alone_and_a_filled_one_counts_no_more() -> None:
    limiter = Limiter("Binance", [order_budget(10, 10.0)], monotonic=HandClock())
    placed = [await go(limiter, Lane.ENTRY, kind=Kind.PLACE, account="a") for _ in range(9)]
    other = await go(limiter, Lane.ENTRY, kind=Kind.PLACE, account="b")
    async with limiter.slot(lane=Lane.EXIT, kind=Kind.PLACE, account="a") as slot:
        slot.observe(says(orders=1))

    assert placed == [True] * 8 + [False]
    assert other
    assert await go(limiter, Lane.ENTRY, kind=Kind.PLACE, account="a")
    assert await go(limiter, Lane.ENTRY, kind=Kind.READ, account="a")


@pytest.mark.asyncio
async def test_an_account_that_was_told_to_wait_stops_no_other() -> None:
    per_account = Budget(unit=Unit.REQUESTS, limit=10, window_s=1, kinds=frozenset({Kind.READ}), per_account=True)
    clock = HandClock()
    limiter = Limiter("OKX", [per_account], monotonic=clock)
    limiter.pause("a", 5.0, kind=Kind.READ)

    assert not await go(limiter, Lane.PROTECTIVE, account="a")
    assert await go(limiter, Lane.PROTECTIVE, account="b")
    clock.now += 5
    assert await go(limiter, Lane.PROTECTIVE, account="a")


@pytest.mark.asyncio
async def test_requests_of_a_key_with_rising_numbers_go_one_at_a_time_and_by_right() -> None:
    one_at_a_time = Budget(unit=Unit.REQUESTS, limit=1, window_s=0, kinds=frozenset({Kind.READ, Kind.PLACE}), per_account=True)
    limiter = Limiter("Kraken", [one_at_a_time])
    order: list[str] = []
    under_way = 0

    async def one(name: str, lane: Lane, account: str = "a") -> None:
        nonlocal under_way
        async with limiter.slot(lane=lane, account=account):
            assert account == "b" or under_way == 0
            under_way += account == "a"
            order.append(name)
            await asyncio.sleep(0)
            under_way -= account == "a"

    async with asyncio.TaskGroup() as group:
        for index in range(5):
            group.create_task(one(f"read {index}", Lane.RECONCILE))
        group.create_task(one("order", Lane.ENTRY))
        group.create_task(one("other account", Lane.MARKET, "b"))

    assert order[:3] == ["read 0", "other account", "order"]
    assert order[3:] == [f"read {index}" for index in range(1, 5)]


@pytest.mark.asyncio
async def test_a_limit_an_emulator_only_lists_slows_nothing_down_until_it_counts() -> None:
    limiter = Limiter("binance", [weight_budget(10, dormant=True)], monotonic=HandClock())
    went = [await go(limiter, Lane.MARKET) for _ in range(100)]
    async with limiter.slot(lane=Lane.MARKET) as slot:
        slot.observe(says(used=101))

    assert all(went)
    assert not await go(limiter, Lane.MARKET)


@pytest.mark.asyncio
async def test_a_process_with_a_share_leaves_the_rest_to_others_but_may_protect_with_what_is_common() -> None:
    filled = {}
    for lane in Lane:
        limiter = Limiter("Binance", [weight_budget(1000)], share=0.5, monotonic=HandClock())
        filled[lane] = sum([await go(limiter, lane) for _ in range(1001)])

    assert filled[Lane.ENTRY] == 280  # 80 % of half of 70 %
    assert filled[Lane.PROTECTIVE] == 650  # half of 70 %, and the 30 % that are nobody's


@pytest.mark.asyncio
async def test_a_request_heavier_than_its_lanes_part_goes_when_nothing_else_does() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())

    assert await go(limiter, Lane.RECONCILE, weight=80)
    assert not await go(limiter, Lane.RECONCILE, weight=80)


@pytest.mark.asyncio
async def test_another_limit_keeps_what_was_counted() -> None:
    limiter = Limiter("Binance", [weight_budget(100)], monotonic=HandClock())
    await go(limiter, Lane.ENTRY, weight=50)

    limiter.allow([weight_budget(60)])

    assert (limiter.used, limiter.budget) == (50, 60)
    assert not await go(limiter, Lane.ENTRY)


@pytest.mark.asyncio
async def test_a_hundred_waiters_cost_nothing() -> None:
    limiter = Limiter("Binance", [weight_budget(1, 60.0)])

    async def wait() -> None:
        async with limiter.slot(lane=Lane.RECONCILE):
            pass

    async with limiter.slot(lane=Lane.PROTECTIVE):
        tasks = [asyncio.ensure_future(wait()) for _ in range(100)]  # noqa: TID251  # cancelled below, a group would wait
        await asyncio.sleep(0.05)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(0.4)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert limiter.waiting() == {Lane.RECONCILE: 100}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent_s < 0.04


@dataclass
class Venue:
    """Counts as Binance does, in intervals that begin on the clock, or over the last window; answers with its count."""

    limit: int
    window_s: float
    is_sliding: bool
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    worst: int = 0

    def take(self, now: float, weight: int) -> int:
        self.arrivals.append((now, weight))
        since = now - self.window_s if self.is_sliding else now // self.window_s * self.window_s
        counted = sum(weight for at, weight in self.arrivals if at >= since)
        self.worst = max(self.worst, counted)
        return counted


async def simulate(seed: int) -> tuple[Venue, int]:
    """Random traffic of random weights and travel times, whose answers come in any order."""
    chance = random.Random(seed)
    clock = HandClock(chance.uniform(0, 100))
    venue = Venue(limit=50, window_s=10.0, is_sliding=seed % 2 == 0)
    limiter = Limiter("Binance", [weight_budget(venue.limit, venue.window_s)], monotonic=clock)
    under_way: list[tuple[float, str, Slot, int, int]] = []
    went = 0
    for _ in range(400):
        clock.now += chance.expovariate(4)
        for event in sorted((event for event in under_way if event[0] <= clock.now), key=lambda event: event[0]):
            at, step, slot, weight, counted = event
            under_way.remove(event)
            if step == "arrives":
                under_way.append((at + chance.expovariate(3), "answers", slot, weight, venue.take(at, weight)))
            else:
                if chance.random() < 0.8:
                    slot.observe(says(used=counted))
                await slot.__aexit__(None, None, None)
        weight = chance.choice([1, 1, 2, 4, 20])
        slot = limiter.slot(lane=chance.choice(list(Lane)), weight=weight, deadline=clock.now)
        try:
            await slot.__aenter__()
        except ExchangeRateLimited:
            continue
        went += weight
        under_way.append((clock.now + chance.expovariate(3), "arrives", slot, weight, 0))
    return venue, went


@pytest.mark.asyncio
async def test_the_venue_never_sees_more_than_its_limit_whatever_travels_how_long() -> None:
    for seed in range(40):
        venue, went = await simulate(seed)

        assert venue.worst <= venue.limit, seed
        assert went > 4 * venue.limit, seed
