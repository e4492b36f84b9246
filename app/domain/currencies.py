"""Currencies in which a person can have totals shown. What is stored stays in USDT."""

from enum import StrEnum
from typing import Final


class Currency(StrEnum):
    """What totals are shown in."""

    USDT = "USDT"
    USD = "USD"
    EUR = "EUR"
    USDC = "USDC"
    BTC = "BTC"
    ETH = "ETH"
    BNB = "BNB"
    GBP = "GBP"
    TRY = "TRY"
    BRL = "BRL"
    JPY = "JPY"

    @property
    def decimals(self) -> int:
        """How many digits after the mark an amount is shown with: a hundredth of a bitcoin is no small change."""
        return _DECIMALS.get(self, 2)


_DECIMALS: Final = {Currency.BTC: 8, Currency.ETH: 6, Currency.BNB: 5, Currency.JPY: 0}
