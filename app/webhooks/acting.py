"""Do what alerts ask for, one after the other, through `app.trading`; after a crash go on where they were.

What a step needs to be found again is there before the step is done: an order has a key that is made of its delivery and its place in the
message. So a step whose order exists is not done again, and one whose order does not exist was not done. What makes no order (a
cancellation, a change of a stop) is done again without harm, and noted once it is done.
"""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from app.core.i18n import N_
from app.core.ids import client_order_id
from app.domain.enums import OrderState, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.orders import TERMINAL
from app.domain.symbols import resolve_symbol
from app.errors import AppError, Conflict, DenialReason, Fenced, NotFound, OrderDenied
from app.exchanges.catalogue import PAPER
from app.trading.account import Account, find_named_account
from app.trading.cancel import cancel_all
from app.trading.close import change_stop, protect_position
from app.trading.desk import Desk
from app.trading.place import SEND_WITHIN
from app.trading.records import OrderRecord
from app.trading.submit import find_instrument, submit
from app.trading.symbol_state import SymbolState
from app.webhooks.alert import Action, Alert
from app.webhooks.bounds import letters
from app.webhooks.deciding import elapsed_ms, note_step
from app.webhooks.errand import OPEN, QUIET, Errand
from app.webhooks.facts import look
from app.webhooks.guards import Protect
from app.webhooks.marks import Marks
from app.webhooks.meaning import Plan, cancellation, completed, needs, notes_of, opening, plan, symbol_of
from app.webhooks.models import Decision
from app.webhooks.outcome import Mark, Outcome, followed, of_order, whole
from app.webhooks.settling import NOT_SETTLED, SETTLE_S, is_counted, settled
from app.webhooks.timing import Untimely, deadline_of, out_of_order, untimely

_TRIES: Final = 3


@dataclass(slots=True, kw_only=True)
class Wish:
    """One alert of a delivery on its way; what is found out is written here, so that a refusal can tell it too."""

    errand: Errand
    place: int
    alert: Alert
    key: str
    give_up_at: float
    account: Account | None = None
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of(cls, errand: Errand, place: int, *, give_up_at: float = 0.0) -> "Wish":
        """Return the wish at `place` of a message, completed by its webhook's defaults; for `give_up_at` see `settled`."""
        alert = completed(errand.reading.alerts[place], errand.rules)
        return cls(errand=errand, place=place, alert=alert, key=errand.key_of(place), give_up_at=give_up_at)

    def step(self, name: str) -> str:
        """Return the name of one of its steps in the log."""
        return name if self.place == 0 else f"{name}_{self.place + 1}"

    @property
    def symbol(self) -> str:
        """Which symbol it is about, however it is spelled; empty for none."""
        return letters(self.alert.symbol or "")

    @property
    def is_begun(self) -> bool:
        """Whether a process before this one has done a part of it."""
        made, progress = self.errand.made, self.errand.delivery.progress
        return self.key in made or self.key + OPEN in made or any(self.step(name) in progress for name in ("canceled", "protected"))

    @property
    def deadline(self) -> datetime:
        """Until when its orders may leave."""
        return deadline_of(self._dated, received_at=self.errand.delivery.received_at, max_age_s=self.errand.max_age_s)

    def untimely(self, now: datetime) -> Untimely | None:
        """Return why it comes at the wrong moment; None when it comes in time."""
        return untimely(self._dated, received_at=self.errand.delivery.received_at, max_age_s=self.errand.max_age_s, now=now)

    @property
    def _dated(self) -> Alert:
        return replace(self.alert, at=None, bar_time=None) if self.errand.is_replay else self.alert


@dataclass(slots=True)
class Actor:
    """Works wishes while this process holds the engine role."""

    desk: Desk
    marks: Marks = field(init=False)

    def __post_init__(self) -> None:
        """Remember marks from one delivery to the next."""
        self.marks = Marks(self.desk)

    async def act(self, errand: Errand) -> Outcome:
        """Do what a delivery asks for and return what became of it.

        Raises:
            Fenced: this process does not hold the engine role any more; whoever does goes on.
        """
        give_up_at = time.monotonic() + SETTLE_S
        wishes = [Wish.of(errand, place, give_up_at=give_up_at) for place in range(len(errand.reading.alerts))]
        last_begun = max((wish.place for wish in wishes if wish.is_begun), default=-1)
        outcomes: list[Outcome] = []
        failed: set[str] = set()
        for wish in wishes:
            if not self.desk.lease.is_held:
                raise Fenced(f"this process does not hold the role {self.desk.lease.role}")
            if wish.place < last_begun and not wish.is_begun and wish.alert.action not in QUIET:
                # Its turn is over: to close now would close what a later wish has opened since.
                outcomes.append(_UNDONE)
                if not any(later.is_begun and later.symbol == wish.symbol for later in wishes[wish.place :]):
                    failed.add(wish.symbol)
            elif wish.symbol in failed and not wish.is_begun:
                outcomes.append(_NOT_TRIED)
            else:
                outcomes.append(await self._attempt(wish))
                if _stands_in_the_way(outcomes[-1]):
                    failed.add(wish.symbol)
        return whole(outcomes)

    async def _attempt(self, wish: Wish) -> Outcome:
        try:
            outcome = await self._one(wish)
        except Fenced:
            raise
        except AppError as error:
            outcome = Outcome(decision=Decision.DENIED, code=error.code, reason=error.message)
        broker_id = outcome.broker_id or (None if wish.account is None else wish.account.id)
        return replace(outcome, broker_id=broker_id, marks=wish.marks)

    async def _one(self, wish: Wish) -> Outcome:
        alert = wish.alert
        if alert.action in QUIET:
            default = N_("a test message; nothing to trade") if alert.action is Action.PING else N_("nothing to trade")
            return Outcome(decision=Decision.PING, reason=alert.note or default)
        if (late := None if wish.is_begun else wish.untimely(self.desk.clock.now())) is not None:
            return _untraded(late)
        wish.account = account = await account_of_wish(self.desk, wish.errand, alert)
        if alert.action is Action.CANCEL and alert.symbol is None:
            return await self._cancel(wish, account)
        instrument = await find_instrument(self.desk, account.exchange, symbol_of(alert))
        if (late := await self._order_of_time(wish, account, instrument)) is not None:
            return _untraded(late)
        if alert.action is Action.CANCEL:
            return await self._cancel(wish, account)
        if (earlier := await self._named_before(wish, account)) is not None:
            return of_order(await settled(self.desk, earlier, give_up_at=wish.give_up_at), delivery_id=wish.errand.delivery.id)
        return await self._carry_out(wish, account, instrument)

    async def _order_of_time(self, wish: Wish, account: Account, instrument: Instrument) -> Untimely | None:
        errand, at = wish.errand, wish.alert.at
        if at is None or errand.is_replay:
            return None
        if not wish.is_begun:
            newest = await self.marks.newest(errand.delivery.webhook_id, account.id, instrument.symbol)
            if (late := out_of_order(wish.alert, newest)) is not None:
                return late
        wish.marks = (Mark(broker_id=account.id, symbol=instrument.symbol, at=at),)
        return None

    async def _named_before(self, wish: Wish, account: Account) -> OrderRecord | None:
        """The order of another delivery that has this signal's name: what it closed must not be looked for again.

        A buy needs no such question, because storing it asks.
        """
        if wish.alert.key is None or wish.errand.is_replay or wish.is_begun or wish.alert.action is Action.BUY:
            return None
        known = client_order_id(account.id, wish.key, leg=0, attempt=0)
        async with self.desk.database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = $2", account.id, known)
        return None if row is None else OrderRecord.of(row)

    async def _carry_out(self, wish: Wish, account: Account, instrument: Instrument) -> Outcome:
        notes = notes_of(wish.alert, account.exchange)
        made, delivery = wish.errand.made, wish.errand.delivery
        if wish.step("protected") in delivery.progress:
            return Outcome(decision=Decision.EXECUTED, reason=_PROTECTED)
        if wish.key + OPEN in made and wish.key not in made:
            return await self._open(wish, account, instrument, opening(wish.alert, wish.errand.rules, closed=Decimal(0)))
        order, then = made.get(wish.key), None
        if order is None:
            facts = await look(self.desk, wish.errand.user_id, account, instrument, needs(wish.alert, wish.errand.rules))
            found = plan(wish.alert, wish.errand.rules, facts, key=wish.key)
            first = await self._step(wish, account, found, facts.state, notes)
            then = found.then
        else:
            first = of_order(await settled(self.desk, order, give_up_at=wish.give_up_at), delivery_id=delivery.id, notes=notes)
            if wish.alert.action is Action.REVERSE and (order.role, order.side) == (Role.EXIT, Side.BUY):
                then = opening(wish.alert, wish.errand.rules, closed=order.quantity)
        if then is None or first.is_failure:
            return first
        if any(done.state is not OrderState.FILLED or not is_counted(done) for done in first.orders):
            reason = N_("the position had not been closed completely, so the other side was not opened")
            return followed(first, Outcome(decision=Decision.DENIED, code="CLOSE_NOT_FILLED", reason=reason))
        second = await self._open(wish, account, instrument, then)
        return followed(first, second) if first.orders else second

    async def _open(self, wish: Wish, account: Account, instrument: Instrument, alert: Alert) -> Outcome:
        """The second half of a reversal."""
        key, delivery = wish.key + OPEN, wish.errand.delivery
        order = wish.errand.made.get(key)
        if order is not None:
            return of_order(await settled(self.desk, order, give_up_at=wish.give_up_at), delivery_id=delivery.id)
        if (late := wish.untimely(self.desk.clock.now())) is not None:
            return _untraded(late)
        try:
            facts = await look(self.desk, wish.errand.user_id, account, instrument, needs(alert, wish.errand.rules))
            found = plan(alert, wish.errand.rules, facts, key=key)
            return await self._step(wish, account, found, facts.state, ())
        except Fenced:
            raise
        except AppError as error:
            return Outcome(decision=Decision.DENIED, code=error.code, reason=error.message)

    async def _step(self, wish: Wish, account: Account, found: Plan, state: SymbolState, notes: tuple[str, ...]) -> Outcome:
        told = (*found.notes, *notes)
        if isinstance(found.step, OrderIntent):
            delivery = wish.errand.delivery
            # However old an alert may be: an order that was stored and could not leave for so long is about a market that is gone.
            intent = found.step.with_deadline(min(wish.deadline, self.desk.clock.now() + SEND_WITHIN))
            placed = await submit(self.desk, delivery.user_id, intent, account=account, delivery_id=delivery.id)
            return of_order(await settled(self.desk, placed.order, give_up_at=wish.give_up_at), delivery_id=delivery.id, notes=told)
        if isinstance(found.step, Protect):
            await self._protect(wish, found.step, state)
            latencies = await self._done(wish, "protected")
            return Outcome(decision=Decision.EXECUTED, reason="; ".join((_PROTECTED, *told)), latencies=latencies)
        return Outcome(decision=Decision.PING, reason="; ".join(told) or None)

    async def _protect(self, wish: Wish, step: Protect, state: SymbolState) -> None:
        assert state.position_id is not None  # noqa: S101  # a plan guards only what is open
        for left in reversed(range(_TRIES)):
            try:
                change = change_stop if step.is_stop_only else protect_position
                await change(self.desk, wish.errand.user_id, state.position_id, step.plan)
            except NotFound as error:
                raise OrderDenied(DenialReason.NO_POSITION, "the position was closed this very moment; nothing was changed") from error
            except Conflict:
                if not left:
                    raise
            else:
                return

    async def _cancel(self, wish: Wish, account: Account) -> Outcome:
        if wish.step("canceled") in wish.errand.delivery.progress:
            return Outcome(decision=Decision.EXECUTED, reason=N_("open orders were canceled before the server stopped"))
        wanted = cancellation(wish.alert, wish.errand.rules).symbols
        found: list[OrderRecord] = []
        listed = await self.desk.instruments.all(account.exchange)
        for text in (None,) if wanted is None else wanted:
            symbol = None if text is None else resolve_symbol(text, listed)
            if text is None or symbol is not None:
                found += await cancel_all(self.desk, wish.errand.user_id, broker_id=account.id, symbol=symbol)
        latencies = await self._done(wish, "canceled")
        return Outcome(decision=Decision.EXECUTED, reason=_canceled(found), latencies=latencies)

    async def _done(self, wish: Wish, name: str) -> dict[str, float]:
        delivery = wish.errand.delivery
        taken = {wish.step(name): elapsed_ms(delivery, self.desk.clock.now())}
        await note_step(self.desk, delivery.id, taken)
        return taken


_PROTECTED: Final = N_("the position is guarded as the alert says")
_UNDONE: Final = Outcome(
    decision=Decision.DENIED, code="STEP_FAILED", reason=N_("nothing had come of a wish of this message when the server stopped")
)
_NOT_TRIED: Final = Outcome(
    decision=Decision.DENIED,
    code="STEP_FAILED",
    reason=N_("an earlier wish of this message was not carried out for this symbol, so this one was not tried"),
)


def _canceled(orders: list[OrderRecord]) -> str:
    if not orders:
        return N_("there was no open order to cancel")
    under_way = sum(1 for order in orders if order.state not in TERMINAL)
    if under_way:
        return N_(f"open orders canceled: {len(orders)}, of which the exchange has not confirmed {under_way} yet")
    return N_(f"open orders canceled: {len(orders)}")


def _untraded(late: Untimely) -> Outcome:
    return Outcome(decision=late.decision, code=late.code, reason=late.reason)


def _stands_in_the_way(outcome: Outcome) -> bool:
    """Whether what a wish came to forbids the next one in its symbol. Nothing to close, or too late, does not."""
    if outcome.code == DenialReason.NO_POSITION or outcome.decision is Decision.STALE:
        return False
    return outcome.is_failure or any(order.state in NOT_SETTLED for order in outcome.orders)


async def account_of_wish(desk: Desk, errand: Errand, alert: Alert) -> Account:
    """Return the account that an alert trades on: the one it names if its webhook lets it, else the webhook's; of a replay a paper account.

    Raises:
        OrderDenied: HOOK_ACCOUNT, NO_BROKER or NO_PAPER_ACCOUNT.
    """
    own = errand.delivery.account
    if errand.is_replay:
        if own is None or own.exchange != PAPER:
            raise OrderDenied(DenialReason.NO_PAPER_ACCOUNT, "the paper account on which this was to be tried is gone")
        return own
    if alert.account:
        named = await find_named_account(desk, errand.user_id, alert.account)
        if named is None:
            raise OrderDenied(DenialReason.HOOK_ACCOUNT, f"you have no account named {alert.account[:60]}", field="account")
        if not errand.rules.other_accounts and (own is None or named.id != own.id):
            raise OrderDenied(
                DenialReason.HOOK_ACCOUNT,
                f"this webhook trades on its own account only, was {alert.account[:60]}",
                field="account",
            )
        return named
    if own is None:
        raise OrderDenied(DenialReason.NO_BROKER, "there is no broker account to trade on; add one, then send the alert again")
    return own
