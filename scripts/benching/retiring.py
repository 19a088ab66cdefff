"""Whether a steady load feels that the hub lets go of old pushes meanwhile."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import orjson

from scripts.benching.measure import HUB, Figures, Goal, Measure, Row, Site
from scripts.benching.rates import MANY_USERS, loaded
from scripts.benching.seeding import DEVICE, History, seed
from scripts.loading.arrival import arrive
from scripts.loading.faults import Faults, LoadError
from scripts.loading.figures import Spread
from scripts.loading.link import linked
from scripts.loading.rounds import Round
from scripts.loading.servers import Server, command, started

KEEPS: Final = ("--log-days", "0")
"""The hub's own setting under which it lets go of each push once its devices have it. With the
default it would do the same to the same rows, a fortnight later."""

_USER: Final = "editor"
_LOAD: Final = msgspec.structs.replace(MANY_USERS, rate=1_000.0)
_OBJECTS: Final = 1_000
_SHORTEST: Final = 4.0
"""Seconds: the hub looks every two seconds for what may go."""


class Retiring(Measure):
    """The same load on two hubs in turn: one with nothing to let go of, one that does all along."""

    name: ClassVar = "retention"
    title: ClassVar = "1,000 pushes/s on schedule, while the hub lets go of a long log"
    rows: ClassVar = (
        Row("push to receive, p50, nothing to let go of", "p50_without", "ms"),
        Row("push to receive, p50, letting go", "p50", "ms"),
        Row("push to receive, p99, nothing to let go of", "p99_without", "ms"),
        Row("push to receive, p99, letting go", "p99", "ms"),
        Row("what it adds to the p99", "p99_more", "ms", Goal("value", "at most", 1.0)),
        Row("longest, nothing to let go of", "max_without", "ms"),
        Row("longest, letting go", "max", "ms"),
        Row("pushes let go of meanwhile", "let_go", "/s"),
    )

    async def prepare(self, site: Site) -> None:
        """Write the history."""
        history = History(_USER, site.scale.edits, min(site.scale.edits, _OBJECTS))
        await seed(_seeded(site), [history])

    async def run(self, server: Server, site: Site) -> Figures:
        """Measure the hub that has nothing to let go of, and then another on a copy."""
        seconds = max(site.scale.latency_seconds, _SHORTEST)
        without = _times(await loaded(server, _LOAD, seconds))
        async with _retiring(site) as (other, path):
            await receive_all(other, _USER)
            before = _dropped(path)
            found = await loaded(other, _LOAD, seconds)
            let_go = _dropped(path) - before
        times = _times(found)
        return {
            "p50_without": without.p50,
            "p50": times.p50,
            "p99_without": without.p99,
            "p99": times.p99,
            "p99_more": times.p99 - without.p99,
            "max_without": without.max,
            "max": times.max,
            "let_go": let_go / seconds,
        }


async def receive_all(server: Server, user: str) -> None:
    """Be the device that made a history, and say that all of it has been received."""
    async with linked(server.url, user, Faults(), DEVICE) as link:
        arrival = await arrive(link)
        link.send(orjson.dumps({"type": "received", "logical_clock": arrival.clock}))


@asynccontextmanager
async def _retiring(site: Site) -> AsyncIterator[tuple[Server, Path]]:
    """A hub that lets go of a copy of the history; the copy is gone afterwards."""
    folder = site.folder / "retiring"
    folder.mkdir()
    shutil.copy(_seeded(site), folder / "hub.db")
    line = [*command(HUB, folder), *KEEPS]
    try:
        async with started(HUB, folder, site.cores, line) as server:
            yield server, folder / "hub.db"
    finally:
        shutil.rmtree(folder)


def _seeded(site: Site) -> Path:
    return site.folder / "seeded.db"


def _times(found: Round) -> Spread:
    if found.push_to_receive is None:
        raise LoadError("nothing was delivered")
    return found.push_to_receive


def _dropped(path: Path) -> int:
    """How many pushes the hub has let go of so far."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT sum(dropped) FROM users").fetchone()[0])
