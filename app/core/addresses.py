"""Which addresses a request that a user asked for may go to. Nothing here looks anything up.

Somebody who chooses where this server sends a request stands, for that request, inside this server's network. So only what is public may be
called, and what the administrator named. Where clouds keep their secrets may never be called.
"""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

#: An entry of the allow-list without a port means Ollama's.
DEFAULT_PORT: Final = 11434
LARGEST_PORT: Final = 65535

#: Not public. Source: IANA IPv4 Special-Purpose Address Registry, and RFC 5771 (multicast), RFC 1112 (reserved).
_NOT_PUBLIC_V4: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
#: The only IPv6 that is routed, so that IPv4-mapped, NAT64, unique local, link-local and what comes next are out without being named …
_GLOBAL_V6: Final = IPv6Network("2000::/3")
#: … but for this: protocol assignments with Teredo, documentation, 6to4. Source: IANA IPv6 Special-Purpose Address Registry.
_NOT_PUBLIC_V6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
#: Where clouds tell a machine its secrets: link-local for nearly all, and places of their own (Alibaba, Azure, Oracle; IPv6: AWS, Google).
_METADATA: Final = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32",
    )
)  # fmt: skip
#: Nobody's own address: this host, everybody, nobody.
_NOBODY: Final = tuple(ip_network(text) for text in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8"))
#: IPv6 that holds an IPv4 address in its last 32 bits: compatible, mapped, translated, NAT64 with the well-known and with a local prefix.
_HOLDS_V4: Final = tuple(
    IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)  # fmt: skip


class Refusal(Enum):
    """Why an address is not called."""

    PRIVATE = "private"
    METADATA = "metadata"


def refusal_of(address: Address, *, is_allowed: bool) -> Refusal | None:
    """Return why `address` is not called, None when it may be.

    Args:
        address: As the resolver gave it; an IPv6 zone is of no account.
        is_allowed: Whether the administrator allowed the host that stands for it.
    """
    meant = (address, *_inner(address))
    if any(_is_in(one, _METADATA) for one in meant):
        return Refusal.METADATA
    if any(_is_in(one, _NOBODY) for one in meant):
        return Refusal.PRIVATE
    return None if is_allowed or _is_public(address) else Refusal.PRIVATE


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not _is_in(address, _NOT_PUBLIC_V4)
    return address in _GLOBAL_V6 and not _is_in(address, _NOT_PUBLIC_V6)


def _is_in(address: Address, networks: tuple[object, ...]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]  # of two kinds, and an address is in its own only


def _inner(address: Address) -> list[IPv4Address]:
    """The IPv4 address that an IPv6 address leads to, where a router or the kernel takes it out again."""
    if isinstance(address, IPv4Address) or address == IPv6Address("::1"):
        return []
    found = [IPv4Address(int(address) & 0xFFFFFFFF)] if _is_in(address, _HOLDS_V4) else []
    return found + [inner for inner in (address.sixtofour, *(address.teredo or ())) if inner is not None]


def parse_allowed(entries: tuple[str, ...], *, setting: str = "OLLAMA_ALLOWED_HOSTS") -> frozenset[tuple[str, int]]:
    """Return (host, port) pairs of an allow-list: `host`, `host:port`, `[IPv6]:port`. The word `none` alone allows nothing.

    Args:
        entries: As the administrator wrote them.
        setting: Where, for the error.

    Raises:
        ValueError: an entry is neither.
    """
    if [entry.strip().lower() for entry in entries] == ["none"]:
        return frozenset()
    return frozenset(_parse(entry.strip(), setting) for entry in entries)


def _parse(entry: str, setting: str) -> tuple[str, int]:
    is_bare_v6 = entry.count(":") > 1 and not entry.startswith("[")
    host, separator, port = (entry, "", "") if is_bare_v6 else entry.rpartition(":")
    if not separator or entry.endswith("]"):
        host, port = entry, str(DEFAULT_PORT)
    if not host or any(sign in host for sign in "/@?# *") or not port.isdecimal() or not 0 < int(port) <= LARGEST_PORT:
        raise ValueError(f"{setting} takes entries such as localhost:11434 or nas.local, was {entry!r}")
    return comparable(host.removeprefix("[").removesuffix("]")), int(port)


def comparable(host: str) -> str:
    """Return a host as it is compared: names in lower case, addresses in their one way of being written."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()
