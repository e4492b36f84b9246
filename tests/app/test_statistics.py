"""Statistics of round trips in the tables: exact sums, filters, money that is never mixed, and time that is somebody's."""

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.domain.candles import Timeframe
from app.domain.enums import Source
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.shadow.lines import read_lines
from app.statistics.grouping import GroupLine
from app.statistics.summary import DIMENSIONS, StatisticsReader, Summary
from app.statistics.telling import day_of
from app.statistics.wish import Mode, StatisticsFilter
from app.trading.worth import read_curve
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.round_trips import Trip, put_equity, put_flow, put_trips, random_trips

pytestmark = pytest.mark.asyncio

T0 = datetime(2026, 3, 27, 12, tzinfo=UTC)
NOW = T0 + timedelta(days=30)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVERYTHING = StatisticsFilter()


class Bench:
    """A user's statistics, and hands to write what they are made of."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.reader = StatisticsReader(database=pieces.database, exchange="binance", shadows=read_lines)

    async def put(self, *trips: Trip, broker_id: UUID | None = None) -> None:
        async with self.pieces.database.connection() as connection:
            await put_trips(connection, self.pieces.user_id, broker_id or self.pieces.broker_id, trips)

    async def summary(self, asked: StatisticsFilter = EVERYTHING, *, now: datetime = NOW, user_id: UUID | None = None) -> Summary:
        user = user_id or self.pieces.user_id
        return await self.reader.summary(user, asked, await self.reader.names(user), now=now)

    async def candles(self, symbol: str, timeframe: Timeframe, closes: list[tuple[datetime, float]]) -> None:
        rows = np.zeros(len(closes), dtype=[("open_time", "<i8")] + [(name, "<f8") for name in ("open", "high", "low", "close", "volume")])
        for place, (at, close) in enumerate(closes):
            rows[place] = (round(at.timestamp() * 1000), close, close, close, close, 1)
        await CandleStore(self.pieces.database).load("binance", symbol, timeframe, rows, source=CandleSource.REST)


@pytest_asyncio.fixture
async def bench(pieces: Pieces) -> AsyncIterator[Bench]:
    yield Bench(pieces)


def trip(after: timedelta = HOUR, profit: str = "1", **fields: Any) -> Trip:
    return Trip(closed=T0 + after, opened=T0 + after - timedelta(minutes=30), profit=profit, **fields)


def total(lines: tuple[GroupLine, ...]) -> tuple[int, int, int, Decimal, Decimal]:
    return (
        sum(line.trades for line in lines),
        sum(line.won for line in lines),
        sum(line.lost for line in lines),
        sum((line.profit for line in lines), Decimal(0)),
        sum((line.fees for line in lines), Decimal(0)),
    )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Australia/Lord_Howe"])
async def test_any_grouping_adds_up_to_the_total(bench: Bench, zone: str) -> None:
    await bench.put(*random_trips(7, 400, since=T0 - 40 * DAY, until=NOW))
    found = await bench.summary(StatisticsFilter(zone=ZoneInfo(zone)))
    figures = found.figures
    expected = (400, figures.outcomes.won, figures.outcomes.lost, figures.net, figures.fees)
    rows = await bench.pieces.rows("SELECT sum(round(realized_pnl, 8)) AS pnl, sum(round(fees, 8)) AS fees FROM positions")
    assert (figures.net, figures.fees) == (rows[0]["pnl"], rows[0]["fees"])
    assert figures.outcomes.gross_profit - figures.outcomes.gross_loss == figures.net
    for lines in (*found.groups.values(), found.days, found.months, found.hours):
        assert total(lines) == expected


async def test_filters_compose(bench: Bench) -> None:
    """What two filters let through together is what each lets through of what the other does; each part and its rest make the whole."""
    trips = random_trips(3, 300, since=T0, until=T0 + 20 * DAY, symbols=("BTC/USDT", "ETH/USDT", "BTC/USDC"))
    await bench.put(*trips)
    tests: dict[str, tuple[dict[str, Any], Callable[[Trip], bool]]] = {
        "symbol": ({"symbol": "BTC/USDT"}, lambda one: one.symbol == "BTC/USDT"),
        "asset": ({"symbol": "btc"}, lambda one: one.symbol.startswith("BTC/")),
        "source": ({"source": Source.BOT}, lambda one: one.source == "bot"),
        "since": ({"since": T0 + 5 * DAY}, lambda one: one.closed is not None and one.closed >= T0 + 5 * DAY),
        "until": ({"until": T0 + 15 * DAY}, lambda one: one.closed is not None and one.closed < T0 + 15 * DAY),
    }
    for chosen in itertools.chain(*(itertools.combinations(tests, size) for size in (1, 2, 3))):
        if {"symbol", "asset"} <= set(chosen):
            continue
        asked: dict[str, Any] = {}
        for name in chosen:
            asked |= tests[name][0]
        expected = [one for one in trips if all(tests[name][1](one) for name in chosen)]
        found = await bench.summary(StatisticsFilter(**asked))
        assert found.figures.outcomes.closed == len(expected), chosen
        assert found.figures.net == sum((round(Decimal(one.profit), 8) for one in expected), Decimal(0)), chosen


async def test_play_money_is_never_added_to_real_money(bench: Bench) -> None:
    pieces = bench.pieces
    paper, testnet = [
        await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name=name)
        for name in ("Play", "Test")
    ]
    await pieces.rows("UPDATE brokers SET exchange = 'paper' WHERE id = $1", paper)
    await pieces.rows("UPDATE brokers SET is_testnet = true WHERE id = $1", testnet)
    await bench.put(trip(profit="1"))
    await bench.put(trip(profit="20"), broker_id=paper)
    await bench.put(trip(profit="300"), broker_id=testnet)
    net = {mode: (await bench.summary(StatisticsFilter(mode=mode))).figures.net for mode in Mode}
    assert net == {Mode.LIVE: 1, Mode.PAPER: 20, Mode.TESTNET: 300}
    assert (await bench.summary(StatisticsFilter(broker_ids=(paper,)))).figures.net == 0
    names = await bench.reader.names(pieces.user_id)
    assert [names.mode_of(ids) for ids in ((), (paper,), (paper, testnet), (pieces.broker_id, paper))] == [
        Mode.LIVE, Mode.PAPER, Mode.LIVE, Mode.LIVE,
    ]  # fmt: skip


async def test_one_currency_is_never_added_to_another(bench: Bench) -> None:
    await bench.put(trip(profit="5"), trip(profit="3", symbol="ETH/USDC"), trip(profit="0.001", fees="0.0001", symbol="ETH/BTC"))
    found = await bench.summary()
    assert (found.unit, found.figures.net, found.at_par, found.converted) == ("USDT", Decimal(8), ("USDC",), ())
    assert [(line.quote, line.trades, line.profit, line.fees) for line in found.others] == [("BTC", 1, Decimal("0.001"), Decimal("0.0001"))]


async def test_trades_in_one_currency_without_a_rate_are_told_in_it(bench: Bench) -> None:
    await bench.put(trip(profit="0.001", symbol="ETH/BTC"), trip(profit="-0.0004", symbol="SOL/BTC"))
    found = await bench.summary()
    assert (found.unit, found.figures.net, found.others) == ("BTC", Decimal("0.0006"), ())


async def test_a_currency_counts_at_the_rate_of_the_candle_that_had_closed(bench: Bench) -> None:
    await bench.candles("BTC/USDT", Timeframe.H1, [(T0 - HOUR, 50_000.0), (T0, 60_000.0), (T0 + HOUR, 70_000.0)])
    await bench.candles("USDT/TRY", Timeframe.D1, [(datetime(2026, 3, 26, tzinfo=UTC), 40.0)])
    await bench.put(
        trip(timedelta(minutes=90), "0.001", fees="0.0001", symbol="ETH/BTC"),
        trip(timedelta(minutes=30), "-0.001", fees="0", symbol="ETH/BTC"),
        trip(timedelta(hours=1), "80", fees="4", symbol="BTC/TRY"),
        trip(5 * DAY, "1", fees="0", symbol="ETH/BTC"),
    )
    found = await bench.summary()
    assert found.converted == ("BTC", "TRY")
    assert found.figures.net == 60 - 50 + 2
    assert found.figures.fees == Decimal("6.1")
    assert [(line.quote, line.profit) for line in found.others] == [("BTC", Decimal(1))]


async def test_amounts_of_a_currency_that_is_worth_little_are_counted_too(bench: Bench) -> None:
    await bench.put(trip(profit="250000000000.25", symbol="BTC/IDR"), trip(profit="-0.255", symbol="BTC/IDR"))
    found = await bench.summary()
    assert (found.unit, found.figures.net, found.figures.outcomes.won) == ("IDR", Decimal("249999999999.99"), 1)


async def test_a_day_is_that_of_the_readers_clocks_when_they_are_turned(bench: Bench) -> None:
    # 29 March 2026 has 23 hours in Paris: 00:30, 01:59, 03:00, and the first minute of the next day.
    moments = ["2026-03-28T23:30", "2026-03-29T00:59", "2026-03-29T01:00", "2026-03-29T22:00"]
    closed = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in moments]
    await bench.put(*(Trip(closed=at, opened=at - HOUR, profit=str(place + 1)) for place, at in enumerate(closed)))
    paris = await bench.summary(StatisticsFilter(zone=ZoneInfo("Europe/Paris")))
    assert [(str(day_of(line.key)), line.profit) for line in paris.days] == [("2026-03-29", Decimal(6)), ("2026-03-30", Decimal(4))]
    assert {line.key: line.profit for line in paris.hours} == {6 * 24: 1, 6 * 24 + 1: 2, 6 * 24 + 3: 3, 0: 4}
    utc = await bench.summary()
    assert [(str(day_of(line.key)), line.profit) for line in utc.days] == [("2026-03-28", Decimal(1)), ("2026-03-29", Decimal(9))]


async def test_deposits_are_no_performance(bench: Bench) -> None:
    pieces = bench.pieces
    async with pieces.database.connection() as connection:
        points = [(T0, "1000"), (T0 + DAY, "1100"), (T0 + 2 * DAY, "2100"), (T0 + 3 * DAY, "1890")]
        await put_equity(connection, pieces.user_id, pieces.broker_id, points)
        await put_flow(connection, pieces.user_id, pieces.broker_id, T0 + 2 * DAY, "1000")
    found = (await bench.summary()).accounts
    assert found is not None
    assert found.figures.total_return == pytest.approx(1.1 * 0.9 - 1)
    assert found.figures.max_drawdown == pytest.approx(0.1)
    assert (found.figures.net, found.put_in) == (Decimal(-110), Decimal(1000))


async def test_curve_is_that_of_the_portfolio(bench: Bench) -> None:
    """Two accounts, of which one comes later, flows between readings, and one before an account's first reading."""
    pieces = bench.pieces
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    rng = np.random.default_rng(5)
    async with pieces.database.connection() as connection:
        for broker_id, first in ((pieces.broker_id, 0), (other, 30)):
            worth = 1000 * np.cumprod(1 + rng.normal(0, 0.02, 60))
            points = [(T0 + (first + hour) * HOUR, f"{value:.6f}") for hour, value in enumerate(worth.tolist())]
            await put_equity(connection, pieces.user_id, broker_id, points)
        for broker_id, hour, value in (
            (pieces.broker_id, 10.5, "50"),
            (pieces.broker_id, 40, "-120"),
            (other, 12, "77"),
            (other, 55.2, "300"),
        ):
            await put_flow(connection, pieces.user_id, broker_id, T0 + hour * HOUR, value)
    now = T0 + 4 * DAY
    for since in (T0 - DAY, T0 + 20 * HOUR, T0 + 45.5 * HOUR):
        found = (await bench.summary(StatisticsFilter(since=since), now=now)).accounts
        expected = await read_curve(pieces.database, pieces.user_id, since=since, now=now)
        assert found is not None
        # The portfolio's points are five minutes or more apart; at the hour they are the same ones.
        assert found.curve.worth.tolist() == pytest.approx([float(point.equity) for point in expected])
        assert (found.curve.grown - 1).tolist() == pytest.approx([float(point.earned) for point in expected], abs=1e-9)


async def test_returns_of_accounts_are_not_shown_where_some_of_their_trades_are_left_out(bench: Bench) -> None:
    pieces = bench.pieces
    async with pieces.database.connection() as connection:
        await put_equity(connection, pieces.user_id, pieces.broker_id, [(T0, "1000"), (T0 + DAY, "1100")])
    await bench.put(trip(profit="4"), trip(2 * HOUR, "-1", source="webhook"))
    assert (await bench.summary()).accounts is not None
    found = await bench.summary(StatisticsFilter(source=Source.MANUAL))
    assert found.accounts is None
    assert (found.curve.sums.tolist(), found.curve.below.tolist()) == ([4.0], [0.0])


async def test_exposure_counts_time_once_and_what_is_still_open(bench: Bench) -> None:
    hours = [(1, 3), (2, 4), (6, 7), (20, None)]
    await bench.put(*(Trip(opened=T0 + a * HOUR, closed=None if b is None else T0 + b * HOUR) for a, b in hours[:3]))
    await bench.put(Trip(opened=T0 + 20 * HOUR, closed=None, symbol="ETH/USDT"))
    asked = StatisticsFilter(since=T0, until=T0 + 24 * HOUR)
    found = await bench.summary(asked)
    assert found.figures.exposure == pytest.approx((3 + 1 + 4) / 24)
    assert found.held.trips == 1
    early = await bench.summary(replace(asked, until=T0 + 2.5 * HOUR))
    # Both of the first two were open then, though they are closed by now; none had ended.
    assert (early.held.trips, early.figures.outcomes.closed) == (2, 0)
    assert early.figures.exposure == pytest.approx(1.5 / 2.5)


async def test_trades_are_told_apart_by_what_opened_and_what_ended_them(bench: Bench) -> None:
    pieces = bench.pieces
    hook, delivery = new_id(), new_id()
    await pieces.rows(
        "INSERT INTO webhooks (id, user_id, name, secret_hash, created_at) VALUES ($1, $2, 'Door', '\\x01', now())", hook, pieces.user_id
    )
    await pieces.rows(
        """INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision)
           VALUES ($1, $2, $3, now(), '', 0, 'executed')""",
        delivery, hook, pieces.user_id,
    )  # fmt: skip
    await bench.put(
        trip(profit="2", source="webhook", delivery_id=delivery, exit_role="stop"),
        trip(2 * HOUR, "5", exit_role="target"),
        trip(3 * HOUR, "-1", exit_role=None),
    )
    found = await bench.summary()
    assert [(line.key, line.profit) for line in found.groups["webhook"]] == [(None, Decimal(4)), (hook, Decimal(2))]
    assert {line.key: line.profit for line in found.groups["exit"]} == {"stop": 2, "target": 5, None: -1}
    of_hook = await bench.summary(StatisticsFilter(webhook_id=hook))
    assert (of_hook.figures.net, of_hook.figures.outcomes.closed) == (Decimal(2), 1)
    assert set(found.groups) == set(DIMENSIONS)


async def test_nobody_sees_the_trades_of_another(bench: Bench) -> None:
    await bench.put(trip(profit="2"))
    stranger = new_id()
    await bench.pieces.rows("INSERT INTO users (id, username) VALUES ($1, 'eve')", stranger)
    asked = StatisticsFilter(broker_ids=(bench.pieces.broker_id,))
    found = await bench.summary(asked, user_id=stranger)
    assert (found.figures.outcomes.closed, found.accounts, found.held.trips) == (0, None, 0)


async def test_nothing_at_all_makes_figures_without_numbers(bench: Bench) -> None:
    found = await bench.summary()
    assert (found.figures.net, found.figures.outcomes.win_rate, found.figures.exposure) == (Decimal(0), None, None)
    assert (found.days, found.hours, found.others, found.accounts) == ((), (), (), None)


async def test_sums_of_a_currency_that_is_worth_little_do_not_wrap_around(bench: Bench) -> None:
    await bench.put(*(trip(number * HOUR, profit="80000000000", symbol="BTC/IDR") for number in range(3)))
    assert (await bench.summary()).figures.net == Decimal(240_000_000_000)
