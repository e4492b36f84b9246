"""Move the stop and the targets of an open position, as a bot does at the close of every candle; the guardian makes the venue follow."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan, Target, load_plan, moved_plan
from app.errors import Conflict, NotFound
from app.trading.desk import Desk
from app.trading.events import GuardWanted, ProtectionChanged
from app.trading.protections import StaleLookError, change_plan, guard_position, read_on
from app.trading.whose import same

_TRIES: Final = 5
_PRESENT: Final = f"""
SELECT p.user_id, p.broker_id, p.symbol, b.exchange, g.id AS protection_id, g.plan
  FROM positions p JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN protections g ON g.broker_id = p.broker_id AND g.symbol = p.symbol AND {same("g.bot_id", "p.bot_id")} AND g.status = 'active'
       AND g.position_id = p.id
 WHERE p.id = $1 AND p.user_id = $2 AND p.status <> 'closed'
"""  # noqa: S608  # a constant


async def move_levels(
    desk: Desk,
    user_id: UUID,
    position_id: UUID,
    *,
    stop_price: Decimal | None = None,
    targets: Sequence[Target] | None = None,
) -> bool:
    """Guard an open long position at other levels from now on; one statement is read where that changes nothing.

    The rules are a backtest's: a stop only moves nearer to the market (one that is farther away than the present one changes nothing), and
    one at the market or beyond it sells now. What a target has sold already is not sold again.

    Args:
        desk: What trading works with.
        user_id: Whose position it is.
        position_id: The position; it may have been unguarded so far.
        stop_price: Quote per base, put on the tick below; None leaves the stop as it is.
        targets: All of them, with prices (put on the tick above), in the order in which the plan has them; None leaves them as they are.

    Returns:
        Whether the plan changed.

    Raises:
        NotFound: no such open position of this user: it may have been closed this very moment.
        OrderDenied: PLAN_INVALID or PRICE_OUT_OF_RANGE; the levels stay as they were.
        Conflict: the position changes all the time; the levels stay as they were.
        ExchangeUnavailable: the exchange's rules cannot be read.
    """
    for _ in range(_TRIES):
        async with desk.database.connection() as connection:
            present = await connection.fetchrow(_PRESENT, position_id, user_id)
        if present is None:
            raise NotFound("there is no such open position")
        instrument = (await desk.instruments.all(present["exchange"]))[present["symbol"]]
        try:
            protection_id = await _moved(desk, position_id, present, instrument, stop_price=stop_price, targets=targets)
        except StaleLookError:
            continue
        if protection_id is None:
            return False
        desk.bus.publish(GuardWanted(protection_id=protection_id))
        desk.bus.publish(ProtectionChanged(user_id=user_id, broker_id=present["broker_id"], symbol=present["symbol"]))
        return True
    raise Conflict("the position or its protection has changed this very moment; look again, then repeat")


async def _moved(
    desk: Desk,
    position_id: UUID,
    present: Any,
    instrument: Instrument,
    *,
    stop_price: Decimal | None,
    targets: Sequence[Target] | None,
) -> UUID | None:
    """The protection that was changed or made; None when there is nothing to change."""
    before = ProtectionPlan() if present["plan"] is None else load_plan(present["plan"])
    if moved_plan(before, instrument, stop_price=stop_price, targets=targets) == before:
        return None
    async with desk.database.raw_transaction() as connection:
        if present["protection_id"] is None:
            plan = moved_plan(ProtectionPlan(), instrument, stop_price=stop_price, targets=targets)
            return await guard_position(connection, position_id, plan, now=desk.clock.now())
        protection = await read_on(connection, present["protection_id"])
        plan = moved_plan(protection.plan, instrument, stop_price=stop_price, targets=targets)
        if not protection.is_active or protection.position_id != position_id:
            raise StaleLookError
        await change_plan(connection, protection, plan, now=desk.clock.now())
    return protection.id
