"""Which names this server answers to. A page elsewhere can let its own name point here (DNS rebinding) and then read what we answer.

Such a page must have a name that somebody can register. Addresses, names without a dot and names of local networks cannot be; any other is
known only when the administrator has named it.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

#: Nobody can register a name under these. Sources: RFC 6761, RFC 6762, RFC 8375, ICANN 2024-07-29 (internal).
_LOCAL: Final = (".localhost", ".local", ".home.arpa", ".internal", ".lan")


def name_of(host: str) -> str:
    """Return the name in a Host header, without its port and in lower case; empty when it is none."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.partition(":")
    return name.rstrip(".") if not port or port.isdecimal() else ""


def is_known(host: str, named: Iterable[str]) -> bool:
    """Whether a request to `host` can be meant for this server.

    Args:
        host: The request's Host header.
        named: Names that the administrator gave, in lower case.
    """
    name = name_of(host)
    if not name:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_LOCAL) or name in named
    return True
