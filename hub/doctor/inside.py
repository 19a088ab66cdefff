"""What is in the file, and who serves it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from hub.doctor.findings import Finding, note, well, wrong
from hub.http.control import NotReached, reached, socket_of
from hub.store.errors import FileTooNew, NotAHubFile, StoreFailed
from hub.store.examining import Examined, NotLookedInto, examine
from hub.store.lock import holder_of
from hub.store.schema import VERSION


def look_at_hub(data: Path, process: str | None) -> Finding:
    """Whether a hub serves the file, and whether it answers."""
    if process is None:
        return note("hub", "none serves this file now")
    if not socket_of(data).exists():
        return note("hub", f"process {process} holds the file; it has no socket to be asked by")
    try:
        asyncio.run(reached(data))
    except NotReached as error:
        remedy = "its log says more; if it hangs, restart it: nothing acknowledged is lost"
        return wrong("hub", f"process {process} holds the file, and {error}", remedy)
    return well("hub", f"process {process} serves the file, and answers")


def look_inside(data: Path, *, thoroughly: bool) -> tuple[Examined | None, list[Finding]]:
    """What the file says of itself, if it can be looked into."""
    try:
        examined = _examined(data, thoroughly=thoroughly)
    except NotLookedInto as reason:
        return None, [note("format", str(reason), "start the hub, which takes the WAL in")]
    except FileTooNew as error:
        return None, [wrong("format", str(error), "install that version again")]
    except NotAHubFile as error:
        return None, [wrong("format", str(error), "name the hub's file with --data")]
    except StoreFailed as error:
        remedy = "see to the disk; if it is sound, restore a backup (mobync-hub restore)"
        return None, [wrong("integrity", str(error), remedy)]
    return examined, list(_told(examined, thoroughly=thoroughly))


def _examined(data: Path, *, thoroughly: bool) -> Examined:
    """Look again, where a hub has begun to serve meanwhile: the first look saw two moments."""
    before = holder_of(data)
    try:
        examined = examine(data, is_served=before is not None, thoroughly=thoroughly)
        if examined.fault is None or holder_of(data) == before:
            return examined
    except StoreFailed:
        if holder_of(data) == before:
            raise
    return examine(data, is_served=True, thoroughly=thoroughly)


def _told(examined: Examined, *, thoroughly: bool) -> Iterator[Finding]:
    version = examined.version
    if version == 0:
        yield note("format", "the file is empty; a hub makes its tables when it starts")
    elif version < VERSION:
        remedy = "nothing: the next start brings it up to date, and keeps a copy beside it"
        yield note("format", f"{version}, and this version's is {VERSION}", remedy)
    else:
        yield well("format", f"{version}, which is this version's own")
    if examined.fault is not None:
        remedy = "stop the hub, keep the file, and restore a backup (mobync-hub restore)"
        yield wrong("integrity", examined.fault, remedy)
    elif thoroughly:
        yield well("integrity", "each page and row is what it should be")
    else:
        yield note("integrity", "not looked at")
