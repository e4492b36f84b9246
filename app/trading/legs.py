"""Carry out what the guard decided: put the legs of a protection at the venue or on watch here, move them, take them back."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.enums import Execution, OrderType, Role, Side, TimeInForce
from app.domain.guard import Action, Cancel, MoveStop, PlacePair, PlaceStop, PlaceTarget, SendTriggered
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.orders import TERMINAL
from app.domain.sizing import SizedOrder
from app.errors import ExchangeError
from app.exchanges.port import ExchangeClient
from app.trading.account import Account
from app.trading.apply import record
from app.trading.cancel import cancel_at_venue, deny_intent
from app.trading.claim import claim_one
from app.trading.desk import Desk
from app.trading.events import announce
from app.trading.gate import reservation_of
from app.trading.pairs import send_pair, send_replacement
from app.trading.place import SEND_WITHIN, Draft, insert
from app.trading.protections import Protection, confirm, stop_type
from app.trading.records import OrderRecord
from app.trading.send import send_if_claimed

_ASK_CANCEL: Final = """
WITH asked AS (
  UPDATE orders SET cancel_requested_at = coalesce(cancel_requested_at, $2), updated_at = $2
   WHERE id = $1 AND state <> ALL($3) RETURNING *),
noted AS (INSERT INTO order_events (order_id, user_id, at, kind, state, detail)
          SELECT id, user_id, $2, 'CancelRequested', state, jsonb_build_object('why', $4::text) FROM asked)
SELECT * FROM asked
"""
_FOLLOW_ON: Final = "UPDATE orders SET watermark = $2 WHERE id = $1"
_SHRINK: Final = "UPDATE orders SET quantity = $2 WHERE id = $1 AND state = 'intent' AND quantity > $2"


async def carry_out(desk: Desk, protection: Protection, action: Action, *, instrument: Instrument, client: ExchangeClient) -> None:
    """Do one step. What the venue answers is written down; the next look at the protection sees it.

    Raises:
        StaleLookError: what the step rests on has changed; nothing was done.
        ExchangeError: a cancellation was refused or the venue cannot be reached; the wish stays.
        Fenced: this process does not own the engine role any more.
    """
    work = _Legs(desk, protection, instrument, client)
    match action:
        case Cancel(order_id=order_id, why=why):
            await work.cancel(UUID(order_id), why)
        case PlaceStop():
            await work.place_stop(action)
        case PlaceTarget():
            await work.place_target(action)
        case PlacePair():
            await work.place_pair(action)
        case MoveStop():
            await work.move_stop(action)
        case SendTriggered(order_id=order_id, quantity=quantity):
            await work.send_triggered(UUID(order_id), quantity)
        case _:
            raise AssertionError(f"{action} changes the protection, not a leg")


class _Legs:
    def __init__(self, desk: Desk, protection: Protection, instrument: Instrument, client: ExchangeClient) -> None:
        self._desk = desk
        self._protection = protection
        self._instrument = instrument
        self._client = client

    async def cancel(self, order_id: UUID, why: str) -> None:
        _ = self._desk.lease.epoch  # a cancellation is not claimed: who is fenced must not even ask for one
        async with self._desk.database.connection() as connection:
            row = await connection.fetchrow(_ASK_CANCEL, order_id, self._desk.clock.now(), list(TERMINAL), why)
        if row is None:
            return
        order = OrderRecord.of(row)
        if order.sent_at is None:
            await deny_intent(self._desk, order.id)
            return
        await cancel_at_venue(self._desk, order, self._client)
        await self._refresh_other_half(order)

    async def _refresh_other_half(self, order: OrderRecord) -> None:
        """The venue takes a pair back together: what became of the other half is asked at once, not at the next round."""
        from_pair = [leg for leg in self._protection.legs if leg.leg // 2 == order.leg // 2 and leg.role is not order.role]
        for leg in from_pair:
            if leg.state not in TERMINAL and leg.sent_at is not None and leg.attempt == order.attempt:
                await refresh(self._desk, leg, self._client)

    async def place_stop(self, action: PlaceStop) -> None:
        plan = self._protection.plan
        kind = OrderType.MARKET if action.is_market else stop_type(plan)
        order = self._sized(
            kind,
            action.quantity,
            price=plan.stop_limit_price if kind is OrderType.STOP_LIMIT else None,
            trigger=plan.stop_price if kind in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT) else None,
            trail=plan.trailing_delta if kind is OrderType.TRAILING_STOP else None,
        )
        await self._place(order, Role.STOP, action.slice, is_held=action.is_held)

    async def place_target(self, action: PlaceTarget) -> None:
        if action.is_held:
            order = self._sized(OrderType.TAKE_PROFIT, action.quantity, trigger=action.price)
        else:
            order = self._sized(OrderType.LIMIT, action.quantity, price=action.price)
        await self._place(order, Role.TARGET, action.slice, is_held=action.is_held)

    async def place_pair(self, action: PlacePair) -> None:
        plan = self._protection.plan
        target = self._sized(OrderType.LIMIT, action.quantity, price=action.price)
        stop = self._sized(stop_type(plan), action.quantity, price=plan.stop_limit_price, trigger=plan.stop_price)
        async with self._desk.database.raw_transaction() as connection:
            await confirm(self._desk, connection, self._protection)
            first = await self._insert(connection, self._draft(target, Role.TARGET, action.slice))
            second = await self._insert(connection, self._draft(stop, Role.STOP, action.slice))
        announce(self._desk.bus, first)
        announce(self._desk.bus, second)
        await send_pair(self._desk, first, second, self._client)

    async def move_stop(self, action: MoveStop) -> None:
        """In one request where the venue can; else the old one is taken back, and the next look puts the new one."""
        old = next(leg for leg in self._protection.legs if str(leg.id) == action.order_id)
        if not self._client.capabilities.has_replace:
            await self.cancel(old.id, "the stop moves")
            return
        plan = self._protection.plan
        order = self._sized(
            stop_type(plan), action.quantity, price=plan.stop_limit_price, trigger=plan.stop_price, trail=plan.trailing_delta
        )
        stored = await self._store(order, Role.STOP, action.slice, is_held=False, replaces_id=old.id)
        await send_replacement(self._desk, old, stored, self._client)

    async def send_triggered(self, order_id: UUID, quantity: Decimal) -> None:
        leg = next(leg for leg in self._protection.legs if leg.id == order_id)
        if leg.id in self._desk.in_flight:
            return
        self._desk.in_flight.add(leg.id)
        try:
            async with self._desk.database.raw_transaction() as connection:
                await connection.execute(_SHRINK, order_id, quantity)
                await confirm(self._desk, connection, self._protection)
                claimed = await claim_one(self._desk, connection, order_id)
            await send_if_claimed(self._desk, leg, claimed, self._client)
        finally:
            self._desk.in_flight.discard(leg.id)

    async def _place(self, order: SizedOrder, role: Role, slice_: int, *, is_held: bool) -> None:
        """Put one leg on watch here, or at the venue: stored and claimed in one transaction, so that no sale comes between."""
        if is_held:
            await self._store(order, role, slice_, is_held=True)
            return
        draft = self._draft(order, role, slice_)
        self._desk.in_flight.add(draft.order_id)
        try:
            async with self._desk.database.raw_transaction() as connection:
                await confirm(self._desk, connection, self._protection)
                stored = await self._insert(connection, draft)
                claimed = await claim_one(self._desk, connection, stored.id)
            announce(self._desk.bus, stored)
            await send_if_claimed(self._desk, stored, claimed, self._client)
        finally:
            self._desk.in_flight.discard(draft.order_id)

    def _sized(
        self,
        kind: OrderType,
        quantity: Decimal,
        *,
        price: Decimal | None = None,
        trigger: Decimal | None = None,
        trail: Decimal | None = None,
    ) -> SizedOrder:
        return SizedOrder(
            symbol=self._protection.symbol,
            side=Side.SELL,
            type=kind,
            quantity=quantity,
            price=price,
            trigger_price=None if trail is not None else trigger,
            trailing_delta=trail,
            time_in_force=TimeInForce.GTC,
            post_only=False,
        )

    def _draft(self, order: SizedOrder, role: Role, slice_: int, *, is_held: bool = False, replaces_id: UUID | None = None) -> Draft:
        protection = self._protection
        leg = 2 * slice_ + (role is Role.TARGET)
        attempts = [each.attempt for each in protection.legs if each.leg == leg]
        intent = OrderIntent(
            symbol=order.symbol,
            side=order.side,
            source=protection.source,
            key=f"protect:{protection.id}",
            type=order.type,
            role=role,
            leg=leg,
            attempt=max(attempts, default=-1) + 1,
            bot_id=protection.bot_id,
        )
        return Draft(
            user_id=protection.user_id,
            account=Account(id=protection.broker_id, exchange=protection.exchange, is_active=True, paused_reason=None),
            intent=intent,
            order=order,
            execution=Execution.SUPERVISED if is_held else Execution.NATIVE,
            reservation=reservation_of(order, self._instrument, reference_price=None),
            deadline=None if is_held else self._desk.clock.now() + SEND_WITHIN,
            group_id=protection.id,
            replaces_id=replaces_id,
        )

    async def _store(self, order: SizedOrder, role: Role, slice_: int, *, is_held: bool, replaces_id: UUID | None = None) -> OrderRecord:
        async with self._desk.database.raw_transaction() as connection:
            await confirm(self._desk, connection, self._protection)
            stored = await self._insert(connection, self._draft(order, role, slice_, is_held=is_held, replaces_id=replaces_id))
            if is_held and order.trailing_delta is not None:
                await connection.execute(_FOLLOW_ON, stored.id, self._best_price(order.trailing_delta))
        announce(self._desk.bus, stored)
        return stored

    def _best_price(self, trailing_delta: Decimal) -> Decimal | None:
        """The best price that the plan's trailing stop has seen: one that stepped aside comes back at the level it had reached."""
        protection = self._protection
        same = [leg for leg in protection.legs if leg.trailing_delta == trailing_delta and leg.created_at >= protection.plan_since]
        return max((leg.watermark for leg in same if leg.watermark is not None), default=None)

    async def _insert(self, connection: Any, draft: Draft) -> OrderRecord:
        """Under the next free id: legs that a database brought back from a copy has forgotten were taken over under the ones before."""
        while True:
            stored = await insert(self._desk, connection, draft)
            if stored is not None:
                return stored
            draft = replace(draft, intent=replace(draft.intent, attempt=draft.intent.attempt + 1))


async def refresh(desk: Desk, order: OrderRecord, client: ExchangeClient) -> None:
    """Ask the venue how an order stands and write it down; a venue that cannot be asked now is asked by reconcile."""
    try:
        report = await client.fetch_order(
            order.symbol, client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, type=order.type
        )
    except ExchangeError:
        return
    if report is not None:
        await record(desk, order.id, report)
