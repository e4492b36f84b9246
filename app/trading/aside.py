"""Let a protection's legs step aside for an order that sells the position: at the venue they lock what is to be sold.

An order that closes a position, once stored, takes its units away from the guardian (`domain.guarded`), which takes back the legs that are
too much. So nothing has to be remembered for them to come back: what is left of the position when the order has ended is guarded again.
"""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import structlog

from app.core.db import PLANNED_ONCE
from app.domain.enums import Side
from app.domain.guarded import Leg
from app.domain.instruments import plain
from app.domain.orders import Denied
from app.exchanges.port import ExchangeClient
from app.trading.claim import claim_one
from app.trading.desk import Desk
from app.trading.events import GuardWanted
from app.trading.protections import CLOSES, HELD, LIVE, REPLACING, Protection, active_protection, read
from app.trading.records import OrderRecord
from app.trading.whose import same

log = structlog.get_logger(__name__)

#: So long an order waits for legs that only rest at the venue. Then it goes out beside them: they keep their units locked there, and the
#: venue decides; a trader who wants out must not be held by an order that nobody can take back.
_PATIENCE: Final = timedelta(seconds=5)
_LOOK_EVERY_S: Final = 0.05
_LOCK_ORDER: Final = f"SELECT id, {PLANNED_ONCE} FROM orders WHERE id = $1 AND state = 'intent' FOR UPDATE"  # noqa: S608  # a constant
_LOCK_POSITION: Final = f"""
SELECT quantity FROM positions WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3::uuid")} AND status <> 'closed' FOR UPDATE
"""  # noqa: S608  # a constant
#: What other orders of the bot, or of the hand, may still sell, and what was sold and is not counted yet, the legs' fills too. Of a pair
#: one half sells.
_GONE: Final = f"""
SELECT coalesce(sum(each.amount), 0)
  FROM (SELECT max(CASE WHEN o.state IN {LIVE} AND o.role NOT IN ('stop', 'target') AND o.id <> $4 AND NOT {HELD} AND NOT {REPLACING}
                        THEN o.quantity - o.filled_quantity ELSE 0 END) + sum(o.filled_quantity - o.fills_quantity) AS amount
          FROM orders o
         WHERE o.user_id = $1 AND o.broker_id = $2 AND o.symbol = $3 AND o.side = 'sell' AND {same("o.bot_id", "$5::uuid")}
           AND (o.state IN {LIVE} OR o.fills_quantity <> o.filled_quantity)
         GROUP BY coalesce(o.group_id, o.id)) each
"""  # noqa: S608  # constants
_LESS: Final = "UPDATE orders SET quantity = $2, reserved = $2 WHERE id = $1"


def closes_position(order: OrderRecord) -> bool:
    """Whether the order sells a position that legs may guard. The two halves of a trader's own pair do not: they rest beside the legs."""
    return order.role in CLOSES and order.side is Side.SELL and order.group_id is None


async def make_room(desk: Desk, order: OrderRecord, client: ExchangeClient, *, is_patient: bool) -> bool:
    """Let the legs step aside for `order`; whether it may be sent now.

    Args:
        desk: What trading works with.
        order: An order that closes a position, stored.
        client: Its account's.
        is_patient: Whether to wait for the legs; else only look.

    Returns:
        False while a leg is on its way or sells at the market: the same units would be sold twice. The order stays an intent then, the
        legs stay away from it, and reconcile asks again.
    """
    async with desk.database.connection() as connection:
        protection_id = await active_protection(connection, order.broker_id, order.symbol, order.bot_id)
    if protection_id is None:
        return True
    desk.bus.publish(GuardWanted(protection_id=protection_id))
    until = time.monotonic() + _PATIENCE.total_seconds()
    while True:
        in_the_way = await _in_the_way(desk, await read(desk, protection_id), client)
        if not in_the_way:
            return True
        if not is_patient or time.monotonic() > until:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    log.warning("legs_in_the_way", order_id=str(order.id), protection_id=str(protection_id), legs=len(in_the_way))
    has_waited = desk.clock.now() - order.created_at >= _PATIENCE
    return has_waited and all(_rests(leg) for leg in in_the_way)


async def _in_the_way(desk: Desk, protection: Protection, client: ExchangeClient) -> list[Leg]:
    instrument = (await desk.instruments.all(client.exchange))[protection.symbol]
    look = protection.guarded(instrument, client.capabilities, last_price=None, now=desk.clock.now())
    return look.in_the_way


def _rests(leg: Leg) -> bool:
    is_selling = leg.is_at_market or (leg.is_working and not leg.type.has_limit)
    return leg.is_sent and not leg.is_on_its_way and not is_selling


async def claim_close(desk: Desk, order: OrderRecord, client: ExchangeClient) -> OrderRecord | Denied | None:
    """Claim an order that closes a position, for what is left of it: a leg may have sold some since the order was sized.

    Returns what `claim_one` does.

    Raises:
        Fenced: this process does not own the engine role.
    """
    instrument = (await desk.instruments.all(client.exchange))[order.symbol]
    async with desk.database.raw_transaction() as connection:
        # The order before the position, as whoever counts a fill does.
        if await connection.fetchval(_LOCK_ORDER, order.id) is None:
            return None
        left = instrument.floor_quantity(max(await _left(connection, order), Decimal(0)))
        if left <= 0:
            return Denied(code="NO_POSITION", detail=f"the position in {order.symbol} was sold before this order could be sent")
        if left < order.quantity:
            log.info("close_made_smaller", order_id=str(order.id), was=plain(order.quantity), now=plain(left))
            await connection.execute(_LESS, order.id, left)
        return await claim_one(desk, connection, order.id)


async def _left(connection: Any, order: OrderRecord) -> Decimal:
    position: Decimal = await connection.fetchval(_LOCK_POSITION, order.broker_id, order.symbol, order.bot_id) or Decimal(0)
    gone: Decimal = await connection.fetchval(_GONE, order.user_id, order.broker_id, order.symbol, order.id, order.bot_id)
    return position - gone
