"""An account that is ready for the fast way of its orders, and what may happen to it between the fast way's statements."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from app.core.db import Database
from app.core.ids import new_id
from app.errors import OrderDenied
from app.trading import fast_entry
from app.trading.hints import Hints
from app.trading.submit import Submission
from tests.app.conftest import API_SECRET, SYMBOL, Pieces, make_broker
from tests.app.stored import PLENTY, PRICE, told

#: The seams between the fast path's two statements, and between the venue's answer and its writing.
BEFORE_WRITING = "_stored"


async def made_ready(pieces: Pieces) -> Pieces:
    """Let the account have traded, with a price at hand: its next order goes the fast way."""
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=PRICE, ask=PRICE, last=PRICE)
    await told(pieces, PLENTY)
    await pieces.filled()
    return pieces


@asynccontextmanager
async def another_engine(pieces: Pieces) -> AsyncIterator[Pieces]:
    """The same account in another process, as far as the database can tell: nothing in memory is shared but the role."""
    database = Database(pieces.database._url)
    await database.open()
    try:
        hints = Hints(accounts=dict(pieces.desk.hints.accounts))
        yield replace(pieces, desk=replace(pieces.desk, database=database, hints=hints))
    finally:
        await database.close()


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]) -> list[bool]:
    """Let that happen once, after an entry was found good and before it is written; return whether each try of the fast way wrote it."""
    write = fast_entry._stored
    wrote: list[bool] = []

    async def later(*values: Any) -> Any:
        if not wrote:
            wrote.append(False)
            await happens()
            wrote.clear()
        found = await write(*values)
        wrote.append(found is not None)
        return found

    monkeypatch.setattr(fast_entry, BEFORE_WRITING, later)
    return wrote


def counted_statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement of this process from now on."""
    seen: list[str] = []
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        run = getattr(asyncpg.Connection, name)

        async def counted(self: Any, query: str, *values: Any, _run: Any = run, **options: Any) -> Any:
            seen.append(query)
            return await _run(self, query, *values, **options)

        monkeypatch.setattr(asyncpg.Connection, name, counted)
    return seen


async def outcome(pieces: Pieces, intent: Any, **fields: Any) -> Submission | OrderDenied:
    try:
        return await pieces.submit(intent, **fields)
    except OrderDenied as error:
        return error


async def position(pieces: Pieces) -> Any:
    (row,) = await pieces.rows("SELECT * FROM positions WHERE broker_id = $1 AND status <> 'closed'", pieces.broker_id)
    return row


async def assert_books_agree(pieces: Pieces) -> None:
    """Fills, orders, position and the day's result say the same."""
    (fills,) = await pieces.rows("SELECT count(*) AS number, sum(quantity) AS quantity, sum(fee) AS fees FROM fills")
    (orders,) = await pieces.rows("SELECT sum(filled_quantity) AS filled, sum(fills_quantity) AS counted FROM orders")
    held = await position(pieces)
    bought, sold = await bought_and_sold(pieces)
    assert orders["filled"] == orders["counted"] == fills["quantity"]
    assert held["quantity"] == bought - sold
    assert fills["number"] == sum(len(order["fills"]) if "fills" in order else 1 for order in pieces.placed())
    (day,) = await pieces.rows("SELECT sum(realized) AS realized FROM daily_results")
    assert day["realized"] == held["realized_pnl"]


async def bought_and_sold(pieces: Pieces) -> tuple[Decimal, Decimal]:
    """By the fills; what a fee in base took is not bought."""
    rows = await pieces.rows("SELECT side, quantity, fee, fee_asset FROM fills")
    bought = sum((row["quantity"] - (row["fee"] if row["fee_asset"] == "BTC" else 0) for row in rows if row["side"] == "buy"), Decimal(0))
    sold = sum((row["quantity"] + (row["fee"] if row["fee_asset"] == "BTC" else 0) for row in rows if row["side"] == "sell"), Decimal(0))
    return bought, sold


def refuse_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr("app.trading.submit.enter_at_once", nothing)
    monkeypatch.setattr("app.trading.fast_answer._plain", lambda *_: None)


async def events(pieces: Pieces, order: Any) -> list[Any]:
    return await pieces.rows("SELECT kind, state, epoch, detail FROM order_events WHERE order_id = $1 ORDER BY id", order.id)


async def with_money(pieces: Pieces, usdt: str) -> Pieces:
    """The pieces with an account that holds just this at the exchange, 100 of it in an order."""
    api_key = f"key-of-{new_id()}"
    pieces.emulator.open_account(api_key, API_SECRET, {"USDT": usdt})
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=api_key, name=api_key)
    rich = replace(pieces, api_key=api_key, broker_id=broker_id)
    await rich.submit(rich.limit("50000", quantity="0.002"), broker_id=broker_id)
    return rich
