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
_SUPPORTED: Final = frozenset({OrderType.MARKET, OrderType.LIMIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedOrder:
    """An order that obeys the instrument's rules. Quantity in base units, prices in quote per base."""

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool


def needs_reference_price(intent: OrderIntent) -> bool:
    """Whether the order cannot be sized without the market's price."""
    return intent.type is OrderType.MARKET and (intent.notional is not None or (intent.percent is not None and intent.side is Side.BUY))


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
    if intent.type not in _SUPPORTED:
        raise OrderDenied(
            DenialReason.TYPE_UNSUPPORTED, f"orders of type {intent.type} cannot be sent yet; use market or limit", field="type"
        )
    price = _limit_price(intent, instrument)
    asked = _quantity(intent, price=price, reference_price=reference_price, free=free, position=position)
    quantity = instrument.floor_quantity(asked)
    instrument.check_quantity(quantity, asked=asked)
    valued_at = price or reference_price
    if valued_at is not None:
        instrument.check_notional(quantity, valued_at)
    return SizedOrder(
        symbol=instrument.symbol,
        side=intent.side,
        type=intent.type,
        quantity=quantity,
        price=price,
        time_in_force=intent.time_in_force,
        post_only=intent.post_only,
    )


def _limit_price(intent: OrderIntent, instrument: Instrument) -> Decimal | None:
    if intent.type is OrderType.MARKET:
        return None
    if intent.price is None:
        raise OrderDenied(DenialReason.PRICE_MISSING, f"a {intent.type} order needs a price", field="price")
    _check_positive(intent.price, "price", DenialReason.PRICE_INVALID)
    price = instrument.round_price(intent.side, intent.price)
    instrument.check_price(price)
    return price


def _quantity(
    intent: OrderIntent, *, price: Decimal | None, reference_price: Decimal | None, free: Decimal | None, position: Decimal
) -> Decimal:
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
    return abs(position)


def _check_positive(value: Decimal, field: str, reason: DenialReason) -> None:
    if not value.is_finite():
        raise OrderDenied(reason, f"{field} must be a number, was {value}", field=field)
    if value <= 0:
        raise OrderDenied(reason, f"{field} must be more than 0, was {plain(value)}", field=field)
