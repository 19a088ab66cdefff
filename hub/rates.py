"""How much one user and one address may ask of the hub (docs/protocol.md, section 8, code 4429).

Each has a bucket of tokens, which fills again with time: a diff of a push takes one, any other
frame takes one, a hello takes one of a bucket of its own. A frame is taken whole, so that a bucket
may be below nothing; until it is not, no more is read from who emptied it. Only who would have to
wait longer than `patience_seconds` is turned away.

The names, types, bounds and texts here are also those of the flags, of the environment and of the
`[rates]` table of the TOML file: see hub/settings.py.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hub.errors import SettingsError
from hub.networks import Network, networks_of

_MOST: Final = 10**9
_PROXIES: Final = "proxies"
_LONGEST_PATIENCE: Final = 3600.0
_FEWEST_KEPT: Final = 1024
"""Buckets of which nobody asks whether they are full again."""


def _rate(description: str) -> Meta:
    return Meta(ge=0, le=_MOST, description=description, extra={"value": "NUMBER"})


def _burst(description: str) -> Meta:
    return Meta(ge=1, le=_MOST, description=description)


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What may come in a second, and at once after a rest; a rate of 0 is none.

    Raises:
        SettingsError: an exempt network is none.

    """

    user_rate: Annotated[
        float, _rate("Diffs a second of one user, from all devices together; 0: any number.")
    ] = 1_000.0
    user_burst: Annotated[int, _burst("Diffs of one user at once, after a rest.")] = 50_000
    address_rate: Annotated[
        float, _rate("Diffs and other frames a second from one address; 0: any number.")
    ] = 10_000.0
    address_burst: Annotated[int, _burst("The same at once, after a rest.")] = 200_000
    hello_rate: Annotated[
        float, _rate("Hellos and polls a second from one address; 0: any number.")
    ] = 100.0
    hello_burst: Annotated[int, _burst("The same at once, after a rest.")] = 5_000
    patience_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=_LONGEST_PATIENCE,
            description="Above a rate the hub reads more slowly; whoever would have to wait longer "
            "than this is turned away (4429).",
        ),
    ] = 60.0
    exempt: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks that have no rate and no cap of their own as addresses; "
            "proxies: those of --trusted-proxies.",
            extra={"value": "NETWORK,NETWORK"},
        ),
    ] = ("127.0.0.0/8", "::1/128", _PROXIES)

    def __post_init__(self) -> None:
        self.exempt_networks()

    def exempt_networks(self, proxies: Sequence[Network] = ()) -> tuple[Network, ...]:
        """`exempt`, read; `proxies` are those that the operator trusts."""
        named = _networks([text for text in self.exempt if text != _PROXIES])
        return (*named, *proxies) if _PROXIES in self.exempt else named


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return networks_of(texts)
    except ValueError as error:
        raise SettingsError(
            f"exempt has what is no network: {error}",
            "write an address or a network, as in 10.0.0.0/8 or ::1",
            "exempt",
        ) from None


NO_RATES: Final = Rates(user_rate=0, address_rate=0, hello_rate=0)
"""Everybody may do anything, as under `--dev`."""


class Bucket:
    """Tokens of one user or address; times are those of the loop, in seconds."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def spend(self, tokens: float, now: float) -> float:
        """Take tokens, there or not; the seconds until it is no longer below nothing."""
        left = self._left + (now - self._at) * self._rate
        self._left = left = min(left, self._burst) - tokens
        self._at = now
        return -left / self._rate if left < 0 else 0.0

    def keep_to(self, rate: float, burst: float) -> None:
        """Go by these from the next time on; a rate of 0 is one that nobody reaches."""
        self._rate = rate or _MOST
        self._burst = burst

    def is_full(self, now: float) -> bool:
        """Whether it is as good as a new one."""
        return self._left + (now - self._at) * self._rate >= self._burst


def pay(buckets: Sequence[Bucket], tokens: float, now: float) -> float:
    """Take tokens from each; the seconds until none of them is below nothing."""
    return max([bucket.spend(tokens, now) for bucket in buckets], default=0.0)


class Buckets:
    """The buckets of many, by name. One that is full again is forgotten."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, Bucket] = {}
        self._look_at = _FEWEST_KEPT

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, name: str, now: float) -> Bucket | None:
        """Whoever's bucket; None where there is no rate."""
        if not self._rate:
            return None
        bucket = self._buckets.get(name)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[name] = Bucket(self._rate, self._burst, now)
        return bucket

    def keep_to(self, rate: float, burst: float) -> None:
        """Go by these from now on. Whoever has no bucket gets one when they next come."""
        self._rate = rate
        self._burst = burst
        for bucket in self._buckets.values():
            bucket.keep_to(rate, burst)

    def _make_room(self, now: float) -> None:
        """Look seldom enough that each new bucket pays for one that is looked at, or two."""
        if len(self._buckets) < self._look_at:
            return
        self._buckets = {n: b for n, b in self._buckets.items() if not b.is_full(now)}
        self._look_at = max(_FEWEST_KEPT, 2 * len(self._buckets))
