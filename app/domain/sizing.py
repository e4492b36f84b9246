"""From a wish to an order the exchange can take: how much, at which price, and whether it may go at all. Pure.

Nothing is rounded up: quantities are floored to the step, prices go to the tick on the trader's safe side.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import Instrument, plain
from app.domain.intents import OrderIntent
from app.errors import DenialReason, OrderDenied

#: Kept back when a market buy spends a notional or a share of the balance: the price moves between the quote and the fill.
MARKET_MARGIN: Final = Decimal("0.001")
#: A quotient rounded up in its last digit could buy one step too much.
_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_QUOTE_QUANTUM: Final = Decimal("0.00000001")
#: How far a trailing stop may follow: nearer than a basis point is noise, and at half the price it guards nothing.
_TRAILING_STEP: Final = Decimal("0.0001")
_WIDEST_TRAIL: Final = Decimal("0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedOrder:
    """An order that obeys the instrument's rules. Quantity in base units, prices in quote per base.

    `notional` is what a market buy that was asked for in quote units is to spend; its `quantity` is then an estimate. `trailing_delta` is
    a fraction, in whole basis points.
    """

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    notional: Decimal | None = None
    trigger_price: Decimal | None = None
    trailing_delta: Decimal | None = None


def needs_reference_price(intent: OrderIntent) -> bool:
    """Whether the order cannot be sized without the market's price."""
    spends_quote = intent.notional is not None or (intent.percent is not None and intent.side is Side.BUY)
    return spends_quote and not intent.type.has_limit and intent.trigger_price is None


def size(
    intent: OrderIntent,
    instrument: Instrument,
    *,
    reference_price: Decimal | None,
    free: Decimal | None = None,
    position: Decimal = Decimal(0),
) -> SizedOrder:
    """Return the order that `intent` means on `instrument`.

    Args:
        intent: The wish.
        instrument: The exchange's rules.
        reference_price: What a market order would pay or get now, in quote per base; None when nobody knows.
        free: Free balance of the asset that would be spent; needed for `percent`.
        position: Signed quantity held, for `close_position`.

    Raises:
        OrderDenied: with the reason's code and a sentence that names the bound and the value.
    """
    if not instrument.is_active:
        raise OrderDenied(DenialReason.SYMBOL_NOT_TRADING, f"{instrument.symbol} is not trading at the exchange now", field="symbol")
    price = _limit_price(intent, instrument)
    trigger = _trigger_price(intent, instrument, reference_price)
    trail = _trail(intent)
    worth = price or trigger or reference_price
    asked = asked_quantity(intent, price=price or trigger, reference_price=reference_price, free=free, position=position)
    quantity = instrument.floor_quantity(asked)
    instrument.check_quantity(quantity, asked=asked, is_market=intent.type.once_triggered is OrderType.MARKET)
    if price is not None and (market_price := trigger or reference_price) is not None:
        instrument.check_distance(intent.side, price, market_price)
    if worth is not None:
        instrument.check_notional(quantity, worth)
    return SizedOrder(
        symbol=instrument.symbol,
        side=intent.side,
        type=intent.type,
        quantity=quantity,
        notional=_spent(intent, free),
        price=price,
        trigger_price=trigger,
        trailing_delta=trail,
        time_in_force=intent.time_in_force if intent.type.has_limit else TimeInForce.GTC,
        post_only=intent.post_only and intent.type is OrderType.LIMIT,
    )


def _spent(intent: OrderIntent, free: Decimal | None) -> Decimal | None:
    """What a market buy by notional spends; None for every other order."""
    if intent.type is not OrderType.MARKET or intent.side is not Side.BUY or intent.close_position:
        return None
    if intent.notional is not None:
        return _floor_quote(intent.notional)
    return None if intent.percent is None or free is None else _floor_quote(_DOWN.multiply(free, intent.percent))


def _floor_quote(amount: Decimal) -> Decimal:
    return amount.quantize(_QUOTE_QUANTUM, ROUND_FLOOR, context=_DOWN)


def _limit_price(intent: OrderIntent, instrument: Instrument) -> Decimal | None:
    if not intent.type.has_limit:
        return None
    if intent.price is None:
        raise OrderDenied(DenialReason.PRICE_MISSING, f"a {intent.type} order needs a price", field="price")
    _check_positive(intent.price, "price", DenialReason.PRICE_INVALID)
    price = instrument.round_price(intent.side, intent.price)
    instrument.check_price(price)
    return price


def _trigger_price(intent: OrderIntent, instrument: Instrument, reference_price: Decimal | None) -> Decimal | None:
    """The trigger on the tick. For a trailing stop it is optional: the price from which on it follows."""
    if not intent.type.waits:
        return None
    if intent.trigger_price is None:
        if intent.type is OrderType.TRAILING_STOP:
            return None
        raise OrderDenied(DenialReason.TRIGGER_MISSING, f"a {intent.type} order needs a trigger price", field="trigger_price")
    _check_positive(intent.trigger_price, "trigger_price", DenialReason.TRIGGER_INVALID)
    trigger = instrument.round_price(intent.side, intent.trigger_price)
    instrument.check_price(trigger)
    # A trailing stop waits for its activation in the direction of a profit, like a take-profit.
    waits_for_rise = (intent.type.is_stop and intent.type is not OrderType.TRAILING_STOP) == (intent.side is Side.BUY)
    if reference_price is not None and (reference_price >= trigger if waits_for_rise else reference_price <= trigger):
        where = "above" if waits_for_rise else "below"
        raise OrderDenied(
            DenialReason.TRIGGER_INVALID,
            f"the trigger price of a {intent.side} {intent.type} must be {where} the market, "
            f"which is {plain(reference_price)} {instrument.quote}; was {plain(trigger)}",
            field="trigger_price",
        )
    return trigger


def _trail(intent: OrderIntent) -> Decimal | None:
    if intent.type is not OrderType.TRAILING_STOP:
        return None
    if intent.trailing_delta is None:
        raise OrderDenied(DenialReason.TRAILING_INVALID, "a trailing stop needs its distance in percent", field="trailing_percent")
    if not intent.trailing_delta.is_finite() or not _TRAILING_STEP <= intent.trailing_delta <= _WIDEST_TRAIL:
        raise OrderDenied(
            DenialReason.TRAILING_INVALID,
            f"the distance of a trailing stop must be between 0.01 and 50 percent, was {plain(intent.trailing_delta * 100)}",
            field="trailing_percent",
        )
    return intent.trailing_delta.quantize(_TRAILING_STEP, ROUND_FLOOR)


def asked_quantity(
    intent: OrderIntent,
    *,
    price: Decimal | None,
    reference_price: Decimal | None,
    free: Decimal | None,
    position: Decimal = Decimal(0),
) -> Decimal:
    """Return how much `intent` wishes for in base units, before any rule of the exchange.

    Args:
        intent: The wish.
        price: Its limit, else its trigger, in quote per base; None of a market order.
        reference_price: What a market order would pay or get now.
        free: Free balance of the asset that would be spent.
        position: Signed quantity held, for `close_position`.

    Raises:
        OrderDenied: it says nothing, too much, or what cannot be converted.
    """
    if intent.close_position:
        return _closing_quantity(intent, position)
    given = {"quantity": intent.quantity, "notional": intent.notional, "percent": intent.percent}
    named = [name for name, value in given.items() if value is not None]
    if not named:
        raise OrderDenied(DenialReason.QUANTITY_MISSING, "say how much: quantity, notional or percent", field="quantity")
    if len(named) > 1:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, f"say how much in one way only, was {' and '.join(named)}", field=named[1])
    if intent.quantity is not None:
        _check_positive(intent.quantity, "quantity", DenialReason.QUANTITY_INVALID)
        return intent.quantity
    if intent.notional is not None:
        _check_positive(intent.notional, "notional", DenialReason.QUANTITY_INVALID)
        return _bought_with(intent.notional, price, reference_price)
    return _share(intent, price=price, reference_price=reference_price, free=free)


def _share(intent: OrderIntent, *, price: Decimal | None, reference_price: Decimal | None, free: Decimal | None) -> Decimal:
    percent = intent.percent or Decimal(0)
    _check_positive(percent, "percent", DenialReason.QUANTITY_INVALID)
    if percent > 1:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, f"percent may be at most 100, was {plain(percent * 100)}", field="percent")
    if free is None:
        raise OrderDenied(
            DenialReason.QUANTITY_INVALID, "the account's balance is not known yet, so a share of it cannot be traded", field="percent"
        )
    spent = _DOWN.multiply(free, percent)
    return spent if intent.side is Side.SELL else _bought_with(spent, price, reference_price)


def _bought_with(notional: Decimal, price: Decimal | None, reference_price: Decimal | None) -> Decimal:
    if price is not None:
        return _DOWN.divide(notional, price)
    if reference_price is None:
        raise OrderDenied(DenialReason.PRICE_UNKNOWN, "the market's price is not known yet, so an amount in quote cannot be converted")
    return _DOWN.divide(notional, reference_price * (1 + MARKET_MARGIN))


def _closing_quantity(intent: OrderIntent, position: Decimal) -> Decimal:
    if position * intent.side.sign >= 0:
        raise OrderDenied(DenialReason.NO_POSITION, f"there is no position in {intent.symbol} that a {intent.side} would close")
    if intent.quantity is not None:
        _check_positive(intent.quantity, "quantity", DenialReason.QUANTITY_INVALID)
        return min(intent.quantity, abs(position))
    return abs(position) * (2 if intent.is_reversal else 1)


def _check_positive(value: Decimal, field: str, reason: DenialReason) -> None:
    if not value.is_finite():
        raise OrderDenied(reason, f"{field} must be a number, was {value}", field=field)
    if value <= 0:
        raise OrderDenied(reason, f"{field} must be more than 0, was {plain(value)}", field=field)
