"""The gate of an account whose state at the venue is not certain: after a start and after an outage no entry is sent until it is compared.

It is a cause like any other in `trading.states`, so it holds in the statement that claims an order; cancels and protective orders pass.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from app.domain.enums import Role, TradingState
from app.domain.intents import OrderIntent
from app.domain.risk import Scope
from app.trading.desk import Desk
from app.trading.events import TradingStateChanged
from app.trading.states import lift, trip

log = structlog.get_logger(__name__)

#: The cause under which an account that is being compared is restrained.
RECONCILING: Final = "RECONCILING"
_STARTED: Final = "this server has just taken over and compares the account with the exchange first"
_PATIENCE: Final = timedelta(seconds=5)
_STEP_S: Final = 0.02
#: Every account that may trade, in one statement: it is committed before this process counts as the role's holder.
_CLOSE_ALL: Final = """
WITH closed AS (
  INSERT INTO trading_states AS s (key, code, scope, user_id, state, reason, set_by, set_at, needs_rearm)
  SELECT id::text, $1, 'broker', user_id, 'reconciling', $2, 'server', $3, false FROM brokers WHERE removed_at IS NULL
  ON CONFLICT (key, code) DO UPDATE SET reason = excluded.reason, set_at = excluded.set_at
  RETURNING *),
logged AS (
  INSERT INTO trading_state_log (scope, key, user_id, action, state, code, reason, by, at)
  SELECT scope, key, user_id, 'tripped', state, code, reason, set_by, set_at FROM closed),
due AS (UPDATE account_checks SET next_at = $3)
SELECT key, user_id FROM closed
"""
_EXPLAIN: Final = "UPDATE trading_states SET reason = $3 WHERE key = $1 AND code = $2 AND reason <> $3"
_CLOSED_SINCE: Final = "SELECT set_at FROM trading_states WHERE key = $1 AND code = $2"


async def close_all(desk: Desk) -> None:
    """Close every account's gate, because this process is about to become the one that sends orders."""
    now = desk.clock.now()
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_CLOSE_ALL, RECONCILING, _STARTED, now)
    for row in rows:
        broker_id = UUID(row["key"])
        desk.awaited.add(broker_id)
        scope = Scope.broker(broker_id, row["user_id"])
        desk.bus.publish(TradingStateChanged(user_id=row["user_id"], scope=scope, state=TradingState.RECONCILING, code=RECONCILING, at=now))
    log.info("gates_closed", accounts=len(rows))


async def close(desk: Desk, broker_id: UUID, user_id: UUID, reason: str) -> None:
    """Close one account's gate: its venue has not answered for too long."""
    scope = Scope.broker(broker_id, user_id)
    await trip(desk, scope, state=TradingState.RECONCILING, code=RECONCILING, reason=reason, needs_rearm=False)


async def explain(desk: Desk, broker_id: UUID, reason: str) -> None:
    """Say why a gate that is closed stays so."""
    async with desk.database.connection() as connection:
        await connection.execute(_EXPLAIN, str(broker_id), RECONCILING, reason)


async def open_when_settled(desk: Desk, broker_id: UUID, user_id: UUID, *, settle: timedelta) -> datetime | None:
    """Open the gate after a full comparison; None when it is open now.

    Args:
        desk: What trading works with.
        broker_id: The account.
        user_id: Whose it is.
        settle: How long the gate stays closed at least. What was on its way may still arrive in that time.

    Returns:
        When the account must be compared again, because the gate has not been closed for that long.
    """
    async with desk.database.connection() as connection:
        closed_at: datetime | None = await connection.fetchval(_CLOSED_SINCE, str(broker_id), RECONCILING)
    if closed_at is not None and desk.clock.now() < closed_at + settle:
        return closed_at + settle
    if closed_at is not None:
        await lift(desk, Scope.broker(broker_id, user_id), code=RECONCILING, reason="the account agrees with the exchange")
    desk.awaited.discard(broker_id)
    return None


async def wait_while_compared(desk: Desk, broker_id: UUID, intent: OrderIntent) -> None:
    """Let an entry wait while its account is compared for the first time: one of that moment need not be refused.

    It waits until its deadline at most, and one without a deadline for a few seconds.
    """
    if broker_id not in desk.awaited or intent.purpose is not Role.ENTRY:
        return
    until = intent.deadline or desk.clock.now() + _PATIENCE
    desk.doubt.set()  # the comparison is begun at once
    while broker_id in desk.awaited and desk.lease.is_held and desk.clock.now() < until:  # noqa: ASYNC110  # a set has no event; rare
        await asyncio.sleep(_STEP_S)
