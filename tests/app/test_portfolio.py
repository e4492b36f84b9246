import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.core.supervisor import Supervisor
from app.errors import ExchangeUnavailable
from app.exchanges.port import Balance, Ticker
from app.trading import portfolio as module
from app.trading import rates
from app.trading.events import BalanceHeard
from app.trading.portfolio import PortfolioLoop
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio


def balance(asset: str, free: str) -> Balance:
    return Balance(asset=asset, free=Decimal(free), locked=Decimal(0))


def holding(**free: str) -> Any:
    async def answer() -> dict[str, Balance]:
        return {asset: balance(asset, amount) for asset, amount in free.items()}

    return answer


async def odd(*_: Any, **__: Any) -> Any:
    raise TypeError("an answer nobody expected")


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def stored(pieces: Pieces) -> dict[str, Decimal | None]:
    rows = await pieces.rows("SELECT asset, value_usdt FROM balances WHERE broker_id = $1", pieces.broker_id)
    return {row["asset"]: row["value_usdt"] for row in rows}


async def other_account(pieces: Pieces) -> Any:
    return await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")


async def test_junk_token_beyond_all_numbers_is_left_out(pieces: Pieces) -> None:
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=holding(USDT="5", JUNK="1E+30"))
    await PortfolioLoop(desk, interval_s=60).refresh(None)
    assert await stored(pieces) == {"USDT": Decimal(5)}
    assert [row["equity_usdt"] for row in await pieces.rows("SELECT equity_usdt FROM equity_snapshots")] == [Decimal(5)]


async def test_accounts_with_odd_answers_or_none_do_not_stop_the_others(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = pieces.desk
    for answer in (odd, hang):
        broker_id = await make_broker(
            pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name=answer.__name__
        )
        desk, _ = await scripted(desk, broker_id, fetch_balances=answer)
    loop = PortfolioLoop(desk, interval_s=60)
    # The one that hangs takes all of the budget; how much the sound one needs depends on how busy this machine is.
    for budget_s in (0.2, 1.0, 5.0, 20.0):
        monkeypatch.setattr(module, "_BUDGET_S", budget_s)
        await loop.refresh(None)
        if "USDT" in await stored(pieces):
            break
    assert "USDT" in await stored(pieces)


async def test_slow_account_does_not_keep_the_loop_from_the_others(pieces: Pieces) -> None:
    desk, _ = await scripted(pieces.desk, await other_account(pieces), fetch_balances=hang)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("portfolio", PortfolioLoop(desk, interval_s=0.05).run)
        async with asyncio.timeout(10):
            while len(await pieces.rows("SELECT 1 FROM equity_snapshots")) < 3:  # noqa: ASYNC110  # another task's rows, in PostgreSQL
                await asyncio.sleep(0.02)
        assert supervisor.health["portfolio"].restarts == 0


async def test_price_of_an_asset_the_feed_does_not_watch_is_asked_once_and_remembered(pieces: Pieces) -> None:
    async def price(symbol: str) -> Ticker:
        return Ticker(symbol=symbol, last=Decimal(60000), bid=None, ask=None, at=pieces.desk.clock.now())

    desk, client = await scripted(pieces.desk, pieces.broker_id, fetch_balances=holding(BTC="2", UNLISTED="1"), fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    for _ in range(3):
        await loop.refresh(None)
    assert await stored(pieces) == {"BTC": Decimal(120000), "UNLISTED": None}
    assert client.asked.count("fetch_ticker") == 1


async def test_account_that_trades_all_the_time_does_not_keep_the_others_from_being_read(pieces: Pieces) -> None:
    other = await other_account(pieces)
    busy = BalanceHeard(broker_id=pieces.broker_id)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("portfolio", PortfolioLoop(pieces.desk, interval_s=1.0).run)
        async with asyncio.timeout(20):
            while len(await pieces.rows("SELECT 1 FROM equity_snapshots WHERE broker_id = $1", other)) < 3:
                pieces.bus.publish(busy)
                await asyncio.sleep(0.1)


async def worths(pieces: Pieces) -> list[Decimal]:
    return [row["equity_usdt"] for row in await pieces.rows("SELECT equity_usdt FROM equity_snapshots ORDER BY at")]


def told(pieces: Pieces, symbol: str, price: str) -> Ticker:
    return Ticker(symbol=symbol, last=Decimal(price), bid=None, ask=None, at=pieces.desk.clock.now())


async def test_price_that_cannot_be_asked_for_a_moment_is_no_loss(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_PRICE_S", 0.0)
    answers = iter([True, False, False, False, False, True])

    async def price(symbol: str) -> Ticker:
        if not next(answers, True):
            raise ExchangeUnavailable("busy")
        return told(pieces, symbol, "60000")

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=holding(USDT="1", BTC="1"), fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    for _ in range(6):
        await loop.refresh(None)
    assert await worths(pieces) == [Decimal(60001)] * 6


async def test_account_has_no_worth_yet_until_its_prices_are_known(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_PRICE_S", 0.0)
    answers = iter([False, True])

    async def price(symbol: str) -> Ticker:
        if not next(answers, False):
            raise ExchangeUnavailable("busy")
        return told(pieces, symbol, "60000")

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=holding(USDT="1", BTC="1"), fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    await loop.refresh(None)
    assert await worths(pieces) == []
    assert await stored(pieces) == {"USDT": Decimal(1), "BTC": None}
    await loop.refresh(None)
    assert await worths(pieces) == [Decimal(60001)]
    # Another process knows what this one was told.
    anew = PortfolioLoop(desk, interval_s=60)
    for _ in range(4):
        await anew.refresh(None)
    assert await worths(pieces) == [Decimal(60001)] * 5


async def test_account_whose_price_nobody_ever_tells_is_worth_the_rest(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_PRICE_S", 0.0)

    async def price(_symbol: str) -> Ticker:
        raise ExchangeUnavailable("busy")

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=holding(USDT="1", BTC="1"), fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    await loop.refresh(None)
    assert await worths(pieces) == []
    for _ in range(3):
        await loop.refresh(None)
    assert set(await worths(pieces)) == {Decimal(1)}


async def test_account_with_more_assets_than_are_priced_in_time_is_not_worth_less_at_first(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRICES_S", 1.0)
    monkeypatch.setattr(rates, "_PRICE_S", 0.0)
    book: Any = pieces.desk.instruments
    await book.all("binance")
    await pieces.rows(
        "INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)"
        " SELECT gen_random_uuid(), 'binance', 'C' || n || '/USDT', 'spot', 'C' || n, 'USDT', true, now(), 0.01, 0.001, '{}'"
        " FROM generate_series(0, 5) n"
    )
    await book.reload("binance")

    async def price(symbol: str) -> Ticker:
        await asyncio.sleep(0.3)
        return told(pieces, symbol, "10")

    held = holding(**{f"C{number}": "1" for number in range(6)})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=held, fetch_ticker=price)
    loop = PortfolioLoop(desk, interval_s=60)
    for _ in range(4):
        await loop.refresh(None)
    found = await worths(pieces)
    assert found
    assert set(found) == {Decimal(60)}
