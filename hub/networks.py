"""Addresses and networks as an operator names them."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def plain_address(address: str) -> str | None:
    """An address in the one form in which the hub writes it; None: it is none.

    An IPv4 address that came by IPv6 is itself, and a zone (`%eth0`) is dropped.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks, or addresses, read. ValueError: one of them is none."""
    return tuple(map(ip_network, texts))


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks; what is no address is in none."""
    if not networks:
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
