"""What becomes of an intent whose sender is gone: its process died between the commit and the claim, or nobody here held the role.

It never left, so sending it is safe while it is in time; but not everything may be sent on its own. A protection's leg is forgotten, and
the guardian places it anew; the halves of a pair go out together or not at all; a replacement waits for the end of what it replaces.
"""

from typing import Final

from app.domain.enums import OrderState, Role
from app.domain.orders import Denied
from app.exchanges.port import ExchangeClient
from app.trading.amend import continue_replacement
from app.trading.apply import record
from app.trading.desk import Desk
from app.trading.events import GuardWanted
from app.trading.pairs import send_pair
from app.trading.records import OrderRecord
from app.trading.send import send

_GUARDED: Final = frozenset({Role.STOP, Role.TARGET})
_STOPPED: Final = Denied(code="SERVER_STOPPED", detail="the server stopped before it was sent; nothing left")
_GROUP: Final = "SELECT * FROM orders WHERE group_id = $1 AND key = $2 ORDER BY leg, attempt"


async def resume(desk: Desk, order: OrderRecord, client: ExchangeClient) -> None:
    """Go on with an intent that nobody is sending.

    Raises:
        ExchangeError: the venue cannot be reached; the intent waits.
        Fenced: this process does not own the engine role.
    """
    if order.group_id is not None and order.role in _GUARDED:
        if order.triggered_at is None:
            await record(desk, order.id, _STOPPED, only_from=OrderState.INTENT)
        desk.bus.publish(GuardWanted(protection_id=order.group_id))
    elif order.replaces_id is not None:
        await continue_replacement(desk, order, client)
    elif order.group_id is not None and order.triggered_at is None:
        await _resume_pair(desk, order, client)
    else:
        await send(desk, order, client, is_patient=False)


async def _resume_pair(desk: Desk, order: OrderRecord, client: ExchangeClient) -> None:
    async with desk.database.connection() as connection:
        halves = [OrderRecord.of(row) for row in await connection.fetch(_GROUP, order.group_id, order.key)]
    waiting = [half for half in halves if half.state is OrderState.INTENT]
    if len(waiting) == 2:
        await send_pair(desk, waiting[0], waiting[1], client)
    else:
        await record(desk, order.id, _STOPPED, only_from=OrderState.INTENT)
