"""From where alerts may come: addresses and networks that a webhook's owner named.

Behind a proxy that the server was not told of, every request comes from the proxy. Nothing is then known of who sent it, and a list of
senders would shut out everybody or nobody, so it counts for nothing and the owner is told. An address that a proxy gives and nobody can
read is another matter: whoever sent that is on no list.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import structlog

from app.core.addresses import refusal_of
from app.core.config import Settings
from app.core.hosts import is_known
from app.core.i18n import N_
from app.errors import InvalidInput

log = structlog.get_logger(__name__)

#: Source: tradingview.com/support/solutions/43000529348, read 2026-11; TradingView sends over IPv4 only.
TRADINGVIEW: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
#: Stands for these four in a list.
PRESET: Final = "tradingview"
#: Who sent a request whose address cannot be read: nobody that a list could name.
UNREADABLE: Final = ""
_MOST: Final = 50
_REMEMBERED: Final = 1024
#: Longer than any address with its zone and port.
_LONGEST: Final = 100
#: What some proxies put around an address: a port behind it, and brackets around one of IPv6 (RFC 7239, section 6).
_WRAPPED: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_HINT: Final = "webhooks with a list of senders refuse it: look at what the proxy writes into X-Forwarded-For, and at TRUSTED_PROXIES"
_NO_EFFECT: Final = N_(
    "The list of senders has no effect: this server stands behind a proxy that TRUSTED_PROXIES does not name, so every alert seems to come"
    " from the proxy."
)


def read_senders(given: Iterable[str]) -> list[str]:
    """Return addresses and networks as they are stored: each once, in their one way of being written.

    Raises:
        InvalidInput: one is neither, or there is none, or there are too many.
    """
    found: dict[str, None] = {}
    for entry in given:
        text = entry.strip()
        if text.lower() == PRESET:
            found.update(dict.fromkeys(TRADINGVIEW))
        elif text:
            found[_network(text)] = None
    if not found:
        raise InvalidInput("name at least one address that may send, or leave the list out: anybody may then", field="allowed_ips")
    if len(found) > _MOST:
        raise InvalidInput(f"a webhook takes at most 50 addresses and networks, were {len(found)}", field="allowed_ips")
    return list(found)


def _network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        shown = text[:60]
        raise InvalidInput(
            f"{shown} is no address and no network: write them like 52.89.214.238, 203.0.113.0/24 or 2001:db8::/32", field="allowed_ips"
        ) from error
    if isinstance(network, IPv6Network) and (inner := network.network_address.ipv4_mapped) is not None and network.prefixlen >= 96:
        network = ip_network(f"{inner}/{network.prefixlen - 96}")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def are_within(senders: Iterable[str], others: Iterable[str]) -> bool:
    """Whether everybody among `senders` is among `others`."""
    around = [ip_network(other) for other in others]
    return all(any(_holds(network, other) for other in around) for network in map(ip_network, senders))


def _holds(inner: object, outer: object) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[attr-defined,no-any-return]  # of the same kind by then


class Senders:
    """Tells for certain who sent a request, or that nobody knows."""

    def __init__(self, settings: Settings) -> None:
        self._is_public = _is_public(settings.public_url)
        self._has_proxies = bool(settings.trusted_proxies)
        #: This server speaks no TLS itself, so an https address of its own is somebody else's; on a loopback address nobody else arrives.
        is_https = (settings.public_url or "").lower().startswith("https:")
        self.is_hidden = self._is_public and not self._has_proxies and (is_https or settings.is_loopback)
        self._has_warned = False
        # Few send, and each of them often.
        self._known = lru_cache(_REMEMBERED)(self._find)

    def known(self, address: str | None) -> str | None:
        """Return the sender's address if it is certainly the sender's, UNREADABLE if it cannot be read; None when nobody can know it.

        Args:
            address: Where the request comes from; behind a trusted proxy, from whom the proxy had it.
        """
        if self.is_hidden:
            return None
        found = UNREADABLE if address is None or len(address) > _LONGEST else self._known(address)
        if found == UNREADABLE and not self._has_warned:
            self._has_warned = True
            log.warning("sender_unreadable", ip_address=None if address is None else address[:_LONGEST], hint=_HINT)
        return found

    def _find(self, address: str) -> str | None:
        wrapped = _WRAPPED.fullmatch(address.strip())
        try:
            found = ip_address(address.strip() if wrapped is None else wrapped[1] or wrapped[2])
        except ValueError:
            return UNREADABLE
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or IPv6Address(found.packed)  # without a zone, which is this machine's own name for a wire
        if self._is_public and not self._has_proxies and refusal_of(found, is_allowed=False) is not None:
            return None  # nobody on the internet has that address: something stands between that we were not told of
        return str(found)

    def warning(self, allowed_ips: object) -> str | None:
        """Return what the owner of a list has to know when it counts for nothing; None when it counts, or there is none."""
        if not self.is_hidden or not allowed_ips:
            return None
        return _NO_EFFECT


def _is_public(url: str | None) -> bool:
    host = urlsplit(url).hostname if url else None
    if not host:
        return False
    try:
        return refusal_of(ip_address(host), is_allowed=False) is None
    except ValueError:
        return not is_known(host, ())
