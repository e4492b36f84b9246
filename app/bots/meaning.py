"""What a strategy's decision means for a bot as it stands: an order, other levels, or nothing, and why. Pure.

The same as a simulated account does with it (`domain.account`, docs/backtest-rules.md), but for what a spot account cannot: it enters long
only. Leaving comes before adding and taking off, and those before entering. Numbers of the jail become decimals here and are put on the
exchange's grid at once.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from app.bots import words
from app.bots.log import Said, said
from app.bots.models import SignalAction
from app.bots.standing import Standing
from app.domain.enums import OrderType, Role, Side, Source
from app.domain.instruments import Instrument, plain
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.sandbox.messages import Decision

_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_ONE: Final = Decimal(1)
#: What rounding leaves of a room that is used up, as a fraction of what is held.
_DUST: Final = Decimal("1e-9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Other levels for a position: a stop in quote per base, and all its targets; None for no change."""

    stop: Decimal | None = None
    targets: tuple[Target, ...] | None = None

    def __bool__(self) -> bool:
        return self.stop is not None or self.targets is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What is to be done.

    Attributes:
        action: What the strategy wanted.
        told: What is done, or why nothing, in the trader's words.
        intent: The order that is to be sent, without its deadline.
        levels: What is to be moved.
        code: Why nothing is done, where a rule forbids it; None where nothing is wanted.
    """

    action: SignalAction
    told: Said
    intent: OrderIntent | None = None
    levels: Levels = Levels()
    code: str | None = None

    @property
    def needs_word(self) -> bool:
        """Whether its owner has the last word in mode ask: exits and levels never wait."""
        return self.intent is not None and not self.intent.close_position


def decimal(number: float) -> Decimal:
    """Return a number of the jail as it is written."""
    return Decimal(repr(number))


def meaning_of(decision: Decision, standing: Standing, *, open_ms: int, close: Decimal, best: Decimal | None) -> Meaning:
    """Return what a decision means.

    Args:
        decision: Of the strategy.
        standing: How the bot stands now.
        open_ms: When the candle opened, which names the order.
        close: The candle's close, quote per base: what counts where the market's price is not known.
        best: The highest price of the closed candles since the entry; None while flat.
    """
    if standing.is_flat:
        return _flat(decision, standing, open_ms=open_ms, price=standing.price or close)
    return _holding(decision, standing, open_ms=open_ms, price=standing.price or close, best=best)


def _flat(decision: Decision, standing: Standing, *, open_ms: int, price: Decimal) -> Meaning:
    if decision.action == "short":
        return Meaning(action=SignalAction.SHORT, told=said(words.NO_SHORT), code="SHORT_UNSUPPORTED")
    if decision.action != "long":
        return Meaning(action=SignalAction.NONE, told=said(words.NO_ENTRY))
    if standing.unsettled is not None:
        return Meaning(action=SignalAction.LONG, told=said(words.UNSETTLED), code="ORDER_UNSETTLED")
    return _entry(decision, standing, open_ms=open_ms, price=price)


def _entry(decision: Decision, standing: Standing, *, open_ms: int, price: Decimal) -> Meaning:
    """Size it as a simulated account does: whole steps of the budget, fee included."""
    instrument = standing.instrument
    limit = None if decision.limit is None else instrument.round_price(Side.BUY, decimal(decision.limit))
    rests = limit is not None and limit < price
    paid = price if limit is None else min(price, limit)
    rate = standing.fees.maker if rests else standing.fees.taker
    size = _ONE if decision.size is None else min(decimal(decision.size), _ONE)
    equity = max(standing.equity(None), Decimal(0))
    budget = min(equity * size, max(equity - standing.bound, Decimal(0)))
    quantity = instrument.floor_quantity(_DOWN.divide(budget, paid * (1 + rate))) if paid > 0 else Decimal(0)
    if quantity <= 0 or quantity * paid < (instrument.min_notional or 0):
        told = said(words.TOO_SMALL, quantity=plain(quantity), base=instrument.base)
        return Meaning(action=SignalAction.LONG, told=told, code="NOTIONAL_BELOW_MINIMUM")
    bot = standing.bot
    intent = OrderIntent(
        symbol=bot.market.symbol,
        side=Side.BUY,
        source=Source.BOT,
        key=bot.key(open_ms),
        type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        quantity=quantity,
        price=limit,
        protection=entry_plan(decision, instrument, paid=paid),
        role=Role.ENTRY,
        bot_id=bot.id,
    )
    told = said(words.ENTERS) if limit is None else said(words.ENTERS_AT, price=plain(limit))
    return Meaning(action=SignalAction.LONG, told=told, intent=intent)


def entry_plan(decision: Decision, instrument: Instrument, *, paid: Decimal) -> ProtectionPlan | None:
    """Return how the position of an entry is to be guarded; None where the strategy says nothing of it.

    A trailing stop begins at its distance from the fill; it is moved at each close from then on. `paid` is about what the entry pays: it
    tells which of several targets is the nearest.
    """
    distances = [decimal(one) for one in (decision.stop_loss, decision.trailing) if one is not None]
    plan = ProtectionPlan(
        stop_price=None if decision.stop is None else on_tick(decimal(decision.stop), instrument, up=False),
        stop_fraction=min(distances) if distances else None,
        targets=_entry_targets(decision, instrument, paid),
    )
    return None if plan.is_empty else plan


def _entry_targets(decision: Decision, instrument: Instrument, paid: Decimal) -> tuple[Target, ...]:
    prices = (decision.target, decision.target_2, decision.target_3)
    gains = (decision.take_profit, decision.take_profit_2, decision.take_profit_3)
    parts = (decision.part, decision.part_2, decision.part_3)
    wanted = [(price, gain, part) for price, gain, part in zip(prices, gains, parts, strict=True) if price is not None or gain is not None]
    left, fractions = _ONE, {}
    prices_of = [decimal(price) if price is not None else paid * (1 + decimal(gain or 0.0)) for price, gain, _ in wanted]
    # The nearest takes its part first, and one without a part all that is left.
    for place in sorted(range(len(wanted)), key=prices_of.__getitem__):
        part = wanted[place][2]
        fractions[place] = left if part is None else min(decimal(part), left)
        left -= fractions[place]
    return tuple(
        Target(
            fraction=fractions[place],
            price=None if price is None else on_tick(decimal(price), instrument, up=True),
            gain=None if price is not None or gain is None else decimal(gain),
        )
        for place, (price, gain, _) in enumerate(wanted)
        if fractions[place] > 0
    )


def on_tick(price: Decimal, instrument: Instrument, *, up: bool) -> Decimal:
    """Return a price on the exchange's grid, the next one above or below."""
    tick = instrument.tick_size
    exact = Context(prec=150)
    return exact.multiply(exact.divide(price, tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR), tick)


def _holding(decision: Decision, standing: Standing, *, open_ms: int, price: Decimal, best: Decimal | None) -> Meaning:
    is_leaving = any(one.role is not Role.ENTRY and one.side is Side.SELL for one in (standing.unsettled,) if one is not None)
    if is_leaving:
        return Meaning(action=SignalAction.NONE, told=said(words.UNSETTLED))
    if decision.action == "exit" or (decision.adjust is not None and decision.adjust <= -1):
        return Meaning(action=SignalAction.EXIT, told=said(words.LEAVES), intent=_leaving(standing, open_ms))
    levels = new_levels(decision, standing, best=best)
    if decision.adjust and decision.adjust > 0 and standing.unsettled is not None:
        # What it may still buy is not counted as held yet: the room that is left is not known.
        return Meaning(action=SignalAction.ADJUST, told=said(words.UNSETTLED), code="ORDER_UNSETTLED", levels=levels)
    if decision.adjust:
        adjusted = _adjusted(decimal(decision.adjust), standing, open_ms=open_ms, price=price)
        return replace(adjusted, levels=levels)
    says_levels = any(getattr(decision, name) is not None for name in ("stop", "target", "target_2", "target_3", "trailing"))
    # Also where the stop is nearer already: from now on it follows at another distance, which the signal remembers.
    trails_anew = decision.trailing is not None and decimal(decision.trailing) != standing.trailing
    if (levels and says_levels) or trails_anew:
        return Meaning(action=SignalAction.LEVELS, told=said(words.MOVES), levels=levels)
    if levels and levels.stop is not None:
        return Meaning(action=SignalAction.LEVELS, told=said(words.TRAILS, stop=plain(levels.stop)), levels=levels)
    return Meaning(action=SignalAction.NONE, told=said(words.HOLDS_ON))


def _leaving(standing: Standing, open_ms: int) -> OrderIntent:
    bot = standing.bot
    return OrderIntent(
        symbol=bot.market.symbol,
        side=Side.SELL,
        source=Source.BOT,
        key=bot.key(open_ms),
        type=OrderType.MARKET,
        close_position=True,
        bot_id=bot.id,
    )


def _adjusted(fraction: Decimal, standing: Standing, *, open_ms: int, price: Decimal) -> Meaning:
    held, instrument, bot = standing.ledger.quantity, standing.instrument, standing.bot
    least = instrument.min_notional or Decimal(0)
    if fraction < 0:
        quantity = instrument.floor_quantity(min(held * -fraction, held))
        if quantity <= held * _DUST or quantity * price < least:
            told = said(words.TOO_LITTLE, quantity=plain(quantity), base=instrument.base)
            return Meaning(action=SignalAction.ADJUST, told=told, code="NOTIONAL_BELOW_MINIMUM")
        # What would stay behind and could not be sold goes with it: the bot would hold it for ever.
        is_all = (held - quantity) * price < least
        intent = _leaving(standing, open_ms) if is_all else replace(_leaving(standing, open_ms), quantity=quantity)
        return Meaning(action=SignalAction.ADJUST, told=said(words.TAKES_OFF), intent=intent)
    # What may still be bought: the whole position is never worth more than the equity.
    room = (standing.equity(price) - held * price) / (price * (1 + standing.fees.taker)) if price > 0 else Decimal(0)
    quantity = instrument.floor_quantity(max(min(held * fraction, room), Decimal(0)))
    if quantity <= held * _DUST or quantity * price < least:
        return Meaning(action=SignalAction.ADJUST, told=said(words.NO_ROOM), code="NOTIONAL_BELOW_MINIMUM")
    intent = OrderIntent(
        symbol=bot.market.symbol,
        side=Side.BUY,
        source=Source.BOT,
        key=bot.key(open_ms),
        type=OrderType.MARKET,
        quantity=quantity,
        role=Role.ENTRY,
        bot_id=bot.id,
    )
    return Meaning(action=SignalAction.ADJUST, told=said(words.ADDS), intent=intent)


def new_levels(decision: Decision, standing: Standing, *, best: Decimal | None) -> Levels:
    """Return what of a position's levels changes at this close: a stop only ever tightens, a target moves both ways.

    A trailing stop is where the best closed candle's extreme puts it; the exchange keeps it there until the next close.
    """
    instrument, now = standing.instrument, standing.ledger.stop_price
    wanted = [] if decision.stop is None else [on_tick(decimal(decision.stop), instrument, up=False)]
    trailing = standing.trailing if decision.trailing is None else decimal(decision.trailing)
    if trailing is not None and best is not None:
        wanted.append(on_tick(best * (1 - trailing), instrument, up=False))
    stop = max(wanted, default=None)
    return Levels(
        stop=stop if stop is not None and stop > 0 and (now is None or stop > now) else None,
        targets=_moved_targets(decision, standing),
    )


def _moved_targets(decision: Decision, standing: Standing) -> tuple[Target, ...] | None:
    """Return all targets of a position where one of them is elsewhere now, in the order of its plan; None where none is."""
    said_of = ((decision.target, decision.part), (decision.target_2, decision.part_2), (decision.target_3, decision.part_3))
    now, found = standing.ledger.targets, list(standing.ledger.targets)
    for place, (price, part) in enumerate(said_of):
        if price is None:
            continue
        at = on_tick(decimal(price), standing.instrument, up=True)
        if place < len(found):
            fraction = found[place].fraction if part is None else decimal(part)
            found[place] = Target(price=at, fraction=fraction) if found[place].price != at else found[place]
        else:
            left = _ONE - sum((one.fraction for one in found), Decimal(0))
            fraction = left if part is None else min(decimal(part), left)
            if fraction > 0:
                found.append(Target(price=at, fraction=fraction))
    return None if tuple(found) == now else tuple(found)
