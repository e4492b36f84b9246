"""The venues one can have an account at, without importing ccxt: that takes seconds, and the list is on the first pages."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.exchanges.untested import UNTESTED_VENUES


class Sandbox(StrEnum):
    """Where a venue lets an account try with play money: a test network of its own, or a demo mode of the real one."""

    TESTNET = "testnet"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """One exchange: what an account there needs, and whether it can be tried with play money.

    An untested one takes market and limit orders only: nobody has looked at what else leaves for it. `required_credentials` is what ccxt
    requires, by our names. `subaccount_option` is ccxt's option for a part of the account that each request names; elsewhere a
    sub-account has keys of its own, and they decide.
    """

    id: str
    name: str
    required_credentials: tuple[str, ...] = ("api_key", "api_secret")
    sandbox: Sandbox | None = None
    is_tested: bool = True
    subaccount_option: str | None = None

    @property
    def has_testnet(self) -> bool:
        """Whether an account can be a test account."""
        return self.sandbox is not None

    @property
    def why_no_sandbox(self) -> str | None:
        """Why it cannot, in a sentence for the trader; None where it can."""
        if self.sandbox is not None or self.id == PAPER:
            return None
        if self.is_tested:
            return f"{self.name} offers no test environment; use a paper account."
        return f"A test environment of {self.name} has not been tried here; use a paper account."


#: The venue that exists only here: real prices, play money, no keys.
PAPER: Final = "paper"
_WITH_PASSWORD: Final = ("api_key", "api_secret", "api_password")
#: ccxt's names of credentials, and ours.
OUR_NAMES: Final = {"apiKey": "api_key", "secret": "api_secret", "password": "api_password", "uid": "api_uid"}
#: Source: `handle_options` of these exchanges in ccxt.
_SUBACCOUNT_OPTIONS: Final = {"bullish": "tradingAccountId"}

#: The venues whose requests were looked at one by one, the newcomer's first.
EXCHANGES: Final[dict[str, Venue]] = {
    venue.id: venue
    for venue in (
        Venue(id=PAPER, name="Paper trading", required_credentials=()),
        Venue(id="binance", name="Binance", sandbox=Sandbox.TESTNET),
        Venue(id="binanceus", name="Binance US"),
        Venue(id="kraken", name="Kraken"),
        Venue(id="coinbase", name="Coinbase Advanced"),
        Venue(id="kucoin", name="KuCoin", required_credentials=_WITH_PASSWORD),
        Venue(id="bitget", name="Bitget", required_credentials=_WITH_PASSWORD, sandbox=Sandbox.DEMO),
        Venue(id="okx", name="OKX", required_credentials=_WITH_PASSWORD, sandbox=Sandbox.DEMO),
        Venue(id="bybit", name="Bybit", sandbox=Sandbox.TESTNET),
        Venue(id="gate", name="Gate", sandbox=Sandbox.TESTNET),
        Venue(id="mexc", name="MEXC Global"),
    )
}
#: All the others that ccxt can trade spot at with a key of the usual kind, by name.
OTHERS: Final[dict[str, Venue]] = {
    key: Venue(
        id=key,
        name=name,
        required_credentials=("api_key", "api_secret", *further),
        is_tested=False,
        subaccount_option=_SUBACCOUNT_OPTIONS.get(key),
    )
    for key, name, further in sorted(UNTESTED_VENUES, key=lambda entry: entry[1].lower())
}


def venue_of(exchange: str) -> Venue | None:
    """Return the venue of that id, or None where there is none."""
    return EXCHANGES.get(exchange) or OTHERS.get(exchange)
