"""Before an account is removed: what of it is still open, and the end of that, when its owner wishes so.

Without its keys nobody here could follow an order, so none is left behind. What the account holds at the exchange is not touched: nothing
is sold, and a position ends here without a fill, as the journal then shows.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.domain.orders import UNSETTLED
from app.errors import BrokerInUse, ExchangeError, OrderNotCancellable
from app.trading.cancel import cancel
from app.trading.desk import Desk
from app.trading.portfolio import count_open_on, count_open_orders

_LEFT: Final = """
SELECT (SELECT count(*) FROM positions WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed' AND quantity <> 0) AS positions,
       (SELECT count(*) FROM protections WHERE broker_id = $1 AND user_id = $2 AND status = 'active') AS guards,
       (SELECT count(*) FROM webhooks WHERE broker_id = $1 AND user_id = $2 AND removed_at IS NULL) AS webhooks
"""
_OPEN: Final = "SELECT id FROM orders WHERE broker_id = $1 AND user_id = $2 AND state = ANY($3) ORDER BY created_at"
#: An account's row of activity is the turn in which its orders are admitted; `trading.fast_entry` knows its version, so it is written.
#: Who was admitted before this turn has committed by now, and who comes after it reads what is written under it.
_TURN: Final = """
INSERT INTO account_activity AS a (broker_id, user_id, minute, minute_orders, day, day_orders)
SELECT id, user_id, date_trunc('minute', $3::timestamptz), 0, ($3::timestamptz AT TIME ZONE 'UTC')::date, 0 FROM brokers
 WHERE id = $1 AND user_id = $2
ON CONFLICT (broker_id) DO UPDATE SET day_orders = a.day_orders
"""
#: From here on no signal opens anything.
_OFF: Final = "UPDATE brokers SET trading_modes = '{}' WHERE id = $1 AND user_id = $2"
#: From here on nothing is sent at all: what claims an order asks for it.
_INACTIVE: Final = "UPDATE brokers SET is_active = false WHERE id = $1 AND user_id = $2"
#: A guard that were left would put its stop again.
_UNGUARD: Final = """
UPDATE protections SET status = 'done', updated_at = $3, revision = revision + 1 WHERE broker_id = $1 AND user_id = $2 AND status = 'active'
"""
_END: Final = """
UPDATE positions SET status = 'closed', closed_at = $3, updated_at = $3 WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed'
"""
_LOCK_POSITIONS: Final = "SELECT 1 FROM positions WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed' ORDER BY id FOR UPDATE"
_LOCK_GUARDS: Final = "SELECT 1 FROM protections WHERE broker_id = $1 AND user_id = $2 AND status = 'active' ORDER BY id FOR UPDATE"
#: What comes while an account is wound down, an answer with a fill or a stop for it, is wound down too.
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an account still has.

    `orders` are those that may fill, stops and targets among them; `guards` how many of the positions are guarded; `webhooks` those that
    name this account.
    """

    orders: int
    positions: int
    guards: int
    webhooks: int

    @property
    def is_anything_open(self) -> bool:
        """Whether removing the account leaves or ends something."""
        return self.orders > 0 or self.positions > 0


async def what_is_left(desk: Desk, user_id: UUID, broker_id: UUID) -> Left:
    """Return what an account of this user still has."""
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_LEFT, broker_id, user_id)
    return Left(orders=await count_open_orders(desk, broker_id), **row)


async def wind_down(desk: Desk, user_id: UUID, broker_id: UUID) -> None:
    """Switch the account's trading off, take its stops away, cancel its orders, and end its positions without a fill.

    The account is switched off whole in the transaction that finds nothing open any more, so that nothing is sent after it.

    Raises:
        BrokerInUse: orders are left that could not be canceled now. Trading stays off, and asking again goes on from there.
    """
    for _ in range(_ROUNDS):
        await _cancel_what_is_open(desk, user_id, broker_id)
        left = await _end(desk, user_id, broker_id)
        if not left:
            return
    raise BrokerInUse(
        f"{left} orders of this account could not be canceled yet, so it was not removed. Its trading is off now, and its stops are"
        " taken away. Try again in a moment, or cancel them at the exchange."
    )


async def _cancel_what_is_open(desk: Desk, user_id: UUID, broker_id: UUID) -> None:
    states = ["intent", *(state.value for state in UNSETTLED)]
    values = broker_id, user_id, desk.clock.now()
    async with desk.database.raw_transaction() as connection:
        await connection.execute(_TURN, *values)
        await connection.execute(_OFF, broker_id, user_id)
        await connection.execute(_UNGUARD, *values)
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_OPEN, broker_id, user_id, states)
    for row in rows:
        # One that has just finished needs nothing; of those that cannot be reached the wish stays, and the count below tells.
        with suppress(OrderNotCancellable, ExchangeError):
            await cancel(desk, user_id, row["id"])


async def _end(desk: Desk, user_id: UUID, broker_id: UUID) -> int:
    """Switch the account off and end what it holds, unless orders are open: then nothing is done. Return how many are."""
    values = broker_id, user_id, desk.clock.now()
    async with desk.database.raw_transaction() as connection:
        # The turn, then positions, then guards, as whoever admits an order locks them; what they did is counted after their commits.
        await connection.execute(_TURN, *values)
        await connection.execute(_LOCK_POSITIONS, broker_id, user_id)
        await connection.execute(_LOCK_GUARDS, broker_id, user_id)
        left = await count_open_on(connection, broker_id)
        if not left:
            await connection.execute(_INACTIVE, broker_id, user_id)
            await connection.execute(_END, *values)
            await connection.execute(_UNGUARD, *values)
    return left
