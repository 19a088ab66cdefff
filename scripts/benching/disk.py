"""What is left on the disk of many edits of few objects."""

import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Final

import orjson
from websockets.uri import parse_uri

from scripts.benching.measure import HUB, Figures, Goal, Measure, Row, Site
from scripts.benching.seeding import History, seed
from scripts.loading.arrival import arrive
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import connect
from scripts.loading.servers import Server, started

_USER: Final = "editor"
_SNAPSHOT: Final = b'{"type":"snapshot"'
_SIZE_OF_OBJECTS: Final = """
SELECT sum(pgsize) FROM dbstat
WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'objects')
"""


class Disk(Measure):
    """The file as a hub leaves it when it has stopped, against the JSON of what lives in it."""

    name: ClassVar = "disk"
    title: ClassVar = "disk for each byte of live JSON, after many edits of few objects"
    rows: ClassVar = (
        Row("live JSON", "live", "KB"),
        Row("the file", "file", "KB"),
        Row("file to live JSON", "file_ratio", "", Goal("value", "at most", 2.0)),
        Row("objects alone to live JSON", "objects_ratio", ""),
    )
    weight: ClassVar = "once"

    async def prepare(self, site: Site) -> None:
        """Make the edits, let a hub serve them and stop; the hub under measure gets a copy."""
        scale, stopped = site.scale, _stopped(site)
        stopped.mkdir()
        objects = min(scale.edited_objects, scale.edits)
        await seed(stopped / "hub.db", [History(_USER, scale.edits, objects)])
        async with started(HUB, stopped, site.cores):
            pass
        shutil.copy(stopped / "hub.db", site.folder)

    async def run(self, server: Server, site: Site) -> Figures:
        """Ask for the objects as a new device, and look at what the stopped hub left."""
        live = await _live_bytes(server)
        whole = sum(path.stat().st_size for path in _stopped(site).glob("hub.db*"))
        objects = _objects_bytes(_stopped(site) / "hub.db")
        figures = {"live": live / 1e3, "file": whole / 1e3, "file_ratio": whole / live}
        return figures if objects is None else figures | {"objects_ratio": objects / live}


def _stopped(site: Site) -> Path:
    return site.folder / "stopped"


async def _live_bytes(server: Server) -> int:
    faults = Faults()
    link = await connect(parse_uri(server.url), _USER, secrets.token_hex(4), faults)
    try:
        arrival = await arrive(link)
    finally:
        await link.leave()
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
