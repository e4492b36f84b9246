"""Every attempt to trade, whatever came of it: all orders, and the alerts of which no order came, with the reason. Newest first."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.domain.enums import OrderState, Side, Source
from app.trading.history import Page, order_conditions
from app.trading.history_files import csv_of
from app.trading.history_filter import EVERYTHING, Conditions, HistoryFilter, following, place_of, spelled
from app.webhooks.models import Decision
from app.webhooks.reading import masked_text

#: What may have become of an attempt; both lists know what was denied.
STATES: Final = tuple(dict.fromkeys([state.value for state in OrderState] + [decision.value for decision in Decision]))
_ORDER_STATES: Final = frozenset(OrderState)
_ATTEMPTS: Final = """
SELECT page.kind, page.id, page.at, o.broker_id, o.symbol, o.side, o.type, o.role, o.source, coalesce(o.state, d.decision) AS state,
       coalesce(o.code, d.code) AS code, coalesce(o.detail, d.reason) AS reason, o.quantity, o.price, o.trigger_price, o.filled_quantity,
       o.average_price, o.delivery_id, o.bot_id, d.parsed, d.raw, d.decision, d.is_test, h.name AS webhook_name, b.name AS broker_name,
       b.exchange
  FROM page
  LEFT JOIN orders o ON page.kind = 'order' AND o.id = page.id AND o.user_id = $1
  LEFT JOIN webhook_deliveries d ON page.kind = 'alert' AND d.id = page.id AND d.user_id = $1
  LEFT JOIN webhook_deliveries came ON came.id = o.delivery_id
  LEFT JOIN webhooks h ON h.id = coalesce(d.webhook_id, came.webhook_id)
  LEFT JOIN brokers b ON b.id = coalesce(o.broker_id, d.broker_id, h.broker_id)
 ORDER BY page.at DESC, page.id DESC
"""
#: No order and no alert can be what is asked for.
_NOTHING: Final = "(SELECT 'order' AS kind, o.id, o.created_at AS at FROM orders o WHERE false)"
_SIDES: Final = {Side.BUY: ["buy"], Side.SELL: ["sell", "close"]}
_COLUMNS: Final = (
    "kind", "id", "at", "state", "reason", "code", "source", "webhook_name", "broker_name", "exchange", "symbol", "side", "type", "role",
    "quantity", "price", "trigger_price", "filled_quantity", "average_price", "delivery_id", "bot_id", "raw",
)  # fmt: skip


def _may_be_alert(asked: HistoryFilter) -> bool:
    """An alert of which no order came has no kind of order, nor a note."""
    is_known = not asked.state or asked.state in set(Decision)
    return is_known and not asked.type and not asked.tag and asked.source in ("", Source.WEBHOOK)


def _may_be_order(asked: HistoryFilter) -> bool:
    return not asked.state or asked.state in _ORDER_STATES


def _alert_conditions(conditions: Conditions, asked: HistoryFilter) -> None:
    conditions.parts.append("NOT EXISTS (SELECT 1 FROM orders x WHERE x.delivery_id = d.id AND x.user_id = $1)")
    conditions.within(asked, "d.received_at")
    if asked.state:
        conditions.add("d.decision = {}", asked.state)
    if asked.broker_id is not None:
        hooks = "SELECT w.id FROM webhooks w WHERE w.user_id = $1 AND w.broker_id"
        account = conditions.value(asked.broker_id)
        conditions.parts.append(f"(d.broker_id = {account} OR (d.broker_id IS NULL AND d.webhook_id IN ({hooks} = {account})))")
    if asked.side:
        conditions.add("d.parsed #>> '{{alerts,0,action}}' = ANY({})", _SIDES.get(Side(asked.side), []))
    if asked.symbol:
        named = "translate(upper(d.parsed #>> '{{alerts,0,symbol}}'), '/-_', '')"
        conditions.add(f"{named} LIKE '%' || {{}} || '%'", spelled(asked.symbol))
    if asked.text.strip():
        hook = "(SELECT w.name FROM webhooks w WHERE w.id = d.webhook_id)"
        conditions.add(f"strpos(lower(concat_ws(' ', d.reason, d.code, {hook})), {{}}) > 0", asked.text.strip().lower())


def attempts_statement(user_id: UUID, asked: HistoryFilter, *, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
    """Return the statement of one page of attempts, and one row more, with its values."""
    conditions = Conditions([user_id])
    branches = []
    if _may_be_order(asked):
        order_conditions(conditions, asked)
        following(conditions, cursor, "o.created_at", "o.id")
        orders = f"SELECT 'order' AS kind, o.id, o.created_at AS at FROM orders o WHERE o.user_id = $1{conditions}"  # noqa: S608  # values are numbered
        branches.append(f"({orders} ORDER BY o.created_at DESC, o.id DESC LIMIT {limit + 1:d})")
    if _may_be_alert(asked):
        conditions.parts.clear()
        _alert_conditions(conditions, asked)
        following(conditions, cursor, "d.received_at", "d.id")
        alerts = f"SELECT 'alert' AS kind, d.id, d.received_at AS at FROM webhook_deliveries d WHERE d.user_id = $1{conditions}"  # noqa: S608  # values are numbered
        branches.append(f"({alerts} ORDER BY d.received_at DESC, d.id DESC LIMIT {limit + 1:d})")
    union = " UNION ALL ".join(branches or [_NOTHING])
    page = f"SELECT * FROM ({union}) every_one ORDER BY at DESC, id DESC LIMIT {limit + 1:d}"  # noqa: S608  # as above
    return f"WITH page AS MATERIALIZED ({page}){_ATTEMPTS}", conditions.values


async def page_of_attempts(
    database: Database, user_id: UUID, asked: HistoryFilter = EVERYTHING, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """Return attempts, and the cursor of the next page (None at the end).

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    statement, values = attempts_statement(user_id, asked, limit=limit, cursor=cursor)
    async with database.connection() as connection:
        rows = list(await connection.fetch(statement, *values))
    return rows[:limit], place_of(rows[limit - 1]["at"], rows[limit - 1]["id"]) if len(rows) > limit else None


def _shown(row: Any) -> Mapping[str, Any]:
    return {**row, "raw": None if row["raw"] is None else masked_text(row["raw"]), "source": row["source"] or Source.WEBHOOK.value}


def csv_of_attempts(database: Database, user_id: UUID, asked: HistoryFilter) -> AsyncIterator[bytes]:
    """Yield attempts as a file."""
    return csv_of(partial(page_of_attempts, database, user_id, asked), _COLUMNS, _shown)
