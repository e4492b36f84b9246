"""Lists of the history: what is in them, what a filter leaves, how pages follow each other, and what reads them."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.db import Database
from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Side, Source
from app.errors import InvalidInput, NotFound, OrderNotFound
from app.trading import history, history_files
from app.trading.history_filter import HistoryFilter
from app.trading.history_tables import Subject
from app.trading.notes import put_note
from app.trading.round_trips import trip_of
from app.webhooks import attempts
from app.webhooks.models import Decision
from benchmarks.seeded import SPAN, seed
from tests.app.conftest import SYMBOL, Pieces, make_user
from tests.app.stored import told

pytestmark = pytest.mark.asyncio

NEWEST = datetime(2026, 10, 31, 12, tzinfo=UTC)
ORDERS = 600
PAGES: dict[str, Callable[..., Awaitable[history.Page]]] = {
    "orders": history.page_of_orders,
    "attempts": attempts.page_of_attempts,
    "fills": history.page_of_fills,
    "trades": history.page_of_trades,
}
MOMENTS = {"orders": "created_at", "attempts": "at", "fills": "executed_at", "trades": "closed_at"}


@dataclass(frozen=True)
class Seeded:
    """A user with a history of two years."""

    database: Database
    user_id: UUID
    broker_id: UUID

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def all(self, what: str, asked: HistoryFilter | None = None, *, limit: int = 97) -> list[Any]:
        """Every row of a list, page by page."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            rows, cursor = await PAGES[what](self.database, self.user_id, asked or HistoryFilter(), limit=limit, cursor=cursor)
            found += rows
            if cursor is None:
                return found


async def account_of(database: Database, user_id: UUID, name: str = "Main") -> UUID:
    broker_id = new_id()
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO brokers (id, user_id, name, exchange, is_default) VALUES ($1, $2, $3, 'paper', $4)",
            *(broker_id, user_id, name, name == "Main"),
        )
    return broker_id


@pytest_asyncio.fixture
async def seeded(database: Database) -> Seeded:
    user_id = await make_user(database)
    broker_id = await account_of(database, user_id)
    await seed(database, user_id, broker_id, orders=ORDERS, until=NEWEST)
    return Seeded(database, user_id, broker_id)


def identity(what: str, row: Any) -> tuple[Any, ...]:
    return (row["trade_id"], row["order_id"]) if what == "fills" else (row["id"],)


@pytest.mark.parametrize("what", PAGES)
async def test_pages_have_every_row_once_and_the_newest_first(seeded: Seeded, what: str) -> None:
    rows = await seeded.all(what, limit=50)
    assert len({identity(what, row) for row in rows}) == len(rows) > 200
    moments = [row[MOMENTS[what]] for row in rows]
    assert moments == sorted(moments, reverse=True)
    assert [identity(what, row) for row in await seeded.all(what, limit=7)] == [identity(what, row) for row in rows]


@pytest.mark.parametrize("what", PAGES)
async def test_what_is_new_meanwhile_neither_repeats_a_row_nor_leaves_one_out(seeded: Seeded, what: str) -> None:
    before = [identity(what, row) for row in await seeded.all(what)]
    first, cursor = await PAGES[what](seeded.database, seeded.user_id, limit=20)
    other = await account_of(seeded.database, seeded.user_id, "Other")
    await seed_more(seeded, other)
    rest: list[Any] = []
    while cursor is not None:
        rows, cursor = await PAGES[what](seeded.database, seeded.user_id, limit=50, cursor=cursor)
        rest += rows
    assert [identity(what, row) for row in [*first, *rest]] == before
    assert len(await seeded.all(what)) > len(before)


async def seed_more(seeded: Seeded, broker_id: UUID) -> None:
    """Give the user some orders that are newer than all of the others."""
    borrowed = await make_user(seeded.database, "borrowed")
    await seed(seeded.database, borrowed, broker_id, orders=40, until=NEWEST + timedelta(hours=1))
    newer = "created_at > '2026-10-31T12:30Z'"
    for table in ("orders", "fills", "positions", "webhook_deliveries"):
        await seeded.rows(f"UPDATE {table} SET user_id = $1 WHERE user_id = $2", seeded.user_id, borrowed)
    moved = "- (SELECT min(created_at) FROM orders WHERE broker_id = $1) + '2026-10-31T12:30Z'::timestamptz"
    columns = {"fills": "executed_at", "positions": "closed_at", "webhook_deliveries": "received_at", "orders": "created_at"}
    for table, column in columns.items():
        await seeded.rows(f"UPDATE {table} SET {column} = {column} {moved} WHERE broker_id = $1", broker_id)
    assert await seeded.rows(f"SELECT 1 FROM orders WHERE broker_id = $1 AND {newer} LIMIT 1", broker_id)


@pytest.mark.parametrize("what", PAGES)
async def test_rows_of_one_moment_are_told_apart(seeded: Seeded, what: str) -> None:
    for table, column in (
        ("orders", "created_at"),
        ("fills", "executed_at"),
        ("positions", "closed_at"),
        ("webhook_deliveries", "received_at"),
    ):
        await seeded.rows(f"UPDATE {table} SET {column} = $1", NEWEST)
    await seeded.rows("UPDATE fills SET trade_id = '7' WHERE trade_id IN (SELECT min(trade_id) FROM fills GROUP BY symbol)")
    rows = await seeded.all(what, limit=11)
    counts = {row["kind"]: row["n"] for row in await seeded.rows(COUNTS)}
    expected = counts["orders"] + counts["alerts"] if what == "attempts" else counts[what]
    assert len({identity(what, row) for row in rows}) == len(rows) == expected


COUNTS = """
SELECT 'orders' AS kind, count(*) AS n FROM orders UNION ALL SELECT 'fills', count(*) FROM fills
UNION ALL SELECT 'trades', count(*) FROM positions WHERE status = 'closed'
UNION ALL SELECT 'alerts', count(*) FROM webhook_deliveries d WHERE NOT EXISTS (SELECT 1 FROM orders WHERE delivery_id = d.id)
"""


@pytest.mark.parametrize("what", PAGES)
async def test_a_range_has_its_beginning_and_not_its_end(seeded: Seeded, what: str) -> None:
    rows = await seeded.all(what)
    newer, older = rows[20][MOMENTS[what]], rows[60][MOMENTS[what]]
    found = await seeded.all(what, HistoryFilter(since=older, until=newer))
    assert {row[MOMENTS[what]] for row in found} == {row[MOMENTS[what]] for row in rows if older <= row[MOMENTS[what]] < newer}


@pytest.mark.parametrize(
    ("what", "asked", "holds"),
    [
        ("orders", {"side": "sell"}, lambda row: row["side"] == "sell"),
        ("orders", {"type": "limit"}, lambda row: row["type"] == "limit"),
        ("orders", {"state": "rejected"}, lambda row: row["state"] == "rejected"),
        ("orders", {"source": "bot", "side": "buy"}, lambda row: (row["source"], row["side"]) == ("bot", "buy")),
        ("orders", {"symbol": "ETH/BTC"}, lambda row: row["symbol"] == "ETH/BTC"),
        ("orders", {"symbol": "ethbtc"}, lambda row: row["symbol"] == "ETH/BTC"),
        ("orders", {"symbol": "eth"}, lambda row: row["symbol"].startswith("ETH/")),
        ("orders", {"text": "BELOW the exchange minimum"}, lambda row: row["state"] == "denied"),
        ("orders", {"text": "insufficient_funds"}, lambda row: row["state"] == "rejected"),
        ("attempts", {"state": "stale"}, lambda row: row["state"] == "stale"),
        ("attempts", {"text": "95 s old"}, lambda row: row["kind"] == "alert"),
        ("attempts", {"type": "market"}, lambda row: row["type"] == "market"),
        ("attempts", {"source": "manual"}, lambda row: row["source"] == "manual"),
        (
            "attempts",
            {"side": "sell", "symbol": "BTC"},
            lambda row: (row["kind"], row["side"], row["symbol"]) == ("order", "sell", SYMBOL),
        ),
        ("fills", {"type": "stop_limit"}, lambda row: row["type"] == "stop_limit"),
        ("fills", {"source": "webhook", "symbol": "XRP"}, lambda row: (row["source"], row["symbol"]) == ("webhook", "XRP/USDT")),
        ("fills", {"side": "buy"}, lambda row: row["side"] == "buy"),
        ("trades", {"source": "bot"}, lambda row: row["source"] == "bot"),
        ("trades", {"side": "long", "symbol": "BNB/USDT"}, lambda row: row["symbol"] == "BNB/USDT"),
        ("trades", {"tag": "retest"}, lambda row: row["tags"] == ["retest"]),
        ("trades", {"text": "retest of SOL"}, lambda row: row["symbol"] == "SOL/USDT" and row["note"] is not None),
    ],
)
async def test_filter_leaves_exactly_what_fits(seeded: Seeded, what: str, asked: dict[str, Any], holds: Callable[[Any], bool]) -> None:
    found = await seeded.all(what, HistoryFilter(**asked))
    expected = {identity(what, row) for row in await seeded.all(what) if holds(row)}
    assert {identity(what, row) for row in found} == expected
    assert expected


async def test_fills_of_a_kind_of_order_are_the_same_whether_it_is_rare_or_not(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = HistoryFilter(type="limit", source="bot")
    rare = [identity("fills", row) for row in await seeded.all("fills", asked)]
    monkeypatch.setattr(history, "_MANY", 1)
    assert [identity("fills", row) for row in await seeded.all("fills", asked)] == rare
    assert rare


@pytest.mark.parametrize("what", PAGES)
async def test_account_is_a_filter_and_nobody_else_sees_anything(seeded: Seeded, what: str) -> None:
    other = await account_of(seeded.database, seeded.user_id, "Other")
    assert len(await seeded.all(what, HistoryFilter(broker_id=seeded.broker_id))) == len(await seeded.all(what))
    assert await seeded.all(what, HistoryFilter(broker_id=other)) == []
    eve = replace(seeded, user_id=await make_user(seeded.database, "eve"))
    assert await eve.all(what) == []
    assert await eve.all(what, HistoryFilter(broker_id=seeded.broker_id)) == []


@pytest.mark.parametrize(
    "cursor", ["", "~", "x", "2026-01-01~y", "2026-01-01T00:00:00~0190", f"2026-01-01T00:00:00Z~{'~' * 9}", "2026\x00"]
)
@pytest.mark.parametrize("what", PAGES)
async def test_cursor_that_is_none_of_ours_is_refused(database: Database, what: str, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="the cursor is not one that a list gave"):
        await PAGES[what](database, new_id(), cursor=cursor)


async def test_sums_are_those_of_the_rows(seeded: Seeded) -> None:
    for asked in (HistoryFilter(), HistoryFilter(symbol="BTC"), HistoryFilter(source="bot"), HistoryFilter(symbol="PEPE")):
        trips = [trip_of(row) for row in await seeded.all("trades", asked)]
        sums = await history.sums_of_trades(seeded.database, seeded.user_id, asked)
        assert sums.trades == len(trips)
        for line in sums.quotes:
            own = [trip for trip in trips if trip.quote == line.quote]
            assert (line.trades, line.won) == (len(own), sum(trip.pnl > 0 for trip in own))
            assert (line.pnl, line.fees) == (sum(trip.pnl for trip in own), sum(trip.fees for trip in own))
        unvalued = sum((Decimal(fee) for trip in trips for fee in trip.unvalued_fees.values()), Decimal(0))
        assert sum((fee for _, fee in sums.unvalued), Decimal(0)) == unvalued
    assert (sums.trades, sums.win_rate) == (0, None)


async def test_a_trip_s_profit_is_that_of_its_prices_and_fees(seeded: Seeded) -> None:
    for row in await seeded.all("trades"):
        trip = trip_of(row)
        assert trip.entry_price is not None
        assert trip.exit_price is not None
        made = trip.quantity * (trip.exit_price - trip.entry_price) - trip.fees
        assert abs(made - trip.pnl) < Decimal("1e-9")
        assert trip.pnl_percent is not None
        assert abs(trip.pnl_percent - trip.pnl / trip.quantity / trip.entry_price * 100) < Decimal("1e-6")
        assert len(trip.order_ids) == 2
        assert trip.duration_s > 0


async def test_engine_s_round_trip_from_flat_to_flat(pieces: Pieces) -> None:
    bought = await pieces.filled(Side.BUY, "0.01234")
    sold = (await pieces.submit(pieces.intent(Side.SELL, None, close_position=True))).order
    (row,), following = await history.page_of_trades(pieces.database, pieces.user_id)
    trip = trip_of(row)
    assert following is None
    assert (trip.symbol, trip.side, trip.quantity, trip.source) == (SYMBOL, "long", Decimal("0.01234"), Source.MANUAL)
    assert (trip.entry_price, trip.exit_price, set(trip.order_ids)) == (Decimal(60000), Decimal("59999.99"), {bought.id, sold.id})
    assert set(trip.fees_by_asset) == {"BTC", "USDT"}
    assert trip.pnl == sold.filled_quantity * Decimal("-0.01") - trip.fees
    assert Decimal(0) < trip.dust < Decimal("0.00001")
    await pieces.filled(Side.BUY, "0.01")
    assert [row["id"] for row in (await history.page_of_trades(pieces.database, pieces.user_id))[0]] == [trip.id], "one is still open"


async def test_every_attempt_is_there_with_its_reason_and_an_alert_that_became_an_order_once(pieces: Pieces) -> None:
    await pieces.filled()
    await told(pieces, {"USDT": "9000000"})
    rejected = (await pieces.submit(pieces.intent(quantity="50"))).order
    assert rejected.state is OrderState.REJECTED
    refused, traded = new_id(), new_id()
    for delivery_id, decision, reason in ((refused, Decision.STALE, "the alert is 95 s old"), (traded, Decision.EXECUTED, None)):
        await pieces.rows(
            """INSERT INTO webhook_deliveries (id, user_id, received_at, raw, size, decision, reason, broker_id)
               VALUES ($1, $2, clock_timestamp(), 'buy', 3, $3, $4, $5)""",
            *(delivery_id, pieces.user_id, decision.value, reason, pieces.broker_id),
        )
    order = (await pieces.submit(replace(pieces.limit("50000"), source=Source.WEBHOOK), delivery_id=traded)).order
    rows, _ = await attempts.page_of_attempts(pieces.database, pieces.user_id)
    assert [(row["kind"], row["state"]) for row in rows] == [
        ("order", "open"),
        ("alert", "stale"),
        ("order", "rejected"),
        ("order", "filled"),
    ]
    assert (rows[0]["id"], rows[1]["reason"], rows[0]["type"]) == (order.id, "the alert is 95 s old", OrderType.LIMIT)
    assert rows[2]["reason"] == "Not enough USDT: free 9000000."


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def read(parts: AsyncIterator[bytes]) -> list[dict[str, str]]:
    return lines(b"".join([part async for part in parts]).decode())


async def test_files_have_what_the_list_has_in_plain_numbers_and_no_formula(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_files, "_PAGE_ROWS", 64)
    asked = HistoryFilter(symbol="BTC", since=NEWEST - SPAN / 2)
    (first, *_) = rows = await seeded.all("trades", asked)
    await put_note(seeded.database, seeded.user_id, Subject.TRADE, first["id"], text="=HYPERLINK(1)\nand more", tags=["b", "A"], now=NEWEST)
    told = await read(history_files.csv_of_trades(seeded.database, seeded.user_id, asked))
    assert [line["id"] for line in told] == [str(row["id"]) for row in rows]
    assert (told[0]["note"], told[0]["tags"]) == ("'=HYPERLINK(1)\nand more", "a b")
    assert told[0]["closed_at"].endswith("Z")
    assert {line["symbol"] for line in told} == {SYMBOL}
    assert all("E" not in line["pnl"] and Decimal(line["pnl"]) == row["realized_pnl"] for line, row in zip(told, rows, strict=True))
    for what, made in (
        ("orders", history_files.csv_of_orders),
        ("fills", history_files.csv_of_fills),
        ("attempts", attempts.csv_of_attempts),
    ):
        found = await read(made(seeded.database, seeded.user_id, asked))
        assert len(found) == len(await seeded.all(what, asked)) > 64 / 2, what


async def test_a_note_is_kept_found_changed_and_removed(seeded: Seeded) -> None:
    (order, *_) = await seeded.all("orders")

    async def put(text: str, *tags: str) -> tuple[str, list[str]]:
        return await put_note(seeded.database, seeded.user_id, Subject.ORDER, order["id"], text=text, tags=tags, now=NEWEST)

    assert await put("  Too early\r\nagain \x00", "Revenge ", "fomo", "revenge", "") == ("Too early\nagain", ["fomo", "revenge"])
    for asked in (HistoryFilter(text="too EARLY"), HistoryFilter(tag="fomo")):
        assert [row["id"] for row in await seeded.all("orders", asked)] == [order["id"]]
    await put("patience")
    assert await seeded.all("orders", HistoryFilter(text="too early")) == []
    shown = await history.order_of(seeded.database, seeded.user_id, order["id"])
    assert (shown["note"], shown["tags"]) == ("patience", [])
    await put(" ")
    assert await seeded.rows("SELECT 1 FROM notes WHERE subject = 'order'") == []
    with pytest.raises(InvalidInput, match="2,000 characters"):
        await put("x" * 2001)
    with pytest.raises(InvalidInput, match="10 tags"):
        await put("", *(str(number) for number in range(11)))


async def test_nobody_writes_a_note_on_what_is_somebody_else_s(seeded: Seeded) -> None:
    eve = await make_user(seeded.database, "eve")
    (order, *_), (trade, *_) = await seeded.all("orders"), await seeded.all("trades")
    with pytest.raises(OrderNotFound):
        await put_note(seeded.database, eve, Subject.ORDER, order["id"], text="x", tags=[], now=NEWEST)
    with pytest.raises(NotFound, match="no such round trip"):
        await put_note(seeded.database, eve, Subject.TRADE, trade["id"], text="x", tags=[], now=NEWEST)


async def test_two_notes_at_once_leave_one(seeded: Seeded) -> None:
    (order, *_) = await seeded.all("orders")
    for text in ("one", "two"):
        await put_note(seeded.database, seeded.user_id, Subject.ORDER, order["id"], text=text, tags=[], now=NEWEST)
    assert [row["text"] for row in await seeded.rows("SELECT text FROM notes WHERE subject = 'order'")] == ["two"]
