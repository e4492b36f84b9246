"""A position is a fold of fills: signed net quantity, average entry price, realised profit after fees."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.enums import Side
from app.domain.orders import Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Signed net quantity of one symbol in base units: long > 0, short < 0, flat 0.

    `average_price` is quote per base, None while flat. `realized_pnl` and `fees` are in quote. Fees paid in base reduce the quantity
    that is held (buy 1 with a fee of 0.001 → 0.999) and count as a cost at the fill's price; fees in a third asset (an exchange's own
    coin) are kept on the fill and are not part of `realized_pnl`.
    """

    base: str
    quote: str
    quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    realized_pnl: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)

    def apply(self, side: Side, fill: Fill) -> "Position":
        """Return the position after `fill`; the caller counts each trade id once.

        Raises:
            ValueError: the fill's quantity is not positive.
        """
        if fill.quantity <= 0:
            raise ValueError(f"a fill's quantity must be positive, was {fill.quantity}")
        fee_in_quote = self._fee_in_quote(fill)
        signed = side.sign * fill.quantity
        realized = self.realized_pnl - fee_in_quote
        average = self.average_price
        if self.quantity * signed < 0 and average is not None:
            closing = min(abs(signed), abs(self.quantity))
            direction = 1 if self.quantity > 0 else -1
            realized += direction * closing * (fill.price - average)
            if abs(signed) > abs(self.quantity):
                average = fill.price
        else:
            average = self._averaged(signed, fill.price)
        quantity = self.quantity + signed - (fill.fee if fill.fee_asset == self.base else Decimal(0))
        return replace(
            self,
            quantity=quantity,
            average_price=average if quantity else None,
            realized_pnl=realized,
            fees=self.fees + fee_in_quote,
        )

    def unrealized_pnl(self, mark_price: Decimal) -> Decimal:
        """Return the open part's profit in quote at `mark_price`."""
        return self.quantity * (mark_price - self.average_price) if self.average_price is not None else Decimal(0)

    def _averaged(self, signed: Decimal, price: Decimal) -> Decimal:
        held = self.quantity * (self.average_price or price)
        total = self.quantity + signed
        return (held + signed * price) / total if total else price

    def _fee_in_quote(self, fill: Fill) -> Decimal:
        if fill.fee_asset == self.quote:
            return fill.fee
        return fill.fee * fill.price if fill.fee_asset == self.base else Decimal(0)
