"""The venues we name, without importing ccxt: that takes seconds, and the list is on the first pages."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """One exchange: what a broker account there needs, and whether it can be tried with play money."""

    id: str
    name: str
    required_credentials: tuple[str, ...] = ("api_key", "api_secret")
    has_testnet: bool = False


#: The venue that exists only here: real prices, play money, no keys.
PAPER: Final = "paper"
_WITH_PASSWORD: Final = ("api_key", "api_secret", "api_password")

#: The mission's venues, the newcomer's first. Any other exchange that ccxt knows works too; `Registry.describe` tells what it needs.
EXCHANGES: Final[dict[str, Venue]] = {
    venue.id: venue
    for venue in (
        Venue(id=PAPER, name="Paper trading", required_credentials=()),
        Venue(id="binance", name="Binance", has_testnet=True),
        Venue(id="binanceus", name="Binance US"),
        Venue(id="kraken", name="Kraken"),
        Venue(id="coinbase", name="Coinbase Advanced"),
        Venue(id="kucoin", name="KuCoin", required_credentials=_WITH_PASSWORD),
        Venue(id="bitget", name="Bitget", required_credentials=_WITH_PASSWORD, has_testnet=True),
        Venue(id="okx", name="OKX", required_credentials=_WITH_PASSWORD, has_testnet=True),
        Venue(id="bybit", name="Bybit", has_testnet=True),
        Venue(id="gate", name="Gate", has_testnet=True),
        Venue(id="mexc", name="MEXC Global"),
    )
}
