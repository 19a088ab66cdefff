"""The verb `compact`: what retention would let go in time goes now, and its space is given back."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from hub import logs
from hub.http.control import tell
from hub.http.moving import COMPACT, SECONDS, size_of
from hub.loading import load_for_file
from hub.progress import for_whom_it_is, silent
from hub.server import open_store
from hub.settings import Settings
from hub.store.beside import looking
from hub.store.errors import FileInUse
from hub.verbs.deleting import WAL_IS_LEFT
from hub.verbs.output import explained_if_stopped, is_for_programs, line, size, write_line

STOPPED: Final = (
    "Stopped. Nothing is lost: a hub that serves goes on with it, and of a stopped one what is "
    "left goes with the next compact, or in time."
)


class Compacted(msgspec.Struct, frozen=True):
    """What a file took before, and takes now, with its WAL, in bytes."""

    before: int
    after: int
    is_wal_cut: bool


def compact(data: str | None, config: str | None, *, as_json: bool) -> None:
    """Compact a hub's file, through the hub if it serves."""
    logs.configure("warning", "auto")
    settings = load_for_file({"data": data, "config": config}, os.environ)
    with looking(settings.data):
        """It is there, and this version's."""
    with explained_if_stopped(STOPPED), for_whom_it_is(silent)() as progress:
        progress("compacting", 0, 0)
        done = asyncio.run(_compacted(settings))
    if is_for_programs(as_json=as_json):
        write_line(done)
        return
    words = f"{settings.data}: {size(done.before)} before, {size(done.after)} now"
    Console().print(line(words), *(() if done.is_wal_cut else (WAL_IS_LEFT,)), sep="\n")


async def _compacted(settings: Settings) -> Compacted:
    before = size_of(settings.data)
    store = open_store(settings)
    try:
        await store.open()
    except FileInUse:
        return await _through_the_hub(settings.data)
    try:
        is_cut = await store.compact()
    finally:
        await store.close()
    return Compacted(before, size_of(settings.data), is_cut)


async def _through_the_hub(data: Path) -> Compacted:
    answer = await tell(data, COMPACT, b"", SECONDS)
    return Compacted(answer["before"], answer["after"], answer["is_wal_cut"])
