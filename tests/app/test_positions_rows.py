import asyncio
from decimal import Decimal

import pytest

from app.domain.enums import Liquidity, Side
from app.domain.orders import Fill
from app.domain.positions import Position
from app.trading import history, queries
from app.trading.reconcile import Reconciler
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account

pytestmark = pytest.mark.asyncio

EVERY_FILL = "SELECT f.*, o.side AS order_side FROM fills f JOIN orders o ON o.id = f.order_id ORDER BY f.executed_at, f.trade_id::bigint"


async def folded(pieces: Pieces) -> Position:
    position = Position(base="BTC", quote="USDT")
    for row in await pieces.rows(EVERY_FILL):
        names = ("trade_id", "price", "quantity", "fee", "fee_asset", "executed_at")
        one = Fill(liquidity=Liquidity(row["liquidity"]), **{name: row[name] for name in names})
        position = position.apply(Side(row["order_side"]), one)
    return position


async def test_position_is_the_fold_of_its_fills(pieces: Pieces) -> None:
    for side, quantity in ((Side.BUY, "0.03"), (Side.SELL, "0.01"), (Side.BUY, "0.5"), (Side.SELL, "0.2")):
        await pieces.filled(side, quantity)
    (row,) = await pieces.rows("SELECT * FROM positions")
    position = await folded(pieces)
    assert row["quantity"] == position.quantity
    for name in ("average_price", "realized_pnl", "fees"):
        assert abs(row[name] - getattr(position, name)) < Decimal("1e-12"), name
    assert (row["status"], row["base"], row["quote"], row["source"]) == ("open", "BTC", "USDT", "manual")


async def test_position_closes_when_only_dust_is_left_and_the_next_buy_opens_another(pieces: Pieces) -> None:
    await pieces.filled(Side.BUY, "0.01234")
    await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))
    (closed,) = await pieces.rows("SELECT * FROM positions")
    assert (closed["status"], closed["closed_at"] is not None) == ("closed", True)
    assert Decimal(0) < closed["quantity"] < Decimal("0.00001")

    await pieces.filled(Side.BUY, "0.01")
    rows = await pieces.rows("SELECT status, quantity FROM positions ORDER BY opened_at, id")
    assert [row["status"] for row in rows] == ["closed", "open"]
    assert rows[1]["quantity"] == Decimal("0.00999")


async def test_position_closes_also_when_a_fresh_process_finds_the_closing_fill(pieces: Pieces) -> None:
    await pieces.filled(Side.BUY, "0.01234")
    await pieces.connections.client(pieces.broker_id)
    pieces.fault("drop_after")
    await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))
    fresh = type(pieces.desk.instruments)(pieces.database, pieces.registry, clock=pieces.desk.clock)  # type: ignore[call-arg]  # InstrumentBook
    object.__setattr__(pieces.desk, "instruments", fresh)

    await Reconciler(pieces.desk, interval_s=1).once()
    (row,) = await pieces.rows("SELECT status FROM positions")
    assert row["status"] == "closed"


async def test_orders_at_the_same_moment_share_one_position(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    await asyncio.gather(*(pieces.filled(Side.BUY, "0.01") for _ in range(6)))
    (row,) = await pieces.rows("SELECT quantity FROM positions")
    assert row["quantity"] == Decimal("0.05994")


async def test_opening_and_closing_at_the_same_moment_loses_nothing(pieces: Pieces) -> None:
    await pieces.connections.client(pieces.broker_id)
    sides = [Side.BUY, Side.SELL] * 6
    await asyncio.gather(*(pieces.filled(side, "0.01") for side in sides))
    rows = await pieces.rows("SELECT quantity, status FROM positions")
    assert sum(row["quantity"] for row in rows) == (await folded(pieces)).quantity
    assert sum(row["status"] == "open" for row in rows) <= 1


async def test_each_account_has_its_own_position(pieces: Pieces) -> None:
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await pieces.filled()
    await pieces.submit(broker_id=other)
    rows = await pieces.rows("SELECT broker_id FROM positions")
    assert {row["broker_id"] for row in rows} == {pieces.broker_id, other}


async def test_open_position_is_shown_at_what_closing_it_would_bring(pieces: Pieces) -> None:
    await pieces.filled(Side.BUY, "0.01")
    (unmarked,) = await queries.list_positions(pieces.database, pieces.desk.quotes, pieces.user_id)
    assert (unmarked.mark_price, unmarked.unrealized_pnl) == (None, None)
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=Decimal(61000), ask=Decimal(61001), last=Decimal(61000))
    (marked,) = await queries.list_positions(pieces.database, pieces.desk.quotes, pieces.user_id)
    assert marked.mark_price == Decimal(61000)
    assert marked.unrealized_pnl == marked.row["quantity"] * (Decimal(61000) - marked.row["average_price"])


async def test_nobody_else_sees_it(pieces: Pieces) -> None:
    await pieces.filled()
    eve = await make_user(pieces.database, "eve")
    assert await queries.list_positions(pieces.database, pieces.desk.quotes, eve) == []
    assert await queries.realized_pnl(pieces.database, eve) == 0
    assert await queries.list_fills(pieces.database, eve) == []


async def test_pages_of_fills_lose_none_that_share_a_moment(pieces: Pieces) -> None:
    for _ in range(3):
        await pieces.filled(Side.BUY, "0.01")
    await pieces.rows("UPDATE fills SET executed_at = '2026-05-01T00:00:00Z'")
    everything = {row["trade_id"] for row in await pieces.rows("SELECT trade_id FROM fills")}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        rows, cursor = await history.page_of_fills(pieces.database, pieces.user_id, limit=1, cursor=cursor)
        seen += [row["trade_id"] for row in rows]
        if cursor is None:
            break
    assert sorted(seen) == sorted(everything)
    assert len(everything) >= 3
