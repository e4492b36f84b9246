"""Claim, speak once, classify, write down (steps W3 to W6). Nothing here ever sends the same order again.

A crash between the claim and the answer leaves the order `submitting`; reconcile then asks the venue by our client order id.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import structlog

from app.brokers.service import pause_broker
from app.core.crash_points import reach
from app.domain.enums import OrderState, Side
from app.domain.instruments import plain
from app.domain.orders import Denied, InDoubt, OrderEvent, Rejected
from app.errors import (
    BadCredentials,
    Conflict,
    ExchangeError,
    ExchangeRateLimited,
    InsufficientFunds,
    NotSent,
    OrderRejected,
    Unsupported,
)
from app.exchanges.port import ExchangeClient, Guard
from app.trading.apply import record
from app.trading.aside import claim_close, closes_position, make_room
from app.trading.cancel import CANCELED
from app.trading.claim import claim_alone
from app.trading.desk import Desk
from app.trading.events import announce
from app.trading.fast_answer import record_answer
from app.trading.records import OrderRecord

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: The venue said no and cannot have the order. Anything else is a doubt.
_DEFINITE: Final = (OrderRejected, BadCredentials, Unsupported, ExchangeRateLimited)


async def send(desk: Desk, order: OrderRecord, client: ExchangeClient, *, is_patient: bool = True) -> OrderRecord:
    """Send an order that is still an intent, and write down what the venue said.

    Returns the order as it then stands: acknowledged, rejected, denied, or `unknown` when the venue gave no usable answer. An order
    that somebody else claimed meanwhile comes back as it is; and so does one that closes a position while a leg of its protection may be
    selling this very moment: reconcile sends it once that is known. With `is_patient` False it is not waited for at all.

    Raises:
        Fenced: this process does not own the engine role; nothing was sent.
    """
    if order.id in desk.in_flight or order.is_held:
        return order
    if closes_position(order) and not await make_room(desk, order, client, is_patient=is_patient):
        return order
    # Before the claim is visible: reconcile must never see a claimed order that nobody seems to be sending.
    desk.in_flight.add(order.id)
    try:
        claimed = await (claim_close(desk, order, client) if closes_position(order) else claim_alone(desk, order.id))
        return await send_if_claimed(desk, order, claimed, client)
    finally:
        desk.in_flight.discard(order.id)


async def send_if_claimed(desk: Desk, order: OrderRecord, claimed: OrderRecord | Denied | None, client: ExchangeClient) -> OrderRecord:
    """Go on with what a claim came to, as `send` does; the caller keeps the order in `desk.in_flight` from before the claim."""
    if isinstance(claimed, Denied):
        return await record(desk, order.id, claimed, only_from=OrderState.INTENT)
    return await send_claimed(desk, claimed, client) if claimed is not None else await as_it_is(desk, order)


async def send_claimed(desk: Desk, order: OrderRecord, client: ExchangeClient) -> OrderRecord:
    """Send an order that was claimed by this process a moment ago; its caller keeps it in `desk.in_flight`.

    Returns the order as it then stands, as `send` does.

    Raises:
        Fenced: this process does not own the engine role any more; what became of the order is asked for by its successor.
    """
    reach("P2")
    event = await _speak(desk, order, client)
    reach("P4")
    try:
        return await record_answer(desk, order, event)
    except Conflict as error:
        # The venue gave it an id that an older order has. It stays in doubt and is shown so; nothing is sent again.
        log.warning("order_unrecordable", order_id=str(order.id), code=error.code, reason=error.message)
        return await record(desk, order.id, InDoubt(detail=error.message))


async def _speak(desk: Desk, order: OrderRecord, client: ExchangeClient) -> OrderEvent:
    """The one request."""
    assert order.sent_at is not None  # noqa: S101  # the claim sets it
    request = order.request(order.sent_at)
    return await hear(desk, order, client, lambda guard: client.place_order(request, guard=guard))


async def hear(desk: Desk, order: OrderRecord, client: ExchangeClient, ask: Callable[[Guard], Awaitable[T]]) -> T | OrderEvent:
    """Make a request for a claimed order. Its error is an event, never an exception: the order's fate must be written down."""

    def guard() -> None:
        if not desk.lease.is_held:
            raise NotSent("this server lost its role just before sending; the order was not sent", code="NOT_OWNER")
        if order.deadline is not None and desk.clock.now() > order.deadline:
            raise NotSent("the order's deadline passed before it could be sent", code="DEADLINE_PASSED")

    try:
        return await ask(guard)
    except NotSent as error:
        return Denied(code=error.code, detail=error.message)
    except InsufficientFunds as error:
        return Rejected(code=error.code, detail=await _shortage(desk, order, client))
    except _DEFINITE as error:
        if isinstance(error, BadCredentials) and order.broker_id not in await desk.connections.drop_changed():
            # Unless the key was changed by another process just now: then the refused one is not the account's any more.
            await pause_broker(desk.database, order.broker_id, error.message)
        return Rejected(code=error.code, detail=error.message)
    except ExchangeError as error:
        # OutcomeUnknown, and an error of the port that says nothing of the write, are doubts.
        return _in_doubt(desk, order.id, error)


async def _shortage(desk: Desk, order: OrderRecord, client: ExchangeClient) -> str:
    """Say what was missing, in the trader's words, from the balance last read: no request may stand between a refusal and its record."""
    base, _, quote = order.symbol.partition("/")
    is_buy = order.side is Side.BUY
    asset = quote if is_buy else base
    price = order.price or desk.quotes.reference_price(client.exchange, order.symbol, is_buy=True)
    needed = order.quantity if not is_buy else (order.quantity * price if price is not None else None)
    async with desk.database.connection() as connection:
        rows = await connection.fetch("SELECT asset, free, locked FROM balances WHERE broker_id = $1", order.broker_id)
    words = [] if needed is None else [f"needed {'' if order.price or not is_buy else 'about '}{plain(needed)}"]
    if rows:
        found = next((row for row in rows if row["asset"] == asset), None)
        reserved = f" ({plain(found['locked'])} reserved by open orders)" if found is not None and found["locked"] else ""
        words.append(f"free {plain(found['free']) if found is not None else '0'}{reserved}")
    return f"Not enough {asset}{': ' if words else ''}{', '.join(words)}."


def _in_doubt(desk: Desk, order_id: UUID, error: ExchangeError) -> InDoubt:
    log.warning("order_in_doubt", order_id=str(order_id), code=error.code, reason=error.message)
    desk.doubt.set()
    return InDoubt(detail=error.message)


async def refusal_of(desk: Desk, order: OrderRecord) -> Denied | None:
    """Why an intent may not be sent any more; None when nothing speaks against it but the role."""
    if order.deadline is not None and order.deadline <= desk.clock.now():
        return Denied(code="DEADLINE_PASSED", detail="the order's deadline passed before it could be sent")
    if order.cancel_requested_at is not None:
        return Denied(code=CANCELED, detail="canceled before it was sent")
    query = "SELECT NOT is_active OR paused_reason IS NOT NULL FROM brokers WHERE id = $1"
    async with desk.database.connection() as connection:
        if await connection.fetchval(query, order.broker_id):
            return Denied(code="BROKER_INACTIVE", detail="the broker account was switched off or paused")
    return None


async def as_it_is(desk: Desk, order: OrderRecord) -> OrderRecord:
    """The claim found nothing to claim: taken by another, past its deadline, its account switched off, or the role has moved."""
    async with desk.database.connection() as connection:
        current = OrderRecord.of(await connection.fetchrow("SELECT * FROM orders WHERE id = $1", order.id))
        if current.state is not OrderState.INTENT or current.is_held:
            return current
        is_ours = await desk.lease.ask_whether_held(connection)
    refusal = await refusal_of(desk, current) if is_ours else None
    if refusal is not None:
        return await record(desk, order.id, refusal, only_from=OrderState.INTENT)
    announce(desk.bus, current)
    return current
