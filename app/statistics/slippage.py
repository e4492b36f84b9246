"""What fills cost beside the price at which their order was decided, where that price is known."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.domain.enums import OrderType
from app.statistics.queries import Names
from app.statistics.wish import StatisticsFilter
from app.trading.history_filter import Conditions, HistoryFilter


class Basis(StrEnum):
    """The price that fills are laid beside.

    Where a stop or target was to be triggered, what the market was at when a bot decided, what the chart of an alert showed.
    """

    TRIGGER = "trigger"
    SIGNAL = "signal"
    ALERT = "alert"


class Unknown(StrEnum):
    """Why there is no price to compare with.

    A limit says nothing of what the market was at, and cannot fill beyond itself; a trailing stop moves with the market; of an order by
    hand nobody wrote down what it was decided at.
    """

    LIMIT = "limit"
    TRAILING = "trailing"
    NOT_NOTED = "not_noted"


_TRIGGERED: Final = "('stop_market', 'stop_limit', 'take_profit', 'take_profit_limit')"
_SUMS: Final = """count(*) AS orders, sum(o.average_price * o.filled_quantity) AS notional,
       sum(CASE o.side WHEN 'buy' THEN o.average_price - {reference} ELSE {reference} - o.average_price END * o.filled_quantity) AS cost"""
_FILLED: Final = "o.user_id = $1 AND o.filled_quantity > 0{where}"
#: All orders by type, and those with a trigger beside it: one pass.
_ALL: Final = f"""
SELECT o.type, o.symbol, count(*) AS all_orders, count(t.price) AS orders,
       sum(o.average_price * o.filled_quantity) FILTER (WHERE t.price IS NOT NULL) AS notional,
       sum(CASE o.side WHEN 'buy' THEN o.average_price - t.price ELSE t.price - o.average_price END * o.filled_quantity) AS cost
  FROM orders o CROSS JOIN LATERAL (SELECT CASE WHEN o.type IN {_TRIGGERED} THEN o.trigger_price END AS price) t
 WHERE {_FILLED} GROUP BY 1, 2
"""  # noqa: S608  # constants
#: What the sender's chart showed: a market order has no other use for the price of its alert. Of several alerts in a message none is told.
_CHART_PRICE: Final = r"""CASE WHEN d.parsed #>> '{{members,price}}' ~ '^[0-9]{{1,15}}(\.[0-9]{{1,18}})?$'
              THEN (d.parsed #>> '{{members,price}}')::numeric END"""
# None is joined with what cannot concern it.
_COSTS: Final = {
    Basis.ALERT: f"""
SELECT o.symbol, {_SUMS.format(reference="p.price")}
  FROM orders o JOIN webhook_deliveries d ON d.id = o.delivery_id AND d.user_id = $1 CROSS JOIN LATERAL (SELECT {_CHART_PRICE} AS price) p
 WHERE {_FILLED} AND o.source = 'webhook' AND o.type = 'market' AND p.price > 0 GROUP BY 1""",  # noqa: S608  # constants
    Basis.SIGNAL: f"""
SELECT o.symbol, {_SUMS.format(reference="s.price")}
  FROM (SELECT unnest(order_ids) AS order_id, price FROM bot_signals WHERE user_id = $1 AND price > 0) s JOIN orders o ON o.id = s.order_id
 WHERE {_FILLED} AND o.source = 'bot' AND o.type = 'market' GROUP BY 1""",  # noqa: S608  # constants
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlippageLine:
    """Orders of one quote currency and one basis, in quote. `cost` is above 0 where fills were worse than the price of the decision."""

    quote: str
    basis: Basis
    orders: int
    notional: Decimal
    cost: Decimal

    @property
    def fraction(self) -> Decimal | None:
        """The cost as a fraction of what was bought and sold; None where that is nothing."""
        return self.cost / self.notional if self.notional else None


@dataclass(frozen=True, slots=True)
class Slippage:
    """What is known of fills beside decisions, and of how many orders it is not, by why."""

    lines: tuple[SlippageLine, ...] = ()
    unknown: tuple[tuple[Unknown, int], ...] = ()


async def read_slippage(database: Database, user_id: UUID, asked: StatisticsFilter, names: Names) -> Slippage:
    """Return what fills cost beside the price of the decision.

    It is of the orders that were made in the time asked for, by their own source: whoever closes a bot's position by hand made that order.
    """
    found = _conditions(user_id, asked, names)
    asked_of = [_ALL, *(statement for basis, statement in _COSTS.items() if basis is not Basis.SIGNAL or names.bots)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_fetched(database, statement.format(where=found), found.values)) for statement in asked_of]
    every, *decided = (task.result() for task in tasks)
    rows = [(Basis.TRIGGER, row) for row in every if row["orders"]]
    rows += [(basis, row) for basis, costs in zip(_COSTS, decided, strict=False) for row in costs]
    counts: Counter[OrderType] = Counter()
    for row in every:
        counts[OrderType(row["type"])] += row["all_orders"]
    lines = folded(rows)
    return Slippage(lines=lines, unknown=_unknown(counts, lines))


async def _fetched(database: Database, statement: str, values: Sequence[Any]) -> list[Any]:
    async with database.connection() as connection:
        return list(await connection.fetch(statement, *values))


def _conditions(user_id: UUID, asked: StatisticsFilter, names: Names) -> Conditions:
    found = Conditions([user_id])
    found.add("o.broker_id = ANY({})", [account.id for account in names.accounts_of(asked)])
    found.within(HistoryFilter(since=asked.since, until=asked.until), "o.created_at")
    found.symbol(HistoryFilter(symbol=asked.symbol), "o.symbol")
    if asked.source is not None:
        found.add("o.source = {}", asked.source.value)
    if asked.bot_id is not None:
        found.add("o.bot_id = {}", asked.bot_id)
    if asked.strategy_id is not None:
        found.add("o.bot_id = ANY({})", names.bots_of(asked.strategy_id))
    if asked.webhook_id is not None:
        found.add("o.delivery_id = ANY(ARRAY(SELECT id FROM webhook_deliveries WHERE user_id = $1 AND webhook_id = {}))", asked.webhook_id)
    return found


def folded(rows: Sequence[tuple[Basis, Any]]) -> tuple[SlippageLine, ...]:
    """Return the lines of one quote currency and basis each, of lines by symbol."""
    groups: dict[tuple[str, Basis], list[Any]] = defaultdict(list)
    for basis, row in rows:
        groups[row["symbol"].partition("/")[2], basis].append(row)
    lines = [
        SlippageLine(
            quote=quote,
            basis=basis,
            orders=sum(row["orders"] for row in group),
            notional=sum((row["notional"] for row in group), Decimal(0)),
            cost=sum((row["cost"] for row in group), Decimal(0)),
        )
        for (quote, basis), group in groups.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.orders, line.quote, line.basis)))


def _unknown(counts: Counter[OrderType], lines: Sequence[SlippageLine]) -> tuple[tuple[Unknown, int], ...]:
    limits, trailing = counts[OrderType.LIMIT], counts[OrderType.TRAILING_STOP]
    rest = sum(counts.values()) - limits - trailing - sum(line.orders for line in lines)
    found = ((Unknown.LIMIT, limits), (Unknown.TRAILING, trailing), (Unknown.NOT_NOTED, rest))
    return tuple((why, orders) for why, orders in found if orders > 0)
