"""Fit a sized order to what its venue can do: who watches the trigger, and whether a market buy names base or quote. Pure."""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from app.domain.enums import Execution, OrderType, Side
from app.domain.instruments import Instrument
from app.domain.sizing import SizedOrder
from app.errors import DenialReason, OrderDenied
from app.exchanges.capabilities import Capabilities

#: The distances a venue's own trailing stop takes. Source: binance-spot-api-docs filters.md TRAILING_DELTA, 10 to 2000 basis points.
_NATIVE_TRAIL: Final = (Decimal("0.001"), Decimal("0.2"))
_EXACT: Final = Context(prec=60, rounding=ROUND_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """An order as its venue takes it, and who watches its trigger."""

    order: SizedOrder
    execution: Execution


def fit(order: SizedOrder, instrument: Instrument, capabilities: Capabilities, *, reference_price: Decimal | None) -> Fitted:
    """Return `order` in the venue's words.

    Raises:
        OrderDenied: TYPE_UNSUPPORTED, the venue has no such time in force or no post-only orders; PRICE_UNKNOWN, a market buy must name
            what it spends and nobody knows the price.
    """
    if order.post_only and not capabilities.has_post_only:
        raise OrderDenied(DenialReason.TYPE_UNSUPPORTED, "this exchange takes no post-only orders", field="post_only")
    is_native = is_native_trail(order.trailing_delta) and capabilities.is_native(order.type)
    if order.type.has_limit and order.time_in_force not in capabilities.time_in_force:
        names = ", ".join(sorted(each.value.upper() for each in capabilities.time_in_force))
        raise OrderDenied(
            DenialReason.TYPE_UNSUPPORTED,
            f"this exchange takes {names} orders only, was {order.time_in_force.value.upper()}",
            field="time_in_force",
        )
    if order.type.once_triggered is OrderType.MARKET and order.side is Side.BUY:
        order = _named(order, instrument, capabilities, reference_price)
    return Fitted(order=order, execution=Execution.NATIVE if is_native else Execution.SUPERVISED)


def _named(order: SizedOrder, instrument: Instrument, capabilities: Capabilities, reference_price: Decimal | None) -> SizedOrder:
    """A market buy by quote where the venue takes that, else by base; and the other way round."""
    if order.notional is not None:
        return order if capabilities.market_buy_by_quote else replace(order, notional=None)
    if capabilities.market_buy_by_base:
        return order
    price = order.trigger_price or reference_price
    if price is None:
        raise OrderDenied(
            DenialReason.PRICE_UNKNOWN,
            f"this exchange takes market buys by their amount in {instrument.quote}, and the market's price is not known yet",
        )
    return replace(order, notional=_floor(order.quantity * price, instrument.tick_size))


def _floor(amount: Decimal, step: Decimal) -> Decimal:
    return _EXACT.multiply(_EXACT.divide(amount, step).to_integral_value(ROUND_FLOOR), step)


def is_native_trail(delta: Decimal | None) -> bool:
    """Whether a venue's own trailing stop, where there is one, follows at that distance; True where nothing trails."""
    return delta is None or _NATIVE_TRAIL[0] <= delta <= _NATIVE_TRAIL[1]
