"""What a fill costs. Spot venues take the fee out of the asset the fill brings in."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from app.domain.enums import Liquidity, Side

FEE_QUANTUM = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRates:
    """Fractions of the received amount: 0.001 is 0.1 %."""

    maker: Decimal
    taker: Decimal

    def rate(self, liquidity: Liquidity) -> Decimal:
        """Return the fraction a fill of that liquidity pays."""
        return self.maker if liquidity is Liquidity.MAKER else self.taker


def received_amount(side: Side, quantity: Decimal, price: Decimal) -> Decimal:
    """Return what a fill brings in before the fee: base units for a buy, quote units for a sell."""
    return quantity if side is Side.BUY else quantity * price


def fee_on_received(amount: Decimal, rate: Decimal) -> Decimal:
    """Return the fee on a received `amount`, in the same asset, cut to eight decimals (the precision venues book in)."""
    return (amount * rate).quantize(FEE_QUANTUM, ROUND_DOWN)
