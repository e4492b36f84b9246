"""A position is a fold of fills: signed net quantity, average entry price, realised profit after fees.

Every amount is computed exactly and kept with 18 decimals, rounded half up, as the database keeps it: a fold in memory and one that went
through the database in pieces give the same digits. What was paid for the open part is kept as an amount (`cost`) and not as a price, so
that nothing is lost by dividing: once a position is flat, its profit is the money that moved, to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from types import MappingProxyType
from typing import Final

from app.domain.enums import Side
from app.domain.orders import Fill

#: What is kept of a number.
KEPT: Final = Decimal("1e-18")
#: Room for the product of two numbers that the database holds, and for what divides it.
_WIDE: Final = Context(prec=120, rounding=ROUND_HALF_UP)
_ZERO: Final = Decimal(0)
_NONE: Final[Mapping[str, Decimal]] = MappingProxyType({})


def fee_in_quote(fill: Fill, *, base: str, quote: str, fee_price: Decimal | None = None) -> Decimal | None:
    """Return what a fill's fee was worth in quote, kept with 18 decimals.

    Args:
        fill: The execution.
        base: Base asset of its symbol.
        quote: Quote asset of its symbol.
        fee_price: What one unit of a third asset cost in quote when the fill happened; None when nobody knows.

    Returns:
        The fee itself in quote, at the fill's price in base, at `fee_price` in another asset; None when that has no price.
    """
    if fill.fee_asset == quote or not fill.fee:
        return fill.fee
    price = fill.price if fill.fee_asset == base else fee_price
    return None if price is None else _kept(_WIDE.multiply(fill.fee, price))


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Signed net quantity of one symbol in base units: long > 0, short < 0, flat 0.

    `average_price` is quote per base, None while flat; `cost` is what the open part was bought (or sold short) for, in quote, never
    negative. `realized_pnl` and `fees` are in quote.

    A fee in base is taken out of what is held (buy 1 with a fee of 0.001 → 0.999) and counts as a cost at the fill's price. A fee in a
    third asset (an exchange's own coin) counts at the price it had then; one that has no price is kept apart in `unvalued_fees`, by asset,
    and is no part of `realized_pnl` and `fees`.
    """

    base: str
    quote: str
    quantity: Decimal = _ZERO
    average_price: Decimal | None = None
    cost: Decimal = _ZERO
    realized_pnl: Decimal = _ZERO
    fees: Decimal = _ZERO
    unvalued_fees: Mapping[str, Decimal] = field(default_factory=lambda: _NONE)

    def apply(self, side: Side, fill: Fill, *, fee_price: Decimal | None = None) -> "Position":
        """Return the position after `fill`; the caller counts each trade id once.

        Args:
            side: Whether the fill bought or sold.
            fill: The execution.
            fee_price: What one unit of a fee in a third asset cost in quote then; None when nobody knows.

        Raises:
            ValueError: the fill's quantity is not positive.
        """
        if fill.quantity <= 0:
            raise ValueError(f"a fill's quantity must be positive, was {fill.quantity}")
        with localcontext(_WIDE):
            fee = fee_in_quote(fill, base=self.base, quote=self.quote, fee_price=fee_price)
            moved = side.sign * fill.quantity - (fill.fee if fill.fee_asset == self.base else _ZERO)
            closed = min(abs(moved), abs(self.quantity)) if moved * self.quantity < 0 else _ZERO
            opened = abs(moved) - closed
            freed = self.cost if closed == abs(self.quantity) else _kept(self.cost * closed / abs(self.quantity))
            cost = self.cost - freed + _kept(opened * fill.price)
            quantity = _kept(self.quantity + moved)
            gained = (1 if self.quantity > 0 else -1) * (_kept(closed * fill.price) - freed)
            return replace(
                self,
                quantity=quantity,
                average_price=self._average(quantity, cost, is_enlarged=opened > 0),
                cost=cost,
                realized_pnl=self.realized_pnl + gained - (fee or _ZERO),
                fees=self.fees + (fee or _ZERO),
                unvalued_fees=self.unvalued_fees if fee is not None else self._with_unvalued(fill),
            )

    def unrealized_pnl(self, mark_price: Decimal) -> Decimal:
        """Return the open part's profit in quote at `mark_price`."""
        return self.quantity * (mark_price - self.average_price) if self.average_price is not None else _ZERO

    def _average(self, quantity: Decimal, cost: Decimal, *, is_enlarged: bool) -> Decimal | None:
        """Closing a part does not move the average."""
        if not quantity:
            return None
        return _kept(cost / abs(quantity)) if is_enlarged else self.average_price

    def _with_unvalued(self, fill: Fill) -> Mapping[str, Decimal]:
        before = self.unvalued_fees.get(fill.fee_asset, _ZERO)
        return MappingProxyType({**self.unvalued_fees, fill.fee_asset: before + fill.fee})


def cost_of(quantity: Decimal, average_price: Decimal | None) -> Decimal:
    """Return the cost of a position of which only quantity and average price are known."""
    return _ZERO if average_price is None else _kept(_WIDE.multiply(abs(quantity), average_price))


def _kept(amount: Decimal) -> Decimal:
    return amount.quantize(KEPT, context=_WIDE)
