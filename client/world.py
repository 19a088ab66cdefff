"""All that a device takes from the machine beside its storage and its link."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from typing import NamedTuple


def _now() -> int:
    return time.time_ns() // 1_000_000


# Where a clock goes on while the machine sleeps, it is that one; macOS has it under this name.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _steady() -> int:
    return time.clock_gettime_ns(_STEADY) // 1_000_000


class World(NamedTuple):
    """Time and chance, to be replaced where a run has to be repeatable.

    `now` is the device's own clock (ms since 1970-01-01 UTC), which may be set at any time; `sleep`
    waits so many seconds; `steady` counts milliseconds from anywhere and is never set. Where only
    `now` was replaced it is taken for steady, so that no real time gets in. `chance` makes names,
    ids and the jitter of retries. The default asks the system each time, for a generator that two
    processes share after a fork would give both the same ids.
    """

    now: Callable[[], int] = _now
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    chance: Random = SystemRandom()
    steady: Callable[[], int] | None = None

    def elapsed(self) -> int:
        """Milliseconds by the clock that nobody sets."""
        if self.steady is not None:
            return self.steady()
        return _steady() if self.now is _now else self.now()

    def new_id(self) -> str:
        """A name for an edit that nothing else will ever have: 128 random bits."""
        return f"{self.chance.getrandbits(128):032x}"

    def new_name(self) -> str:
        """A name for a device."""
        return f"device-{self.chance.getrandbits(64):016x}"
