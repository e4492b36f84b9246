"""From where alerts may come: addresses and networks that a webhook's owner named."""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from app.errors import InvalidInput

#: Source: tradingview.com/support/solutions/43000529348, read 2026-11; TradingView sends over IPv4 only.
TRADINGVIEW: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
_MOST: Final = 50


def read_senders(given: Iterable[str]) -> list[str]:
    """Return addresses and networks as they are stored: each once, in their one way of being written.

    Raises:
        InvalidInput: one is neither, or there are too many.
    """
    found = list(dict.fromkeys(_network(entry) for entry in given))
    if len(found) > _MOST:
        raise InvalidInput(f"a webhook takes at most {_MOST} addresses and networks, were {len(found)}", field="allowed_ips")
    return found


def _network(text: str) -> str:
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise InvalidInput(
            f"{text[:60]} is no address and no network: write them like 52.89.214.238, 203.0.113.0/24 or 2001:db8::/32", field="allowed_ips"
        ) from error
    return str(network.network_address) if network.num_addresses == 1 else str(network)
