"""What a hub's process has at one moment, as it says itself and as the system shows it."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Final

import msgspec

from scripts.loading.faults import LoadError

DATA: Final = "hub.db"
CENSUS: Final = "census.json"

_ANSWER: Final = 30.0
"""Seconds that a busy hub may take to be counted."""
_GLANCE: Final = 0.02


class Census(msgspec.Struct, frozen=True):
    """What only the process itself knows: its tasks, and its objects after a full collection."""

    tasks: int
    objects: int


class Reading(msgspec.Struct, frozen=True):
    """All of it. Memory is resident, `wal_bytes` the size of the file."""

    tasks: int
    objects: int
    threads: int
    files: int
    memory_bytes: int
    wal_bytes: int


async def read(pid: int, folder: Path) -> Reading:
    """Ask the hub and the system.

    Raises:
        LoadError: the hub does not answer, or the system has no /proc.

    """
    census = await _census(pid, folder)
    try:
        return _reading(census, Path("/proc") / str(pid), folder / f"{DATA}-wal")
    except OSError as error:
        raise LoadError(f"{error}: a soak needs Linux, and a hub that is still there") from error


def _reading(census: Census, process: Path, wal: Path) -> Reading:
    status = (process / "status").read_text()
    return Reading(
        tasks=census.tasks,
        objects=census.objects,
        threads=_number("Threads", status),
        files=len(os.listdir(process / "fd")),  # noqa: PTH208 - of links only their number
        memory_bytes=_number("VmRSS", status) * 1024,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
    )


async def _census(pid: int, folder: Path) -> Census:
    answer = folder / CENSUS
    answer.unlink(missing_ok=True)
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        raise LoadError("the hub is gone") from None
    deadline = time.monotonic() + _ANSWER
    while not answer.exists():
        if time.monotonic() > deadline:
            raise LoadError(f"the hub did not say within {_ANSWER:.0f} s how many tasks it has")
        await asyncio.sleep(_GLANCE)
    return msgspec.json.decode(answer.read_bytes(), type=Census)


def _number(name: str, status: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", status)
    return int(found[1]) if found else 0
