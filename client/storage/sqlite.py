"""Data in an SQLite file, which people can read once the device has let go of it.

**What survives.** WAL with `synchronous=NORMAL`: a transaction is complete or not there, and a
`kill -9` takes nothing back, for the system has the pages. A power cut may take back the last
transactions. That is a device put back to an older copy of itself, which the protocol knows
(section 5, `again`); an fsync for each edit, milliseconds each, would buy little more.

**Which thread.** A small save, as each single edit is, runs in the event loop's own thread: it
writes into the page cache, which took 40 µs where a hop to another thread and back took 450. All
that may take long goes to the storage's one thread: opening, reading, large saves, and everything
that waits for the disk. SQLite syncs at checkpoints and at the first write after one, so both are
done there (`DeviceFile.checkpoint`), and never by an edit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from client.storage.file import DeviceFile
from client.storage.interface import Identity, Kept
from protocol.records import Writes

SMALL: Final = 32
"""Records that may be saved in the event loop's thread."""
CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""How long the WAL may get; a checkpoint costs a few syncs, however long it is."""
CHECKPOINT_RECORDS: Final = 1000
"""How many records are saved before somebody looks how long it is."""

_Result = TypeVar("_Result")


class SqliteStorage:
    """A storage in one SQLite file; its tables are in client/storage/rows.py."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._thread: ThreadPoolExecutor
        self._file: DeviceFile
        self._unchecked = 0

    async def open(self) -> None:
        """Take hold of the file; make it if it is not there."""
        self._thread = ThreadPoolExecutor(1, "device-storage")
        opening = self._thread.submit(DeviceFile, self._path)
        try:
            self._file = await asyncio.wrap_future(opening)
        except BaseException:
            opening.add_done_callback(_close_again)
            self._thread.shutdown(wait=False)
            raise

    async def load(self) -> Kept:
        """Read the whole file."""
        return await self._in_thread(self._file.read)

    async def sign(self, identity: Identity) -> None:
        """Note whose data this is."""
        await self._in_thread(self._file.sign, identity)

    async def save(self, writes: Writes) -> None:
        """Store all of it in one transaction."""
        records = _count(writes)
        if records <= SMALL:
            self._file.write(writes)
        else:
            await self._in_thread(self._file.write, writes)
        self._unchecked += records
        if self._unchecked > CHECKPOINT_RECORDS:
            self._unchecked = 0
            await self._in_thread(self._file.checkpoint, CHECKPOINT_BYTES)

    async def close(self) -> None:
        """Let go of the file."""
        try:
            await self._in_thread(self._file.close)
        finally:
            self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)


def _count(writes: Writes) -> int:
    """How many records it touches; to forget all objects is no small thing."""
    others = len(writes.edits) + len(writes.pushes) + len(writes.setbacks) + 1
    return len(writes.objects) + others + (SMALL if writes.forget else 0)


def _close_again(opening: Future[DeviceFile]) -> None:
    """A cancelled opening is done all the same."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
