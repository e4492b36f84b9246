"""Balances, equity and positions. The exchange is asked by a loop; pages and the API read what it wrote."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.errors import AppError, ExchangeError
from app.exchanges.port import Balance, ExchangeClient
from app.trading.desk import Desk
from app.trading.events import FillRecorded, PortfolioChanged

log = structlog.get_logger(__name__)

#: Counted one to one: what an account in these holds is what it is worth in USDT, to within a fraction of a percent.
_DOLLARS: Final = frozenset({"USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD"})
_AFTER_FILL_S: Final = 0.3
_STORE: Final = """
WITH gone AS (DELETE FROM balances WHERE broker_id = $1 AND asset <> ALL($3::text[])),
told AS (
  INSERT INTO balances (broker_id, user_id, asset, free, locked, value_usdt, updated_at)
  SELECT $1, $2, b.asset, b.free, b.locked, b.value_usdt, $7
    FROM unnest($3::text[], $4::numeric[], $5::numeric[], $6::numeric[]) AS b (asset, free, locked, value_usdt)
  ON CONFLICT (broker_id, asset) DO UPDATE
    SET free = excluded.free, locked = excluded.locked, value_usdt = excluded.value_usdt, updated_at = excluded.updated_at),
worth AS (INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt) VALUES ($1, $2, $7, $8) ON CONFLICT DO NOTHING)
UPDATE brokers SET last_balance_update = $7 WHERE id = $1
"""
_ACTIVE: Final = """
SELECT id, user_id, exchange FROM brokers
 WHERE removed_at IS NULL AND is_active AND paused_reason IS NULL AND ($1::uuid[] IS NULL OR id = ANY($1)) ORDER BY id
"""


class PortfolioLoop:
    """Reads the balances of every active account, every so often and shortly after each fill."""

    def __init__(self, desk: Desk, *, interval_s: float) -> None:
        self._desk = desk
        self._interval_s = interval_s
        self._failed: set[UUID] = set()

    async def run(self, beat: Beat) -> None:
        """Refresh until cancelled, while the role is ours."""
        with self._desk.bus.subscribe(FillRecorded) as fills:
            wanted: list[UUID] | None = None
            while True:
                beat()
                if self._desk.lease.is_held:
                    await self.refresh(wanted)
                wanted = await self._wait(fills, beat)

    async def _wait(self, fills: Any, beat: Beat) -> list[UUID] | None:
        """Wait for a fill (its accounts) or for the interval to pass (None: all accounts)."""
        remaining_s = self._interval_s if self._desk.lease.is_held else 1.0
        while remaining_s > 0:
            step_s = min(remaining_s, 5.0)
            try:
                first: FillRecorded = await asyncio.wait_for(fills.get(), step_s)
            except TimeoutError:
                remaining_s -= step_s
                beat()
                continue
            await asyncio.sleep(_AFTER_FILL_S)
            accounts = {first.broker_id}
            while (another := fills.get_nowait()) is not None:
                accounts.add(another.broker_id)
            return list(accounts)
        return None

    async def refresh(self, broker_ids: Sequence[UUID] | None) -> None:
        """Read and store the balances of these accounts, or of all active ones."""
        async with self._desk.database.connection() as connection:
            brokers = await connection.fetch(_ACTIVE, broker_ids)
        for broker in brokers:
            try:
                await self._refresh_one(broker)
                self._failed.discard(broker["id"])
            except AppError as error:
                if broker["id"] not in self._failed:
                    log.warning("balance_unreadable", broker_id=str(broker["id"]), code=error.code, reason=error.message)
                self._failed.add(broker["id"])

    async def _refresh_one(self, broker: Any) -> None:
        client = await self._desk.connections.client(broker["id"])
        balances = await client.fetch_balances()
        at = self._desk.clock.now()
        values = await self._values(client, broker["exchange"], balances)
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
                equity,
            )
        self._desk.bus.publish(PortfolioChanged(user_id=broker["user_id"], broker_id=broker["id"], equity_usdt=equity, at=at))

    async def _values(self, client: ExchangeClient, exchange: str, balances: Mapping[str, Balance]) -> dict[str, Decimal | None]:
        values: dict[str, Decimal | None] = {}
        for asset, balance in balances.items():
            price = Decimal(1) if asset in _DOLLARS else await self._price(client, exchange, f"{asset}/USDT")
            values[asset] = None if price is None else balance.total * price
        return values

    async def _price(self, client: ExchangeClient, exchange: str, symbol: str) -> Decimal | None:
        if self._desk.instruments.cached(exchange, symbol) is None and await self._desk.instruments.get(exchange, symbol) is None:
            return None
        price = self._desk.quotes.reference_price(exchange, symbol, is_buy=False)
        if price is not None:
            return price
        try:
            return (await client.fetch_ticker(symbol)).last
        except ExchangeError:
            return None


async def count_open_orders(desk: Desk, broker_id: UUID) -> int:
    """Return how many orders of an account may still fill."""
    async with desk.database.connection() as connection:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM orders WHERE broker_id = $1 AND state IN ('intent', 'submitting', 'unknown', 'open', 'partial')",
            broker_id,
        )
    return found


def start_of_day(now: datetime) -> datetime:
    """Return the last UTC midnight: exchanges count their days so."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
