"""A device that missed ten thousand pushes and gets them from the log, one by one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from scripts.benching.measure import HUB, LOAD_CPU, RELAY, Figures, Goal, Measure, Row, Site
from scripts.benching.seeding import History, seed
from scripts.loading.arrival import Arrival, arrive
from scripts.loading.faults import Faults, LoadError
from scripts.loading.figures import median
from scripts.loading.link import linked
from scripts.loading.servers import Server, command, started

_USER: Final = "away"
_OBJECTS: Final = 20
_TIMES: Final = 5
_RAW_SENDER: Final = (sys.executable, "-m", "scripts.benching.rawsend", "--port", "0")


class CatchUp(Measure):
    """The relay stores nothing: in its place a bare server sends the same frames from memory."""

    name: ClassVar = "catch-up"
    title: ClassVar = "a device that missed many pushes; the relay: the same frames from memory"
    targets: ClassVar = (RELAY, HUB)
    rows: ClassVar = (Row("diffs", "diffs", "/s", Goal("value", "at least", 150_000)),)
    weight: ClassVar = "heavy"

    async def prepare(self, site: Site) -> None:
        """Write the history, and keep the frames that a hub sends of it."""
        await seed(
            site.folder / "hub.db", [History(_USER, site.scale.catchup_pushes + 1, _OBJECTS)]
        )
        async with started(HUB, site.folder, site.cores, self.command(HUB, site)) as server:
            arrival = await _come_back(server, site)
        _frames_file(site).write_bytes(b"\n".join(arrival.frames))

    def command(self, target: str, site: Site) -> list[str]:
        """Let the hub serve a device from the log that missed so much."""
        if target == RELAY:
            return [*_RAW_SENDER, str(_frames_file(site))]
        return [*command(target, site.folder), "--max-log-pushes", str(site.scale.catchup_pushes)]

    async def run(self, server: Server, site: Site) -> Figures:
        """Come back several times."""
        arrivals = [await _come_back(server, site) for _ in range(_TIMES)]
        return {"diffs": _rate(arrivals), LOAD_CPU: max(each.load_cpu for each in arrivals)}


def _frames_file(site: Site) -> Path:
    return site.folder / "frames"


def _rate(arrivals: Sequence[Arrival]) -> float:
    return median([each.changes / each.seconds for each in arrivals]) or 0.0


async def _come_back(server: Server, site: Site) -> Arrival:
    """Come as a device that has seen the first push."""
    faults = Faults()
    log_id = await _log_id(server, faults)
    async with linked(server.url, _USER, faults) as link:
        arrival = await arrive(link, 1, log_id)
    if arrival.changes != site.scale.catchup_pushes or faults.count:
        raise LoadError(f"{arrival.changes} pushes came; {faults.told}")
    return arrival


async def _log_id(server: Server, faults: Faults) -> str:
    """Ask as a new device; the relay's stand-in tells the log id that the hub did."""
    async with linked(server.url, _USER, faults) as link:
        return (await arrive(link)).log_id
