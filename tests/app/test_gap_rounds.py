"""Holes that somebody wants to be looked at again: filled, or proven to be the exchange's own; never invented, and never a flood."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.core.events import EventBus
from app.core.ids import new_id
from app.domain.candles import Timeframe
from app.errors import BackfillTooSoon, NotFound
from app.marketdata.gap_rounds import GapFiller, GapRounds
from app.marketdata.heartbeat_queries import Gap, gaps_page
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore, Close
from tests.app.conftest import Pieces
from tests.emulator_process import EmulatorProcess, steps, write_candles

pytestmark = pytest.mark.asyncio

SYMBOL = "BTC/USDT"
MINUTE = timedelta(minutes=1)
#: The exchange itself has nothing for minutes 30 to 39.
OUTAGE = range(30, 40)


@pytest.fixture(scope="module")
def standing_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """A recorded market with an outage in it."""
    rows = steps([60000.0 + number for number in range(240)])
    kept = [row for number, row in enumerate(rows) if number not in OUTAGE]
    path: Path = write_candles(tmp_path_factory.mktemp("outage") / "binance-BTCUSDT-1m-outage.csv", kept)
    with EmulatorProcess("--replay", str(path), "--history", "200", "--paused") as process:
        yield process


@dataclass(kw_only=True)
class Ledger:
    """Rounds on a database that has nothing stored. `first` is when the exchange's first candle opened, `hour` a full hour behind it."""

    first: datetime
    hour: int
    pieces: Pieces
    store: CandleStore
    rounds: GapRounds
    reread: list[str] = field(default_factory=list)

    async def hole(self, start: int, end: int, *, timeframe: Timeframe = Timeframe.M1, symbol: str = SYMBOL) -> UUID:
        gap_id = new_id()
        await self.pieces.rows(
            "INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, outcome)"
            " VALUES ($1, 'binance', $2, $3, $4, $5, now(), 'open')",
            gap_id,
            symbol,
            timeframe.value,
            self.first + start * MINUTE,
            self.first + end * MINUTE,
        )
        return gap_id

    async def all(self) -> list[Gap]:
        return await gaps_page(self.pieces.database, "binance", limit=100)

    async def stored(self, timeframe: Timeframe = Timeframe.M1) -> list[int]:
        """Minutes since the beginning of the candles that are stored."""
        return [(c.open_time - self.first) // MINUTE for c in await self.store.latest("binance", SYMBOL, timeframe, limit=1000)]

    async def round(self, gap_id: UUID | None = None) -> int:
        count = await self.rounds.begin(gap_id)
        async with asyncio.timeout(20):
            while self.rounds.asked:  # noqa: ASYNC110  # the loop under test is what it waits for
                await asyncio.sleep(0.01)
        return count


@pytest_asyncio.fixture
async def ledger(pieces: Pieces) -> AsyncIterator[Ledger]:
    (newest,) = await (await pieces.registry.public("binance")).fetch_candles(SYMBOL, Timeframe.M1, limit=1)
    # Each opens one higher than the one before, so a price tells which it is.
    first = newest.open_time - round(newest.open - 60000.0) * MINUTE
    hour = ((Timeframe.H1.floor(first) - first) // MINUTE + 60 - 1) % 60 + 1
    store = CandleStore(pieces.database)
    reread: list[str] = []
    filler = GapFiller(
        "binance",
        database=pieces.database,
        store=store,
        clock=pieces.desk.clock,
        client=partial(pieces.registry.public, "binance"),
        on_filled=reread.append,
    )
    rounds = GapRounds("binance", filler, database=pieces.database, bus=EventBus(), pause_s=0.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rounds.run(lambda: None))
        yield Ledger(first=first, hour=hour if hour >= 40 else hour + 60, pieces=pieces, store=store, rounds=rounds, reread=reread)
        task.cancel()


async def test_a_hole_is_filled_and_so_are_the_longer_candles_that_it_completes(ledger: Ledger) -> None:
    await ledger.hole(ledger.hour, ledger.hour + 15)
    assert await ledger.round() == 1
    assert await ledger.stored() == list(range(ledger.hour, ledger.hour + 15))
    assert await ledger.stored(Timeframe.M15) == [ledger.hour]
    assert await ledger.stored(Timeframe.H1) == [], "an hour of which three quarters are missing is no candle"
    (gap,) = await ledger.all()
    assert (gap.outcome, gap.candles, gap.resolved_at is not None) == (GapOutcome.FILLED, 15, True)


async def test_what_the_exchange_has_not_is_written_down_and_nothing_is_invented(ledger: Ledger) -> None:
    own = await ledger.hole(30, 40)
    around = await ledger.hole(20, 50)
    assert await ledger.round() == 2
    assert await ledger.stored() == [*range(20, 30), *range(40, 50)]
    outcomes = {gap.id: gap.outcome for gap in await ledger.all()}
    assert (outcomes[own], outcomes[around]) == (GapOutcome.EXCHANGE_HAS_NONE, GapOutcome.FILLED)
    assert len(outcomes) == 2, "the outage is in the list once"


async def test_a_longer_candle_over_an_outage_is_never_filled_from_what_is_there(ledger: Ledger) -> None:
    hour = ledger.hour
    whole, broken = await ledger.hole(hour, hour + 60, timeframe=Timeframe.H1), await ledger.hole(hour - 60, hour, timeframe=Timeframe.H1)
    await ledger.round()
    outcomes = {gap.id: gap.outcome for gap in await ledger.all()}
    assert outcomes == {whole: GapOutcome.FILLED, broken: GapOutcome.EXCHANGE_HAS_NONE}
    assert await ledger.stored(Timeframe.H1) == [hour]


async def test_a_candle_that_is_stored_keeps_its_numbers(ledger: Ledger) -> None:
    await ledger.hole(60, 70)
    (candle,) = await (await ledger.pieces.registry.public("binance")).fetch_candles(
        SYMBOL, Timeframe.M1, start=ledger.first + 65 * MINUTE, limit=1
    )
    ours = type(candle)(
        open_time=candle.open_time, open=candle.open, high=candle.high, low=candle.low, close=candle.close, volume=candle.volume + 1
    )
    await ledger.store.upsert("binance", [Close(SYMBOL, Timeframe.M1, ours)], source=CandleSource.STREAM)
    await ledger.round()
    assert ours in await ledger.store.latest("binance", SYMBOL, Timeframe.M1, limit=10)
    assert len(await ledger.stored()) == 10


async def test_longer_candles_that_were_stored_without_the_missing_minutes_are_put_right(ledger: Ledger) -> None:
    start = ledger.first + ledger.hour * MINUTE
    client = await ledger.pieces.registry.public("binance")
    minutes = await client.fetch_candles(SYMBOL, Timeframe.M1, start=start, limit=15)
    (theirs,) = await client.fetch_candles(SYMBOL, Timeframe.M15, start=start, limit=1)
    without = replace(theirs, high=minutes[-5].high, close=minutes[-5].close, volume=theirs.volume / 2)
    there = [Close(SYMBOL, Timeframe.M1, candle) for candle in minutes[:-4]]
    await ledger.store.upsert("binance", [*there, Close(SYMBOL, Timeframe.M15, without)], source=CandleSource.STREAM)
    await ledger.hole(ledger.hour + 11, ledger.hour + 15)
    await ledger.round()
    assert await ledger.store.latest("binance", SYMBOL, Timeframe.M15, limit=10) == [theirs]
    assert ledger.reread == [SYMBOL], "what the feed knows of the open longer candles is read again"


async def test_a_hole_that_reaches_into_the_present_stays_open_for_what_has_not_closed(ledger: Ledger) -> None:
    await ledger.hole(195, 215)
    await ledger.round()
    stored = await ledger.stored()
    assert stored == list(range(195, stored[-1] + 1))
    still_open = [gap for gap in await ledger.all() if gap.outcome is GapOutcome.OPEN]
    assert [(gap.start_at, gap.end_at) for gap in still_open] == [(ledger.first + (stored[-1] + 1) * MINUTE, ledger.first + 215 * MINUTE)]


async def test_twenty_who_ask_at_once_make_one_round_and_the_next_has_to_wait(ledger: Ledger) -> None:
    rounds = ledger.rounds
    rounds._pause_s = 30.0
    for start in range(60, 80):
        await ledger.hole(start, start + 1)
    before = len(ledger.pieces.emulator.log("GET", "/api/v3/klines"))
    answers = await asyncio.gather(*(rounds.begin() for _ in range(20)), return_exceptions=True)
    assert {answer for answer in answers if isinstance(answer, int)} == {20}
    assert all(isinstance(answer, int | BackfillTooSoon) for answer in answers)
    async with asyncio.timeout(20):
        while rounds.asked:  # noqa: ASYNC110  # the loop under test is what it waits for
            await asyncio.sleep(0.01)
    assert len(ledger.pieces.emulator.log("GET", "/api/v3/klines")) - before == 20
    with pytest.raises(BackfillTooSoon, match="Ask again in 30 seconds"):
        await rounds.begin()


async def test_an_unknown_hole_is_not_found_and_costs_no_turn(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.rounds.begin(uuid4())
    await ledger.hole(60, 61)
    assert await ledger.round() == 1


async def test_an_exchange_that_does_not_answer_ends_the_round_and_is_told(ledger: Ledger) -> None:
    await ledger.hole(60, 61)
    ledger.pieces.emulator.fault("status_before", method="GET", path="/api/v3/klines", status=503, times=10)
    await ledger.round()
    assert ledger.rounds.last_error
    assert [gap.outcome for gap in await ledger.all()] == [GapOutcome.OPEN]
    ledger.pieces.emulator.control("DELETE", "/_fault")
    await ledger.round()
    assert [gap.outcome for gap in await ledger.all()] == [GapOutcome.FILLED]
    assert ledger.rounds.last_error is None


async def test_a_hole_of_a_symbol_that_is_listed_no_longer_stays_open_and_keeps_no_other_waiting(ledger: Ledger) -> None:
    gone = await ledger.hole(60, 61, symbol="GONE/USDT")
    there = await ledger.hole(60, 61)
    later = await ledger.hole(62, 63, symbol="LOST/USDT")
    assert await ledger.round() == 3
    outcomes = {gap.id: gap.outcome for gap in await ledger.all()}
    assert outcomes == {gone: GapOutcome.OPEN, there: GapOutcome.FILLED, later: GapOutcome.OPEN}
    assert ledger.rounds.last_error == "The exchange does not list that symbol."
