"""The history as CSV (RFC 4180): UTC, plain decimals, no cell that a spreadsheet takes for a formula.

A file is read page by page while it is sent: a cursor of the database would keep a transaction open for as long as somebody's line is slow,
and ours are ended after five idle seconds. A page begins after the last row of the one before.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from app.core.db import Database
from app.core.spreadsheets import cell
from app.domain.instruments import plain
from app.trading import history
from app.trading.history import Page
from app.trading.history_filter import HistoryFilter
from app.trading.round_trips import trip_of

_PAGE_ROWS: Final = 1000
ORDER_COLUMNS: Final = (
    "id", "created_at", "updated_at", "sent_at", "acknowledged_at", "broker_name", "exchange", "symbol", "side", "type", "role", "state",
    "quantity", "filled_quantity", "average_price", "price", "trigger_price", "notional", "time_in_force", "fees", "source", "code",
    "detail", "client_order_id", "venue_order_id", "delivery_id", "bot_id", "note", "tags",
)  # fmt: skip
FILL_COLUMNS: Final = (
    "executed_at", "trade_id", "order_id", "broker_name", "exchange", "symbol", "side", "type", "quantity", "price", "fee", "fee_asset",
    "fee_worth", "liquidity", "source", "position_id", "bot_id",
)  # fmt: skip
TRADE_COLUMNS: Final = (
    "id", "broker_name", "exchange", "symbol", "side", "quantity", "entry_price", "exit_price", "opened_at", "closed_at", "duration_s",
    "pnl", "pnl_percent", "quote", "fees", "fees_by_asset", "unvalued_fees", "dust", "source", "delivery_id", "bot_id", "exit_role",
    "fill_count", "note", "tags",
)  # fmt: skip

#: These are written as numbers: a minus before digits alone makes no formula.
_NUMBERS: Final = (Decimal, int, float)


class Pages(Protocol):
    """Reads a page of rows after a cursor."""

    async def __call__(self, *, limit: int, cursor: str | None) -> Page:
        """Return rows and the cursor of the next page."""


def _orders(row: Any) -> Mapping[str, Any]:
    return {**row, "fees": row["fees"] or {}, "tags": row["tags"] or []}


def _trades(row: Any) -> Mapping[str, Any]:
    trip = trip_of(row)
    return {**row, **{name: getattr(trip, name) for name in trip.__slots__}, "tags": row["tags"] or []}


async def csv_of(pages: Pages, columns: Sequence[str], shape: Callable[[Any], Mapping[str, Any]] = dict) -> AsyncIterator[bytes]:
    """Yield a list as a file, newest first, its columns' names before it."""
    yield _lines([columns])
    cursor: str | None = None
    while True:
        rows, cursor = await pages(limit=_PAGE_ROWS, cursor=cursor)
        yield _lines([[_cell(shaped[name]) for name in columns] for shaped in map(shape, rows)])
        if cursor is None:
            return


def csv_of_orders(database: Database, user_id: UUID, asked: HistoryFilter) -> AsyncIterator[bytes]:
    """Yield orders as a file."""
    return csv_of(partial(history.page_of_orders, database, user_id, asked), ORDER_COLUMNS, _orders)


def csv_of_fills(database: Database, user_id: UUID, asked: HistoryFilter) -> AsyncIterator[bytes]:
    """Yield fills as a file."""
    return csv_of(partial(history.page_of_fills, database, user_id, asked), FILL_COLUMNS)


def csv_of_trades(database: Database, user_id: UUID, asked: HistoryFilter) -> AsyncIterator[bytes]:
    """Yield round trips as a file."""
    return csv_of(partial(history.page_of_trades, database, user_id, asked), TRADE_COLUMNS, _trades)


def _cell(value: Any) -> str:
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return plain(value) if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return cell(" ".join(value)) if isinstance(value, list) else cell(value)


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue().encode()
