"""Settle one order by asking its venue: one in doubt, one whose fills are missing, one that nobody sent, one that is to be canceled.

The venue is asked by our client order id. An order it does not know is given up (`lost`) only when the request we sent could no longer
be accepted: its timestamp plus the window the venue honours, plus a margin, lies in the venue's past.
"""

from datetime import datetime, timedelta
from typing import Final

from app.brokers.service import pause_broker
from app.domain.enums import OrderState
from app.domain.orders import Denied, InDoubt, NotFoundAfterWindow, Reported
from app.errors import BadCredentials, BrokerNotFound, ExchangeError
from app.exchanges.port import ExchangeClient
from app.trading.apply import record, stamp
from app.trading.cancel import cancel_at_venue, deny_intent
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.resume import resume
from app.trading.sweep import MissingOrders

#: recvWindow 5 s + the venue's own time-out 10 s + margin 5 s.
WINDOW: Final = timedelta(seconds=20)
RESTING: Final = (OrderState.OPEN, OrderState.PARTIAL)


async def ask(desk: Desk, order: OrderRecord, client: ExchangeClient) -> Reported | None:
    """Return what the venue knows of an order.

    Raises:
        ExchangeError: it cannot be asked; a key that it refuses has paused the account.
    """
    try:
        return await client.fetch_order(
            order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, type=order.venue_type
        )
    except BadCredentials as error:
        await refuse_key(desk, order, error)
        raise


async def refuse_key(desk: Desk, order: OrderRecord, error: BadCredentials) -> None:
    """Pause an account whose key the venue refuses, unless it was changed a moment ago, in another process."""
    if order.broker_id not in await desk.connections.drop_changed():
        await pause_broker(desk.database, order.broker_id, error.message)


async def learn(desk: Desk, order: OrderRecord, client: ExchangeClient) -> tuple[OrderRecord, Reported | None]:
    """Ask about an order that was sent; nothing of the answer is written down yet.

    Raises:
        ExchangeError: the venue cannot be asked.
        Fenced: this process does not own the engine role.
    """
    if order.state is OrderState.SUBMITTING:
        order = await record(desk, order.id, InDoubt(detail="the server stopped before the exchange's answer was written down"))
    return order, await ask(desk, order, client)


async def fulfil(desk: Desk, order: OrderRecord) -> None:
    """Carry out a wish to cancel an order that rests at the venue."""
    if order.cancel_requested_at is not None and order.state in RESTING:
        await cancel_at_venue(desk, order)


async def absent(desk: Desk, order: OrderRecord, client: ExchangeClient, missing: MissingOrders) -> None:
    """Deal with an order that the venue does not know.

    Raises:
        ExchangeError: the venue cannot be asked for its time.
        Fenced: this process does not own the engine role.
    """
    if order.state in RESTING:
        await stamp(desk, [order.id])
        await missing.not_seen(order)
    elif order.state is OrderState.UNKNOWN and await _window_has_passed(desk, order, client):
        detail = "checked until the exchange could no longer accept it: the order never arrived; no money moved"
        await record(desk, order.id, NotFoundAfterWindow(detail=detail))


async def settle_intent(desk: Desk, order: OrderRecord) -> None:
    """Deal with an intent that nobody sends: its process died, or holds no role. In time it goes on now, too late it is denied.

    The venue is asked first: a database that was brought back from a moment before the claim remembers nothing of it.

    Raises:
        ExchangeError: the venue cannot be asked.
        Fenced: this process does not own the engine role.
    """
    if order.is_held:
        await _deny(desk, order)  # it waited here for its trigger, so the venue never heard of it
        return
    try:
        client = await desk.connections.client(order.broker_id)
        report = await ask(desk, order, client)
    except (ExchangeError, BrokerNotFound):
        if not is_to_be_denied(desk, order):
            raise
        # Nothing will be sent. Should the venue have it after all, the comparison of open orders finds it there.
        await _deny(desk, order)
        return
    if report is not None:
        await record(desk, order.id, report)
    elif is_to_be_denied(desk, order):
        await _deny(desk, order)
    else:
        await resume(desk, order, client)


def is_to_be_denied(desk: Desk, order: OrderRecord) -> bool:
    """Whether an intent must not be sent any more."""
    if order.state is not OrderState.INTENT:
        return False
    return order.cancel_requested_at is not None or (order.deadline is not None and order.deadline <= desk.clock.now())


async def _deny(desk: Desk, order: OrderRecord) -> None:
    if order.cancel_requested_at is not None:
        await deny_intent(desk, order.id)
    else:
        late = Denied(code="DEADLINE_PASSED", detail="the server was down until the order's deadline had passed; nothing was sent")
        await record(desk, order.id, late, only_from=OrderState.INTENT)


async def _window_has_passed(desk: Desk, order: OrderRecord, client: ExchangeClient) -> bool:
    sent_at: datetime | None = order.sent_at
    if sent_at is None or desk.clock.now() <= sent_at + WINDOW:
        return False
    # Our clock thinks so; the venue's clock decides.
    return await client.server_time() > sent_at + WINDOW
