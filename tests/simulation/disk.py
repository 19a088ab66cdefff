"""The hub's connections and the devices' files without threads; all work takes time."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from client.storage.file import DeviceFile
from client.storage.sqlite import SMALL, _count
from tests.machine.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from client.storage.interface import Identity, Kept
    from protocol.records import Writes

T = TypeVar("T")


class SlowDisk(Disk):
    """One connection of the hub. `synced` is told behind each unit that ended in a sync.

    A power cut takes back what was written since then.
    """

    def __init__(
        self, connection: sqlite3.Connection, chance: Random, synced: Callable[[], None]
    ) -> None:
        super().__init__(connection)
        self.slow = 0.002
        self.units = 0
        self._chance = chance
        self._synced = synced
        self._running = False
        self._is_full = True
        self._has_synced = False
        connection.set_trace_callback(self._note)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._units.append((work, future))
        self._begin()
        return await future

    @property
    def is_idle(self) -> bool:
        return super().is_idle and not self._running

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.units += 1
        try:
            return super().run_here(work)
        finally:
            self._tell_synced()

    def note_synced(self) -> None:
        """The unit under way has synced what SQLite wrote without it."""
        self._has_synced = True

    def _begin(self) -> None:
        if self._units and not self._running:
            self._running = True
            seconds = self._chance.random() * self.slow
            asyncio.get_running_loop().call_later(seconds, self._work)

    def _work(self) -> None:
        self.units += 1
        self._run_next()
        self._tell_synced()
        self._running = False
        self._begin()

    def _tell_synced(self) -> None:
        if self._has_synced:
            self._has_synced = False
            self._synced()

    def _note(self, statement: str) -> None:
        if statement.startswith("PRAGMA synchronous"):
            self._is_full = statement.endswith("FULL")
        elif statement == "COMMIT" and self._is_full:
            self._has_synced = True


class DeviceDisk:
    """A `Storage` over the real device file, without the thread."""

    def __init__(self, path: Path, chance: Random) -> None:
        self._path = path
        self._chance = chance
        self._at_once = chance.choice((0.9, 0.3))
        self.file: DeviceFile

    async def open(self) -> None:
        await self._takes_time()
        self.file = DeviceFile(self._path)

    async def load(self) -> Kept:
        return await self._in_time(self.file.read)

    async def sign(self, identity: Identity) -> None:
        await self._in_time(self.file.sign, identity)

    async def save(self, writes: Writes) -> None:
        if _count(writes) <= SMALL and self._chance.random() < self._at_once:
            self.file.write(writes)
        else:
            await self._in_time(self.file.write, writes)

    async def close(self) -> None:
        await self._in_time(self.file.close)

    async def _takes_time(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.05)

    async def _in_time(self, work: Callable[..., T], *arguments: Any) -> T:
        await self._takes_time()
        return work(*arguments)


def copy_file(path: Path, to: Path) -> Path:
    """A file with its WAL as they are: what a killed process leaves behind."""
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", f"{to}{suffix}")
    return to
