"""Read an account's balance now, because an order depends on it. The portfolio's loop reads it every minute and after fills.

Many orders of an account may wait for one reading; an account that is refused over and over does not ask its exchange every time.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar
from uuid import UUID

import structlog

from app.brokers.service import pause_broker
from app.errors import BadCredentials, DenialReason, OrderDenied, RetryableError
from app.exchanges.port import Balance, ExchangeClient
from app.trading.desk import Desk

log = structlog.get_logger(__name__)

T = TypeVar("T")

_OF_THE_BALANCE: Final = (DenialReason.INSUFFICIENT_BALANCE, DenialReason.BALANCE_UNKNOWN)
#: What NUMERIC(38,18) holds, with room for rounding.
LARGEST: Final = Decimal(10) ** 20 - 1
#: So many readings for orders within so many seconds: a reading weighs as much as twenty orders in the exchange's limit, which is shared.
_READINGS: Final = 10
_WITHIN_S: Final = 30.0
#: An older reading that is still on its way must not undo a newer one.
_STORE: Final = """
WITH gone AS (DELETE FROM balances WHERE broker_id = $1 AND asset <> ALL($3::text[]) AND updated_at <= $6),
told AS (
  INSERT INTO balances AS known (broker_id, user_id, asset, free, locked, value_usdt, updated_at)
  SELECT $1, $2, b.asset, b.free, b.locked, NULL, $6 FROM unnest($3::text[], $4::numeric[], $5::numeric[]) AS b (asset, free, locked)
  ON CONFLICT (broker_id, asset) DO UPDATE
    SET free = excluded.free, locked = excluded.locked, updated_at = excluded.updated_at,
        value_usdt = (known.value_usdt / nullif(known.free + known.locked, 0) * (excluded.free + excluded.locked))::numeric(38, 18)
  WHERE known.updated_at <= excluded.updated_at)
UPDATE brokers SET last_balance_update = greatest(last_balance_update, $6) WHERE id = $1
"""
_FILLED_SINCE: Final = (
    "SELECT EXISTS (SELECT 1 FROM fills WHERE user_id = $1 AND broker_id = $2 AND executed_at > $3::timestamptz - interval '5 seconds')"
)


async def with_fresh_balance(
    desk: Desk, client: ExchangeClient, *, broker_id: UUID, user_id: UUID, attempt: Callable[[], Awaitable[T]]
) -> T:
    """Return what `attempt` does; when the balance that was last told denies it, read the balance and attempt once more.

    `attempt` stores orders in a transaction of its own, so that the exchange is asked outside of any.

    Raises:
        OrderDenied: what `attempt` raises; the balance was fresh, or it could not be read and the sentence says so.
        BadCredentials: the exchange refuses the account's key, which is paused for it.
    """
    try:
        return await attempt()
    except OrderDenied as denial:
        if denial.reason not in _OF_THE_BALANCE:
            raise
        try:
            if not await read_again(desk, client, broker_id=broker_id, user_id=user_id, since=desk.clock.now()):
                raise
        except RetryableError as error:
            told = f"{denial.message.rstrip('.')}; the exchange was asked for the balance and did not tell it"
            raise OrderDenied(denial.reason, told, field=denial.field) from error
    return await attempt()


async def read_again(desk: Desk, client: ExchangeClient, *, broker_id: UUID, user_id: UUID, since: datetime) -> bool:
    """Ask the exchange for the balances and store them, unless that was begun after `since`; False when it was done too often lately.

    Raises:
        BadCredentials: the exchange refuses the account's key, which is paused for it.
        ExchangeUnavailable: the exchange does not answer.
    """
    readings = desk.readings
    async with readings.turns[broker_id]:
        last = readings.last.get(broker_id)
        if last is not None and last >= since:
            return True
        if _is_too_often(desk, broker_id) and last is not None and not await _has_filled(desk, broker_id, user_id, last):
            log.info("balance_not_read_again", broker_id=str(broker_id))
            return False
        at = desk.clock.now()
        balances = await fetch(desk, client, broker_id)
        await store_balances(desk, balances, broker_id=broker_id, user_id=user_id, at=at)
        readings.last[broker_id] = at
        return True


def _is_too_often(desk: Desk, broker_id: UUID) -> bool:
    """Whether the last readings leave no room for another one; if they do, this one is counted."""
    recent, now = desk.readings.recent[broker_id], time.monotonic()
    while recent and recent[0] < now - _WITHIN_S:
        recent.popleft()
    if len(recent) >= _READINGS:
        return True
    recent.append(now)
    return False


async def _has_filled(desk: Desk, broker_id: UUID, user_id: UUID, since: datetime) -> bool:
    async with desk.database.connection() as connection:
        return bool(await connection.fetchval(_FILLED_SINCE, user_id, broker_id, since))


async def fetch(desk: Desk, client: ExchangeClient, broker_id: UUID) -> dict[str, Balance]:
    """Return what the account holds, without what no table can.

    Raises:
        BadCredentials: the exchange refuses the account's key, which is paused for it.
        ExchangeUnavailable: the exchange does not answer.
    """
    try:
        return storable(await client.fetch_balances(), broker_id)
    except BadCredentials as error:
        await pause_broker(desk.database, broker_id, error.message)
        raise


async def store_balances(desk: Desk, balances: Mapping[str, Balance], *, broker_id: UUID, user_id: UUID, at: datetime) -> None:
    """Write down what the exchange told; `at` is when it was asked."""
    assets = sorted(balances)
    free, locked = [balances[asset].free for asset in assets], [balances[asset].locked for asset in assets]
    async with desk.database.connection() as connection:
        await connection.execute(_STORE, broker_id, user_id, assets, free, locked, at)


def storable(balances: Mapping[str, Balance], broker_id: UUID) -> dict[str, Balance]:
    """Leave out what NUMERIC(38,18) cannot hold: tokens handed out by the quintillion, which are worth nothing."""
    kept = {asset: balance for asset, balance in balances.items() if max(abs(balance.free), abs(balance.locked)) <= LARGEST}
    if len(kept) < len(balances):
        log.warning("balance_too_large", broker_id=str(broker_id), assets=sorted(set(balances) - set(kept)))
    return kept
