"""Change an open order. One that waits here is changed where it is; one at the venue is replaced.

The new order is committed before the old one is touched, and names it. In one request where the venue can; elsewhere the old one is
taken back, its end is awaited, and the new one goes out for what the old one had not filled. A crash in between is finished by
`continue_replacement`: the new order is sent only when the old one is known to have ended.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from app.domain.enums import Execution, OrderState, OrderType, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.orders import TERMINAL, Denied
from app.domain.protection import fitted_plan, load_plan
from app.domain.sizing import SizedOrder, size
from app.errors import Conflict, DenialReason, InvalidInput, OrderDenied, OrderNotCancellable, OrderNotFound, RetryableError
from app.exchanges.port import ExchangeClient
from app.trading.account import Account, check_account, check_open, find_account
from app.trading.apply import record
from app.trading.balances import with_fresh_balance
from app.trading.cancel import cancel_at_venue
from app.trading.desk import Desk
from app.trading.events import announce
from app.trading.fit import Fitted, fit
from app.trading.gate import Reservation, admit
from app.trading.pairs import send_replacement
from app.trading.place import SEND_WITHIN, Draft, insert
from app.trading.protections import LIVE, disturb
from app.trading.records import OrderRecord
from app.trading.send import send

_RESTING: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})
_CHANGE_HERE: Final = """
WITH changed AS (
  UPDATE orders
     SET quantity = $2, price = $3, trigger_price = $4, trailing_delta = $5, watermark = NULL, updated_at = $6, reserved = $7, notional = $8
   WHERE id = $1 AND state = 'intent' AND execution = 'supervised' AND triggered_at IS NULL AND cancel_requested_at IS NULL RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state) SELECT id, user_id, $6, 'Amended', state FROM changed)
SELECT * FROM changed
"""
_ASK_CANCEL: Final = """
UPDATE orders SET cancel_requested_at = $2, updated_at = $2
 WHERE id = $1 AND state IN ('open', 'partial') AND cancel_requested_at IS NULL RETURNING *
"""
#: Whoever changes an order has the account's turn (`trading.gate`): two changes of one order see each other here.
_IS_ENDING: Final = f"""
SELECT cancel_requested_at IS NOT NULL OR EXISTS (SELECT 1 FROM orders n WHERE n.replaces_id = o.id AND n.state IN {LIVE})
  FROM orders o WHERE o.id = $1
"""  # noqa: S608  # a constant
_ATTEMPTS: Final = "SELECT max(attempt) FROM orders WHERE broker_id = $1 AND key = $2 AND leg = $3"
#: What was subtracted is written down with it: after a crash it is not subtracted again.
_LESS: Final = """
UPDATE orders SET quantity = $2, replaces_filled = $3 WHERE id = $1 AND state = 'intent' AND replaces_filled IS NOT DISTINCT FROM $4
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is to change; None stays as it is. `quantity` is the whole order's, in base units."""

    price: Decimal | None = None
    quantity: Decimal | None = None
    trigger_price: Decimal | None = None
    trailing_delta: Decimal | None = None


async def amend(desk: Desk, user_id: UUID, order_id: UUID, change: Amendment) -> OrderRecord:
    """Change an open order and return the order that now stands: the same one, or the one that took its place.

    Raises:
        OrderNotFound: no such order of this user.
        OrderNotCancellable: it is finished.
        Conflict: it is on its way to the venue, or being canceled or changed already; try again in a moment.
        OrderDenied: the changed order breaks a rule, or this server or the account takes no orders now; the old one stands as it was.
        InvalidInput: nothing is to change, or a part of a pair or of a protection was named.
    """
    check_open(desk)
    order = await _find(desk, user_id, order_id)
    check_account(await find_account(desk, user_id, order.broker_id))
    if change == Amendment():
        raise InvalidInput("say what to change: price, quantity, trigger_price or trailing_percent")
    if order.group_id is not None:
        raise InvalidInput("this order belongs to a pair or guards a position: change that instead", field="id")
    client = await desk.connections.client(order.broker_id)
    instruments = await desk.instruments.all(client.exchange)
    instrument = instruments[order.symbol]
    price = await _market_price(desk, order, change, client)
    wanted = _wanted(order, change, instrument, price)
    if _what(wanted) == _what(order):
        return order  # on its grid it is what it was: another order would only lose its place in the queue
    if order.is_held:
        return await _change_here(desk, order, wanted, instrument=instrument, client=client, price=price)
    if order.state not in _RESTING:
        raise Conflict("the order is on its way to the exchange; try again in a moment")
    return await _replace(desk, order, wanted, instrument=instrument, client=client, price=price)


async def _find(desk: Desk, user_id: UUID, order_id: UUID) -> OrderRecord:
    async with desk.database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM orders WHERE id = $1 AND user_id = $2", order_id, user_id)
    if row is None:
        raise OrderNotFound
    order = OrderRecord.of(row)
    if order.state in TERMINAL:
        raise OrderNotCancellable(f"the order is already {order.state}")
    return order


def _what(order: OrderRecord | SizedOrder) -> tuple[Decimal | None, ...]:
    return order.quantity, order.price, order.trigger_price, order.trailing_delta


async def _market_price(desk: Desk, order: OrderRecord, change: Amendment, client: ExchangeClient) -> Decimal | None:
    """The market's price, in quote per base; asked for where the feed has none, as for a new order. None where nobody tells it."""
    price = desk.quotes.reference_price(client.exchange, order.symbol, is_buy=order.side is Side.BUY)
    if price is not None or (order.role is not Role.ENTRY and change.trigger_price is None):
        return price  # a way out does not wait
    try:
        ticker = await client.fetch_ticker(order.symbol)
    except RetryableError:
        return None
    return (ticker.ask if order.side is Side.BUY else ticker.bid) or ticker.last


def _wanted(order: OrderRecord, change: Amendment, instrument: Instrument, market_price: Decimal | None) -> SizedOrder:
    """The whole order as it is to be, under the same rules as a new one."""
    intent = OrderIntent(
        symbol=order.symbol,
        side=order.side,
        source=order.source,
        key=order.key,
        type=order.type,
        quantity=change.quantity or order.quantity,
        price=change.price or order.price,
        trigger_price=change.trigger_price or order.trigger_price,
        trailing_delta=change.trailing_delta or order.trailing_delta,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
    )
    # A trigger that stays may have been reached this very moment.
    is_to_wait = order.trigger_price is None or change.trigger_price is not None
    sized = size(intent, instrument, reference_price=market_price if is_to_wait else None)
    if sized.quantity <= order.filled_quantity:
        raise InvalidInput("the order has already filled more than that", field="quantity")
    if order.protection is not None:
        entry = sized.price or sized.trigger_price
        fitted_plan(load_plan(order.protection), instrument, side=order.side, entry_price=entry, quantity=sized.quantity)
    return sized


async def _change_here(
    desk: Desk, order: OrderRecord, wanted: SizedOrder, *, instrument: Instrument, client: ExchangeClient, price: Decimal | None
) -> OrderRecord:
    fitted = _fitted(wanted, instrument, client, price).order
    attempt = partial(_store_here, desk, order, fitted, instrument=instrument, exchange=client.exchange, price=price)
    changed = await with_fresh_balance(desk, client, broker_id=order.broker_id, user_id=order.user_id, attempt=attempt)
    announce(desk.bus, changed)
    return changed


async def _store_here(
    desk: Desk, order: OrderRecord, wanted: SizedOrder, *, instrument: Instrument, exchange: str, price: Decimal | None
) -> OrderRecord:
    """Write the change down, admitted as a new order would be: once its trigger is reached nobody asks for its size any more."""
    async with desk.database.raw_transaction() as connection:
        reservation = await _admit(desk, connection, order, wanted, instrument=instrument, exchange=exchange, price=price)
        values = (wanted.quantity, wanted.price, wanted.trigger_price, wanted.trailing_delta, desk.clock.now(), reservation.amount)
        row = await connection.fetchrow(_CHANGE_HERE, order.id, *values, wanted.notional)
        if row is None:
            raise Conflict("the order's price was reached a moment ago; it is on its way to the exchange")
    return OrderRecord.of(row)


async def _admit(
    desk: Desk, connection: Any, order: OrderRecord, wanted: SizedOrder, *, instrument: Instrument, exchange: str, price: Decimal | None
) -> Reservation:
    """Let the changed order pass in the old one's place."""
    return await admit(
        desk,
        connection,
        _account(order, exchange),
        wanted,
        instrument,
        user_id=order.user_id,
        role=order.role,
        source=order.source,
        bot_id=order.bot_id,
        reference_price=price,
        replaces_id=order.id,
    )


def _fitted(wanted: SizedOrder, instrument: Instrument, client: ExchangeClient, price: Decimal | None) -> Fitted:
    """The order in the venue's words, as a new one would be: where market buys name what they spend, that changes with the quantity."""
    return fit(wanted, instrument, client.capabilities, reference_price=price)


def _account(order: OrderRecord, exchange: str) -> Account:
    return Account(id=order.broker_id, exchange=exchange, is_active=True, paused_reason=None)


async def _replace(
    desk: Desk, order: OrderRecord, wanted: SizedOrder, *, instrument: Instrument, client: ExchangeClient, price: Decimal | None
) -> OrderRecord:
    # What a working order fills while it is replaced would be wanted twice: its end is awaited. One that sleeps fills nothing.
    is_atomic = client.capabilities.has_replace and order.type.waits and not order.is_working
    leaves = replace(wanted, quantity=wanted.quantity - order.filled_quantity)
    fitted = _fitted(leaves, instrument, client, price)
    if fitted.execution is not Execution.NATIVE and order.type is OrderType.TRAILING_STOP:
        told = "the exchange does not follow at that distance: cancel the order and place another one, which is watched here"
        raise OrderDenied(DenialReason.TRAILING_INVALID, told, field="trailing_percent")
    attempt = partial(_store, desk, order, fitted.order, instrument=instrument, exchange=client.exchange, is_atomic=is_atomic, price=price)
    new = await with_fresh_balance(desk, client, broker_id=order.broker_id, user_id=order.user_id, attempt=attempt)
    if new is None:
        raise Conflict("the order is being changed already")
    announce(desk.bus, new)
    if not desk.lease.is_held:
        return new
    if is_atomic:
        _, new = await send_replacement(desk, order, new, client)
        return new
    return await continue_replacement(desk, new, client)


async def _store(
    desk: Desk,
    order: OrderRecord,
    leaves: SizedOrder,
    *,
    instrument: Instrument,
    exchange: str,
    is_atomic: bool,
    price: Decimal | None,
) -> OrderRecord | None:
    """Write the new order down, admitted as one that takes the old one's place; None when there is one already."""
    account = _account(order, exchange)
    async with desk.database.raw_transaction() as connection:
        reservation = await _admit(desk, connection, order, leaves, instrument=instrument, exchange=exchange, price=price)
        if await connection.fetchval(_IS_ENDING, order.id):
            raise Conflict("the order is being canceled or changed already")
        attempt = await connection.fetchval(_ATTEMPTS, order.broker_id, order.key, order.leg)
        draft = _draft(desk, order, leaves, account=account, reservation=reservation, attempt=attempt + 1)
        new = await insert(desk, connection, draft)
        if order.side is Side.SELL:
            await disturb(connection, order)
        if not is_atomic and await connection.fetchrow(_ASK_CANCEL, order.id, desk.clock.now()) is None:
            raise OrderNotCancellable("the order has just finished")
    return new


def _draft(desk: Desk, order: OrderRecord, wanted: SizedOrder, *, account: Account, reservation: Reservation, attempt: int) -> Draft:
    intent = OrderIntent(
        symbol=order.symbol,
        side=order.side,
        source=order.source,
        key=order.key,
        leg=order.leg,
        attempt=attempt,
        type=wanted.type,
        role=order.role,
        protection=None if order.protection is None else load_plan(order.protection),
        bot_id=order.bot_id,
    )
    return Draft(
        user_id=order.user_id,
        account=account,
        intent=intent,
        order=wanted,
        execution=Execution.NATIVE,
        reservation=reservation,
        deadline=desk.clock.now() + SEND_WITHIN,
        delivery_id=order.delivery_id,
        replaces_id=order.id,
        replaces_filled=order.filled_quantity,
    )


async def continue_replacement(desk: Desk, new: OrderRecord, client: ExchangeClient) -> OrderRecord:
    """Take the old order back if it still stands, and send the new one for what is left, once the old one's end is known.

    Returns:
        The new order; still an intent when the old one's end is not known yet.

    Raises:
        ExchangeError: the venue cannot be reached; the new order waits.
        Fenced: this process does not own the engine role.
    """
    assert new.replaces_id is not None  # noqa: S101  # that is what makes it a replacement
    async with desk.database.connection() as connection:
        row: Any = await connection.fetchrow("SELECT * FROM orders WHERE id = $1", new.replaces_id)
    old = OrderRecord.of(row)
    if old.state not in TERMINAL:
        old = await cancel_at_venue(desk, old, client)
    if old.state not in TERMINAL:
        return new
    # What the old one filled since the new one was written down is not wanted twice.
    wanted_now = new.quantity - (old.filled_quantity - (new.replaces_filled or Decimal(0)))
    if old.state is OrderState.FILLED or wanted_now <= 0:
        gone = Denied(code="REPLACED_FILLED", detail="the order filled before it could be changed")
        return await record(desk, new.id, gone, only_from=OrderState.INTENT)
    async with desk.database.connection() as connection:
        await connection.execute(_LESS, new.id, wanted_now, old.filled_quantity, new.replaces_filled)
    return await send(desk, new, client)
