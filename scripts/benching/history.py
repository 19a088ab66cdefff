"""What a long history costs whoever writes next: nothing, if all is found by index."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Final

from scripts.benching.measure import Figures, Goal, Measure, Row, Site
from scripts.benching.seeding import SIZE, History, seed
from scripts.loading.arrival import arrive
from scripts.loading.devices import User, Writer
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import linked
from scripts.loading.pushes import templates
from scripts.loading.rounds import become_level
from scripts.loading.servers import Server

MICROSECONDS: Final = "µs at "
"""With the number of pushes behind it, the name of a figure."""

_OBJECTS: Final = 1_000
_TURNS: Final = 10
"""Into how many windows the time is cut, there and back, so that a slow moment hits all alike."""
_SHORTEST: Final = 0.1
"""Seconds of a window, at least: some writes must fit."""


class LongHistory(Measure):
    """One writer, each push after the last ack, behind histories of every length."""

    name: ClassVar = "history"
    title: ClassVar = "one write of a user with a long history"
    rows: ClassVar = (
        Row("a write, shortest history", "shortest", "µs"),
        Row("a write, longest history", "longest", "µs"),
        Row("rate, longest to shortest", "ratio", "", Goal("value", "at least", 0.9)),
    )

    async def prepare(self, site: Site) -> None:
        """Write the histories."""
        histories = [
            History(_user(pushes), pushes, min(pushes, _OBJECTS)) for pushes in site.scale.histories
        ]
        await seed(site.folder / "hub.db", histories)

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure all histories in short windows, in turn; compare the windows of each turn."""
        window = max(site.scale.seconds / _TURNS, _SHORTEST)
        shortest, longest = min(site.scale.histories), max(site.scale.histories)
        turns = [await _turn(server, site, window, number) for number in range(_TURNS)]
        figures = {
            f"{MICROSECONDS}{pushes}": statistics.median(turn[pushes] for turn in turns)
            for pushes in site.scale.histories
        }
        return figures | {
            "shortest": figures[f"{MICROSECONDS}{shortest}"],
            "longest": figures[f"{MICROSECONDS}{longest}"],
            "ratio": statistics.median(turn[shortest] / turn[longest] for turn in turns),
        }


async def _turn(server: Server, site: Site, window: float, number: int) -> dict[int, float]:
    """Return the microseconds of a write behind each history; every other turn goes back."""
    there_or_back = site.scale.histories[:: -1 if number % 2 else 1]
    return {
        pushes: window / await _write(server, _user(pushes), window) * 1e6
        for pushes in there_or_back
    }


def _user(pushes: int) -> str:
    return f"after-{pushes}"


async def _write(server: Server, name: str, seconds: float) -> int:
    """Write for a time as a device that is level; return how many pushes were acked in it."""
    faults = Faults()
    async with _writer(server, name, faults) as writer:
        writer.begin(time.perf_counter_ns() + int(seconds * 1e9))
        await asyncio.sleep(seconds)
        written = len(writer.latencies)
        await become_level([User(writer, [])])
    if faults.count or not written:
        raise LoadError(f"{name} wrote {written}; {faults.told}")
    return written


@asynccontextmanager
async def _writer(server: Server, name: str, faults: Faults) -> AsyncIterator[Writer]:
    async with linked(server.url, name, faults) as link:
        arrival = await arrive(link)
        objects = min(arrival.objects, _OBJECTS)
        writer = Writer(link, templates(name, objects, SIZE))
        writer.clock = arrival.clock
        yield writer
