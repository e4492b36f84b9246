"""An order's fast path: one statement reads, the rules are judged here, and one statement admits, stores and claims (steps W1 and W3).

Entries go by it, and what closes a position that nothing guards and no other order sells.

The second statement holds only while the account's row of `account_activity` is the version that the first one saw: every order that is
admitted writes a new one, so no two orders are admitted on the same reading. A version is told by `xmin`, the transaction that wrote it.
Of a position that is closed, what this process last saw is a guess, and the statement holds only while it is right.
Whatever is not as expected, a refusal or a repetition too, stores nothing and is left to the ordinary path (`trading.place`), which
decides for itself.
"""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.core.crash_points import reach
from app.core.ids import new_id
from app.core.leases import HOLD
from app.core.outage import DATABASE_GONE, UNDONE
from app.domain.enums import Execution, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.symbols import resolve_symbol
from app.errors import Fenced, OrderDenied
from app.exchanges.port import ExchangeClient
from app.trading.account import Account
from app.trading.desk import Desk
from app.trading.gate import LOOK, Counted, about, judge, reservation_of
from app.trading.place import COLUMNS, VALUES, Draft, Market, deadline_of, shaped, values_of
from app.trading.protections import DISTURB, DISTURBED, LIVE
from app.trading.records import OrderRecord
from app.trading.states import restraining
from app.trading.whose import same

#: The conditions of `trading.claim`, the version of the account's row, and that of the user's limits over all accounts where there are
#: such. Who locks one of these rows just now is admitting an order, or is about to fail; who locks the lease prolongs it or takes it, and
#: who locks the protection of what is sold is changing it. Nobody waits for any of them here, so that what the statement saw of halts is
#: never older than itself.
_STATEMENT: Final = f"""
WITH held AS ({HOLD.format(role="$31", owner="$32", epoch="$33")} SKIP LOCKED),
o AS (SELECT $1::uuid AS id, $2::uuid AS user_id, $3::uuid AS broker_id, $30::uuid AS bot_id, $5::text AS symbol, $6::text AS side,
             $16::text AS role, $15::text AS source, $8::numeric AS quantity),
seen AS (
  SELECT a.broker_id FROM account_activity a, held
   WHERE a.broker_id = $3 AND a.xmin = $34 AND a.minute <= $35 AND a.day <= $36 AND ($27::timestamptz IS NULL OR $27 > $28::timestamptz)
     AND EXISTS (SELECT 1 FROM brokers b WHERE b.id = $3 AND b.is_active AND b.paused_reason IS NULL AND b.removed_at IS NULL)
     AND NOT EXISTS (SELECT 1 FROM o, LATERAL ({restraining("o")}) r)
     FOR UPDATE OF a SKIP LOCKED),
together AS (
  SELECT u.scope_id FROM risk_limits u, seen WHERE u.scope_id = $2 AND u.xmin = $37::xid FOR UPDATE OF u SKIP LOCKED),
guarding AS (
  SELECT protections.id FROM protections, seen WHERE $6::text = 'sell' AND {DISTURBED.format(broker="$3", symbol="$5", bot="$30")}
     FOR NO KEY UPDATE OF protections SKIP LOCKED),
turned AS (UPDATE risk_limits u SET updated_at = u.updated_at FROM together WHERE u.scope_id = together.scope_id),{{holding}}
entered AS (
  UPDATE account_activity a
     SET minute_orders = CASE WHEN a.minute = $35 THEN a.minute_orders + 1 ELSE 1 END, minute = $35,
         day_orders = CASE WHEN a.day = $36 THEN a.day_orders + 1 ELSE 1 END, day = $36
    FROM seen
   WHERE a.broker_id = seen.broker_id AND ($37::xid IS NULL OR EXISTS (SELECT 1 FROM together))
     AND ($6::text <> 'sell' OR EXISTS (SELECT 1 FROM guarding)
          OR NOT EXISTS (SELECT 1 FROM protections WHERE {DISTURBED.format(broker="$3", symbol="$5", bot="$30")})){{and_holding}}
  RETURNING a.broker_id),
placed AS (INSERT INTO orders ({COLUMNS}, state, epoch, sent_at) SELECT {VALUES}, 'submitting', $33, $28 FROM entered RETURNING *),
disturbed AS (
  {DISTURB} FROM placed
   WHERE placed.side = 'sell' AND {DISTURBED.format(broker="placed.broker_id", symbol="placed.symbol", bot="placed.bot_id")}),
noted AS (
  INSERT INTO order_events (order_id, user_id, at, kind, state, epoch)
  SELECT placed.id, placed.user_id, $28, step.kind, step.state, step.epoch
    FROM placed, (VALUES (1, 'Intent', 'intent', NULL), (2, 'Claimed', 'submitting', $33)) AS step (number, kind, state, epoch)
   ORDER BY step.number)
SELECT * FROM placed
"""  # noqa: S608  # constants
_ENTER_AND_CLAIM: Final = _STATEMENT.format(holding="", and_holding="")
#: A position is closed so while it is the one that was seen. Its row stays locked, so that nobody opens a protection beside it; legs would
#: have to step aside first, and what another order sells, or has sold and is not counted yet, would be sold twice. Who opened one since
#: the statement's snapshot has written the row, whose version is not the snapshot's any more; the protection itself cannot be seen.
_HOLDING: Final = f"""
holding AS (
  SELECT p.id FROM positions p, seen
   WHERE p.broker_id = $3 AND p.symbol = $5 AND {same("p.bot_id", "$30")} AND p.status <> 'closed' AND p.quantity = $38::numeric
     AND EXISTS (SELECT 1 FROM positions q WHERE q.id = p.id AND q.xmin = p.xmin)
     FOR UPDATE OF p SKIP LOCKED),"""  # noqa: S608  # a constant
_AND_HOLDING: Final = f"""
     AND EXISTS (SELECT 1 FROM holding)
     AND NOT EXISTS (SELECT 1 FROM protections WHERE {DISTURBED.format(broker="$3", symbol="$5", bot="$30")})
     AND NOT EXISTS (SELECT 1 FROM orders e
                      WHERE e.user_id = $2 AND e.broker_id = $3 AND e.symbol = $5 AND {same("e.bot_id", "$30")} AND e.side = 'sell'
                        AND (e.state IN {LIVE} OR e.fills_quantity <> e.filled_quantity))"""  # noqa: S608  # constants
_CLOSE_AND_CLAIM: Final = _STATEMENT.format(holding=_HOLDING, and_holding=_AND_HOLDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An order that is stored and claimed; it stands in `desk.in_flight`, from which its caller takes it when it is sent."""

    order: OrderRecord
    client: ExchangeClient


async def enter_at_once(
    desk: Desk, user_id: UUID, intent: OrderIntent, *, broker_id: UUID | None, account: Account | None, delivery_id: UUID | None
) -> Claimed | None:
    """Admit, store and claim an order of an account that is ready for it; None when nothing was stored and the ordinary path must decide.

    Raises:
        DATABASE_GONE: the writing broke off, and nobody knows whether it counted: the intent's key tells, and reconcile asks.
    """
    expected = account or desk.hints.accounts.get((user_id, broker_id))
    if expected is None or not (_is_entry(intent) or _is_close(intent)) or intent.percent is not None:
        return None
    client = desk.connections.ready(expected.id)
    if client is None or expected.id in desk.awaited or not desk.lease.is_held:
        return None
    listed = await desk.instruments.all(expected.exchange)
    symbol = resolve_symbol(intent.symbol, listed)
    price = None if symbol is None else desk.quotes.reference_price(expected.exchange, symbol, is_buy=intent.side is Side.BUY)
    if symbol is None or price is None:
        return None
    held = Decimal(0)
    if intent.close_position:
        guess = desk.hints.positions.get((expected.id, symbol, intent.bot_id))
        if guess is None or guess.quantity <= 0:
            return None
        held = guess.quantity
    attempt = _Attempt(desk, user_id, expected, intent, listed[symbol], client, Market(price=price), held, delivery_id)
    order_id = new_id()
    order: OrderRecord | None = None
    try:
        async with desk.hints.entering[expected.id]:
            order = await attempt.made(order_id, must_be_default=account is None and broker_id is None)
    except (OrderDenied, Fenced, asyncpg.UniqueViolationError, *UNDONE):
        return None
    except DATABASE_GONE:
        if order_id in desk.in_flight:
            raise
        return None  # it broke while reading
    finally:
        # Also when the commit itself broke off: if it counted, nobody is sending this order, and reconcile must find it.
        if order is None:
            desk.in_flight.discard(order_id)
    return None if order is None else Claimed(order=order, client=client)


def _is_entry(intent: OrderIntent) -> bool:
    return intent.purpose is Role.ENTRY and not intent.close_position


def _is_close(intent: OrderIntent) -> bool:
    return intent.purpose is Role.EXIT and intent.close_position and intent.side is Side.SELL


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One intent on its way into the tables."""

    desk: Desk
    user_id: UUID
    account: Account
    intent: OrderIntent
    instrument: Instrument
    client: ExchangeClient
    market: Market
    #: Of a position that is to be closed; 0 of an entry.
    held: Decimal
    delivery_id: UUID | None

    async def made(self, order_id: UUID, *, must_be_default: bool) -> OrderRecord | None:
        desk, account, role = self.desk, self.account, self.intent.purpose
        intent, fitted = shaped(self.intent, self.instrument, self.client.capabilities, self.market, position=self.held)
        if fitted.execution is not Execution.NATIVE:
            return None
        order, price = fitted.order, self.market.price
        reservation = reservation_of(order, self.instrument, reference_price=price)
        now = desk.clock.now()
        minute, day = now.replace(second=0, microsecond=0), now.astimezone(UTC).date()
        async with desk.database.fast_connection() as connection:
            asked = about(self.user_id, account, order, reservation, role=role)
            found = await connection.fetchrow(LOOK, *asked, day, minute, intent.source.value, intent.bot_id)
            if found is None or not found["is_open"] or (must_be_default and not found["is_default"]):
                return None
            if self.held and (found["position"] != self.held or found["closing"]):
                return None
            counted = Counted(minute=found["minute_orders"] + 1, day=found["day_orders"] + 1, unseen=1)
            judge(desk, found, account, order, self.instrument, reservation, counted, role=role, reference_price=price)
            draft = Draft(
                order_id=order_id,
                user_id=self.user_id,
                account=account,
                intent=intent,
                order=order,
                execution=fitted.execution,
                reservation=reservation,
                deadline=deadline_of(desk, intent, fitted.execution),
                delivery_id=self.delivery_id,
            )
            seen = (found["revision"], minute, day, found["user_revision"], *([self.held] if self.held else []))
            return await _stored(desk, connection, draft, *seen)


async def _stored(desk: Desk, connection: Any, draft: Draft, *seen: object) -> OrderRecord | None:
    lease = desk.lease
    statement = _CLOSE_AND_CLAIM if draft.intent.close_position else _ENTER_AND_CLAIM
    # Before the claim can be seen: reconcile must never find a claimed order that nobody seems to be sending.
    desk.in_flight.add(draft.order_id)
    reach("P0")
    row = await connection.fetchrow(statement, *values_of(draft, desk.clock.now()), lease.role, lease.owner, lease.epoch, *seen)
    reach("P1")
    return None if row is None else OrderRecord.of(row)
