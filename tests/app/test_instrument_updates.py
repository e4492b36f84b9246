"""Updates of the instruments: what they count, who may begin one and when, what a killed server leaves, the night, and who is told."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.events import EventBus
from app.core.ids import new_id
from app.core.leases import process_place, process_start
from app.errors import NotFound, Unsupported, UpdateTooSoon
from app.marketdata.events import InstrumentsUpdated
from app.marketdata.instruments import InstrumentBook
from app.marketdata.listing_store import Changes, as_stored
from app.marketdata.models import UpdateCause, UpdatePhase, UpdateState
from app.marketdata.update_store import Update
from app.marketdata.updates import Nightly, Updates
from tests.app.conftest import Pieces, make_user
from tests.exchanges.gated import SettableClock

pytestmark = pytest.mark.asyncio

EXCHANGE_INFO = "/api/v3/exchangeInfo"
DEADLINE_S = 30.0
_LIST = (
    "INSERT INTO instruments (id, exchange, symbol, base, quote, type, is_active, last_updated, tick_size, step_size, raw_info)"
    " VALUES (gen_random_uuid(), 'binance', $1 || '/USDT', $1, 'USDT', 'spot', true, now(), 1, 1, '{}')"
)


def make_updates(pieces: Pieces, book: InstrumentBook | None = None, **options: Any) -> Updates:
    clock = options.pop("clock", pieces.desk.clock)
    return Updates(pieces.database, book or make_book(pieces), options.pop("bus", pieces.bus), clock=clock, **options)


def make_book(pieces: Pieces, **options: Any) -> InstrumentBook:
    return InstrumentBook(pieces.database, pieces.registry, clock=pieces.desk.clock, **options)


@asynccontextmanager
async def running(updates: Updates) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(updates.run(lambda: None))
        yield
        task.cancel()


async def ended(updates: Updates, update_id: UUID) -> Update:
    async with asyncio.timeout(DEADLINE_S):
        while (update := await updates.get(update_id)).state is UpdateState.RUNNING:  # noqa: ASYNC110  # in PostgreSQL
            await asyncio.sleep(0.02)
    return update


@pytest.fixture
def slow(moving: Pieces) -> Iterator[Pieces]:
    """The exchange takes two seconds to list its symbols."""
    moving.fault("delay", method="GET", path=EXCHANGE_INFO, delay_ms=2000, times=100)
    yield moving
    moving.emulator.control("DELETE", "/_fault")


async def test_added_updated_and_removed_symbols_are_counted_and_an_unchanged_one_is_not_written(moving: Pieces) -> None:
    book = make_book(moving)
    assert await book.refresh("binance") == Changes(listed=1, added=("BTC/USDT",))
    version = "SELECT symbol, xmin::text FROM instruments ORDER BY symbol"
    before = await moving.rows(version)
    assert await book.refresh("binance") == Changes(listed=1)
    assert await moving.rows(version) == before

    await moving.rows(_LIST, "GONE")
    moving.emulator.change_symbol(tick="0.1")
    assert await book.refresh("binance") == Changes(listed=1, updated=("BTC/USDT",), removed=("GONE/USDT",))
    assert await book.refresh("binance") == Changes(listed=1), "what is gone is not removed again"
    rules = await book.get("binance", "BTC/USDT")
    gone = await book.get("binance", "GONE/USDT")
    assert rules is not None
    assert gone is not None
    assert (rules.tick_size, gone.is_active) == (Decimal("0.1"), False)

    await moving.rows("UPDATE instruments SET is_active = false, delisted_at = now() WHERE symbol = 'BTC/USDT'")
    assert (await book.refresh("binance")).added == ("BTC/USDT",), "what comes back is added"


async def test_rules_that_the_table_cannot_hold_exactly_are_not_counted_as_changed_each_time(moving: Pieces) -> None:
    rules = await make_book(moving).get("binance", "BTC/USDT")
    assert rules is not None
    listed = replace(rules, min_notional=Decimal("0.0000000000000000015"), max_quantity=Decimal("1E+30"))
    stored = as_stored(listed)
    assert stored is not None
    assert (stored.min_notional, stored.max_quantity) == (Decimal("0.000000000000000002"), None)
    assert as_stored(stored) == stored
    assert as_stored(replace(rules, step_size=Decimal("1E-19"))) is None, "a step that would be rounded to nothing"


async def test_a_reader_never_misses_a_symbol_while_the_list_is_exchanged(moving: Pieces) -> None:
    book = make_book(moving)
    for name in ("OLD0", "OLD1"):
        await moving.rows(_LIST, name)
    seen: set[tuple[int, bool]] = set()

    async def read() -> None:
        while True:
            rows = await moving.rows("SELECT symbol, is_active FROM instruments")
            held = await book.all("binance") if book.is_loaded("binance") else None
            seen.add((len(rows), held is None or {"OLD0/USDT", "OLD1/USDT"} <= held.keys()))

    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        for tick in ("0.1", "0.01", "0.1", "0.01"):
            moving.emulator.change_symbol(tick=tick)
            await book.refresh("binance")
        reader.cancel()
    assert seen <= {(2, True), (3, True)}


async def test_an_update_runs_in_the_background_tells_how_far_it_is_and_what_it_changed(slow: Pieces) -> None:
    updates = make_updates(slow)
    with slow.bus.subscribe(InstrumentsUpdated) as told:
        async with running(updates):
            begun = await updates.begin("binance", started_by=slow.user_id)
            await asyncio.sleep(1.5)
            (halfway,) = await updates.latest(10)
            done = await ended(updates, begun.id)
    assert (halfway.state, halfway.phase, halfway.added) == (UpdateState.RUNNING, UpdatePhase.ASKING, None)
    assert (done.state, done.done, done.total) == (UpdateState.DONE, 1, 1)
    assert (done.added, done.updated, done.removed, done.names) == (1, 0, 0, {"added": ["BTC/USDT"]})
    is_over = []
    while isinstance(event := told.get_nowait(), InstrumentsUpdated):
        is_over.append(event.is_over)
    assert is_over == [False, False, False, True]


async def test_who_comes_while_one_runs_joins_it_and_who_comes_within_a_minute_must_wait(slow: Pieces) -> None:
    updates, other = make_updates(slow), make_updates(slow)
    stranger = await make_user(slow.database, "eve")
    async with running(updates), running(other):
        both = await asyncio.gather(updates.begin("binance", started_by=slow.user_id), other.begin("binance", started_by=stranger))
        assert len({update.id for update in both}) == 1
        await ended(updates, both[0].id)
        with pytest.raises(UpdateTooSoon) as refused:
            await other.begin("binance", started_by=stranger)
        assert 30 < refused.value.retry_after_s <= 60
        clock = SettableClock()
        clock.step = timedelta(seconds=61)
        later = make_updates(slow, clock=clock)
        assert (await later.begin("binance", started_by=stranger)).id != both[0].id


async def test_an_exchange_that_is_none_or_that_fails_is_told_and_the_list_stays(moving: Pieces) -> None:
    updates = make_updates(moving)
    book = make_book(moving)
    await book.refresh("binance")
    moving.fault("status_before", method="GET", path=EXCHANGE_INFO, times=100, status=503)
    with pytest.raises(Unsupported):
        await updates.begin("nosuchexchange", started_by=moving.user_id)
    with pytest.raises(NotFound):
        await updates.get(new_id())
    async with running(updates):
        failed = await ended(updates, (await updates.begin("binance", started_by=moving.user_id)).id)
    assert (failed.state, failed.code, failed.added) == (UpdateState.FAILED, "EXCHANGE_UNAVAILABLE", None)
    assert failed.detail
    assert len(await moving.rows("SELECT 1 FROM instruments WHERE is_active")) == 1
    moving.emulator.control("DELETE", "/_fault")


async def left(pieces: Pieces, exchange: str, owner: str, *, silent_s: float = 0) -> UUID:
    """An update that a server began and has not ended."""
    update_id = new_id()
    await pieces.rows(
        "INSERT INTO instrument_updates (id, exchange, cause, state, phase, owner, started_at, touched_at)"
        " VALUES ($1, $2, 'person', 'running', 'asking', $3, now(), now() - make_interval(secs => $4))",
        update_id,
        exchange,
        owner,
        silent_s,
    )
    return update_id


async def test_what_a_killed_server_left_is_interrupted_at_the_next_start_and_what_a_living_one_does_is_not(pieces: Pieces) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    dead = f"{process_place()}:{process.pid}:1:abcd"
    alive = f"{process_place()}:{os.getpid()}:{process_start(os.getpid())}:abcd"
    killed, living = await left(pieces, "binance", dead), await left(pieces, "kraken", alive)
    silent = await left(pieces, "okx", "another-machine:1:1:abcd", silent_s=31)
    updates = make_updates(pieces)
    async with running(updates):
        assert (await ended(updates, killed)).code == "INTERRUPTED"
        assert (await ended(updates, silent)).state is UpdateState.INTERRUPTED
        assert (await updates.get(living)).state is UpdateState.RUNNING
        again = await updates.begin("binance", started_by=pieces.user_id)
        assert (await ended(updates, again.id)).state is UpdateState.DONE, "an interrupted one is no reason to wait"


async def test_an_update_is_interrupted_when_its_server_stops_in_order(slow: Pieces) -> None:
    updates = make_updates(slow)
    async with running(updates):
        begun = await updates.begin("binance", started_by=slow.user_id)
        await asyncio.sleep(0.5)
    assert (await updates.get(begun.id)).state is UpdateState.INTERRUPTED
    assert await slow.rows("SELECT 1 FROM instruments") == []


async def test_what_another_process_updated_is_read_again(moving: Pieces) -> None:
    here, there = make_book(moving), make_book(moving)
    await here.refresh("binance")
    bus = EventBus()
    updates, others = make_updates(moving, here, bus=bus), make_updates(moving, there)
    async with running(others):
        moving.emulator.change_symbol(tick="0.1")
        await ended(others, (await others.begin("binance", started_by=moving.user_id)).id)
    with bus.subscribe(InstrumentsUpdated) as told:
        async with running(updates), asyncio.timeout(DEADLINE_S):
            await told.get()
    rules = here.cached("binance", "BTC/USDT")
    assert rules is not None
    assert rules.tick_size == Decimal("0.1")
    moving.emulator.change_symbol(tick="0.01")


NIGHT = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


class NightClock:
    """A clock that stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


async def test_each_exchange_in_use_is_updated_once_a_night_within_half_an_hour_of_the_hour(pieces: Pieces) -> None:
    clock = NightClock(NIGHT - timedelta(hours=1))
    is_ours = False

    async def in_use() -> set[str]:
        return {"binance", "paper"}

    nightly = Nightly(hour=3, in_use=in_use, is_ours=lambda: is_ours)
    book = make_book(pieces, same_as={"paper": "binance"})
    updates = make_updates(pieces, book, clock=clock, nightly=nightly)

    async def begun(at: datetime) -> int:
        clock.at = at
        await updates._look_around()
        await pieces.rows("UPDATE instrument_updates SET state = 'done', finished_at = started_at")
        return len(await pieces.rows("SELECT 1 FROM instrument_updates WHERE cause = 'nightly' AND started_by IS NULL"))

    assert await begun(NIGHT + timedelta(minutes=31)) == 0, "another process has the role"
    is_ours = True
    assert await begun(NIGHT - timedelta(minutes=1)) == 0
    assert await begun(NIGHT + timedelta(minutes=31)) == 1
    assert await begun(NIGHT + timedelta(hours=5)) == 1
    assert await begun(NIGHT + timedelta(days=1, minutes=31)) == 2


async def test_a_night_that_no_server_saw_is_made_up_for_and_a_new_server_waits_for_its_first(pieces: Pieces) -> None:
    async def in_use() -> set[str]:
        return {"binance"}

    nightly = Nightly(hour=3, in_use=in_use, is_ours=lambda: True)
    fresh = make_updates(pieces, clock=NightClock(NIGHT + timedelta(hours=6)), nightly=nightly)
    await fresh._look_around()
    assert await pieces.rows("SELECT 1 FROM instrument_updates") == []
    old = NIGHT - timedelta(hours=20)
    await pieces.rows(
        "INSERT INTO instrument_updates (id, exchange, cause, state, phase, owner, started_at, touched_at, finished_at)"
        " VALUES ($1, 'binance', 'person', 'done', 'storing', '', $2, $2, $2)",
        new_id(),
        old,
    )
    await fresh._look_around()
    (latest,) = await fresh.latest(10)
    assert latest.cause is UpdateCause.NIGHTLY


async def test_the_markets_of_an_exchange_that_nobody_has_an_account_at_are_let_go_and_come_back_when_asked_for(moving: Pieces) -> None:
    used: set[str] = {"binance"}

    async def in_use() -> set[str]:
        return used

    updates = make_updates(moving, nightly=Nightly(hour=3, in_use=in_use, is_ours=lambda: False))
    public = await moving.registry.public("binance")
    async with running(updates):
        await ended(updates, (await updates.begin("binance", started_by=moving.user_id)).id)
        assert public._source.shared is not None
        used.clear()
        await moving.rows("DELETE FROM instrument_updates")
        begun = await updates.begin("binance", started_by=moving.user_id)
        await ended(updates, begun.id)
        async with asyncio.timeout(DEADLINE_S):
            while public._source.shared is not None:  # noqa: ASYNC110  # by a task that tells nobody
                await asyncio.sleep(0.02)
    assert (await public.fetch_ticker("BTC/USDT")).last is not None
