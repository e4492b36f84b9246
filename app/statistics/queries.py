"""SQL over the tables of trading, webhooks, strategies and bots, always of one user. Aggregates and packed columns out, no objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.core.db import Database
from app.exchanges.catalogue import PAPER
from app.statistics.columns import FEWER_PLACES, PLACES
from app.statistics.wish import Mode, StatisticsFilter
from app.trading.history_filter import Conditions, HistoryFilter

#: One row for all trips of a kind, with their columns packed one after the other: a hundred thousand trips come in some hundred rows.
#: `bound` is nobody's number: it is out of range where a sum of some of them would be, which numpy would not tell.
_TRIPS: Final = """
SELECT p.broker_id, p.symbol, p.quote, p.source, p.bot_id, p.exit_role, d.webhook_id,
       string_agg(timestamptz_send(p.closed_at) || timestamptz_send(p.opened_at)
                  || int8send((p.realized_pnl * {units})::int8) || int8send((p.fees * {units})::int8), '') AS packed,
       (sum(sum(abs(p.realized_pnl) + abs(p.fees))) OVER () * {units})::int8 AS bound
  FROM positions p LEFT JOIN webhook_deliveries d ON d.id = p.delivery_id AND d.user_id = $1
 WHERE p.user_id = $1 AND p.status = 'closed'{where} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
#: The planner takes the kinds for a hundred times as many as there are, and would sort all trips on disk.
_BY_HASH: Final = "SET LOCAL enable_sort = off; SET LOCAL work_mem = '64MB'"
_UNVALUED: Final = """
SELECT u.key AS asset, sum(u.value::numeric) AS fee FROM positions p CROSS JOIN LATERAL jsonb_each_text(p.unvalued_fees) u
 WHERE p.user_id = $1 AND p.status = 'closed' AND p.unvalued_fees <> '{{}}'{where} GROUP BY u.key ORDER BY u.key
"""
#: What was held at the end, also what was closed after it.
_HELD: Final = """
SELECT count(*) AS trips, min(p.opened_at) AS since FROM positions p
 WHERE p.user_id = $1 AND p.opened_at < {until} AND (p.status <> 'closed' OR p.closed_at >= {until}){where}
"""
_ACCOUNTS: Final = """
SELECT id, name, exchange, is_testnet, removed_at IS NOT NULL AS is_removed FROM brokers WHERE user_id = $1 ORDER BY name
"""
_HOOKS: Final = "SELECT id, name FROM webhooks WHERE user_id = $1 ORDER BY name"
_BOTS: Final = "SELECT id, number, name, strategy_id FROM bots WHERE user_id = $1 ORDER BY number"
_STRATEGIES: Final = """
SELECT id, name FROM strategies WHERE user_id = $1 AND id IN (SELECT strategy_id FROM bots WHERE user_id = $1) ORDER BY name
"""
_SYMBOLS: Final = "SELECT DISTINCT symbol FROM positions WHERE user_id = $1 ORDER BY symbol LIMIT 500"


@dataclass(frozen=True, slots=True)
class Account:
    """An account, also a removed one: its trades were made."""

    id: UUID
    name: str
    mode: Mode
    is_removed: bool


@dataclass(frozen=True, slots=True)
class BotName:
    """A bot and the strategy that it runs."""

    id: UUID
    number: int
    name: str
    strategy_id: UUID


@dataclass(frozen=True, slots=True)
class Names:
    """What a user's trades can belong to."""

    accounts: tuple[Account, ...]
    webhooks: Mapping[UUID, str]
    bots: Mapping[UUID, BotName]
    strategies: Mapping[UUID, str]

    def accounts_of(self, asked: StatisticsFilter) -> tuple[Account, ...]:
        """Return the accounts that are asked of: those of its mode, and of those the named ones if any are."""
        return tuple(
            account for account in self.accounts if account.mode is asked.mode and (not asked.broker_ids or account.id in asked.broker_ids)
        )

    def mode_of(self, broker_ids: Sequence[UUID]) -> Mode:
        """Return what the named accounts trade with where nobody said which mode is meant; real money unless all of them agree."""
        modes = {account.mode for account in self.accounts if account.id in broker_ids}
        return modes.pop() if len(modes) == 1 else Mode.LIVE

    def bots_of(self, strategy_id: UUID) -> list[UUID]:
        """Return the bots that run a strategy."""
        return [bot.id for bot in self.bots.values() if bot.strategy_id == strategy_id]

    def strategy_of(self, bot_id: UUID | None) -> UUID | None:
        """Return the strategy that a bot runs; None for no bot."""
        bot = self.bots.get(bot_id) if bot_id is not None else None
        return None if bot is None else bot.strategy_id


async def read_names(database: Database, user_id: UUID) -> Names:
    """Return the names of a user's accounts, webhooks, bots and of the strategies that these run."""
    async with database.connection() as connection:
        accounts = await connection.fetch(_ACCOUNTS, user_id)
        hooks = await connection.fetch(_HOOKS, user_id)
        bots = await connection.fetch(_BOTS, user_id)
        strategies = await connection.fetch(_STRATEGIES, user_id) if bots else []
    return Names(
        accounts=tuple(Account(row["id"], row["name"], _mode(row), row["is_removed"]) for row in accounts),
        webhooks={row["id"]: row["name"] for row in hooks},
        bots={row["id"]: BotName(**row) for row in bots},
        strategies={row["id"]: row["name"] for row in strategies},
    )


def _mode(row: Any) -> Mode:
    if row["exchange"] == PAPER:
        return Mode.PAPER
    return Mode.TESTNET if row["is_testnet"] else Mode.LIVE


async def read_symbols(database: Database, user_id: UUID) -> list[str]:
    """Return the symbols that were ever traded, 500 at most."""
    async with database.connection() as connection:
        return [row["symbol"] for row in await connection.fetch(_SYMBOLS, user_id)]


def _conditions(user_id: UUID, asked: StatisticsFilter, names: Names, *, is_bounded: bool = True) -> Conditions:
    found = Conditions([user_id])
    found.add("p.broker_id = ANY({})", [account.id for account in names.accounts_of(asked)])
    if is_bounded:
        found.within(HistoryFilter(since=asked.since, until=asked.until), "p.closed_at")
    found.symbol(HistoryFilter(symbol=asked.symbol), "p.symbol")
    if asked.source is not None:
        found.add("p.source = {}", asked.source.value)
    if asked.bot_id is not None:
        found.add("p.bot_id = {}", asked.bot_id)
    if asked.strategy_id is not None:
        found.add("p.bot_id = ANY({})", names.bots_of(asked.strategy_id))
    if asked.webhook_id is not None:
        found.add("p.delivery_id = ANY(ARRAY(SELECT id FROM webhook_deliveries WHERE user_id = $1 AND webhook_id = {}))", asked.webhook_id)
    return found


async def read_trips(database: Database, user_id: UUID, asked: StatisticsFilter, names: Names) -> tuple[list[Any], int]:
    """Return the rows of all round trips that the filter lets through, for `columns.unpacked`, and the digits that their units keep."""
    try:
        return await _trips(database, user_id, asked, names, PLACES), PLACES
    except asyncpg.NumericValueOutOfRangeError:
        # Together they came to more than ninety billion, of a currency that is worth little.
        return await _trips(database, user_id, asked, names, FEWER_PLACES), FEWER_PLACES


async def _trips(database: Database, user_id: UUID, asked: StatisticsFilter, names: Names, places: int) -> list[Any]:
    conditions = _conditions(user_id, asked, names)
    async with database.connection() as connection, connection.transaction(readonly=True):
        await connection.execute(_BY_HASH)
        return list(await connection.fetch(_TRIPS.format(units=10**places, where=conditions), *conditions.values))


@dataclass(frozen=True, slots=True)
class Held:
    """Positions that were open at the end of the time asked for, and since when the first of them was."""

    trips: int
    since: datetime | None


async def read_held(database: Database, user_id: UUID, asked: StatisticsFilter, names: Names, *, now: datetime) -> Held:
    """Return what was held at the end of the time that is asked for."""
    conditions = _conditions(user_id, asked, names, is_bounded=False)
    until = conditions.value(min(asked.until or now, now))
    async with database.connection() as connection:
        row = await connection.fetchrow(_HELD.format(until=until, where=conditions), *conditions.values)
    return Held(**row)


async def read_unvalued(database: Database, user_id: UUID, asked: StatisticsFilter, names: Names) -> dict[str, Decimal]:
    """Return the fees that nobody could value, by the asset they were paid in."""
    conditions = _conditions(user_id, asked, names)
    async with database.connection() as connection:
        rows = await connection.fetch(_UNVALUED.format(where=conditions), *conditions.values)
    return {row["asset"]: row["fee"] for row in rows}
