"""What is left on the disk of many edits of few objects."""

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Final

import orjson

from hub.store.ledger import LEAST_SPARE, SPARE_SHARE
from scripts.benching.measure import HUB, Figures, Goal, Measure, Row, Site
from scripts.benching.retiring import KEEPS, receive_all
from scripts.benching.seeding import History, seed
from scripts.loading.arrival import arrive
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import linked
from scripts.loading.servers import Server, command, started

_USER: Final = "editor"
_SNAPSHOT: Final = b'{"type":"snapshot"'
_LONGEST: Final = 120.0
"""Seconds that it may take for that."""
_LOOK_SECONDS: Final = 0.2
"""How often it is looked whether that is so: another process can only ask the file."""
_SIZE_OF_OBJECTS: Final = """
SELECT sum(pgsize) FROM dbstat
WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'objects')
"""


class Disk(Measure):
    """The hub's file once its log is retired, against the JSON of what lives in it."""

    name: ClassVar = "disk"
    title: ClassVar = (
        "disk for each byte of live JSON, after many edits of few objects and retention"
    )
    rows: ClassVar = (
        Row("live JSON", "live", "KB"),
        Row("the file before the hub let go of anything", "before", "KB"),
        Row("the file and its WAL, the hub running", "running", "KB"),
        Row("the file, the hub stopped", "file", "KB"),
        Row("file to live JSON", "file_ratio", "", Goal("value", "at most", 2.0)),
        Row("objects alone to live JSON", "objects_ratio", ""),
    )
    weight: ClassVar = "once"

    def __init__(self) -> None:
        self._before = self._running = 0

    async def prepare(self, site: Site) -> None:
        """Make the edits, let a hub retire them and stop; the hub under measure gets a copy."""
        scale, stopped = site.scale, _stopped(site)
        stopped.mkdir()
        objects = min(scale.edited_objects, scale.edits)
        await seed(stopped / "hub.db", [History(_USER, scale.edits, objects)])
        self._before = _bytes(stopped)
        line = [*command(HUB, stopped), *KEEPS]
        async with started(HUB, stopped, site.cores, line) as server:
            await receive_all(server, _USER)
            await _retired(stopped / "hub.db")
            self._running = _bytes(stopped)
        shutil.copy(stopped / "hub.db", site.folder)

    async def run(self, server: Server, site: Site) -> Figures:
        """Ask for the objects as a new device, and look at what the stopped hub left."""
        live = await _live_bytes(server)
        whole = _bytes(_stopped(site))
        objects = _objects_bytes(_stopped(site) / "hub.db")
        figures = {
            "live": live / 1e3,
            "before": self._before / 1e3,
            "running": self._running / 1e3,
            "file": whole / 1e3,
            "file_ratio": whole / live,
        }
        return figures if objects is None else figures | {"objects_ratio": objects / live}


def _stopped(site: Site) -> Path:
    return site.folder / "stopped"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("hub.db*"))


async def _retired(path: Path) -> None:
    """Wait until the log is empty and the space that it took was given back."""
    deadline = time.monotonic() + _LONGEST
    while not _is_retired(path):
        if time.monotonic() > deadline:
            raise LoadError(f"the log was not retired within {_LONGEST:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


def _is_retired(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        if connection.execute("SELECT 1 FROM log LIMIT 1").fetchone():
            return False
        [free], [pages] = (
            connection.execute(f"PRAGMA {count}").fetchone()
            for count in ("freelist_count", "page_count")
        )
    return bool(free <= max(LEAST_SPARE, pages // SPARE_SHARE))


async def _live_bytes(server: Server) -> int:
    faults = Faults()
    async with linked(server.url, _USER, faults) as link:
        arrival = await arrive(link)
    pages = [orjson.loads(frame) for frame in arrival.frames if frame.startswith(_SNAPSHOT)]
    fields = [entry["json_data"] for page in pages for entry in page["objects"]]
    if not fields or faults.count:
        raise LoadError(f"no objects came; {faults.told}")
    return sum(len(orjson.dumps(each)) for each in fields)


def _objects_bytes(path: Path) -> int | None:
    """Return the size of the table of objects and its indexes; None if SQLite does not tell."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute(_SIZE_OF_OBJECTS).fetchone()
        except sqlite3.OperationalError:  # built without dbstat
            return None
    return int(row[0]) if row[0] else None
