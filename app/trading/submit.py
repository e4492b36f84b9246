"""The one door for orders: button, webhook and bot all come through `submit` with an `OrderIntent`.

W1 the intent is committed under its client order id; then `trading.send` claims it and speaks. The same key on the same account always
gives the same client order id, so a replay finds the order that is there.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.brokers.service import pause_broker
from app.core.ids import client_order_id, new_id
from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.sizing import SizedOrder, needs_reference_price, size
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import BadCredentials, BrokerNotFound, DenialReason, OrderDenied
from app.exchanges.port import ExchangeClient
from app.trading.desk import Desk
from app.trading.events import OrderChanged
from app.trading.records import OrderRecord
from app.trading.send import send

#: An order that could not be sent within this time is about a market that is gone, also when nobody set a deadline: a process that died
#: before sending must not have its successor send it a day later.
_SEND_WITHIN: Final = timedelta(seconds=60)
_BROKER: Final = """
SELECT id, exchange, is_active, paused_reason FROM brokers
 WHERE user_id = $1 AND removed_at IS NULL AND CASE WHEN $2::uuid IS NULL THEN is_default ELSE id = $2 END
"""
_INSERT: Final = """
WITH placed AS (
  INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, price, trigger_price, time_in_force,
                      post_only, source, key, leg, attempt, delivery_id, deadline, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, 'intent', $8, $9, NULL, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)
  ON CONFLICT (broker_id, client_order_id) DO NOTHING RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state) SELECT id, user_id, $18, 'Intent', state FROM placed)
SELECT * FROM placed
"""
#: Locked, so that two closes of one position are sized one after the other.
_POSITION: Final = """
SELECT quantity FROM positions WHERE broker_id = $1 AND symbol = $2 AND status <> 'closed' AND bot_id IS NULL FOR UPDATE
"""
#: What orders on that side may still fill, or have filled without its being counted yet.
_UNDER_WAY: Final = """
SELECT coalesce(sum(CASE WHEN state IN ('intent', 'submitting', 'unknown', 'open', 'partial') THEN quantity ELSE filled_quantity END
                    - fills_quantity), 0)
  FROM orders WHERE broker_id = $1 AND symbol = $2 AND side = $3
   AND (state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A broker account as far as an order cares. `paused_reason` says why the exchange's refusal stopped it."""

    id: UUID
    exchange: str
    is_active: bool
    paused_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What came of an intent. `is_new` is False when its key had been traded before: the order is that earlier one."""

    order: OrderRecord
    is_new: bool


async def submit(
    desk: Desk,
    user_id: UUID,
    intent: OrderIntent,
    *,
    broker_id: UUID | None = None,
    account: Account | None = None,
    delivery_id: UUID | None = None,
) -> Submission:
    """Check the intent, commit it, send it, and return the order as it then stands.

    Args:
        desk: What trading works with.
        user_id: Whose order it is.
        intent: The wish.
        broker_id: The account; None means the user's default one.
        account: The account, when the caller has just read it; it must be the user's.
        delivery_id: The webhook delivery that asked for it.

    Raises:
        OrderDenied: a rule of ours or of the instrument forbids it; nothing was stored or sent.
        BrokerNotFound: no such account of this user.
        ExchangeUnavailable: the account's exchange cannot be reached to learn its rules; nothing was stored or sent.
        Fenced: this process lost the engine role; the intent is stored and its new owner sends it.
    """
    broker = account or await find_account(desk, user_id, broker_id)
    _check_account(broker)
    client = desk.connections.ready(broker.id) or await desk.connections.client(broker.id)
    instrument = await _instrument(desk, broker.exchange, intent.symbol)
    if account is None and (earlier := await _existing(desk, broker.id, intent)) is not None:
        # Before sizing: a repetition must find its order even if the market or the position has changed meanwhile.
        return Submission(order=earlier, is_new=False)
    try:
        market = await _market(desk, broker, client, intent, instrument)
    except BadCredentials as error:
        await pause_broker(desk.database, broker.id, error.message)
        raise
    order = await _store(desk, user_id, broker.id, intent, instrument, market=market, delivery_id=delivery_id)
    if order is None:
        earlier = await _existing(desk, broker.id, intent)
        assert earlier is not None  # noqa: S101  # it is what stood in the way
        return Submission(order=earlier, is_new=False)
    _announce(desk, order)
    if not desk.lease.is_held:
        return Submission(order=order, is_new=True)
    return Submission(order=await send(desk, order, client), is_new=True)


async def find_account(desk: Desk, user_id: UUID, broker_id: UUID | None) -> Account:
    """Return the user's account `broker_id`, or the default one.

    Raises:
        BrokerNotFound: no such account of this user.
        OrderDenied: the user has no account yet.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_BROKER, user_id, broker_id)
    if row is not None:
        return Account(**row)
    if broker_id is not None:
        raise BrokerNotFound
    raise OrderDenied(DenialReason.NO_BROKER, "there is no broker account yet; add one, then send the order again")


def _check_account(account: Account) -> None:
    if not account.is_active:
        raise OrderDenied(DenialReason.BROKER_INACTIVE, "this broker account is switched off")
    if account.paused_reason is not None:
        raise OrderDenied(DenialReason.BROKER_DISABLED, f"trading on this account is paused: {account.paused_reason}")


async def _instrument(desk: Desk, exchange: str, text: str) -> Instrument:
    listed = await desk.instruments.all(exchange)
    symbol = resolve_symbol(text, listed)
    if symbol is None:
        raise OrderDenied(DenialReason.SYMBOL_UNKNOWN, f"{why_unresolved(text, listed)} at {exchange}", field="symbol")
    return listed[symbol]


@dataclass(frozen=True, slots=True)
class _Market:
    """What a size may depend on outside our tables: the price in quote per base, and the free balance of what would be spent."""

    price: Decimal | None
    free: Decimal | None


async def _market(desk: Desk, broker: Account, client: ExchangeClient, intent: OrderIntent, instrument: Instrument) -> _Market:
    """Everything that needs the exchange is read before anything is stored, outside any transaction."""
    is_buy = intent.side is Side.BUY
    price = desk.quotes.reference_price(broker.exchange, instrument.symbol, is_buy=is_buy)
    if price is None and needs_reference_price(intent):
        ticker = await client.fetch_ticker(instrument.symbol)
        price = (ticker.ask if is_buy else ticker.bid) or ticker.last
    free: Decimal | None = None
    if intent.percent is not None:
        balance = (await client.fetch_balances()).get(instrument.quote if is_buy else instrument.base)
        free = balance.free if balance is not None else Decimal(0)
    return _Market(price, free)


async def _store(
    desk: Desk,
    user_id: UUID,
    broker_id: UUID,
    intent: OrderIntent,
    instrument: Instrument,
    *,
    market: _Market,
    delivery_id: UUID | None,
) -> OrderRecord | None:
    if not intent.close_position:
        sized = size(intent, instrument, reference_price=market.price, free=market.free)
        async with desk.database.connection() as connection:
            return await _insert(desk, connection, user_id, broker_id, intent=intent, sized=sized, delivery_id=delivery_id)
    async with desk.database.raw_transaction() as connection:
        position = await _closable(connection, broker_id, instrument.symbol, intent.side)
        sized = size(intent, instrument, reference_price=market.price, position=position)
        return await _insert(desk, connection, user_id, broker_id, intent=intent, sized=sized, delivery_id=delivery_id)


async def _closable(connection: Any, broker_id: UUID, symbol: str, side: Side) -> Decimal:
    """What of the position no order of ours is closing already; signed like the position.

    Raises:
        OrderDenied: all of it is being closed.
    """
    position: Decimal = await connection.fetchval(_POSITION, broker_id, symbol) or Decimal(0)
    under_way: Decimal = await connection.fetchval(_UNDER_WAY, broker_id, symbol, side.value)
    left = position + side.sign * under_way
    if position * side.sign < 0 and left * position <= 0:
        raise OrderDenied(DenialReason.NO_POSITION, f"the position in {symbol} is being closed already")
    return left


async def _insert(
    desk: Desk, connection: Any, user_id: UUID, broker_id: UUID, *, intent: OrderIntent, sized: SizedOrder, delivery_id: UUID | None
) -> OrderRecord | None:
    """Insert the intent; None when its key was there before."""
    now = desk.clock.now()
    row = await connection.fetchrow(
        _INSERT,
        new_id(),
        user_id,
        broker_id,
        client_order_id(broker_id, intent.key, leg=intent.leg, attempt=intent.attempt),
        sized.symbol,
        sized.side.value,
        sized.type.value,
        sized.quantity,
        sized.price,
        sized.time_in_force.value,
        sized.post_only,
        intent.source.value,
        intent.key,
        intent.leg,
        intent.attempt,
        delivery_id,
        intent.deadline or now + _SEND_WITHIN,
        now,
    )
    return None if row is None else OrderRecord.of(row)


async def _existing(desk: Desk, broker_id: UUID, intent: OrderIntent) -> OrderRecord | None:
    known = client_order_id(broker_id, intent.key, leg=intent.leg, attempt=intent.attempt)
    async with desk.database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = $2", broker_id, known)
    return None if row is None else OrderRecord.of(row)


def _announce(desk: Desk, order: OrderRecord) -> None:
    desk.bus.publish(
        OrderChanged(user_id=order.user_id, order_id=order.id, symbol=order.symbol, state=order.state, delivery_id=order.delivery_id)
    )
