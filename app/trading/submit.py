"""The one door for orders: button, webhook and bot all come through `submit` with an `OrderIntent`.

W1 the intent is committed under its client order id; then `trading.send` claims it and speaks. The same key on the same account always
gives the same client order id, so a replay finds the order that is there.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from uuid import UUID

from app.brokers.service import pause_broker
from app.domain.enums import OrderState, Role, Side, TradingState
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.risk import Scope
from app.domain.sizing import needs_reference_price
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import BadCredentials, DenialReason, OrderDenied, RetryableError
from app.exchanges.port import ExchangeClient
from app.trading.account import Account, check_account, check_open, find_account
from app.trading.balances import fetch, store_balances, with_fresh_balance
from app.trading.desk import Desk
from app.trading.events import announce
from app.trading.fast_entry import enter_at_once
from app.trading.gates import wait_while_compared
from app.trading.place import Market, existing, store
from app.trading.records import OrderRecord
from app.trading.send import send, send_claimed
from app.trading.states import trip


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

    An order whose trigger the venue cannot watch is not sent: it waits here, shown as supervised.

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
    check_open(desk)
    quick = await enter_at_once(desk, user_id, intent, broker_id=broker_id, account=account, delivery_id=delivery_id)
    if quick is not None:
        return Submission(order=await _sent(desk, quick.order, quick.client), is_new=True)
    return await _submit_step_by_step(desk, user_id, intent, broker_id=broker_id, account=account, delivery_id=delivery_id)


async def _submit_step_by_step(
    desk: Desk, user_id: UUID, intent: OrderIntent, *, broker_id: UUID | None, account: Account | None, delivery_id: UUID | None
) -> Submission:
    """The ordinary path: for every kind of intent, for the first of its account, and for each that is refused."""
    broker = account or await find_account(desk, user_id, broker_id)
    if account is None:
        desk.hints.accounts[user_id, broker_id] = broker
    check_account(broker)
    await wait_while_compared(desk, broker.id, intent)
    client = desk.connections.ready(broker.id) or await desk.connections.client(broker.id)
    instrument = await find_instrument(desk, broker.exchange, intent.symbol)
    if account is None and (earlier := await existing(desk, broker.id, intent)) is not None:
        # Before sizing: a repetition must find its order even if the market or the position has changed meanwhile.
        return Submission(order=earlier, is_new=False)
    market = await read_market(desk, broker, client, intent, instrument, user_id=user_id)
    attempt = partial(
        store,
        desk,
        user_id,
        broker,
        intent,
        instrument=instrument,
        capabilities=client.capabilities,
        market=market,
        delivery_id=delivery_id,
    )
    try:
        order = await with_fresh_balance(desk, client, broker_id=broker.id, user_id=user_id, attempt=attempt)
    except OrderDenied as denial:
        if denial.reason is DenialReason.PRICE_DEVIATION:
            await _distrust(desk, user_id, instrument, denial)
        raise
    if order is None:
        return Submission(order=await _that_stood_in_the_way(desk, broker.id, intent), is_new=False)
    return Submission(order=await _sent(desk, order, client), is_new=True)


async def _sent(desk: Desk, order: OrderRecord, client: ExchangeClient) -> OrderRecord:
    if order.state is OrderState.SUBMITTING:
        try:
            announce(desk.bus, order)
            return await send_claimed(desk, order, client)
        finally:
            desk.in_flight.discard(order.id)
    announce(desk.bus, order)
    return order if order.is_held or not desk.lease.is_held else await send(desk, order, client)


async def _that_stood_in_the_way(desk: Desk, broker_id: UUID, intent: OrderIntent) -> OrderRecord:
    earlier = await existing(desk, broker_id, intent)
    assert earlier is not None  # noqa: S101  # the insert found it
    return earlier


async def _distrust(desk: Desk, user_id: UUID, instrument: Instrument, denial: OrderDenied) -> None:
    """A market that its last candle contradicts is left alone, but for closing, until a person has looked at it."""
    scope = Scope.symbol(instrument.symbol, user_id)
    await trip(desk, scope, state=TradingState.REDUCING, code=denial.code, reason=denial.message)


async def find_instrument(desk: Desk, exchange: str, text: str) -> Instrument:
    """Return the instrument that a trader's spelling means at `exchange`.

    Raises:
        OrderDenied: SYMBOL_UNKNOWN.
    """
    listed = await desk.instruments.all(exchange)
    symbol = resolve_symbol(text, listed)
    if symbol is None:
        raise OrderDenied(DenialReason.SYMBOL_UNKNOWN, f"{why_unresolved(text, listed)} at {exchange}", field="symbol")
    return listed[symbol]


async def read_market(
    desk: Desk, broker: Account, client: ExchangeClient, intent: OrderIntent, instrument: Instrument, *, user_id: UUID
) -> Market:
    """Read everything that needs the exchange before anything is stored, outside any transaction.

    Raises:
        BadCredentials: the exchange refuses the account's key, which is paused for it.
        ExchangeUnavailable: the exchange does not answer.
    """
    is_buy = intent.side is Side.BUY
    price = desk.quotes.reference_price(broker.exchange, instrument.symbol, is_buy=is_buy)
    if price is None:
        price = await _asked_price(desk, broker, client, intent, instrument)
    free: Decimal | None = None
    if intent.percent is not None:
        at = desk.clock.now()
        balances = await fetch(desk, client, broker.id)
        await store_balances(desk, balances, broker_id=broker.id, user_id=user_id, at=at)
        balance = balances.get(instrument.quote if is_buy else instrument.base)
        free = balance.free if balance is not None else Decimal(0)
    return Market(price=price, free=free)


async def _asked_price(desk: Desk, broker: Account, client: ExchangeClient, intent: OrderIntent, instrument: Instrument) -> Decimal | None:
    """The exchange's own price where the feed has none: to size with, and so that the risk rules know what an entry is worth."""
    is_entry = intent.purpose is Role.ENTRY
    must_know = needs_reference_price(intent) or (is_entry and not intent.type.has_limit and intent.trigger_price is None)
    # The kill switch must know what is too small to be sold, or it would try for ever.
    if not must_know and not is_entry and intent.purpose is not Role.FLATTEN:
        return None
    try:
        ticker = await client.fetch_ticker(instrument.symbol, lane=intent.purpose.lane)
    except BadCredentials as error:
        await pause_broker(desk.database, broker.id, error.message)
        raise
    except RetryableError:
        if must_know:
            raise
        return None  # a limit says itself what it is worth, and a way out does not wait
    return (ticker.ask if intent.side is Side.BUY else ticker.bid) or ticker.last
