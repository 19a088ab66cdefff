"""The device's own clock, which people and the network may set while the device runs."""

import logging
from typing import Final

from client.world import World

NOTICED: Final = 1_000
"""Milliseconds by which a clock must have been set for that to be noticed: less is no matter."""
LARGE_SKEW: Final = 60_000
"""Milliseconds from which on a clock is called wrong; a hub lets nothing further ahead count."""

log: Final = logging.getLogger("mobync.client")

_UNITS: Final = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000))


class DeviceClock:
    """Read once when the device begins to run, and from then on it goes by the steady clock.

    So it does not jump; by how much the machine's clock did is asked for with `set_by`.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._began = world.now() - world.elapsed()

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._began + self._world.elapsed()

    def set_by(self) -> int:
        """By how much (ms) the machine's clock was set since; `now` has followed it after this."""
        by = self._world.now() - self.now()
        if abs(by) < NOTICED:
            return 0
        self._began += by
        return by


def wrongness(skew: int) -> str | None:
    """What is wrong with a device's clock, in words; None if it is near enough to the hub's."""
    if abs(skew) <= LARGE_SKEW:
        return None
    where = "behind" if skew > 0 else "ahead of"
    return f"this device's clock is {_span(abs(skew))} {where} the hub's"


class SkewReport:
    """Says once a run when a device's clock is found wrong, and once when it is right again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._was_wrong = False

    def look(self, skew: int) -> None:
        """Look at the skew as it was just measured."""
        wrong = wrongness(skew)
        if wrong and not self._was_wrong:
            log.warning(
                "%s: %s; edits are stamped by the hub's time. Set the clock", self._name, wrong
            )
        elif self._was_wrong and not wrong:
            log.info("%s: this device's clock agrees with the hub's again", self._name)
        self._was_wrong = wrong is not None


def _span(milliseconds: int) -> str:
    unit, size = next(each for each in _UNITS if milliseconds >= each[1])
    count = round(milliseconds / size)
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"
