"""What accounts earned leaves aside what was put in and taken out; the curve is thinned out with age and its sums stay."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.domain.currencies import Currency
from app.exchanges.port import Balance, Ticker
from app.trading.portfolio import PortfolioLoop
from app.trading.rates import AssetPrices, Rate, RateKeeper, Rates, read_rates
from app.trading.thinning import Thinning
from app.trading.worth import CurvePoint, FeeMemory, bucket_of, read_curve, read_profit, read_profits
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio

T0 = datetime(2025, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def worth(pieces: Pieces, *points: tuple[timedelta, str], broker_id: UUID | None = None) -> None:
    for after, equity in points:
        await pieces.rows(
            "INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt) VALUES ($1, $2, $3, $4)",
            broker_id or pieces.broker_id,
            pieces.user_id,
            T0 + after,
            Decimal(equity),
        )


async def flow(pieces: Pieces, after: timedelta, value: str | None, *, broker_id: UUID | None = None) -> None:
    await pieces.rows(
        """INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
           VALUES ($1, $2, $3, 'USDT', $4, $5, $6, $6, $6, 'deposit')""",
        new_id(),
        pieces.user_id,
        broker_id or pieces.broker_id,
        Decimal(value or 1),
        None if value is None else Decimal(value),
        T0 + after,
    )


async def other_account(pieces: Pieces) -> UUID:
    return await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")


async def test_deposit_is_no_profit(pieces: Pieces) -> None:
    await worth(pieces, (-HOUR, "1000"), (HOUR, "1600"), (2 * HOUR, "1650"))
    await flow(pieces, HOUR, "500")
    profit = await read_profit(pieces.database, pieces.user_id, since=T0)
    assert (profit.amount, profit.flows, profit.fraction) == (Decimal(150), Decimal(500), Decimal("0.1"))


async def test_withdrawal_is_no_loss(pieces: Pieces) -> None:
    await worth(pieces, (-HOUR, "1000"), (HOUR, "400"))
    await flow(pieces, HOUR, "-600")
    assert (await read_profit(pieces.database, pieces.user_id, since=T0)).amount == 0


async def test_flow_before_the_period_is_not_counted_in_it(pieces: Pieces) -> None:
    await worth(pieces, (-3 * HOUR, "1000"), (-HOUR, "1500"), (HOUR, "1510"))
    await flow(pieces, -HOUR, "500")
    assert (await read_profit(pieces.database, pieces.user_id, since=T0)).amount == Decimal(10)


async def test_account_that_is_younger_than_the_period_began_with_what_it_had(pieces: Pieces) -> None:
    await worth(pieces, (-HOUR, "1000"), (HOUR, "1010"))
    await worth(pieces, (HOUR, "700"), (2 * HOUR, "705"), broker_id=await other_account(pieces))
    assert (await read_profit(pieces.database, pieces.user_id, since=T0)).amount == Decimal(15)


async def test_one_account_alone_is_counted_alone(pieces: Pieces) -> None:
    other = await other_account(pieces)
    await worth(pieces, (-HOUR, "1000"), (HOUR, "1010"))
    await worth(pieces, (-HOUR, "700"), (HOUR, "650"), broker_id=other)
    profit = await read_profit(pieces.database, pieces.user_id, since=T0, broker_ids=[other])
    assert (profit.now, profit.amount) == (Decimal(650), Decimal(-50))


async def test_change_that_waits_to_be_believed_is_no_profit_either(pieces: Pieces) -> None:
    await worth(pieces, (-HOUR, "1000"), (HOUR, "1500"))
    await pieces.rows(
        "INSERT INTO flow_watches (broker_id, user_id, waiting) VALUES ($1, $2, $3)",
        pieces.broker_id,
        pieces.user_id,
        [{"asset": "USDT", "amount": "500", "value": "500", "at": (T0 + HOUR).isoformat()}],
    )
    assert (await read_profit(pieces.database, pieces.user_id, since=T0)).amount == 0


def shown(points: Sequence[CurvePoint]) -> list[tuple[Decimal, Decimal, Decimal]]:
    return [(point.equity, point.flow, point.earned.quantize(Decimal("0.0001"))) for point in points]


async def test_curve_earns_nothing_from_a_deposit_nor_from_an_account_that_is_added(pieces: Pieces) -> None:
    await worth(pieces, (timedelta(0), "1000"), (HOUR, "1600"), (3 * HOUR, "1760"))
    await worth(pieces, (2 * HOUR, "400"), (3 * HOUR, "440"), broker_id=await other_account(pieces))
    await flow(pieces, HOUR, "500")
    points = await read_curve(pieces.database, pieces.user_id, since=T0 - HOUR, now=T0 + 4 * HOUR)
    assert shown(points) == [
        (Decimal(1000), Decimal(0), Decimal(0)),
        (Decimal(1600), Decimal(500), Decimal("0.1")),
        (Decimal(2000), Decimal(400), Decimal("0.1")),
        (Decimal(2200), Decimal(0), Decimal("0.21")),
    ]


async def test_curve_begins_with_what_there_was_before_its_period(pieces: Pieces) -> None:
    await worth(pieces, (-10 * HOUR, "1000"), (HOUR, "1100"))
    points = await read_curve(pieces.database, pieces.user_id, since=T0, now=T0 + HOUR)
    assert [(point.at, point.equity) for point in points] == [(T0, Decimal(1000)), (T0 + HOUR, Decimal(1100))]


async def test_curve_with_very_many_flows_is_drawn_at_once(pieces: Pieces) -> None:
    await pieces.rows(
        """INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt)
           SELECT $1, $2, $3::timestamptz + n * interval '1 hour', 1000 + n FROM generate_series(0, 719) n""",
        pieces.broker_id,
        pieces.user_id,
        T0,
    )
    await pieces.rows(
        """INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
           SELECT gen_random_uuid(), $2, $1, 'USDT', 0.05, 0.05, at, at, at, 'income'
             FROM generate_series(1, 14380) n, LATERAL (SELECT $3::timestamptz + n * interval '3 minutes' AS at) moment""",
        pieces.broker_id,
        pieces.user_id,
        T0,
    )
    begun = time.process_time()
    points = await read_curve(pieces.database, pieces.user_id, since=None, now=T0 + 720 * HOUR)
    assert time.process_time() - begun < 1
    assert (len(points), {point.flow for point in points[1:]}) == (720, {Decimal(1)})


@pytest.mark.parametrize("days", [1, 7, 30, 365, 1200, 4000])
async def test_curve_has_no_more_points_than_can_be_seen(days: int) -> None:
    assert timedelta(days=days) / bucket_of(timedelta(days=days)) <= 1500


async def test_snapshots_are_thinned_out_with_age_and_the_first_and_the_last_of_each_step_stay(pieces: Pieces) -> None:
    await pieces.rows(
        """INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt)
           SELECT $1, $2, at, 1 FROM generate_series($3::timestamptz, $4::timestamptz, '20 minutes') at""",
        pieces.broker_id,
        pieces.user_id,
        T0 - timedelta(days=369, minutes=40),
        T0,
    )
    thinning = Thinning(pieces.with_clock(ManualClock(T0)))
    assert await thinning.thin() > 0
    assert await thinning.thin() == 0
    per_day: list[Any] = await pieces.rows(
        "SELECT at::date AS day, count(*) AS n, max(at) AS last FROM equity_snapshots GROUP BY 1 ORDER BY 1"
    )
    counts = [row["n"] for row in per_day]
    assert counts[0] == 2, "the first of all and the last of its day"
    assert counts[1:4] == [1, 1, 1]
    assert set(counts[6:-4]) == {24}
    assert counts[-2] == 72
    assert per_day[1]["last"].time().isoformat() == "23:40:00"
    assert (await read_profit(pieces.database, pieces.user_id, since=T0 - timedelta(days=9999))).amount == 0


async def test_rates_are_written_down_by_the_loop_for_currencies_the_exchange_lists(pieces: Pieces) -> None:
    asked: list[str] = []

    async def price(symbol: str) -> Ticker:
        asked.append(symbol)
        return Ticker(symbol=symbol, last=Decimal(60000), bid=None, ask=None, at=pieces.desk.clock.now())

    async def held() -> dict[str, Balance]:
        return {"BTC": Balance(asset="BTC", free=Decimal(1), locked=Decimal(0))}

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=held, fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    for _ in range(3):
        await loop.refresh(None)
    rates = await read_rates(pieces.database, now=desk.clock.now())
    assert rates.into(Currency.BTC).of(Decimal(120000)) == Decimal(2)
    assert asked.count("BTC/USDT") == 1
    assert (await read_rates(pieces.database, now=desk.clock.now() + timedelta(hours=2))).usdt == {}


async def test_rate_that_one_exchange_does_not_list_is_taken_from_the_next(pieces: Pieces) -> None:
    async def price(symbol: str) -> Ticker:
        return Ticker(symbol=symbol, last=Decimal(3000), bid=None, ask=None, at=pieces.desk.clock.now())

    await pieces.rows(
        "INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)"
        " VALUES (gen_random_uuid(), 'kraken', 'ETH/USDT', 'spot', 'ETH', 'USDT', true, now(), 0.01, 0.001, '{}')"
    )
    _, binance = await scripted(pieces.desk, pieces.broker_id, fetch_ticker=price)
    _, kraken = await scripted(pieces.desk, pieces.broker_id, fetch_ticker=price)
    kraken.exchange = "kraken"
    keeper = RateKeeper(pieces.desk, AssetPrices(pieces.desk))
    clients: tuple[Any, ...] = (kraken, binance)
    for client in clients:
        await keeper.keep(client, is_testnet=False)
    found = await read_rates(pieces.database, now=pieces.desk.clock.now())
    assert sorted(found.usdt) == ["BTC", "ETH"]


async def test_currency_without_a_rate_is_shown_in_usdt_and_said() -> None:
    rates = Rates(usdt={"EUR": Decimal("1.25")})
    assert rates.into(Currency.EUR).of(Decimal(10)) == Decimal(8)
    assert rates.into(Currency.BTC) == Rate(currency=Currency.USDT, missing=Currency.BTC)
    assert rates.into(Currency.USD) == Rate(currency=Currency.USD, is_par=True)
    assert rates.into(Currency.BTC).of(None) is None
    assert rates.sum_usdt({"USDC": Decimal(2), "EUR": Decimal(4)}) == Decimal(7)
    assert rates.sum_usdt({"PEPE": Decimal(2)}) is None


async def test_profit_of_several_periods_is_read_at_once(pieces: Pieces) -> None:
    day = timedelta(days=1)
    await worth(pieces, (-40 * day, "100"), (-20 * day, "200"), (-2 * day, "400"), (-13 * HOUR, "800"), (-HOUR, "1000"))
    await flow(pieces, -20 * day, "50")
    profits = await read_profits(pieces.database, pieces.user_id, now=T0)
    assert {name: profit.amount for name, profit in profits.items()} == {
        "day": Decimal(200),
        "week": Decimal(800),
        "month": Decimal(850),
        "all": Decimal(850),
    }


async def test_fees_of_past_days_are_remembered_and_todays_are_as_of_now(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.01")
    memory, now = FeeMemory(), pieces.desk.clock.now()
    first = await memory.read(pieces.database, pieces.user_id, now=now)
    assert first["BTC"] > 0
    await pieces.filled(quantity="0.01")
    assert await memory.read(pieces.database, pieces.user_id, now=now) == {"BTC": 2 * first["BTC"]}
    tomorrow = now + timedelta(days=1)
    assert await memory.read(pieces.database, pieces.user_id, now=tomorrow) == {"BTC": 2 * first["BTC"]}
    await pieces.rows("UPDATE fills SET fee = fee * 2")
    assert await memory.read(pieces.database, pieces.user_id, now=tomorrow) == {"BTC": 2 * first["BTC"]}
    assert await memory.read(pieces.database, pieces.user_id, now=tomorrow + timedelta(minutes=11)) == {"BTC": 4 * first["BTC"]}
    other = await other_account(pieces)
    assert await memory.read(pieces.database, pieces.user_id, now=tomorrow, broker_ids=[other]) == {}
