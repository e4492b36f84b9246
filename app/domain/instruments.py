"""An instrument: a symbol with the exchange's trading rules, and the rounding that obeys them."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from app.domain.enums import Side
from app.errors import DenialReason, OrderDenied

#: More digits than any number we take. With the usual 28, a quotient of a long number would be rounded to the next step, upwards too.
_EXACT: Final = Context(prec=150)

#: How far the market may have moved from the mean that the exchange measures from.
_MEAN_SLACK: Final = Decimal("0.02")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Trading rules of one spot symbol.

    Quantities are in base units, prices in quote per base, notionals in quote. The ratios bound a limit price by the market's, for a buy
    and for a sell. None means that the exchange sets no such bound.
    """

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    min_notional: Decimal | None = None
    max_notional: Decimal | None = None
    max_market_quantity: Decimal | None = None
    buy_min_ratio: Decimal | None = None
    buy_max_ratio: Decimal | None = None
    sell_min_ratio: Decimal | None = None
    sell_max_ratio: Decimal | None = None
    is_active: bool = True

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Return `quantity` rounded down to the step, so that it never exceeds what was meant or held."""
        return on_grid(quantity, self.step_size, ROUND_FLOOR)

    def round_price(self, side: Side, price: Decimal) -> Decimal:
        """Return `price` on the tick grid, on the trader's safe side: a buy never higher, a sell never lower than asked."""
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        return on_grid(price, self.tick_size, rounding)

    def check_quantity(self, quantity: Decimal, *, asked: Decimal | None = None, is_market: bool = False) -> None:
        """Refuse a quantity outside the exchange's bounds.

        Args:
            quantity: Base units, on the step.
            asked: What the trader wished for before rounding, for the sentence.
            is_market: Whether it takes what the market offers: exchanges let such orders be smaller at most.

        Raises:
            OrderDenied: QUANTITY_BELOW_MINIMUM or QUANTITY_ABOVE_MAXIMUM, with the bound and the value.
        """
        smallest = max(self.min_quantity or Decimal(0), self.step_size)
        if quantity < smallest:
            raise OrderDenied(
                DenialReason.QUANTITY_BELOW_MINIMUM,
                f"{self.symbol}: the smallest quantity is {plain(smallest)} {self.base}, was {plain(asked or quantity)}",
                field="quantity",
            )
        bounds = [bound for bound in (self.max_quantity, self.max_market_quantity if is_market else None) if bound]
        if bounds and quantity > min(bounds):
            of_what = " of a market order" if is_market and min(bounds) == self.max_market_quantity else ""
            raise OrderDenied(
                DenialReason.QUANTITY_ABOVE_MAXIMUM,
                f"{self.symbol}: the largest quantity{of_what} is {plain(min(bounds))} {self.base}, was {plain(quantity)}",
                field="quantity",
            )

    def check_price(self, price: Decimal) -> None:
        """Refuse a price outside the exchange's bounds.

        Raises:
            OrderDenied: PRICE_OUT_OF_RANGE.
        """
        lowest = max(self.min_price or Decimal(0), self.tick_size)
        if price < lowest or (self.max_price and price > self.max_price):
            bounds = f"at least {plain(lowest)}" + (f" and at most {plain(self.max_price)}" if self.max_price else "")
            raise OrderDenied(
                DenialReason.PRICE_OUT_OF_RANGE, f"{self.symbol}: a price must be {bounds} {self.quote}, was {plain(price)}", field="price"
            )

    def check_distance(self, side: Side, price: Decimal, market_price: Decimal) -> None:
        """Refuse a limit price that is further from the market's than the exchange allows.

        The exchange measures from its mean price of some minutes, which we do not know: what is a little beyond is left to it.

        Raises:
            OrderDenied: PRICE_OUT_OF_RANGE.
        """
        ratios = (self.buy_min_ratio, self.buy_max_ratio) if side is Side.BUY else (self.sell_min_ratio, self.sell_max_ratio)
        lowest = None if ratios[0] is None else market_price * ratios[0]
        highest = None if ratios[1] is None else market_price * ratios[1]
        if (lowest is not None and price < lowest * (1 - _MEAN_SLACK)) or (highest is not None and price > highest * (1 + _MEAN_SLACK)):
            bounds = " and ".join(
                f"{word} {plain(on_grid(bound, self.tick_size, ROUND_FLOOR))}"
                for word, bound in (("at least", lowest), ("at most", highest))
                if bound is not None
            )
            raise OrderDenied(
                DenialReason.PRICE_OUT_OF_RANGE,
                f"{self.symbol}: with the market at {plain(market_price)} {self.quote} the price of a {side} must be {bounds}, "
                f"was {plain(price)}",
                field="price",
            )

    def check_notional(self, quantity: Decimal, price: Decimal) -> None:
        """Refuse an order worth less or more than the exchange takes.

        Raises:
            OrderDenied: NOTIONAL_BELOW_MINIMUM or NOTIONAL_ABOVE_MAXIMUM.
        """
        notional = quantity * price
        if self.min_notional and notional < self.min_notional:
            raise OrderDenied(
                DenialReason.NOTIONAL_BELOW_MINIMUM,
                f"{self.symbol}: {plain(notional)} {self.quote} is below the exchange minimum of {plain(self.min_notional)} {self.quote}",
                field="quantity",
            )
        if self.max_notional and notional > self.max_notional:
            raise OrderDenied(
                DenialReason.NOTIONAL_ABOVE_MAXIMUM,
                f"{self.symbol}: {plain(notional)} {self.quote} is above the exchange maximum of {plain(self.max_notional)} {self.quote}",
                field="quantity",
            )


def on_grid(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Return the multiple of `step` that `value` is rounded to, in a rounding mode of `decimal`, exactly."""
    return _EXACT.multiply(_EXACT.divide(value, step).to_integral_value(rounding), step)


def plain(value: Decimal) -> str:
    """Return `value` as decimal text without exponent or trailing zeros: 1E-5 → 0.00001, 5.00 → 5."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
