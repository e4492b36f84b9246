"""Orders at a venue that carry an id of ours and are not in our tables: adopted, told, and no entry is sent until a person has looked.

They come of a database that was brought back from an earlier moment, or of another server that trades with the same keys. Which bot's one
was cannot be told from its id: it counts as traded by hand, and what a bot sold so is missed in `trading.shortfall`.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.ids import new_id
from app.core.leases import HOLD
from app.domain.enums import OrderState, OrderType, Role, Side, Source, TradingState
from app.domain.instruments import plain
from app.domain.risk import Scope
from app.exchanges.port import ExchangeClient, VenueOrder
from app.trading.apply import record
from app.trading.desk import Desk
from app.trading.doubts import ask
from app.trading.outbox import NoticeKind, put
from app.trading.records import OrderRecord
from app.trading.states import announce, trip_in

log = structlog.get_logger(__name__)

#: The cause under which entries are off after an orphan was found.
ORPHAN_FOUND: Final = "ORPHAN_FOUND"
ADOPTED: Final = "Adopted"
#: Ids that `core.ids.client_order_id` makes.
_OURS: Final = re.compile(r"q[0-9a-hjkmnp-tv-z]{17}")
#: Orders of this server's other accounts with the same keys are not orphans.
_ELSEWHERE: Final = "SELECT client_order_id FROM orders WHERE client_order_id = ANY($1) AND broker_id <> $2"
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_ADOPT: Final = f"""
WITH held AS ({HOLD.format(role="$19", owner="$20", epoch="$21")}),
adopted AS (
  INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, price, trigger_price, time_in_force,
                      post_only, source, role, reserved, reserved_asset, key, leg, attempt, detail, epoch, sent_at, created_at, updated_at)
  SELECT $1, $2, $3, $4, $5, $6, $7, 'unknown', $8, $9, $10, 'gtc', false, $11, $12, $13, $14, $15, 0, 0, $16, $21, $17, $17, $18 FROM held
  ON CONFLICT (broker_id, client_order_id) DO NOTHING RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, epoch)
          SELECT id, user_id, $18, '{ADOPTED}', state, $21 FROM adopted),
known AS (DELETE FROM external_orders e USING adopted a
           WHERE e.broker_id = a.broker_id AND e.symbol = a.symbol AND e.client_order_id = a.client_order_id)
SELECT * FROM adopted
"""  # noqa: S608  # constants


def is_ours(client_order_id: str | None) -> bool:
    """Whether an order's client id has the form that only this program gives."""
    return client_order_id is not None and _OURS.fullmatch(client_order_id) is not None


async def adopt_orphans(
    desk: Desk, broker_id: UUID, user_id: UUID, strangers: Sequence[VenueOrder], client: ExchangeClient
) -> list[VenueOrder]:
    """Adopt what is ours among orders that are not in the account's tables, and return the others: they are the trader's own.

    Raises: as `adopt`.
    """
    ids = [found.client_order_id for found in strangers if is_ours(found.client_order_id)]
    if not ids:
        return list(strangers)
    async with desk.database.connection() as connection:
        elsewhere = {row["client_order_id"] for row in await connection.fetch(_ELSEWHERE, ids, broker_id)}
    foreign: list[VenueOrder] = []
    for found in strangers:
        is_orphan = is_ours(found.client_order_id) and found.client_order_id not in elsewhere
        if not is_orphan or await adopt(desk, broker_id, user_id, found, client) is None:
            foreign.append(found)
    return foreign


async def adopt(desk: Desk, broker_id: UUID, user_id: UUID, found: VenueOrder, client: ExchangeClient) -> OrderRecord | None:
    """Take an order of ours that our tables do not know as it stands at the venue, with its fills and its position.

    Returns None when it cannot be taken yet: the venue does not say how large it is.

    Raises:
        ExchangeError: the venue cannot be asked for its fills; the order is in the tables then, and reconcile asks again.
        Fenced: this process does not own the engine role.
    """
    assert found.client_order_id is not None  # noqa: S101  # that is what makes it an orphan
    quantity = max(found.quantity, found.report.filled_quantity)
    if quantity <= 0:
        return None
    order = await _insert(desk, broker_id, user_id, found, quantity)
    if order is None:
        return None
    report = await ask(desk, order, client)
    return order if report is None else await record(desk, order.id, report)


async def _insert(desk: Desk, broker_id: UUID, user_id: UUID, found: VenueOrder, quantity: Decimal) -> OrderRecord | None:
    """The row, the notice and the trip, in one transaction; None when another process was first."""
    now = desk.clock.now()
    words = f"{found.side.value} {plain(quantity)} {found.symbol}"
    reason = (
        f"the exchange has an order of ours that this server did not know ({words}). It was taken over as one by hand: whether it was a"
        " bot's, nobody knows. A database that was brought back from a backup, or another server with the same keys, leaves such orders:"
        " look at the account, then resume"
    )
    scope = Scope.broker(broker_id, user_id)
    async with desk.database.raw_transaction() as connection:
        row = await connection.fetchrow(_ADOPT, *_values(desk, broker_id, user_id, found, quantity, now))
        if row is None:
            return None
        order = OrderRecord.of(row)
        text = f"An order of ours that this server did not know was found at the exchange and taken over: {words}."
        await put(connection, NoticeKind.ORPHAN_ADOPTED, text, user_id=user_id, broker_id=broker_id, at=now, order_id=str(order.id))
        is_new = await trip_in(
            connection,
            scope,
            state=TradingState.REDUCING,
            code=ORPHAN_FOUND,
            reason=reason,
            set_by="server",
            needs_rearm=True,
            at=now,
        )
    log.error("orphan_adopted", order_id=str(order.id), broker_id=str(broker_id), client_order_id=order.client_order_id)
    if is_new:
        announce(desk, scope, state=TradingState.REDUCING, code=ORPHAN_FOUND)
    return order


def _values(desk: Desk, broker_id: UUID, user_id: UUID, found: VenueOrder, quantity: Decimal, now: datetime) -> tuple[Any, ...]:
    base, _, quote = found.symbol.partition("/")
    is_sell = found.side is Side.SELL
    price = found.price or found.trigger_price
    kind = found.type or (OrderType.LIMIT if found.price is not None else OrderType.MARKET)
    reserved = quantity if is_sell else _UP.multiply(quantity, price) if price is not None else Decimal(0)
    detail = "found at the exchange; this server did not know it" + ("" if found.type is not None else ", nor the kind of order it is")
    lease = desk.lease
    return (
        new_id(),
        user_id,
        broker_id,
        found.client_order_id,
        found.symbol,
        found.side.value,
        kind.value,
        quantity,
        found.price,
        found.trigger_price,
        Source.RECOVERED.value,
        (Role.EXIT if is_sell else Role.ENTRY).value,
        reserved if found.report.state in (OrderState.OPEN, OrderState.PARTIAL) else Decimal(0),
        base if is_sell else quote,
        f"recovered:{found.client_order_id}",
        detail,
        found.created_at or now,
        now,
        lease.role,
        lease.owner,
        lease.epoch,
    )
