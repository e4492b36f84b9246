"""Store an intent: sized, fitted to its venue, admitted by the risk gate and inserted, all in one transaction (step W1)."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.crash_points import reach
from app.core.db import PLANNED_ONCE
from app.core.ids import client_order_id, new_id
from app.domain.enums import Execution, OrderState, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.protection import dump_plan, fitted_plan
from app.domain.sizing import SizedOrder, size
from app.errors import DenialReason, OrderDenied
from app.exchanges.capabilities import Capabilities
from app.trading.account import Account
from app.trading.claim import claim_one
from app.trading.desk import Desk
from app.trading.fit import Fitted, fit
from app.trading.gate import Reservation, admit
from app.trading.protections import HELD, LIVE, REPLACING, disturb
from app.trading.records import OrderRecord
from app.trading.whose import same

#: An order that could not be sent within this time is about a market that is gone, also when nobody set a deadline: a process that died
#: before sending must not have its successor send it a day later.
SEND_WITHIN: Final = timedelta(seconds=60)
#: What is stored of a draft, in the order of `values_of`.
COLUMNS: Final = """id, user_id, broker_id, client_order_id, symbol, side, type, quantity, notional, price, trigger_price, trailing_delta,
  time_in_force, post_only, source, role, execution, group_id, replaces_id, protection, reserved, reserved_asset, key, leg, attempt,
  delivery_id, deadline, created_at, updated_at, replaces_filled, bot_id"""
VALUES: Final = (
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, "
    "$28, $28, $29, $30"
)
_INSERT: Final = f"""
WITH placed AS (
  INSERT INTO orders ({COLUMNS}, state) VALUES ({VALUES}, 'intent') ON CONFLICT (broker_id, client_order_id) DO NOTHING RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state) SELECT id, user_id, $28, 'Intent', state FROM placed)
SELECT * FROM placed
"""  # noqa: S608  # constants
#: Locked, so that two closes of one position are sized one after the other.
_POSITION: Final = f"""
SELECT quantity FROM positions WHERE broker_id = $1 AND symbol = $2 AND {same("bot_id", "$3::uuid")} AND status <> 'closed' FOR UPDATE
"""  # noqa: S608  # a constant
#: What orders of the bot, or of the hand, on that side may still fill, or have filled without its being counted yet; of a pair one half
#: fills. One that waits here for its trigger has taken nothing yet, and the legs of a protection step aside for a close.
_UNDER_WAY: Final = f"""
SELECT coalesce(sum(each.amount), 0)
  FROM (SELECT max(CASE WHEN o.state IN {LIVE} AND NOT {HELD} AND NOT {REPLACING} THEN o.quantity - o.filled_quantity ELSE 0 END)
               + sum(o.filled_quantity - o.fills_quantity) AS amount
          FROM orders o
         WHERE o.user_id = $1 AND o.broker_id = $2 AND o.symbol = $3 AND o.side = $4 AND o.role NOT IN ('stop', 'target')
           AND {same("o.bot_id", "$5::uuid")} AND (o.state IN {LIVE} OR o.fills_quantity <> o.filled_quantity)
         GROUP BY coalesce(o.group_id, o.id)) each
"""  # noqa: S608  # constants
#: An account's activity is locked before its positions, as whoever replaces an order does. What follows is planned once, as in the gate.
_TURN: Final = f"SELECT {PLANNED_ONCE} FROM account_activity WHERE broker_id = $1 FOR UPDATE"  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What a size may depend on outside our tables: the price in quote per base, and the free balance of what would be spent."""

    price: Decimal | None
    free: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An order about to be stored. `deadline` None means that it waits for as long as it takes (a supervised order)."""

    user_id: UUID
    account: Account
    intent: OrderIntent
    order: SizedOrder
    execution: Execution
    reservation: Reservation
    deadline: datetime | None
    delivery_id: UUID | None = None
    group_id: UUID | None = None
    replaces_id: UUID | None = None
    #: What the replaced order had filled when this one was made for its remainder.
    replaces_filled: Decimal | None = None
    order_id: UUID = field(default_factory=new_id)


async def store(
    desk: Desk,
    user_id: UUID,
    account: Account,
    intent: OrderIntent,
    *,
    instrument: Instrument,
    capabilities: Capabilities,
    market: Market,
    delivery_id: UUID | None,
) -> OrderRecord | None:
    """Size, admit and insert the intent; None when its key was there before.

    One that can go out at once is claimed in the same transaction, which spares a commit on the way: it comes back as `submitting` and
    stands in `desk.in_flight`, from which its caller takes it when it is sent.

    Raises:
        OrderDenied: a rule of ours, of the instrument or of the venue forbids it; nothing was stored.
    """
    order_id = new_id()
    # Before the claim can be seen: reconcile must never find a claimed order that nobody seems to be sending.
    desk.in_flight.add(order_id)
    stored: OrderRecord | None = None
    try:
        # Who waits for the account's turn here takes no connection from those whose turn it was and who are to send.
        async with desk.hints.entering[account.id], desk.database.raw_transaction() as connection:
            draft = await _draft(
                desk,
                connection,
                user_id,
                account,
                intent,
                instrument=instrument,
                capabilities=capabilities,
                market=market,
                delivery_id=delivery_id,
            )
            stored = await insert(desk, connection, replace(draft, order_id=order_id))
            if stored is not None and stored.side is Side.SELL:
                await disturb(connection, stored)
            # The lease is locked before the claim is made: who waits for it within would see the halts of the moment it began to wait.
            is_to_go = stored is not None and draft.execution is Execution.NATIVE and stored.role is Role.ENTRY and desk.lease.is_held
            if is_to_go and await desk.lease.ask_whether_held(connection):
                claimed = await claim_one(desk, connection, order_id)
                stored = claimed if isinstance(claimed, OrderRecord) else stored
            reach("P0")
    except BaseException:
        # Also when the commit itself broke off: if it counted, nobody is sending this order, and reconcile must find it.
        desk.in_flight.discard(order_id)
        raise
    if stored is None or stored.state is OrderState.INTENT:
        desk.in_flight.discard(order_id)
    reach("P1")
    return stored


async def _draft(
    desk: Desk,
    connection: Any,
    user_id: UUID,
    account: Account,
    intent: OrderIntent,
    *,
    instrument: Instrument,
    capabilities: Capabilities,
    market: Market,
    delivery_id: UUID | None,
) -> Draft:
    position = Decimal(0)
    if intent.close_position:
        position = await closable(connection, user_id, account.id, instrument.symbol, intent.side, bot_id=intent.bot_id)
    intent, fitted = shaped(intent, instrument, capabilities, market, position=position)
    reservation = await admit(
        desk,
        connection,
        account,
        fitted.order,
        instrument,
        user_id=user_id,
        role=intent.purpose,
        source=intent.source,
        bot_id=intent.bot_id,
        reference_price=market.price,
    )
    return Draft(
        user_id=user_id,
        account=account,
        intent=intent,
        order=fitted.order,
        execution=fitted.execution,
        reservation=reservation,
        deadline=deadline_of(desk, intent, fitted.execution),
        delivery_id=delivery_id,
    )


def shaped(
    intent: OrderIntent, instrument: Instrument, capabilities: Capabilities, market: Market, *, position: Decimal = Decimal(0)
) -> tuple[OrderIntent, Fitted]:
    """Return the intent with the plan as it fits, and the order that it means at its venue.

    Raises:
        OrderDenied: the instrument's rules or the venue's kinds of order forbid it.
    """
    sized = size(intent, instrument, reference_price=market.price, free=market.free, position=position)
    return _with_fitted_plan(intent, sized, instrument, market), fit(sized, instrument, capabilities, reference_price=market.price)


def _with_fitted_plan(intent: OrderIntent, order: SizedOrder, instrument: Instrument, market: Market) -> OrderIntent:
    if intent.protection is None or intent.protection.is_empty:
        return replace(intent, protection=None)
    entry = order.price or order.trigger_price or market.price
    plan = fitted_plan(intent.protection, instrument, side=order.side, entry_price=entry, quantity=order.quantity)
    return replace(intent, protection=plan)


def deadline_of(desk: Desk, intent: OrderIntent, execution: Execution) -> datetime | None:
    """Return until when the order may leave; a supervised one waits for its trigger as long as it takes."""
    if execution is Execution.SUPERVISED:
        return None
    return intent.deadline or desk.clock.now() + SEND_WITHIN


async def closable(connection: Any, user_id: UUID, broker_id: UUID, symbol: str, side: Side, *, bot_id: UUID | None) -> Decimal:
    """Return what of a bot's position, or of the hand's, no order of its own is closing already; signed like it. Its row stays locked.

    Raises:
        OrderDenied: all of it is being closed.
    """
    await connection.execute(_TURN, broker_id)
    position: Decimal = await connection.fetchval(_POSITION, broker_id, symbol, bot_id) or Decimal(0)
    under_way: Decimal = await connection.fetchval(_UNDER_WAY, user_id, broker_id, symbol, side.value, bot_id)
    left = position + side.sign * under_way
    if position * side.sign < 0 and left * position <= 0:
        raise OrderDenied(DenialReason.NO_POSITION, f"the position in {symbol} is being closed already")
    return left


async def insert(desk: Desk, connection: Any, draft: Draft) -> OrderRecord | None:
    """Insert the intent; None when its key was there before."""
    row = await connection.fetchrow(_INSERT, *values_of(draft, desk.clock.now()))
    return None if row is None else OrderRecord.of(row)


def values_of(draft: Draft, now: datetime) -> tuple[object, ...]:
    """Return what is stored of a draft at `now`: the parameters of `VALUES`."""
    intent, order = draft.intent, draft.order
    return (
        draft.order_id,
        draft.user_id,
        draft.account.id,
        client_order_id(draft.account.id, intent.key, leg=intent.leg, attempt=intent.attempt),
        order.symbol,
        order.side.value,
        order.type.value,
        order.quantity,
        order.notional,
        order.price,
        order.trigger_price,
        order.trailing_delta,
        order.time_in_force.value,
        order.post_only,
        intent.source.value,
        intent.purpose.value,
        draft.execution.value,
        draft.group_id,
        draft.replaces_id,
        None if intent.protection is None else dump_plan(intent.protection),
        draft.reservation.amount,
        draft.reservation.asset,
        intent.key,
        intent.leg,
        intent.attempt,
        draft.delivery_id,
        draft.deadline,
        now,
        draft.replaces_filled,
        intent.bot_id,
    )


async def existing(desk: Desk, broker_id: UUID, intent: OrderIntent) -> OrderRecord | None:
    """Return the order that the intent's key made earlier, if it did."""
    known = client_order_id(broker_id, intent.key, leg=intent.leg, attempt=intent.attempt)
    async with desk.database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = $2", broker_id, known)
    return None if row is None else OrderRecord.of(row)
