"""Close or turn an open position, and change how it is guarded."""

from dataclasses import replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final
from uuid import UUID

from app.core.i18n import N_
from app.domain.enums import OrderType, Side, Source
from app.domain.instruments import plain
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, fitted_plan
from app.errors import Conflict, DenialReason, DuplicateIntent, InvalidInput, NotFound, OrderDenied
from app.trading.desk import Desk
from app.trading.events import GuardWanted, ProtectionChanged
from app.trading.guardian import last_price
from app.trading.protections import StaleLookError, active_protection, change_plan, guard_position, read_on
from app.trading.records import OrderRecord
from app.trading.submit import Submission, submit

OTHER_ORDER: Final = N_("this Idempotency-Key was used for another order; give each order its own")
_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_POSITION: Final = "SELECT * FROM positions WHERE id = $1 AND user_id = $2 AND status <> 'closed'"
_PROTECTIONS: Final = "SELECT * FROM protections WHERE user_id = $1 AND status = 'active' ORDER BY id DESC"
_PROTECTION_OF: Final = "SELECT * FROM protections WHERE id = $1"


async def close_position(
    desk: Desk,
    user_id: UUID,
    position_id: UUID,
    *,
    key: str,
    source: Source = Source.MANUAL,
    is_reversal: bool = False,
    fraction: Decimal | None = None,
) -> Submission:
    """Sell what a position holds at the market; its stops and targets step aside and go. With `is_reversal`, sell twice as much.

    Args:
        desk: What trading works with.
        user_id: Whose position it is.
        position_id: The position.
        key: Names the wish, so that a repetition sells nothing more.
        source: Who wishes it.
        is_reversal: Whether to open as much on the other side.
        fraction: How much of it is sold, 0 < x ≤ 1, floored to the step; None means all. What guards it then guards the rest.

    Raises:
        NotFound: no such open position of this user.
        InvalidInput: a part of a position cannot be turned, and a fraction is above 0 and at most 1.
        OrderDenied: it is being closed already; or it cannot be turned, because a spot account cannot go short.
        DuplicateIntent: the key has named another order.
    """
    row = await _position(desk, user_id, position_id)
    if is_reversal and row["quantity"] > 0:
        raise OrderDenied(
            DenialReason.SHORT_UNSUPPORTED,
            f"a spot account cannot go short: the position in {row['symbol']} can be closed, not reversed",
        )
    side = Side.SELL if row["quantity"] > 0 else Side.BUY
    if fraction is not None and fraction != 1:
        intent = _part(row, side, fraction, source=source, key=key, is_reversal=is_reversal)
    else:
        intent = OrderIntent(
            symbol=row["symbol"],
            side=side,
            source=source,
            key=key,
            type=OrderType.MARKET,
            close_position=True,
            is_reversal=is_reversal,
            bot_id=row["bot_id"],
        )
    made = await submit(desk, user_id, intent, broker_id=row["broker_id"])
    order = made.order
    if not made.is_new and _of(order) != (row["symbol"], side, intent.type, intent.purpose, row["bot_id"]):
        raise DuplicateIntent(OTHER_ORDER)
    return made


def _of(order: OrderRecord) -> tuple[object, ...]:
    return order.symbol, order.side, order.type, order.role, order.bot_id


def _part(row: Any, side: Side, fraction: Decimal, *, source: Source, key: str, is_reversal: bool) -> OrderIntent:
    if is_reversal:
        raise InvalidInput("a position is turned as a whole", field="percent")
    if not 0 < fraction < 1:
        raise InvalidInput(f"a part of a position is between 0 and 100 percent, was {plain(fraction * 100)}", field="percent")
    # The part is of what is held now; not more is sold than that, whatever fills meanwhile, nor what others are selling already.
    return OrderIntent(
        symbol=row["symbol"],
        side=side,
        source=source,
        key=key,
        type=OrderType.MARKET,
        quantity=_DOWN.multiply(abs(row["quantity"]), fraction),
        close_position=True,
        bot_id=row["bot_id"],
    )


async def protect_position(desk: Desk, user_id: UUID, position_id: UUID, plan: ProtectionPlan) -> Any:
    """Guard an open position so from now on; an empty plan takes its stops and targets away. Return the protection's row.

    Raises:
        NotFound: no such open position of this user.
        OrderDenied: PLAN_INVALID, with the value and the bound.
    """
    row = await _position(desk, user_id, position_id)
    if row["quantity"] <= 0:
        raise OrderDenied(DenialReason.PLAN_INVALID, "only what was bought on a spot account can be guarded")
    client = await desk.connections.client(row["broker_id"])
    instrument = (await desk.instruments.all(client.exchange))[row["symbol"]]
    price = await last_price(desk, client, row["symbol"])
    fitted = fitted_plan(plan, instrument, side=Side.BUY, entry_price=price, quantity=row["quantity"], against="market")
    async with desk.database.raw_transaction() as connection:
        protection_id = await guard_position(connection, row["id"], fitted, now=desk.clock.now())
    return await _wake(desk, protection_id)


async def change_stop(desk: Desk, user_id: UUID, position_id: UUID, stop: ProtectionPlan) -> Any:
    """Change a position's stop and leave its targets, and what they have sold, as they are. Return the protection's row.

    Args:
        desk: What trading works with.
        user_id: Whose position it is.
        position_id: The position.
        stop: The new stop; its targets count for nothing, and its `break_even_after` only if it is given.

    Raises:
        NotFound: no such open position of this user, or nothing guards it.
        OrderDenied: PLAN_INVALID, with the value and the bound.
        Conflict: the position or its protection has changed this very moment.
    """
    row = await _position(desk, user_id, position_id)
    client = await desk.connections.client(row["broker_id"])
    instrument = (await desk.instruments.all(client.exchange))[row["symbol"]]
    price = await last_price(desk, client, row["symbol"])
    alone = replace(stop, targets=(), break_even_after=None)
    fitted = fitted_plan(alone, instrument, side=Side.BUY, entry_price=price, quantity=row["quantity"], against="market")
    return await _wake(desk, await _replace_stop(desk, row, fitted, break_even_after=stop.break_even_after))


async def break_even(desk: Desk, user_id: UUID, position_id: UUID) -> Any:
    """Move a position's stop to its entry price. Return the protection's row.

    Raises:
        NotFound: no such open position of this user, or nothing guards it.
        OrderDenied: the market is at the entry or below it: a stop there would sell at once.
    """
    row = await _position(desk, user_id, position_id)
    client = await desk.connections.client(row["broker_id"])
    instrument = (await desk.instruments.all(client.exchange))[row["symbol"]]
    entry = instrument.round_price(Side.SELL, row["average_price"])
    price = await last_price(desk, client, row["symbol"])
    if price is not None and price <= entry:
        raise OrderDenied(
            DenialReason.PLAN_INVALID, f"the market is at {price:f}, not above the entry of {entry:f}: a stop there would sell at once"
        )
    protection_id = await _replace_stop(desk, row, ProtectionPlan(stop_price=entry), is_even=True)
    return await _wake(desk, protection_id)


async def _replace_stop(
    desk: Desk, position: Any, stop: ProtectionPlan, *, is_even: bool = False, break_even_after: int | None = None
) -> UUID:
    async with desk.database.raw_transaction() as connection:
        protection_id = await active_protection(connection, position["broker_id"], position["symbol"], position["bot_id"])
        if protection_id is None:
            raise NotFound("nothing guards this position; give it a stop first")
        protection = await read_on(connection, protection_id)
        kept = None if is_even else break_even_after or protection.plan.break_even_after
        moved = replace(stop, targets=protection.plan.targets, break_even_after=kept)
        if kept is not None and kept > len(moved.targets):
            raise OrderDenied(
                DenialReason.PLAN_INVALID,
                f"the stop can move to break even after target 1 to {len(moved.targets)}, was {kept}",
                field="break_even_after",
            )
        try:
            await change_plan(connection, protection, moved, now=desk.clock.now())
        except StaleLookError as error:
            raise Conflict("the position or its protection has changed this very moment; look again, then repeat") from error
    return protection_id


async def list_protections(desk: Desk, user_id: UUID) -> list[Any]:
    """Return how the user's positions are guarded now, the latest first."""
    async with desk.database.connection() as connection:
        return list(await connection.fetch(_PROTECTIONS, user_id))


async def _position(desk: Desk, user_id: UUID, position_id: UUID) -> Any:
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_POSITION, position_id, user_id)
    if row is None:
        raise NotFound("there is no such open position")
    return row


async def _wake(desk: Desk, protection_id: UUID) -> Any:
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_PROTECTION_OF, protection_id)
    desk.bus.publish(GuardWanted(protection_id=protection_id))
    desk.bus.publish(ProtectionChanged(user_id=row["user_id"], broker_id=row["broker_id"], symbol=row["symbol"]))
    return row
