"""Where connections come from: how many are from one address, and what those may ask.

An address is an IPv4 address, or the network of 64 bits that an IPv6 address is in: who has one of
those has all of it (RFC 6177). Addresses in the networks that the operator exempts are nobody's.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Final

from hub.errors import HubError
from hub.forwarded import NO_PROXIES, Proxies
from hub.limits import Limits
from hub.networks import is_within, plain_address
from hub.rates import Bucket, Buckets, Rates

_NETWORK_BITS: Final = 64


class TooManyFromThere(HubError):
    """One address has more connections than it may."""


class Address:
    """One address: its connections, those of them that are yet to be greeted, and its buckets."""

    __slots__ = ("connections", "frames", "hellos", "name", "ungreeted")

    def __init__(
        self, name: str = "", frames: Bucket | None = None, hellos: Bucket | None = None
    ) -> None:
        self.name = name
        self.connections = 0
        self.ungreeted = 0
        self.frames = frames
        self.hellos = hellos


EXEMPT: Final = Address()
"""Where there is no rate and no cap, and nobody counts."""


class Addresses:
    """Every address that somebody is connected from."""

    def __init__(self, limits: Limits, rates: Rates, proxies: Proxies = NO_PROXIES) -> None:
        self._limits = limits
        self._proxies = proxies.networks
        self._exempt = rates.exempt_networks(self._proxies)
        self._frames = Buckets(rates.address_rate, rates.address_burst)
        self._hellos = Buckets(rates.hello_rate, rates.hello_burst)
        self._here: dict[str, Address] = {}

    def keep_to(self, limits: Limits, rates: Rates) -> None:
        """Have these limits count for who comes from now on, and these rates for all."""
        self._limits = limits
        self._exempt = rates.exempt_networks(self._proxies)
        self._frames.keep_to(rates.address_rate, rates.address_burst)
        self._hellos.keep_to(rates.hello_rate, rates.hello_burst)

    def enter(self, where: str, now: float) -> Address:
        """Somebody connects from there, and is yet to be greeted; `leave` it again."""
        name = self._name(where)
        if name is None:
            return EXEMPT
        address = self._here.get(name)
        if address is None:
            address = self._here[name] = Address(
                name, self._frames.of(name, now), self._hellos.of(name, now)
            )
        address.connections += 1
        address.ungreeted += 1
        return address

    def greeted(self, address: Address) -> None:
        """The hub knows who connected from there."""
        if address is not EXEMPT:
            address.ungreeted -= 1

    def leave(self, address: Address) -> None:
        """A connection from there is gone; `greeted` has been called, if it ended before that."""
        if address is EXEMPT:
            return
        address.connections -= 1
        if not address.connections:
            del self._here[address.name]

    @contextmanager
    def visit(self, where: str) -> Iterator[Address]:
        """Count a request from there as a connection for as long as this lasts.

        Raises:
            TooManyFromThere: there are too many already.

        """
        address = self.enter(where, asyncio.get_running_loop().time())
        try:
            if not self.has_room(address):
                raise TooManyFromThere("too many connections from this address; try again later")
            yield address
        finally:
            self.greeted(address)
            self.leave(address)

    def has_room(self, address: Address) -> bool:
        """Whether not too many have come from there."""
        limits = self._limits
        return (
            address.connections <= limits.max_per_address
            and address.ungreeted <= limits.max_ungreeted_per_address
        )

    def _name(self, where: str) -> str | None:
        """What an address goes by here; None: it is exempt, or none."""
        address = plain_address(where)
        if address is None or is_within(address, self._exempt):
            return None
        if ":" in address:
            return str(ip_network((address, _NETWORK_BITS), strict=False))
        return address
