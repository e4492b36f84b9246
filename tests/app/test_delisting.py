"""A symbol stops trading, or is listed no longer: exactly those who use it are told, once."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import Side
from app.marketdata.instruments import InstrumentBook
from app.trading import delisting
from app.trading.delisting import tell_users
from app.trading.outbox import Notice, Outbox
from app.webhooks import delisting as alerts
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account

pytestmark = pytest.mark.asyncio


def make_book(pieces: Pieces, **options: Any) -> InstrumentBook:
    book = InstrumentBook(pieces.database, pieces.registry, clock=pieces.desk.clock, **options)
    book.on_stopped = partial(tell_users, uses=(*delisting.USES, *alerts.USES))
    return book


async def notices(pieces: Pieces) -> list[Any]:
    return await pieces.rows("SELECT user_id, broker_id, kind, body FROM outbox ORDER BY id")


async def somebody_else(pieces: Pieces) -> UUID:
    """A user with an account and nothing in it."""
    user_id = await make_user(pieces.database, "eve")
    await make_broker(pieces.database, pieces.vault, user_id, api_key=open_account(pieces.emulator))
    return user_id


async def test_who_has_an_open_order_or_a_position_in_a_halted_symbol_is_told_once_and_nobody_else(moving: Pieces) -> None:
    book = make_book(moving)
    await book.refresh("binance")
    await somebody_else(moving)
    await moving.filled(Side.BUY)
    await moving.submit(moving.limit("50000"))
    moving.emulator.change_symbol(status="BREAK")
    assert (await book.refresh("binance")).halted == (SYMBOL,)
    await book.refresh("binance")
    (told,) = await notices(moving)
    assert (told["user_id"], told["broker_id"], told["kind"]) == (moving.user_id, moving.broker_id, "symbol_stopped")
    assert told["body"] == {
        "text": "Binance has stopped trading what you use: BTC/USDT (halted; an open order and a position)."
        " Orders there, stops too, may not be filled.",
        "exchange": "binance",
        "symbols": "BTC/USDT",
    }
    with moving.bus.subscribe(Notice) as heard:
        await Outbox(moving.desk).once()
        assert isinstance(heard.get_nowait(), Notice)

    moving.emulator.change_symbol(status="TRADING")
    await book.refresh("binance")
    moving.emulator.change_symbol(status="BREAK")
    await book.refresh("binance")
    assert len(await notices(moving)) == 2, "another halt is another notice"


async def listed(pieces: Pieces, base: str) -> None:
    """A symbol that the exchange listed when it was last asked."""
    await pieces.rows(
        "INSERT INTO instruments (id, exchange, symbol, base, quote, type, is_active, last_updated, tick_size, step_size, raw_info)"
        " VALUES (gen_random_uuid(), 'binance', $1 || '/USDT', $1, 'USDT', 'spot', true, now(), 1, 1, '{}')",
        base,
    )


async def test_who_trades_a_symbol_by_alerts_is_told_that_it_is_listed_no_longer(moving: Pieces) -> None:
    book = make_book(moving)
    await book.refresh("binance")
    await listed(moving, "GONE")
    order = await moving.filled(Side.BUY)
    delivery, hook = new_id(), new_id()
    await moving.rows(
        "INSERT INTO webhooks (id, user_id, name, secret_hash, created_at) VALUES ($1, $2, 'tv', 'x', now())", hook, moving.user_id
    )
    await moving.rows(
        "INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, raw, size, decision)"
        " VALUES ($1, $2, $3, now(), '', 0, 'executed')",
        delivery,
        hook,
        moving.user_id,
    )
    await moving.rows("UPDATE orders SET symbol = 'GONE/USDT', delivery_id = $2 WHERE id = $1", order.id, delivery)
    assert (await book.refresh("binance")).removed == ("GONE/USDT",)
    (told,) = await notices(moving)
    assert "GONE/USDT (no longer listed; alerts of a webhook)" in told["body"]["text"]

    await moving.rows("UPDATE instruments SET is_active = true, delisted_at = NULL WHERE symbol = 'GONE/USDT'")
    await moving.rows("UPDATE webhooks SET is_active = false")
    await book.refresh("binance")
    assert len(await notices(moving)) == 1, "a paused webhook trades nothing"


async def test_a_paper_account_that_trades_the_exchanges_symbols_is_told_too_and_one_elsewhere_is_not(moving: Pieces) -> None:
    book = make_book(moving, same_as={"paper": "binance"})
    await book.refresh("binance")
    await moving.filled(Side.BUY)
    elsewhere = await somebody_else(moving)
    await moving.rows("UPDATE brokers SET exchange = 'kraken' WHERE user_id = $1", elsewhere)
    await moving.rows(
        "INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, quantity, source, status, opened_at, updated_at)"
        " SELECT gen_random_uuid(), user_id, id, 'BTC/USDT', 'BTC', 'USDT', 1, 'manual', 'open', now(), now()"
        " FROM brokers WHERE exchange = 'kraken'"
    )
    await moving.rows("UPDATE brokers SET exchange = 'paper' WHERE id = $1", moving.broker_id)
    moving.emulator.change_symbol(status="HALT")
    await book.refresh("paper")
    assert [told["user_id"] for told in await notices(moving)] == [moving.user_id]


async def test_a_notice_and_the_list_that_gave_rise_to_it_are_committed_together(moving: Pieces) -> None:
    book = make_book(moving)
    await book.refresh("binance")
    await moving.filled(Side.BUY)

    async def breaks(connection: Any, stopped: Any) -> None:
        await tell_users(connection, stopped)
        raise RuntimeError("a crash")

    book.on_stopped = breaks
    moving.emulator.change_symbol(status="BREAK")
    with pytest.raises(RuntimeError):
        await book.refresh("binance")
    assert await notices(moving) == []
    assert [row["is_active"] for row in await moving.rows("SELECT is_active FROM instruments")] == [True]
