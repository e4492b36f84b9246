"""Which addresses a user may let this server call: generated ones of every kind, and every way of writing them."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.addresses import Refusal, parse_allowed, refusal_of

PRIVATE_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
NOT_GLOBAL_V6 = [
    "::1/128",
    "::/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "2001:db8::/32",
    "2001::/32",
    "100::/64",
    "5f00::/16",
]
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
]


def inside_v6(*, network: str) -> st.SearchStrategy[IPv6Address]:
    return st.ip_addresses(v=6, network=network)  # type: ignore[return-value]  # of that version


def wrapped(inner: IPv4Address) -> list[IPv6Address]:
    """Every IPv6 address that some router or kernel turns into this IPv4 address."""
    low = int(inner)
    prefixes = ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::")
    return [IPv6Address(int(IPv6Address(prefix)) | low) for prefix in prefixes] + [
        IPv6Address((0x2002 << 112) | (low << 80) | 1),
        IPv6Address((0x20010000 << 96) | (low ^ 0xFFFFFFFF)),
    ]


@pytest.mark.parametrize("network", PRIVATE_V4)
@given(data=st.data())
def test_nothing_inside_a_network_is_called_nor_what_leads_there(network: str, data: st.DataObject) -> None:
    address = data.draw(st.ip_addresses(v=4, network=network))
    assert refusal_of(address, is_allowed=False) is not None
    assert isinstance(address, IPv4Address)
    for outer in wrapped(address):
        assert refusal_of(outer, is_allowed=False) is not None, outer


@pytest.mark.parametrize("network", NOT_GLOBAL_V6)
@given(data=st.data())
def test_no_ipv6_is_called_that_is_not_routed_everywhere(network: str, data: st.DataObject) -> None:
    assert refusal_of(data.draw(inside_v6(network=network)), is_allowed=False) is not None


@given(address=st.ip_addresses())
def test_what_python_takes_for_private_is_never_called(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified:
        assert refusal_of(address, is_allowed=False) is not None


@pytest.mark.parametrize("text", METADATA)
def test_metadata_is_never_called_even_where_the_administrator_allowed_the_host(text: str) -> None:
    address = ip_address(text)
    assert refusal_of(address, is_allowed=True) is Refusal.METADATA
    if isinstance(address, IPv4Address):
        assert {refusal_of(outer, is_allowed=True) for outer in wrapped(address)} == {Refusal.METADATA}


@pytest.mark.parametrize("text", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0"])
def test_nobodys_address_is_never_called(text: str) -> None:
    assert refusal_of(ip_address(text), is_allowed=True) is Refusal.PRIVATE


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "192.168.1.20", "10.0.0.4", "fd12:3456::1", "::ffff:192.168.1.20"])
def test_an_allowed_host_may_be_inside_the_network(text: str) -> None:
    assert refusal_of(ip_address(text), is_allowed=True) is None
    assert refusal_of(ip_address(text), is_allowed=False) is Refusal.PRIVATE


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "192.88.98.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_called(text: str) -> None:
    assert refusal_of(ip_address(text), is_allowed=False) is None


@given(data=st.data())
def test_nat64_and_mapped_addresses_are_refused_even_of_public_ones(data: st.DataObject) -> None:
    for network in ("64:ff9b::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "2002::/16"):
        assert data.draw(inside_v6(network=network)) in IPv6Network(network)
        assert refusal_of(data.draw(inside_v6(network=network)), is_allowed=False) is not None


def test_the_list_of_allowed_hosts_takes_names_addresses_and_ports() -> None:
    entries = ("localhost", "NAS.local:8080", "[::1]", "[0:0::1]:99", "192.168.1.20", "fd00::5")
    assert parse_allowed(entries) == {
        ("localhost", 11434),
        ("nas.local", 8080),
        ("::1", 11434),
        ("::1", 99),
        ("192.168.1.20", 11434),
        ("fd00::5", 11434),
    }
    assert parse_allowed(("none",)) == frozenset()
    assert parse_allowed(()) == frozenset()


@pytest.mark.parametrize("entry", ["", ":80", "http://x", "a b", "x:0", "x:99999", "x:y", "*.lan", "u@x", "10.0.0.0/8"])
def test_an_entry_that_is_no_host_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="OLLAMA_ALLOWED_HOSTS"):
        parse_allowed((entry,))
