"""What an alert means on an account as it stands: alert, rules and facts in; what is to be done, or a denial, out. Pure.

Spot only: a sell sells of the position and never more, so nothing here makes an account short or sells coins that nobody bought here.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from app.core.i18n import N_
from app.domain.enums import OrderType, Role, Side, Source
from app.domain.instruments import plain
from app.domain.intents import OrderIntent
from app.errors import BadPayload, DenialReason, OrderDenied
from app.exchanges.catalogue import PAPER
from app.webhooks.alert import Action, Alert, Size, SizeKind
from app.webhooks.bounds import check_hours, check_notional, check_side, check_symbol
from app.webhooks.facts import Facts, Need
from app.webhooks.guards import Protect, changed_guard, guard_of_entry, has_offsets, price_of, worst_exit
from app.webhooks.rules import HookRules
from app.webhooks.sizes import Amount, bought, sold

_SHARES: Final = frozenset({SizeKind.FREE, SizeKind.EQUITY, SizeKind.RISK})
_WORTHS: Final = frozenset({SizeKind.EQUITY, SizeKind.RISK})
#: Counts in what an exit sells: a share of the position. Every other size was meant for the entry.
_OF_POSITION: Final = frozenset({SizeKind.FREE, SizeKind.POSITION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel the open orders of these symbols as they were spelled, or (None) all of the account's."""

    symbols: tuple[str, ...] | None


Step = OrderIntent | Protect


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done; once it has filled, `then` is to be worked. Notes are sentences for the log."""

    step: Step | None = None
    notes: tuple[str, ...] = ()
    then: Alert | None = None


def completed(alert: Alert, rules: HookRules) -> Alert:
    """Return the alert with its webhook's symbol where it names none, and its size where that is to hold for entries.

    An exit's size is its own: the webhook's is for what opens a position.
    """
    filled = replace(alert, symbol=alert.symbol or rules.symbol)
    if alert.action in (Action.SELL, Action.CLOSE):
        return replace(filled, size=_size_of_exit(alert, rules))
    if rules.size is None or (alert.size is not None and not rules.always_default_size):
        return filled
    return replace(filled, size=Size(kind=rules.size.kind, value=rules.size.value))


def _size_of_exit(alert: Alert, rules: HookRules) -> Size | None:
    if alert.size is not None:
        return None if _is_overruled(rules) and alert.size.kind not in _OF_POSITION else alert.size
    if alert.action is Action.SELL and rules.size is not None and rules.size.kind is SizeKind.POSITION:
        return Size(kind=rules.size.kind, value=rules.size.value)
    return None


def _is_overruled(rules: HookRules) -> bool:
    return rules.always_default_size and rules.size is not None


def needs(alert: Alert, rules: HookRules) -> frozenset[Need]:
    """Return what `plan` must know of the account and the market for a completed alert."""
    kind = None if alert.size is None else alert.size.kind
    if alert.action is Action.BUY:
        return _needs_of_entry(alert, rules, kind)
    if alert.action in (Action.SELL, Action.CLOSE):
        found = {Need.STATE}
        if kind in (SizeKind.QUOTE, SizeKind.EQUITY) or (alert.price is not None and alert.price.offset is not None):
            found.add(Need.PRICE)
        return frozenset(found | ({Need.EQUITY} if kind is SizeKind.EQUITY else set()))
    if alert.action is Action.TARGET:
        return _needs_of_entry(alert, rules, kind if _is_overruled(rules) else SizeKind.BASE) | {Need.STATE, Need.PRICE}
    if alert.action is Action.REVERSE:
        return frozenset({Need.STATE})
    return frozenset({Need.STATE}) if alert.action is Action.PROTECT else frozenset()


def _needs_of_entry(alert: Alert, rules: HookRules, kind: SizeKind | None) -> frozenset[Need]:
    found: set[Need] = set()
    is_bounded = rules.max_notional is not None
    has_levels = has_offsets(alert) or rules.target_percent is not None or rules.stop_percent is not None
    is_off_market = alert.price is not None and alert.price.offset is not None
    has_no_price = alert.type is OrderType.MARKET or alert.price is None or is_off_market
    if is_off_market or (has_no_price and (has_levels or is_bounded or kind is SizeKind.RISK)):
        found.add(Need.PRICE)
    if kind in _SHARES:
        found.add(Need.FREE)
    if kind in _WORTHS:
        found.add(Need.EQUITY)
    if kind is SizeKind.POSITION:
        found.add(Need.STATE)
    return frozenset(found | ({Need.USDT} if is_bounded else set()))


def plan(alert: Alert, rules: HookRules, facts: Facts, *, key: str) -> Plan:
    """Return what a completed alert asks for.

    Args:
        alert: One wish that names a symbol; what needs no account (PING, NONE) and CANCEL are not for here.
        rules: The webhook's.
        facts: What `needs` asked for.
        key: Names the order that it makes for ever.

    Raises:
        OrderDenied: a bound of the webhook, or the account as it stands, forbids it.
    """
    check_symbol(rules, facts.instrument.symbol)
    if alert.action is Action.BUY:
        return _entry(alert, rules, facts, key)
    if alert.action in (Action.SELL, Action.CLOSE):
        return _exit(alert, rules, facts, key)
    if alert.action is Action.TARGET:
        return _towards(alert, rules, facts, key)
    if alert.action is Action.REVERSE:
        return _reversal(alert, rules, facts, key)
    if facts.state.quantity <= 0:
        raise OrderDenied(DenialReason.NO_POSITION, f"there is no open position in {facts.instrument.symbol} whose stop could be changed")
    change = changed_guard(alert, facts)
    if change is None:
        return Plan(notes=(N_("the position is guarded so already; nothing was changed"),))
    return Plan(step=change)


def cancellation(alert: Alert, rules: HookRules) -> Cancel:
    """Return what of the account's open orders a CANCEL is about: of a webhook that is bound to symbols, theirs only.

    Raises:
        OrderDenied: HOOK_SYMBOL.
    """
    if alert.symbol is None:
        return Cancel(symbols=rules.symbols)
    check_symbol(rules, alert.symbol)
    return Cancel(symbols=(alert.symbol,))


def symbol_of(alert: Alert) -> str:
    """Return the symbol of a completed alert.

    Raises:
        BadPayload: SYMBOL_MISSING.
    """
    if not alert.symbol:
        raise BadPayload(
            'no symbol: add "ticker": "{{ticker}}" to the alert\'s message, or give the webhook one', code="SYMBOL_MISSING", field="symbol"
        )
    return alert.symbol


def opening(alert: Alert, rules: HookRules, *, closed: Decimal) -> Alert:
    """Return the buy that follows the closing half of a REVERSE, of the alert's size, its webhook's, or as much as was `closed`."""
    entry = completed(replace(alert, action=Action.BUY), rules)
    if entry.size is None:
        target = alert.position if alert.position is not None and alert.position > 0 else closed
        entry = replace(entry, size=Size(kind=SizeKind.BASE, value=target) if target > 0 else None)
    return entry


def _entry(alert: Alert, rules: HookRules, facts: Facts, key: str) -> Plan:
    check_side(rules, Side.BUY)
    check_hours(rules, facts.now)
    is_market = alert.type is OrderType.MARKET
    limit = None if is_market else _limit(alert, facts.buy_price)
    entry = limit or facts.buy_price
    guard = guard_of_entry(alert, rules, entry)
    amount = Amount()
    if alert.size is not None:
        amount = bought(alert.size, facts, price=entry, stop=worst_exit(guard, entry), is_market=is_market)
        cost = amount.cost(entry, is_market=is_market)
        check_notional(rules, cost, facts.usdt, facts.instrument)
        _check_free(cost, facts)
    intent = OrderIntent(
        symbol=facts.instrument.symbol,
        side=Side.BUY,
        source=Source.WEBHOOK,
        key=key,
        type=alert.type,
        quantity=amount.quantity,
        notional=amount.notional,
        price=limit,
        protection=guard,
        time_in_force=alert.time_in_force,
        post_only=alert.post_only,
    )
    return Plan(step=intent, notes=() if amount.note is None else (amount.note,))


def _limit(alert: Alert, market: Decimal | None) -> Decimal | None:
    """The limit's price; one that is no price is refused with the order's own words when it is sized."""
    return alert.price.price if alert.price is not None and alert.price.price is not None else price_of(alert.price, market, "price")


def _check_free(cost: Decimal | None, facts: Facts) -> None:
    if cost is not None and facts.free is not None and cost > facts.free:
        told = f"Not enough {facts.instrument.quote}: needed {plain(cost)}, free {plain(facts.free)}."
        raise OrderDenied(DenialReason.INSUFFICIENT_BALANCE, told, field="quantity")


def _exit(alert: Alert, rules: HookRules, facts: Facts, key: str) -> Plan:
    """Sell of what was bought here. A position below zero is what its owner sold of coins from elsewhere: no alert buys that back."""
    state, symbol, base = facts.state, facts.instrument.symbol, facts.instrument.base
    if state.quantity <= 0:
        if alert.action is Action.SELL:
            raise OrderDenied(
                DenialReason.NO_POSITION, f"nothing that was bought here is held in {symbol}, and a spot account cannot go short"
            )
        raise OrderDenied(DenialReason.NO_POSITION, f"there is no position in {symbol} that could be closed")
    check_side(rules, Side.SELL)
    limit = None if alert.type is OrderType.MARKET else _limit(alert, facts.sell_price)
    left = state.quantity - state.selling
    if left <= 0:
        raise OrderDenied(DenialReason.NO_POSITION, f"the position in {symbol} is being closed already")
    wanted = None if alert.size is None else sold(alert.size, facts, price=limit or facts.sell_price)
    intent = _closing_intent(alert, facts, key, side=Side.SELL, quantity=None if wanted is None or wanted >= left else wanted, price=limit)
    is_short = wanted is not None and wanted > left
    return Plan(step=intent, notes=(N_(f"all that was held was sold: {plain(left)} {base}"),) if is_short else ())


def _closing_intent(
    alert: Alert, facts: Facts, key: str, *, side: Side, quantity: Decimal | None, price: Decimal | None = None
) -> OrderIntent:
    """Close `quantity`, or (None) all: that is counted when the order is stored, under the position's lock, and may be less by then."""
    return OrderIntent(
        symbol=facts.instrument.symbol,
        side=side,
        source=Source.WEBHOOK,
        key=key,
        type=alert.type,
        quantity=quantity,
        close_position=quantity is None,
        price=price,
        role=Role.EXIT,
        time_in_force=alert.time_in_force,
        post_only=alert.post_only,
    )


def _towards(alert: Alert, rules: HookRules, facts: Facts, key: str) -> Plan:
    """Bring the position to what the strategy holds by now."""
    target, held = alert.position, max(facts.state.quantity, Decimal(0))
    if target is None:
        raise OrderDenied(DenialReason.QUANTITY_MISSING, "the alert does not say what position its strategy has", field="position")
    if target <= 0:
        # What the reading says of it already need not be said twice.
        notes = (N_("a spot account cannot go short: the position was closed, not turned"),) if target < 0 and not alert.note else ()
        if held == 0:
            short = N_("a spot account cannot go short, and nothing is held; there was nothing to do")
            return Plan(notes=(short if target < 0 else N_("the strategy is flat, and so is the account; there was nothing to do"),))
        return _with(_exit(_closing(alert), rules, facts, key), notes)
    if _is_overruled(rules):
        return _step_of_own_size(alert, rules, facts, key, target)
    difference = target - (held + facts.state.buying - facts.state.selling)
    if held > 0 and _is_too_small(abs(difference), facts):
        return Plan(notes=(N_("the position is what the strategy says already; there was nothing to do"),))
    if difference > 0:
        return _entry(replace(alert, size=Size(kind=SizeKind.BASE, value=difference)), rules, facts, key)
    return _exit(replace(_closing(alert), size=Size(kind=SizeKind.BASE, value=-difference)), rules, facts, key)


def _step_of_own_size(alert: Alert, rules: HookRules, facts: Facts, key: str, target: Decimal) -> Plan:
    """The strategy's size counts for nothing, only whether it grew or shrank: grown by the webhook's size, shrunk by the same share."""
    held, before = facts.state.quantity, alert.moves_from
    if held <= 0 and facts.state.buying <= 0:
        return _entry(alert, rules, facts, key)
    if before is not None and before > target:
        share = Size(kind=SizeKind.POSITION, value=1 - target / before)
        return _exit(replace(_closing(alert), size=share), rules, facts, key)
    if before is not None and 0 < before < target:
        return _entry(alert, rules, facts, key)
    return Plan(notes=(N_("the position is open already; there was nothing to do"),))


def _closing(alert: Alert) -> Alert:
    return replace(alert, action=Action.CLOSE, size=None)


def _is_too_small(quantity: Decimal, facts: Facts) -> bool:
    """Whether nobody could trade so little: what fees took of a position is not worth an order, and cannot be one."""
    instrument, price = facts.instrument, facts.buy_price
    smallest = max(instrument.min_quantity or Decimal(0), instrument.step_size)
    floored = instrument.floor_quantity(quantity)
    return floored < smallest or (price is not None and instrument.min_notional is not None and floored * price < instrument.min_notional)


def _reversal(alert: Alert, rules: HookRules, facts: Facts, key: str) -> Plan:
    """Close, then open the other side. Of a short only if the strategy says that it was short: see `_exit`."""
    held, before = facts.state.quantity, alert.moves_from
    if held > 0:
        closing = _exit(_at_market(_closing(alert)), rules, facts, key)
        return _with(closing, (N_("a spot account cannot go short: the position was closed, not turned"),))
    if (before is None or before >= 0) and (alert.position is None or alert.position <= 0):
        raise OrderDenied(DenialReason.NO_POSITION, f"there is no position in {facts.instrument.symbol} that could be turned")
    if held == 0:
        return Plan(then=opening(alert, rules, closed=Decimal(0)))
    check_side(rules, Side.BUY)
    part = None if before is None or before >= 0 or -before >= -held else -before
    step = _closing_intent(_at_market(alert), facts, key, side=Side.BUY, quantity=part)
    return Plan(step=step, then=opening(alert, rules, closed=part or -held))


def _at_market(alert: Alert) -> Alert:
    return replace(alert, type=OrderType.MARKET, price=None)


def _with(found: Plan, notes: tuple[str, ...]) -> Plan:
    return replace(found, notes=(*found.notes, *notes))


def notes_of(alert: Alert, exchange: str) -> tuple[str, ...]:
    """Return what is to be said of an alert: what its reading noted, members that mean nothing here, a chart of another exchange."""
    found = [alert.note] if alert.note else []
    if alert.ignored:
        found.append(N_(f"members of the message without bearing here: {', '.join(alert.ignored[:8])}"))
    if alert.exchange and exchange not in (PAPER, alert.exchange.strip().lower()):
        found.append(N_(f"the chart is one of {alert.exchange[:40]}, the order went to {exchange}"))
    return tuple(found)
