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
from app.trading.portfolio import count_open_orders

_LEFT: Final = """
SELECT (SELECT count(*) FROM positions WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed' AND quantity <> 0) AS positions,
       (SELECT count(*) FROM protections WHERE broker_id = $1 AND user_id = $2 AND status = 'active') AS guards,
       (SELECT count(*) FROM webhooks WHERE broker_id = $1 AND user_id = $2 AND removed_at IS NULL) AS webhooks
"""
_OPEN: Final = "SELECT id FROM orders WHERE broker_id = $1 AND user_id = $2 AND state = ANY($3) ORDER BY created_at"
#: From here on nothing new comes, by signals or from the guardian; a guard that were left would put its stop again.
_QUIET: Final = """
WITH guarded AS (
  UPDATE protections SET status = 'done', updated_at = $3, revision = revision + 1
   WHERE broker_id = $1 AND user_id = $2 AND status = 'active')
UPDATE brokers SET trading_modes = '{}' WHERE id = $1 AND user_id = $2
"""
_END: Final = """
UPDATE positions SET status = 'closed', closed_at = $3, updated_at = $3 WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed'
"""


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

    Raises:
        BrokerInUse: orders are left that could not be canceled now. Trading stays off, and asking again goes on from there.
    """
    states = ["intent", *(state.value for state in UNSETTLED)]
    async with desk.database.connection() as connection:
        await connection.execute(_QUIET, broker_id, user_id, desk.clock.now())
        rows = await connection.fetch(_OPEN, broker_id, user_id, states)
    for row in rows:
        # One that has just finished needs nothing; of those that cannot be reached the wish stays, and the count below tells.
        with suppress(OrderNotCancellable, ExchangeError):
            await cancel(desk, user_id, row["id"])
    left = await count_open_orders(desk, broker_id)
    if left:
        raise BrokerInUse(
            f"{left} orders of this account could not be canceled yet, so it was not removed. Its trading is off now, and its stops are"
            " taken away. Try again in a moment, or cancel them at the exchange."
        )
    async with desk.database.connection() as connection:
        await connection.execute(_END, broker_id, user_id, desk.clock.now())
