"""A new device of a user with a hundred thousand objects, and what all others feel of it."""

import asyncio
from typing import ClassVar, Final

import msgspec

from scripts.benching.measure import LOAD_CPU, Figures, Goal, Measure, Row, Site
from scripts.benching.rates import MANY_USERS, loaded, open_loop
from scripts.benching.seeding import History, seed
from scripts.loading.arrival import Fetched, fetch
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import linked
from scripts.loading.rounds import Load
from scripts.loading.servers import Server

_USER: Final = "collector"
_OTHERS: Final = msgspec.structs.replace(MANY_USERS, users=20, rate=200.0)


class FirstSync(Measure):
    """One newcomer alone; then others push, first among themselves, then with newcomers."""

    name: ClassVar = "first-sync"
    title: ClassVar = "a new device of a user with many objects"
    rows: ClassVar = (
        Row("objects, one newcomer", "objects", "/s", Goal("value", "at least", 100_000)),
        Row("objects, others pushing", "objects_meanwhile", "/s"),
        Row("others' p99 before", "p99_before", "ms"),
        Row("others' p99 meanwhile", "p99_meanwhile", "ms"),
        Row("meanwhile to before", "p99_ratio", "", Goal("value", "at most", 2.0)),
        Row("memory before", "memory_before", "MB"),
        Row("memory after", "memory_after", "MB"),
        Row("after to before", "memory_ratio", "", Goal("value", "at most", 1.25)),
    )
    weight: ClassVar = "heavy"

    async def prepare(self, site: Site) -> None:
        """Write the objects."""
        objects = site.scale.objects
        await seed(site.folder / "hub.db", [History(_USER, objects, objects)])

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure in quiet first; the memory is taken before the first newcomer and at the end."""
        await loaded(server, _OTHERS, site.scale.seconds)  # what others need is no newcomer's cost
        memory = server.memory_bytes()
        alone = await _newcomer(server, site)
        before = open_loop(await loaded(server, _OTHERS, site.scale.seconds))
        meanwhile, rate = await _beside_newcomers(server, site, _OTHERS)
        return {
            "objects": alone.objects / alone.seconds,
            "objects_meanwhile": rate,
            "p99_before": before["p99"],
            "p99_meanwhile": meanwhile["p99"],
            "p99_ratio": meanwhile["p99"] / before["p99"],
            LOAD_CPU: max(alone.load_cpu, meanwhile[LOAD_CPU]),
            **_memory(memory, server.memory_bytes()),
        }


def _memory(before: int | None, after: int | None) -> Figures:
    if before is None or after is None:
        return {}
    figures = {"memory_before": before / 1e6, "memory_after": after / 1e6}
    return figures | {"memory_ratio": after / before}


async def _beside_newcomers(server: Server, site: Site, load: Load) -> tuple[Figures, float]:
    """Measure others while newcomers come one after the other; return the newcomers' rate, too."""
    others = asyncio.create_task(loaded(server, load, site.scale.seconds))
    objects, seconds = 0, 0.0
    try:
        while not others.done():
            fetched = await _newcomer(server, site)
            objects += fetched.objects
            seconds += fetched.seconds
        return open_loop(await others), objects / seconds
    finally:
        others.cancel()


async def _newcomer(server: Server, site: Site) -> Fetched:
    faults = Faults()
    async with linked(server.url, _USER, faults) as link:
        fetched = await fetch(link)
    if fetched.objects != site.scale.objects or faults.count:
        raise LoadError(f"{fetched.objects} objects came; {faults.told}")
    return fetched
