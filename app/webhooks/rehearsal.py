"""A test: read and planned as any alert is, with sizes, bounds and the risk gate; then told instead of sent. Nothing is stored."""

from dataclasses import replace

from app.core.i18n import N_
from app.domain.enums import Role, Side
from app.domain.instruments import Instrument, plain
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, fitted_plan
from app.domain.sizing import SizedOrder
from app.errors import AppError
from app.trading.account import Account, check_account, check_open
from app.trading.desk import Desk
from app.trading.gate import foresee
from app.trading.place import Market, shaped
from app.trading.submit import find_instrument
from app.webhooks.acting import Wish, account_of_wish
from app.webhooks.alert import Action, Alert
from app.webhooks.errand import QUIET, Errand
from app.webhooks.facts import FLAT, Facts, Need, look
from app.webhooks.guards import Protect
from app.webhooks.meaning import Plan, cancellation, needs, notes_of, plan, symbol_of
from app.webhooks.models import Decision
from app.webhooks.outcome import Outcome, whole

#: A test is not in a hurry: what an alert would find out only when its order is stored is asked for here.
_ASKED: frozenset[Need] = frozenset({Need.STATE, Need.PRICE, Need.FREE})


async def rehearse(desk: Desk, errand: Errand) -> Outcome:
    """Return what would have been done, in sentences, with the code of what would have been denied."""
    return whole([await _one(desk, Wish.of(errand, place)) for place in range(len(errand.reading.alerts))])


async def _one(desk: Desk, wish: Wish) -> Outcome:
    alert = wish.alert
    if alert.action in QUIET:
        return Outcome(decision=Decision.PING, reason=alert.note or N_("a test message; nothing to trade"))
    try:
        check_open(desk)
        wish.account = account = await account_of_wish(desk, wish.errand, alert)
        check_account(account)
        told = await _told(desk, wish, account)
    except AppError as error:
        reason = N_(f"it would have been denied: {error.message}")
        return Outcome(decision=Decision.PING, code=error.code, reason=reason, broker_id=None if wish.account is None else wish.account.id)
    return Outcome(decision=Decision.PING, reason="; ".join(told), broker_id=account.id)


async def _told(desk: Desk, wish: Wish, account: Account) -> list[str]:
    alert, rules = wish.alert, wish.errand.rules
    if alert.action is Action.CANCEL:
        symbols = cancellation(alert, rules).symbols
        if symbols is None:
            return [N_("it would have canceled all open orders of the account")]
        listed = [(await find_instrument(desk, account.exchange, symbol)).symbol for symbol in symbols]
        return [N_(f"it would have canceled the open orders in {', '.join(listed)}")]
    instrument = await find_instrument(desk, account.exchange, symbol_of(alert))
    facts = await look(desk, wish.errand.user_id, account, instrument, needs(alert, rules) | _ASKED)
    found = plan(alert, rules, facts, key=wish.key)
    told = await _words(desk, wish, account, found, facts)
    if found.then is not None:
        told += await _afterwards(desk, wish, account, found.then, facts)
    return [*told, *found.notes, *notes_of(alert, account.exchange)]


async def _afterwards(desk: Desk, wish: Wish, account: Account, alert: Alert, facts: Facts) -> list[str]:
    needed = needs(alert, wish.errand.rules) | _ASKED
    fresh = await look(desk, wish.errand.user_id, account, facts.instrument, needed)
    found = plan(alert, wish.errand.rules, replace(fresh, state=FLAT), key=wish.key)
    return await _words(desk, wish, account, found, fresh)


async def _words(desk: Desk, wish: Wish, account: Account, found: Plan, facts: Facts) -> list[str]:
    if isinstance(found.step, Protect):
        held, at = facts.state.quantity, facts.sell_price
        guard = fitted_plan(found.step.plan, facts.instrument, side=Side.BUY, entry_price=at, quantity=held, against="market")
        return [N_("it would have guarded the position otherwise"), *_guard(guard, facts.instrument)]
    if not isinstance(found.step, OrderIntent):
        return []
    client = await desk.connections.client(account.id)
    price = facts.buy_price if found.step.side is Side.BUY else facts.sell_price
    market = Market(price=price, free=facts.free)
    intent, fitted = shaped(found.step, facts.instrument, client.capabilities, market, position=facts.state.quantity)
    await foresee(
        desk,
        account,
        fitted.order,
        facts.instrument,
        user_id=wish.errand.user_id,
        role=intent.purpose,
        source=intent.source,
        reference_price=price,
    )
    told = [_order(fitted.order, facts.instrument)]
    if intent.purpose is Role.ENTRY and intent.protection is not None:
        told += _guard(intent.protection, facts.instrument)
    return told


def _order(order: SizedOrder, instrument: Instrument) -> str:
    side, symbol, base, quote = order.side, order.symbol, instrument.base, instrument.quote
    if order.price is not None:
        return N_(f"it would have sent a limit order in {symbol}: {side} {plain(order.quantity)} {base} at {plain(order.price)} {quote}")
    if order.notional is not None:
        return N_(f"it would have sent a market order in {symbol}: {side} for {plain(order.notional)} {quote}")
    return N_(f"it would have sent a market order in {symbol}: {side} {plain(order.quantity)} {base}")


def _guard(guard: ProtectionPlan, instrument: Instrument) -> list[str]:
    quote, told = instrument.quote, []
    if guard.stop_price is not None:
        told.append(N_(f"with a stop at {plain(guard.stop_price)} {quote}"))
    if guard.trailing_delta is not None:
        told.append(N_(f"with a stop that follows at {plain(guard.trailing_delta * 100)} %"))
    for price, fraction in ((each.at, each.fraction) for each in guard.targets):
        told.append(N_(f"with a target at {plain(price)} {quote} for {plain(fraction * 100)} %"))
    return told
