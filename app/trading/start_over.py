"""Begin a paper account anew: its orders are canceled, its positions end without a fill, its balance is what it was at the beginning.

Only play money is touched here: a real account has no beginning to go back to.
"""

from contextlib import suppress
from typing import Final
from uuid import UUID

from app.domain.orders import UNSETTLED
from app.errors import ExchangeError, OrderNotCancellable
from app.exchanges.paper.exchange import PaperExchange
from app.trading.cancel import cancel
from app.trading.desk import Desk

_OPEN: Final = "SELECT id FROM orders WHERE broker_id = $1 AND user_id = $2 AND state = ANY($3) ORDER BY created_at"
_END: Final = """
WITH guarded AS (UPDATE protections SET status = 'done', updated_at = $3 WHERE broker_id = $1 AND user_id = $2 AND status = 'active')
UPDATE positions SET status = 'closed', closed_at = $3, updated_at = $3 WHERE broker_id = $1 AND user_id = $2 AND status <> 'closed'
"""


async def start_over(desk: Desk, paper: PaperExchange, user_id: UUID, broker_id: UUID) -> None:
    """Cancel the account's orders, give it its starting balance again and end its positions; orders and fills stay in the journal.

    Raises:
        BrokerNotFound: it is no paper account.
    """
    states = ["intent", *(state.value for state in UNSETTLED)]
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_OPEN, broker_id, user_id, states)
    for row in rows:
        # One that has just finished needs nothing, and of one that cannot be reached the exchange forgets all in a moment.
        with suppress(OrderNotCancellable, ExchangeError):
            await cancel(desk, user_id, row["id"])
    await paper.reset(broker_id)
    async with desk.database.connection() as connection:
        await connection.execute(_END, broker_id, user_id, desk.clock.now())
