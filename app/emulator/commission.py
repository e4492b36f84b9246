"""What a fill costs: a fraction of what it brings in, or, for who wants it so and has enough, less than that in BNB.

An account may also pay the same fraction in the quote asset whatever it trades, as other venues take it, and backtests.

Source: Binance Spot API documentation, faqs/commission_faq.md. The discount is the real venue's 25 %.
"""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal

from app.domain.fees import FEE_QUANTUM, fee_on_received
from app.emulator.ledger import Account
from app.emulator.market import SymbolMarket

BNB = "BNB"
DISCOUNT = Decimal("0.25")


def bnb_price(markets: Mapping[str, SymbolMarket], quote: str) -> Decimal | None:
    """Return what one BNB costs in `quote`, None when nothing here tells."""
    if quote == BNB:
        return Decimal(1)
    market = markets.get(f"{BNB}{quote}")
    return None if market is None else market.last_price


def commission_of(
    account: Account, markets: Mapping[str, SymbolMarket], *, quote: str, received: str, amount: Decimal, value: Decimal, rate: Decimal
) -> tuple[Decimal, str]:
    """Return the fee of a fill and the asset it is taken in.

    Args:
        account: Who pays; what the fill brings in is already booked.
        markets: Where BNB may have a price.
        quote: The quote asset of the fill's symbol.
        received: The asset the fill brings in.
        amount: How much it brings in, before the fee.
        value: What changed hands, quote units.
        rate: Fraction to pay.
    """
    if account.pays_in_quote:
        return (value * rate).quantize(FEE_QUANTUM, ROUND_DOWN), quote
    price = bnb_price(markets, quote) if account.pays_in_bnb else None
    if price is not None:
        discounted = (value * rate * (1 - DISCOUNT) / price).quantize(FEE_QUANTUM, ROUND_DOWN)
        if account.balance(BNB).free >= discounted:
            return discounted, BNB
    return fee_on_received(amount, rate), received
