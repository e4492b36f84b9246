"""How a ccxt exchange object is made: exact numbers, spot only, one try, our session, and the address to talk to."""

import ipaddress
import logging
import ssl
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from app.errors import Unsupported
from app.exchanges.catalogue import venue_of
from app.exchanges.http_session import HostSession
from app.exchanges.order_params import RECV_WINDOW_MS
from app.exchanges.port import Credentials
from app.exchanges.venue_class import layered

_BINANCE_OPTIONS: Final[dict[str, Any]] = {
    "fetchMarkets": {"types": ["spot"]},
    "fetchMargins": False,
    "fetchCurrencies": False,
    "recvWindow": RECV_WINDOW_MS,
    # ccxt refuses to list the open orders of all symbols otherwise.
    "fetchOpenOrders": {"warnWithoutSymbol": False},
}
#: Which kind of account it is. Otherwise ccxt asks the venue in the middle of the first order, and an answer that is lost there would
#: leave an order in doubt that was never sent.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "binance": _BINANCE_OPTIONS,
    "binanceus": _BINANCE_OPTIONS,
    # The other list of accounts says nothing of what open orders hold.
    "coinbase": {
        "fetchBalance": "v3PrivateGetBrokerageAccounts",
        "v3Accounts": ["ACCOUNT_TYPE_CRYPTO", "ACCOUNT_TYPE_FIAT", "CRYPTO", "FIAT"],
    },
    "kucoin": {"uta": False, "hf": True},
    "bitget": {"uta": False},
    "bybit": {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6},
    "gate": {"unifiedAccount": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueAddress:
    """Which server of an exchange: the real one, its testnet, or (binance only) another base URL such as the emulator's."""

    exchange: str
    is_testnet: bool = False
    rest_url: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, where only a rate limit that is really kept needs respect."""
        host = urlsplit(self.rest_url or "").hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def quiet_ccxt() -> None:
    """Keep ccxt's logger from ever writing requests: at DEBUG they hold keys and signatures."""
    logging.getLogger("ccxt.base.exchange").setLevel(logging.WARNING)


def make_exchange(
    ccxt: ModuleType,
    address: VenueAddress,
    *,
    credentials: Credentials | None,
    session: HostSession | None,
    tls: ssl.SSLContext,
) -> Any:
    """Return a ccxt exchange for `address`; never print it or log it, its fields hold the keys.

    Raises:
        Unsupported: ccxt does not know the exchange, or it has no testnet.
    """
    venue_class = getattr(ccxt, address.exchange, None) if address.exchange in ccxt.exchanges else None
    if venue_class is None:
        raise Unsupported(f"there is no exchange called {address.exchange!r}")
    is_binance = address.exchange in ("binance", "binanceus")
    config: dict[str, Any] = {
        "enableRateLimit": False,  # each object would count for itself, and the venue counts by IP: the gate of the address does it
        "options": {"defaultType": "spot", "maxRetriesOnFailure": 0, **_OPTIONS.get(address.exchange, {})},
        "enableLastHttpResponse": False,
        "enableLastJsonResponse": False,
        "enableLastResponseHeaders": False,
    }
    if session is not None:
        config["session"] = session
    if credentials is not None:
        config |= {"apiKey": credentials.api_key, "secret": credentials.api_secret, "password": credentials.api_password or ""}
        config |= {"uid": credentials.api_uid} if credentials.api_uid is not None else {}
        venue = venue_of(address.exchange)
        if credentials.subaccount is not None and venue is not None and venue.subaccount_option is not None:
            config["options"][venue.subaccount_option] = credentials.subaccount
    exchange = layered(venue_class)(config)
    exchange.number = str
    exchange.ssl_context = tls
    exchange.timeout_on_exit = 0
    if address.rest_url is not None and is_binance:
        exchange.urls["api"] = _urls_at(address.rest_url, exchange.urls["api"])
    elif address.is_testnet:
        _enter_testnet(exchange, address.exchange)
    return exchange


def _enter_testnet(exchange: Any, name: str) -> None:
    """By our catalogue, not by ccxt: at Binance US it would lead to Binance's testnet."""
    venue = venue_of(name)
    if venue is None or venue.sandbox is None:
        raise Unsupported((venue and venue.why_no_sandbox) or f"{name} has no test environment that Aristobot knows")
    exchange.set_sandbox_mode(True)


def _urls_at(base: str, urls: dict[str, Any]) -> dict[str, Any]:
    """Send the spot API to `base` and every other API to a path that does not exist, rather than to the real exchange."""
    root = base.rstrip("/").removesuffix("/api/v3")
    spot = {"public": f"{root}/api/v3", "private": f"{root}/api/v3", "v1": f"{root}/api/v1", "sapi": f"{root}/sapi/v1"}
    return {**dict.fromkeys(urls, f"{root}/not-emulated"), **spot}
