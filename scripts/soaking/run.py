"""A soak from its start to its end: the crowd twice, first to warm the hub up, then for hours."""

import asyncio
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from websockets.uri import parse_uri

from scripts.loading.faults import Faults, LoadError
from scripts.loading.servers import Server, started
from scripts.soaking.churn import Churn
from scripts.soaking.crowd import Crowd, Size
from scripts.soaking.devices import Account
from scripts.soaking.reading import Reading, read
from scripts.soaking.verdict import Soak, largest_of

TICKS: Final = 100
"""How often progress is told."""
READINGS: Final = 10
"""How often the hub is counted under load: a full collection each time, which all would feel."""
SETTLED: Final = 30
"""Seconds at most until the hub has put away what was under way."""

Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """How long and how hard. `churn` are mishaps a second."""

    minutes: float
    rate: float
    churn: float
    size: Size
    seed: int
    warm_up_seconds: float


class Telling(msgspec.Struct, frozen=True):
    """Who is told how far it is: words for what begins, a tick for each hundredth."""

    say: Say
    tick: Callable[[], None]


async def soak(plan: Plan, telling: Telling) -> Soak:
    """Run it against a hub of its own.

    Raises:
        LoadError: the hub did not start, went away, or left a device waiting.

    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mobync-soak-")))
        line = [sys.executable, "-m", "scripts.soaking.hub", str(folder)]
        hub = await stack.enter_async_context(started("hub", folder, None, line))
        return await _Run(plan, telling, hub, folder).run()


class _Run:
    """One soak. The same devices come for the warm-up and for the soak itself."""

    def __init__(self, plan: Plan, telling: Telling, hub: Server, folder: Path) -> None:
        self._plan = plan
        self._telling = telling
        self._pid = hub.pid or 0
        self._folder = folder
        self._faults = Faults()
        self._account = Account()
        self._uri = parse_uri(hub.url)
        self._crowd = Crowd(
            self._uri, f"soak-{secrets.token_hex(4)}", plan.size, self._faults, self._account
        )

    async def run(self) -> Soak:
        """Warm up, count, soak, count again."""
        new = await read(self._pid, self._folder)
        self._telling.say("warming up")
        await self._load(self._plan.warm_up_seconds, lambda: None)
        start = await self._calm_reading(new)
        self._telling.say("soaking")
        readings = [start, *await self._watched_load()]
        self._telling.say("calming down")
        end = await self._calm_reading(new)
        return Soak(
            self._plan.minutes,
            self._plan.rate,
            start,
            largest_of(readings),
            end,
            self._account,
            self._faults.count,
            self._faults.told,
        )

    async def _watched_load(self) -> list[Reading]:
        """Soak, and count all along."""
        readings: list[Reading] = []
        watching = asyncio.create_task(self._watch(readings))
        try:
            await self._load(self._plan.minutes * 60, self._telling.tick)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        return readings

    async def _load(self, seconds: float, tick: Callable[[], None]) -> None:
        chance = Random(self._plan.seed)
        churn = Churn(self._crowd, self._uri, chance, self._faults, self._account)
        await self._crowd.come()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._crowd.keep_pushing(seconds, self._plan.rate))
                tasks.create_task(churn.run(seconds, self._plan.churn))
                tasks.create_task(_tell(seconds, tick))
            await self._crowd.become_level()
        except* LoadError as errors:
            raise _first(errors) from None
        finally:
            await self._crowd.leave()

    async def _watch(self, readings: list[Reading]) -> None:
        while True:
            await asyncio.sleep(self._plan.minutes * 60 / (READINGS + 1))
            readings.append(await read(self._pid, self._folder))

    async def _calm_reading(self, new: Reading) -> Reading:
        """Count when all have left: when there are as few tasks as in a hub that was just started.

        After the warm-up, too, for what is left over then would hide what is left over at the end.
        """
        reading = await read(self._pid, self._folder)
        for _ in range(SETTLED):
            if reading.tasks <= new.tasks:
                break
            await asyncio.sleep(1)
            reading = await read(self._pid, self._folder)
        await asyncio.sleep(1)  # the last fold
        return await read(self._pid, self._folder)


async def _tell(seconds: float, tick: Callable[[], None]) -> None:
    for _ in range(TICKS):
        await asyncio.sleep(seconds / TICKS)
        tick()


def _first(errors: ExceptionGroup[LoadError]) -> Exception:
    found: Exception = errors
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
