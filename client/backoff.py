"""How long a device waits before it connects again."""

from random import Random
from typing import Final

BASE: Final = 0.2
CAP: Final = 30.0


class Backoff:
    """Later and later, in seconds, with full jitter: anything from 0 to twice the bound before.

    Full jitter, so that the devices of a hub that restarts do not all come at the same moment
    (Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    """

    def __init__(self, chance: Random, base: float = BASE, cap: float = CAP) -> None:
        self._chance = chance
        self._base = base
        self._cap = cap
        self._bound = base

    def reset(self) -> None:
        """All was well: the next wait is short again."""
        self._bound = self._base

    def delay(self) -> float:
        """The next wait; the one after it may be twice as long."""
        bound, self._bound = self._bound, min(self._cap, self._bound * 2)
        return self._chance.uniform(0, bound)

    def longest(self) -> float:
        """A wait for one who is in somebody else's way."""
        return self._chance.uniform(self._cap / 2, self._cap)
