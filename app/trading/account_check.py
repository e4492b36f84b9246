"""Compare a whole account with its venue: open orders both ways, its trades, and the list of the day's orders. Then its gate may open."""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.errors import AppError, BrokerNotFound
from app.exchanges.port import ExchangeClient
from app.trading import gates
from app.trading.border import concerns_all
from app.trading.compare import ComparedAccount, Comparison, of_symbol
from app.trading.desk import Desk
from app.trading.fill_feed import Place, read_trades, search_orders

log = structlog.get_logger(__name__)

#: A venue that has not answered for so long is an outage: what happened meanwhile is not known.
OUTAGE: Final = timedelta(seconds=15)
#: Of one exchange so many accounts are compared in full at once.
_AT_ONCE: Final = 4
_LONGEST_PAUSE_S: Final = 60.0
_JITTER: Final = 0.1
_ACTIVE: Final = "b.removed_at IS NULL AND b.is_active AND b.paused_reason IS NULL"
_DUE: Final = f"""
SELECT id, user_id, exchange FROM (
  SELECT b.id, b.user_id, b.exchange, row_number() OVER (
           PARTITION BY b.exchange
           ORDER BY NOT EXISTS (SELECT 1 FROM trading_states s WHERE s.key = b.id::text AND s.code = '{gates.RECONCILING}'),
                    c.next_at NULLS FIRST) AS place
    FROM brokers b LEFT JOIN account_checks c ON c.broker_id = b.id
   WHERE {_ACTIVE} AND (c.broker_id IS NULL OR c.next_at <= $1) AND b.id <> ALL($2)) due
 WHERE place <= $3 ORDER BY place
"""  # noqa: S608  # constants
_SUSPECTED: Final = f"""
SELECT b.id, b.user_id, b.exchange, coalesce(c.checked_at > $2, false) AS is_recent
  FROM brokers b LEFT JOIN account_checks c ON c.broker_id = b.id WHERE {_ACTIVE} AND b.id = ANY($1)
"""  # noqa: S608  # constants
_SYMBOLS: Final = """
SELECT broker_id, symbol FROM orders
 WHERE broker_id = ANY($1) AND (state IN ('submitting', 'unknown', 'open', 'partial') OR created_at > $2 OR next_check_at IS NOT NULL
                                OR (fills_quantity <> filled_quantity AND state <> 'intent'))
UNION SELECT broker_id, symbol FROM positions WHERE broker_id = ANY($1) AND status <> 'closed'
UNION SELECT broker_id, symbol FROM external_orders WHERE broker_id = ANY($1) AND closed_at IS NULL
"""
_ON_THE_WAY: Final = "SELECT count(*) FROM orders WHERE broker_id = $1 AND state IN ('submitting', 'unknown', 'open', 'partial')"
_DONE: Final = """
INSERT INTO account_checks (broker_id, user_id, next_at, checked_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (broker_id) DO UPDATE
   SET next_at = excluded.next_at, checked_at = excluded.checked_at, failures = 0, failed_since = NULL, code = NULL, detail = NULL
"""
_FAILED: Final = """
INSERT INTO account_checks AS c (broker_id, user_id, next_at, failures, failed_since, code, detail)
VALUES ($1, $2, $3::timestamptz + interval '1 second', 1, $3, $4, $5)
ON CONFLICT (broker_id) DO UPDATE
   SET failures = c.failures + 1, failed_since = coalesce(c.failed_since, excluded.failed_since), code = excluded.code,
       detail = excluded.detail, next_at = excluded.failed_since + make_interval(secs => least(power(2, least(c.failures, 10)), $6))
RETURNING failed_since
"""
_IN_USE: Final = timedelta(hours=48)
#: A list of all open orders is dear; after one, suspicions are about the symbols in use for a while.
_RECENTLY: Final = timedelta(minutes=5)


class AccountChecks:
    """Full comparisons: which are due, and what comes of them."""

    def __init__(self, desk: Desk, comparison: Comparison, *, interval: timedelta, settle: timedelta) -> None:
        self._desk = desk
        self._comparison = comparison
        self._interval = interval
        self._settle = settle
        #: Accounts that are being compared, with their exchange.
        self._running: dict[UUID, str] = {}

    async def due(self, busy: Collection[UUID]) -> list[ComparedAccount]:
        """Return the accounts that are to be compared in full now, those with a closed gate first; a few of each exchange.

        Args:
            busy: Accounts whose comparison is under way.
        """
        running = Counter(self._running.values())
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_DUE, self._desk.clock.now(), list(busy), _AT_ONCE)
        chosen: list[ComparedAccount] = []
        for row in rows:
            # A venue that does not answer must not keep the others' accounts waiting.
            if running[row["exchange"]] < _AT_ONCE:
                running[row["exchange"]] += 1
                chosen.append(_account(row))
        return await self._with_symbols(chosen)

    async def suspected(self, broker_ids: Collection[UUID]) -> list[ComparedAccount]:
        """Return these accounts, as far as they are active; in full those that were not compared in full for some minutes."""
        now = self._desk.clock.now()
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_SUSPECTED, list(broker_ids), now - _RECENTLY)
        return await self._with_symbols([replace(_account(row), is_full=not row["is_recent"]) for row in rows])

    async def check(self, account: ComparedAccount, expecting: ExitStack) -> None:
        """Compare an account in full; its gate opens when it has settled, and closes when its venue has not answered for too long.

        Doubts of its symbols wait while `expecting` is open, which is closed on the way. What prevents that is raised again after it
        was written down; the account is due again soon.
        """
        self._running[account.id] = account.exchange
        try:
            busy = await self._compare(account, expecting)
        except Exception as error:
            await self.failed(account, error)
            raise
        finally:
            del self._running[account.id]
        now = self._desk.clock.now()
        # Nothing there and nothing on its way: there is nothing to wait for.
        settle = self._settle if busy else timedelta(0)
        again_at = await gates.open_when_settled(self._desk, account.id, account.user_id, settle=settle)
        next_at = again_at or now + self._interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spreads the load
        async with self._desk.database.connection() as connection:
            await connection.execute(_DONE, account.id, account.user_id, next_at, now)

    async def catch_up(self, account: ComparedAccount, expecting: Mapping[str, ExitStack]) -> None:
        """Compare the symbols that an account uses: orders and trades. It costs nothing where none is in use.

        Args:
            account: Which.
            expecting: By symbol what lets doubts wait for what is found out; each is closed on the way.
        """
        client = await self._client(account)
        for symbol in account.symbols:
            await self._comparison.compare(of_symbol(account, symbol), client, expecting[symbol])
            await read_trades(self._desk, Place(broker_id=account.id, user_id=account.user_id, symbol=symbol), client)

    async def failed(self, account: ComparedAccount, error: Exception) -> None:
        """Write down that an account could not be compared; when that has gone on for too long, its gate is closed."""
        if concerns_all(error) or isinstance(error, BrokerNotFound):
            return
        now = self._desk.clock.now()
        code, reason = (error.code, error.message) if isinstance(error, AppError) else ("INTERNAL", "its answer cannot be used")
        self._desk.awaited.discard(account.id)
        async with self._desk.database.connection() as connection:
            since: datetime = await connection.fetchval(_FAILED, account.id, account.user_id, now, code, reason, _LONGEST_PAUSE_S)
        told = f"the account could not be compared with the exchange since {since:%H:%M:%S} UTC: {reason}"
        await gates.explain(self._desk, account.id, told)
        if now - since >= OUTAGE:
            await gates.close(self._desk, account.id, account.user_id, told)

    async def _compare(self, account: ComparedAccount, expecting: ExitStack) -> bool:
        """Whether anything is at the venue or on its way there."""
        desk = self._desk
        client = await self._client(account)
        listed = await self._comparison.compare(replace(account, is_full=True), client, expecting)
        for symbol in account.symbols:
            place = Place(broker_id=account.id, user_id=account.user_id, symbol=symbol)
            await read_trades(desk, place, client)
            await search_orders(desk, place, client)
        async with desk.database.connection() as connection:
            on_the_way: int = await connection.fetchval(_ON_THE_WAY, account.id)
        return listed + on_the_way > 0

    async def _client(self, account: ComparedAccount) -> ExchangeClient:
        client = await self._desk.connections.client(account.id)
        # A fill may close a position, and only the instrument's step tells what is left of it is dust.
        await self._desk.instruments.all(client.exchange)
        return client

    async def _with_symbols(self, accounts: Sequence[ComparedAccount]) -> list[ComparedAccount]:
        """Return the accounts with the symbols that they use."""
        if not accounts:
            return []
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_SYMBOLS, [account.id for account in accounts], self._desk.clock.now() - _IN_USE)
        symbols: dict[UUID, set[str]] = defaultdict(set)
        for row in rows:
            symbols[row["broker_id"]].add(row["symbol"])
        return [replace(account, symbols=tuple(sorted(symbols[account.id]))) for account in accounts]


def _account(row: Any) -> ComparedAccount:
    return ComparedAccount(id=row["id"], user_id=row["user_id"], symbols=(), is_full=True, exchange=row["exchange"])


async def check_soon(desk: Desk, broker_id: UUID) -> None:
    """Let an account be compared in full as soon as possible: its events may have been missed."""
    async with desk.database.connection() as connection:
        await connection.execute("UPDATE account_checks SET next_at = $2 WHERE broker_id = $1", broker_id, desk.clock.now())
    desk.doubt.set()
