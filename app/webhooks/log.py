"""The attempt log as people read it: filtered pages, the whole of it as a file, and what one attempt led to. Always of one user."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from app.core.db import Database
from app.core.spreadsheets import cell
from app.errors import DeliveryNotFound, InvalidInput
from app.webhooks.reading import masked_text, masked_value

_COLUMNS: Final = (
    "id", "received_at", "webhook_name", "ip_address", "content_type", "size", "decision", "code", "reason", "dialect", "alert_at",
    "broker_name", "order_ids", "replay_of", "is_test", "latencies_ms", "parsed", "raw",
)  # fmt: skip
_READ: Final = """
SELECT d.*, h.name AS webhook_name, b.name AS broker_name, coalesce(o.order_ids, '{}') AS order_ids"""
_JOINED: Final = """
  LEFT JOIN webhooks h ON h.id = d.webhook_id
  LEFT JOIN brokers b ON b.id = d.broker_id
  LEFT JOIN LATERAL (SELECT array_agg(id ORDER BY id) AS order_ids FROM orders WHERE delivery_id = d.id) o ON true
"""
_ROWS: Final = f"{_READ}\n  FROM webhook_deliveries d{_JOINED}"
#: Attempts that one page looks through for a text or a symbol: no index knows what stands in a message, and nobody waits for a whole year.
SEARCHED_AT_ONCE: Final = 5_000
_ASKED: Final = """webhook_deliveries d
 WHERE (d.user_id = $1 OR ($2 AND d.user_id IS NULL)) AND ($3::uuid IS NULL OR d.id < $3) AND ($4::uuid IS NULL OR d.webhook_id = $4)
   AND ($5::text IS NULL OR d.decision = $5) AND ($6::timestamptz IS NULL OR d.received_at >= $6)
   AND ($7::timestamptz IS NULL OR d.received_at < $7)
 ORDER BY d.id DESC"""
#: How a symbol is looked for, in the message and in what was understood of it: without what may stand between its halves.
_SPELLED: Final = "translate(upper(concat(d.raw, ' ', jsonb_path_query_array(d.parsed, '$.alerts[*].symbol'))), '/-_', '')"
_FILTERED: Final = f"""{_READ}
  FROM (SELECT d.* FROM {_ASKED} LIMIT $11) d{_JOINED}
 WHERE ($8 = '' OR strpos(lower(concat_ws(' ', d.raw, d.reason, d.code, d.ip_address, h.name)), lower($8)) > 0)
   AND ($9 = '' OR strpos({_SPELLED}, translate(upper($9), '/-_', '')) > 0)
 ORDER BY d.id DESC LIMIT $10"""  # noqa: S608  # constants
#: The last of those that were looked through, if there were so many.
_LAST_SEARCHED: Final = f"SELECT d.id FROM {_ASKED} OFFSET $8 - 1 LIMIT 1"  # noqa: S608  # constants
#: What repeats what: up to the first, and all that came of it.
_CHAIN: Final = f"""
WITH RECURSIVE up AS (
  SELECT id, replay_of FROM webhook_deliveries WHERE user_id = $1 AND id = $2
  UNION SELECT d.id, d.replay_of FROM webhook_deliveries d JOIN up ON d.id = up.replay_of WHERE d.user_id = $1),
down AS (
  SELECT id FROM up WHERE replay_of IS NULL
  UNION SELECT d.id FROM webhook_deliveries d JOIN down ON d.replay_of = down.id WHERE d.user_id = $1)
{_ROWS} WHERE d.user_id = $1 AND d.id IN (SELECT id FROM down) ORDER BY d.id LIMIT 50"""  # noqa: S608  # constants
_ORDERS: Final = """
SELECT o.*, b.name AS broker_name, b.exchange, b.is_testnet FROM orders o JOIN brokers b ON b.id = o.broker_id
 WHERE o.user_id = $1 AND o.delivery_id = $2 ORDER BY o.id LIMIT 50"""
_FILLS: Final = "SELECT * FROM fills WHERE user_id = $1 AND order_id = ANY($2::uuid[]) ORDER BY executed_at, trade_id LIMIT 500"
#: Positions that one of the attempt's fills opened, enlarged, reduced or closed.
_POSITIONS: Final = """
SELECT p.*, min(f.executed_at) AS first_fill_at, max(f.executed_at) AS last_fill_at, bool_or(f.side = 'sell') AS has_sold
  FROM fills f JOIN positions p ON p.id = f.position_id
 WHERE f.user_id = $1 AND p.user_id = $1 AND f.order_id = ANY($2::uuid[]) GROUP BY p.id ORDER BY p.opened_at LIMIT 20"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which attempts: empty fields ask for nothing. `since` is inclusive, `until` exclusive; `text` and `symbol` as people type them."""

    webhook_id: UUID | None = None
    decision: str | None = None
    text: str = ""
    symbol: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One attempt and what came of it; rows of the tables of these names, oldest first."""

    delivery: Any
    orders: list[Any]
    fills: list[Any]
    positions: list[Any]
    chain: list[Any]


async def page_of_log(
    database: Database, user_id: UUID, *, which: LogFilter, limit: int, cursor: str | None = None, with_strangers: bool = False
) -> tuple[list[Any], str | None]:
    """Return attempts, newest first, and the cursor of the next page (None at the end).

    A search for a text or a symbol looks through `SEARCHED_AT_ONCE` attempts: a page may hold fewer rows than asked for, or none, and yet
    not be the last one.

    Args:
        database: Where they are; for `with_strangers` the one that sees what belongs to nobody.
        user_id: Whose.
        which: What is asked for.
        limit: Rows of a page.
        cursor: Where the page before ended.
        with_strangers: Also attempts on addresses that nobody has; for administrators.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    try:
        before = None if cursor is None else UUID(cursor)
    except ValueError as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error
    asked = (user_id, with_strangers, before, which.webhook_id, which.decision, which.since, which.until)
    sought = (which.text.strip(), which.symbol.strip())
    most = SEARCHED_AT_ONCE if any(sought) else None
    last: UUID | None = None
    async with database.connection() as connection:
        rows = await connection.fetch(_FILTERED, *asked, *sought, limit + 1, most)
        if most is not None and len(rows) <= limit:
            last = await connection.fetchval(_LAST_SEARCHED, *asked, most)
    if len(rows) > limit:
        last = rows[limit - 1]["id"]
    return rows[:limit], None if last is None else str(last)


async def csv_of_log(
    database: Database, user_id: UUID, *, which: LogFilter, with_strangers: bool = False, page_rows: int = 500
) -> AsyncIterator[bytes]:
    """Yield the filtered log as CSV (RFC 4180), newest first, in which no cell is a formula. A page is read when the one before is sent."""
    yield _lines([_COLUMNS])
    cursor: str | None = None
    while True:
        rows, cursor = await page_of_log(database, user_id, which=which, limit=page_rows, cursor=cursor, with_strangers=with_strangers)
        yield _lines([_cells(row) for row in rows])
        if cursor is None:
            return


def _cells(row: Any) -> list[str]:
    shown = {**row, "raw": masked_text(row["raw"]), "order_ids": " ".join(str(order_id) for order_id in row["order_ids"])}
    shown["parsed"] = "" if row["parsed"] is None else orjson.dumps(masked_value("", row["parsed"])).decode()
    return [cell(shown[name]) for name in _COLUMNS]


def _lines(rows: list[Any]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue().encode()


async def facts_of(database: Database, user_id: UUID, delivery_id: UUID, *, with_strangers: bool = False) -> Facts:
    """Return one attempt with its orders, fills, the positions they changed, and the attempts that repeat it or that it repeats.

    Raises:
        DeliveryNotFound: no such attempt of this user; of nobody either, for administrators.
    """
    sql = f"{_ROWS} WHERE (d.user_id = $1 OR ($3 AND d.user_id IS NULL)) AND d.id = $2"
    async with database.connection() as connection:
        delivery = await connection.fetchrow(sql, user_id, delivery_id, with_strangers)
        if delivery is None:
            raise DeliveryNotFound
        orders = await connection.fetch(_ORDERS, user_id, delivery_id)
        ids = [order["id"] for order in orders]
        fills = await connection.fetch(_FILLS, user_id, ids) if ids else []
        positions = await connection.fetch(_POSITIONS, user_id, ids) if fills else []
        chain = await connection.fetch(_CHAIN, user_id, delivery_id)
    return Facts(delivery=delivery, orders=orders, fills=fills, positions=positions, chain=chain)
