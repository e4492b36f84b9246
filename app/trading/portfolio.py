"""Balances, equity and positions. The exchange is asked by a loop; pages and the API read what it wrote."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.domain.limits import DOLLARS
from app.errors import ExchangeError, ExchangeUnavailable, RetryableError
from app.exchanges.port import Balance, ExchangeClient
from app.trading.balances import LARGEST, storable
from app.trading.border import Border
from app.trading.desk import Desk
from app.trading.events import BalanceHeard, FillRecorded, PortfolioChanged
from app.trading.flows import BalancesRead, observe
from app.trading.rates import PRICES_S, AssetPrices, RateKeeper
from app.trading.shortfall import Shortfalls
from app.trading.sweep import MISSING
from app.trading.thinning import Thinning

log = structlog.get_logger(__name__)

_AFTER_FILL_S: Final = 0.3
#: An account that trades without a pause would spend what its exchange allows it to ask on its balances alone.
_BETWEEN_S: Final = 1.0
#: So many accounts are read at once, each for so long at most; those that were slow last time share fewer places.
_AT_ONCE: Final = 8
_SLOW_AT_ONCE: Final = 2
_SLOW_S: Final = 5.0
_BUDGET_S: Final = 20.0
_STORE: Final = """
WITH gone AS (DELETE FROM balances WHERE broker_id = $1 AND asset <> ALL($3::text[]) AND updated_at <= $7),
told AS (
  INSERT INTO balances (broker_id, user_id, asset, free, locked, value_usdt, updated_at)
  SELECT $1, $2, b.asset, b.free, b.locked, b.value_usdt, $7
    FROM unnest($3::text[], $4::numeric[], $5::numeric[], $6::numeric[]) AS b (asset, free, locked, value_usdt)
  ON CONFLICT (broker_id, asset) DO UPDATE
    SET free = excluded.free, locked = excluded.locked, value_usdt = excluded.value_usdt, updated_at = excluded.updated_at
  WHERE balances.updated_at <= excluded.updated_at),
worth AS (
  INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt) SELECT $1, $2, $7, $8::numeric WHERE $8 IS NOT NULL
  ON CONFLICT DO NOTHING)
UPDATE brokers SET last_balance_update = greatest(last_balance_update, $7) WHERE id = $1
"""
_ACTIVE: Final = """
SELECT id, user_id, is_testnet FROM brokers
 WHERE removed_at IS NULL AND is_active AND paused_reason IS NULL AND ($1::uuid[] IS NULL OR id = ANY($1)) ORDER BY id
"""
#: What assets were worth when they were read last, if that was not long ago.
_WORTH: Final = """
SELECT asset, value_usdt / (free + locked) AS price FROM balances
 WHERE broker_id = $1 AND value_usdt > 0 AND free + locked > 0 AND updated_at > $2::timestamptz - interval '1 hour'
"""
_OPEN: Final = f"""
SELECT count(*) FROM orders o
 WHERE broker_id = $1 AND state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
   AND (SELECT kind FROM order_events WHERE order_id = o.id ORDER BY id DESC LIMIT 1) IS DISTINCT FROM '{MISSING}'
"""  # noqa: S608  # constants


class PortfolioLoop:
    """Reads the balances of every active account, every so often and shortly after each fill; each account in a task of its own."""

    def __init__(self, desk: Desk, *, interval_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._interval_s = interval_s
        self._border = Border()
        self._prices = AssetPrices(desk)
        self._rates = RateKeeper(desk, self._prices)
        self._reading: dict[UUID, asyncio.Task[None]] = {}
        #: Accounts with a fill since their reading began.
        self._again: set[UUID] = set()
        self._slow: set[UUID] = set()
        #: Accounts of which the prices were recalled that a process before this one was told.
        self._recalled: set[UUID] = set()
        self._shortfalls = Shortfalls(desk, monotonic)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._slow_gate = asyncio.Semaphore(_SLOW_AT_ONCE)

    async def run(self, beat: Beat) -> None:
        """Refresh until cancelled, while the role is ours. It never waits for an exchange."""
        with self._desk.bus.subscribe(FillRecorded, BalanceHeard) as fills:
            wanted: list[UUID] = []
            due_at = 0.0
            async with asyncio.TaskGroup() as group:
                group.create_task(Thinning(self._desk).run(), name="portfolio.thinning")
                while True:
                    beat()
                    is_held, is_due = self._desk.lease.is_held, time.monotonic() >= due_at
                    if is_due:
                        due_at = time.monotonic() + (self._interval_s if is_held else 1.0)
                    if is_held and wanted:
                        await self._start(group, wanted)
                    if is_held and is_due:
                        await self._start(group, None)
                    wanted = await self._wait(fills, beat, due_at)

    async def _wait(self, fills: Any, beat: Beat, due_at: float) -> list[UUID]:
        """Wait for a fill or news of a balance (its accounts), until all accounts are due: however many trade, each has its turn."""
        while (remaining_s := due_at - time.monotonic()) > 0:
            try:
                first: FillRecorded | BalanceHeard = await asyncio.wait_for(fills.get(), min(remaining_s, 5.0))
            except TimeoutError:
                beat()
                continue
            await asyncio.sleep(_AFTER_FILL_S)
            accounts = {first.broker_id}
            while (another := fills.get_nowait()) is not None:
                accounts.add(another.broker_id)
            return list(accounts)
        return []

    async def refresh(self, broker_ids: Sequence[UUID] | None) -> None:
        """Read and store the balances of these accounts, or of all active ones."""
        async with asyncio.TaskGroup() as group:
            await self._start(group, broker_ids)

    async def _start(self, group: asyncio.TaskGroup, broker_ids: Sequence[UUID] | None) -> None:
        async with self._desk.database.connection() as connection:
            brokers = await connection.fetch(_ACTIVE, broker_ids)
        for broker in brokers:
            broker_id = broker["id"]
            if broker_id not in self._reading:
                self._reading[broker_id] = group.create_task(self._account(broker), name=f"portfolio:{broker_id}")
                self._reading[broker_id].add_done_callback(partial(self._done, broker_id))
            elif broker_ids is not None:
                self._again.add(broker_id)

    def _done(self, broker_id: UUID, _task: asyncio.Task[None]) -> None:
        del self._reading[broker_id]

    async def _account(self, broker: Any) -> None:
        """Accounts that were slow wait in a line of their own, and not in the way of the others."""
        broker_id = broker["id"]
        while True:
            async with self._slow_gate if broker_id in self._slow else self._gate:
                self._again.discard(broker_id)
                started = time.monotonic()
                with self._border.around("balance_unreadable", broker_id, broker_id=str(broker_id)):
                    await self._in_time(broker)
                is_slow = self._border.is_troubled(broker_id) or time.monotonic() - started > _SLOW_S
                (self._slow.add if is_slow else self._slow.discard)(broker_id)
            if broker_id not in self._again:
                return
            await asyncio.sleep(_BETWEEN_S)

    async def _in_time(self, broker: Any) -> None:
        try:
            async with asyncio.timeout(_BUDGET_S):
                await self._refresh_one(broker)
        except TimeoutError as error:
            raise ExchangeUnavailable(f"the balances could not be read within {_BUDGET_S:g} seconds") from error

    async def _refresh_one(self, broker: Any) -> None:
        client = await self._desk.connections.client(broker["id"])
        # Before the question: what happens while it is on its way may be missing from the answer.
        at = self._desk.clock.now()
        balances = storable(await client.fetch_balances(), broker["id"])
        answered_at = self._desk.clock.now()
        await self._recall(client, broker, at)
        values, is_whole = await self._values(client, balances, is_testnet=broker["is_testnet"])
        equity = sum((value for value in values.values() if value is not None), Decimal(0))
        assets = sorted(balances)
        async with self._desk.database.connection() as connection:
            await connection.execute(
                _STORE,
                broker["id"],
                broker["user_id"],
                assets,
                [balances[asset].free for asset in assets],
                [balances[asset].locked for asset in assets],
                [values[asset] for asset in assets],
                at,
                min(equity, LARGEST) if is_whole else None,
            )
        # Of what is not whole nothing follows: the missing prices would come as profit, and what came in meanwhile as worth nothing.
        if is_whole:
            prices = {asset: value / balances[asset].total for asset, value in values.items() if value and balances[asset].total}
            await observe(
                self._desk,
                BalancesRead(
                    broker_id=broker["id"],
                    user_id=broker["user_id"],
                    asked_at=at,
                    answered_at=answered_at,
                    totals={asset: balance.total for asset, balance in balances.items() if balance.total},
                    prices=prices,
                ),
            )
        self._desk.bus.publish(PortfolioChanged(user_id=broker["user_id"], broker_id=broker["id"], equity_usdt=equity, at=at))
        await self._shortfalls.look(broker["user_id"], broker["id"])
        with suppress(ExchangeError):  # nothing of the account is missing for it
            await self._rates.keep(client, is_testnet=broker["is_testnet"])

    async def _recall(self, client: ExchangeClient, broker: Any, now: datetime) -> None:
        if broker["id"] not in self._recalled:
            async with self._desk.database.connection() as connection:
                rows = await connection.fetch(_WORTH, broker["id"], now)
            for row in rows:
                self._prices.recall(client, f"{row['asset']}/USDT", row["price"], is_testnet=broker["is_testnet"])
            self._recalled.add(broker["id"])

    async def _values(
        self, client: ExchangeClient, balances: Mapping[str, Balance], *, is_testnet: bool
    ) -> tuple[dict[str, Decimal | None], bool]:
        """What is held of each asset in USDT, None without a price, and whether no price is missing that could not be asked yet."""
        until = time.monotonic() + PRICES_S
        values: dict[str, Decimal | None] = dict.fromkeys(balances)
        is_whole = True
        for asset in sorted(balances, key=lambda asset: self._prices.due(client, f"{asset}/USDT", is_testnet=is_testnet)):
            total = balances[asset].total
            try:
                price = (
                    Decimal(1) if asset in DOLLARS else await self._prices.of(client, f"{asset}/USDT", is_testnet=is_testnet, until=until)
                )
            except RetryableError:
                is_whole = is_whole and not total
                continue
            value = None if price is None else total * price
            values[asset] = None if value is None or abs(value) > LARGEST else value
        return values, is_whole


async def count_open_orders(desk: Desk, broker_id: UUID) -> int:
    """Return how many orders of an account may still fill; those that the venue has long not known are not counted."""
    async with desk.database.connection() as connection:
        return await count_open_on(connection, broker_id)


async def count_open_on(connection: Any, broker_id: UUID) -> int:
    """Do what `count_open_orders` does, inside the caller's transaction."""
    found: int = await connection.fetchval(_OPEN, broker_id)
    return found


def start_of_day(now: datetime) -> datetime:
    """Return the last UTC midnight: exchanges count their days so."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
