"""Where a peer is, though it comes through proxies (RFC 7239, and `X-Forwarded-For` before it).

Each proxy adds, on the right, the address from which it was asked. A peer may send such a header
itself: so it is read from the right, and only as far as each hop is a proxy that the operator
trusts. The first that is not is the peer, whatever stands to the left of it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from hub.edge import Edge
from hub.networks import Network, is_within, networks_of, plain_address


class Proxies(NamedTuple):
    """Whose word about a peer's address counts, and in which header it stands."""

    networks: Sequence[Network]
    header: str

    def is_trusted(self, address: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        return is_within(address, self.networks)

    def peer(self, connected: str, said: Sequence[str]) -> str:
        """Where the peer is whose connection comes from `connected`.

        `said` has the values of the header, line by line, as they came.
        """
        hop = connected
        hops = _from_the_right(said, self.header) if self.is_trusted(connected) else iter(())
        for before in hops:
            if before is None:  # the proxy does not say, or hides it: it stands for the peer
                break
            hop = before
            if not self.is_trusted(hop):
                break
        return hop


def proxies_of(edge: Edge) -> Proxies:
    """The proxies that these settings name."""
    return Proxies(networks_of(edge.trusted_proxies), edge.forwarded_header)


NO_PROXIES: Final = proxies_of(Edge())


def connected_from(transport: asyncio.BaseTransport | None) -> str:
    """The address at the other end of a connection, which may be a proxy's; "?" if it has gone."""
    found = transport.get_extra_info("peername") if transport is not None else None
    return (plain_address(found[0]) or "?") if found else "?"


def _from_the_right(said: Sequence[str], header: str) -> Iterator[str | None]:
    for line in reversed(said):
        for part in reversed(line.split(",")):
            node = _for_of(part) if header == "forwarded" else part
            yield None if node is None else _address_in(node.strip())


def _for_of(element: str) -> str | None:
    """The node in `for=…` of one element of `Forwarded`."""
    for pair in element.split(";"):
        name, _equals, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return None


def _address_in(node: str) -> str | None:
    """The address in `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7` or `[2001:db8::7]:80`."""
    if node.startswith("["):
        return plain_address(node[1:].partition("]")[0])
    if node.count(":") == 1:
        node = node.partition(":")[0]
    return plain_address(node)
