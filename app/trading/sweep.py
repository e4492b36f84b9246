"""Orders that the venue does not show: lost ones are looked for again for a day, open ones that it has forgotten are pointed out once.

A stop or target that the venue has forgotten would count as cover that is not there, so it is given up, and the guardian puts another. So
is, later, an order that closes a position: as long as it counted, nothing else could close or guard what it was to sell.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from app.domain.enums import OrderState, Role, Side
from app.domain.orders import Reported
from app.trading.apply import record
from app.trading.desk import Desk
from app.trading.protections import CLOSES
from app.trading.records import OrderRecord

log = structlog.get_logger(__name__)

#: A venue was seen to show an order half an hour late.
_LOOKS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 6 * 60, 24 * 60))
_AFTER_TROUBLE: Final = timedelta(minutes=5)
_GIVE_UP_AFTER: Final = timedelta(hours=48)
_DUE: Final = "SELECT * FROM orders WHERE next_check_at <= $1 AND state = 'lost' ORDER BY next_check_at LIMIT 100"
_NEXT: Final = "UPDATE orders SET next_check_at = $2 WHERE id = $1 AND state = 'lost'"

MISSING: Final = "MissingAtVenue"
_MISSING_LOOKS: Final = 5
_MISSING_S: Final = 600.0
#: The code of an order that was given up. Should the venue show it again, it is taken back there.
FORGOTTEN: Final = "FORGOTTEN_AT_VENUE"
_FORGOTTEN_LOOKS: Final = 4
_FORGOTTEN_S: Final = 20.0
_NOTE: Final = "INSERT INTO order_events (order_id, user_id, at, kind, state) VALUES ($1, $2, $3, $4, $5)"
_MISSING_ONES: Final = f"""
SELECT id FROM orders o WHERE state IN ('open', 'partial')
   AND (SELECT kind FROM order_events WHERE order_id = o.id ORDER BY id DESC LIMIT 1) = '{MISSING}'
"""  # noqa: S608  # constants


async def due_lost(desk: Desk) -> list[OrderRecord]:
    """Return the lost orders whose next look is due. Their `updated_at` is when they were lost."""
    async with desk.database.connection() as connection:
        return [OrderRecord.of(row) for row in await connection.fetch(_DUE, desk.clock.now())]


async def look_for_lost(desk: Desk, order: OrderRecord) -> None:
    """Ask for a lost order once more; take what the venue shows, or set the next look. A look that fails is repeated soon.

    Raises:
        AppError: the account is gone, or its exchange cannot be asked.
    """
    now = desk.clock.now()
    following = now + _AFTER_TROUBLE if now < order.updated_at + _GIVE_UP_AFTER else None
    try:
        client = await desk.connections.client(order.broker_id)
        await desk.instruments.all(client.exchange)
        report = await client.fetch_order(
            order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, type=order.venue_type
        )
        if report is not None:
            await record(desk, order.id, report)
        following = _next_look(order.updated_at, now)
    finally:
        async with desk.database.connection() as connection:
            await connection.execute(_NEXT, order.id, following)


def _next_look(lost_at: datetime, now: datetime) -> datetime | None:
    return next((lost_at + after for after in _LOOKS if lost_at + after > now), None)


@dataclass(slots=True)
class _Absence:
    """Since when (monotonic) the venue has not known an open order, and how often it said so."""

    since: float
    looks: int = 0
    is_noted: bool = False


class MissingOrders:
    """Counts how often the venue did not know an order that was open there."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._absent: dict[UUID, _Absence] = {}
        self._is_read = False

    async def read(self) -> None:
        """Learn, once, which orders an earlier process had pointed out."""
        if self._is_read:
            return
        async with self._desk.database.connection() as connection:
            rows: Sequence[dict[str, UUID]] = await connection.fetch(_MISSING_ONES)
        self._absent = {row["id"]: _Absence(time.monotonic(), is_noted=True) for row in rows}
        self._is_read = True

    async def seen(self, order: OrderRecord) -> None:
        """The venue knows the order."""
        absence = self._absent.pop(order.id, None)
        if absence is not None and absence.is_noted:
            await self._note(order, "FoundAtVenue")

    async def not_seen(self, order: OrderRecord) -> None:
        """The venue does not know the order; it is pointed out when that has gone on for long, and a protection's leg is given up."""
        absence = self._absent.setdefault(order.id, _Absence(time.monotonic()))
        absence.looks += 1
        gone_s = time.monotonic() - absence.since
        if _is_to_be_given_up(order, looks=absence.looks, gone_s=gone_s):
            self._absent.pop(order.id)
            await self._give_up(order)
            return
        if absence.is_noted or absence.looks < _MISSING_LOOKS or gone_s < _MISSING_S:
            return
        absence.is_noted = True
        log.error("open_order_missing_at_venue", order_id=str(order.id), symbol=order.symbol, venue_order_id=order.venue_order_id)
        await self._note(order, MISSING)

    async def _give_up(self, order: OrderRecord) -> None:
        log.error("order_forgotten_at_venue", order_id=str(order.id), symbol=order.symbol, venue_order_id=order.venue_order_id)
        detail = "the exchange does not know this order any more; should it show it again, it is taken back"
        forgotten = Reported(
            state=OrderState.EXPIRED,
            venue_order_id=order.venue_order_id or "",
            filled_quantity=order.filled_quantity,
            average_price=order.average_price,
            code=FORGOTTEN,
            detail=detail,
        )
        await record(self._desk, order.id, forgotten)

    async def _note(self, order: OrderRecord, kind: str) -> None:
        async with self._desk.database.connection() as connection:
            await connection.execute(_NOTE, order.id, order.user_id, self._desk.clock.now(), kind, order.state.value)


def _is_to_be_given_up(order: OrderRecord, *, looks: int, gone_s: float) -> bool:
    if order.role in (Role.STOP, Role.TARGET):
        return order.group_id is not None and looks >= _FORGOTTEN_LOOKS and gone_s >= _FORGOTTEN_S
    # A wish to cancel it is fulfilled, as far as anybody can tell.
    patience_s = _FORGOTTEN_S if order.cancel_requested_at is not None else _MISSING_S
    return order.role in CLOSES and order.side is Side.SELL and looks >= _MISSING_LOOKS and gone_s >= patience_s
