"""Balances and flows as CSV (RFC 4180), in which no cell is a formula. Numbers are plain, with a point."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.spreadsheets import cell
from app.domain.instruments import plain
from app.trading.flow_queries import list_flows
from app.trading.rates import Rate

_BALANCES: Final = """
SELECT b.name AS broker, l.asset, l.free, l.locked, l.value_usdt, l.updated_at
  FROM balances l JOIN brokers b ON b.id = l.broker_id AND b.removed_at IS NULL
 WHERE l.user_id = $1 AND ($2::uuid[] IS NULL OR l.broker_id = ANY($2)) ORDER BY b.name, l.value_usdt DESC NULLS LAST, l.asset
"""
_FLOW_COLUMNS: Final = ("at", "broker", "asset", "amount", "value_usdt", "note", "first_amount", "corrections", "id")


async def csv_of_balances(database: Database, user_id: UUID, *, broker_ids: Sequence[UUID] | None, rate: Rate) -> AsyncIterator[bytes]:
    """Yield a line for each asset of each account, with its value in USDT and in the rate's currency."""
    async with database.connection() as connection:
        rows = await connection.fetch(_BALANCES, user_id, broker_ids)
    header = ["account", "asset", "free", "locked", "total", "value_usdt", f"value_{rate.currency.value.lower()}", "as_of"]
    if rate.usdt == 1:
        header.remove("value_usdt")
    lines = [header]
    for row in rows:
        values = [row["broker"], row["asset"], row["free"], row["locked"], row["free"] + row["locked"]]
        values += [row["value_usdt"]] if rate.usdt != 1 else []
        lines.append([_cell(value) for value in (*values, rate.of(row["value_usdt"]), row["updated_at"])])
    yield _lines(lines)


async def csv_of_flows(database: Database, user_id: UUID, *, broker_ids: Sequence[UUID] | None) -> AsyncIterator[bytes]:
    """Yield a line for each flow, newest first. A page is read when the one before is sent."""
    yield _lines([list(_FLOW_COLUMNS)])
    cursor: str | None = None
    while True:
        rows, cursor = await list_flows(database, user_id, broker_ids=broker_ids, limit=500, cursor=cursor)
        yield _lines([[_cell(getattr(row, name)) for name in _FLOW_COLUMNS] for row in rows])
        if cursor is None:
            return


def _cell(value: Any) -> str:
    # What is taken for a formula is text that begins with a sign; a number with one is a number.
    return plain(value) if isinstance(value, Decimal) else cell(value)


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue().encode()
