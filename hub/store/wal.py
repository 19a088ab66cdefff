"""What a sync that failed leaves behind, and how a start makes the WAL sound again.

After a failed fdatasync Linux may count pages as written that are not on the disk, and the next
fdatasync says success. So nothing may rest on such a WAL, no commit and no checkpoint, until its
bytes were written once more.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog

from hub.store.errors import StoreFailed, SyncFailed
from hub.store.schema import connect
from hub.store.writeout import begin_to_write

T = TypeVar("T")
LONG_WAL: Final = 600 * 2**20
"""Bytes of a WAL that Litestream would have cut (at about 500 MB by its defaults)."""
COPY_BYTES: Final = 64 * 1024
_SYNC_ERRORS: Final = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)

_sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""As SQLite syncs, too."""

logger: Final = structlog.get_logger("store")


class SyncWatch:
    """Lets units of work through to the writer's connection until a sync of theirs has failed.

    It looks in the writer's thread, for the next unit may wait there already.
    """

    def __init__(self) -> None:
        self.has_failed = False

    def run(self, work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        """Run a unit of work.

        Raises:
            SyncFailed: a sync failed, in this unit or before it.

        """
        if self.has_failed:
            raise SyncFailed
        try:
            return work(connection)
        except SyncFailed:
            self.has_failed = True
            raise
        except (sqlite3.Error, StoreFailed) as error:
            if not is_failed_sync(error):
                raise
            self.has_failed = True
            raise SyncFailed from error


class WalFile:
    """The WAL of a file that is being served, for a sync in two parts.

    The first has the disk begin, the second waits until all that SQLite wrote there by then lasts.
    SQLite keeps to one WAL, which it writes over and never replaces, until the last connection to
    its file is closed.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path.with_name(path.name + "-wal"), os.O_RDWR)

    def begin_to_write(self) -> None:
        """Have the disk begin, where it can be asked to; nothing is sure of that alone."""
        begin_to_write(self._handle)

    def sync(self) -> None:
        """Wait until it is on the disk.

        Raises:
            SyncFailed: nobody knows whether it is.

        """
        try:
            _sync_data(self._handle)
        except OSError as error:
            raise SyncFailed from error

    def close(self) -> None:
        """Leave the file."""
        os.close(self._handle)


def write_again(connection: sqlite3.Connection, path: Path) -> None:
    """Write the bytes of the file's WAL over themselves, and sync them.

    It is done under SQLite's lock for writers, so that no other process adds to the WAL meanwhile.
    SQLite, which has checked every frame by then, reads none behind the first that is not whole.

    Raises:
        StoreFailed: the disk does not take them.

    """
    wal = path.with_name(path.name + "-wal")
    if not wal.exists():
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _write_over(wal)
        finally:
            connection.execute("ROLLBACK")
    except (OSError, sqlite3.OperationalError) as error:
        raise StoreFailed(f"cannot write {wal}: {error}; see to its disk") from None


def look_at_wal(connection: sqlite3.Connection) -> None:
    """Say so if the WAL has grown so long that nobody can be checkpointing."""
    name = connection.execute("PRAGMA database_list").fetchone()[2]
    size = Path(f"{name}-wal").stat().st_size
    if size >= LONG_WAL:
        logger.warning(
            "nobody checkpoints",
            wal=f"{name}-wal",
            bytes=size,
            remedy="start Litestream again, or the hub without --checkpoints litestream",
        )


def sync_names(path: Path) -> None:
    """Make the names of the file and of its WAL last.

    SQLite syncs the folder as well, and does not look whether that worked.

    Raises:
        StoreFailed: the disk does not take them.

    """
    try:
        sync(path.absolute().parent)
    except OSError as error:
        raise StoreFailed(f"cannot sync the folder of {path}: {error}; see to its disk") from None


def sync(path: Path) -> None:
    """Make what is in a file last, or in a folder: the names there.

    Raises:
        OSError: the disk does not take it.

    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def kept_open(path: Path) -> Iterator[None]:
    """Keep the file open meanwhile, so that whoever closes it leaves the WAL as it is.

    The last connection to close moves the WAL into the file. One that only reads cannot.
    """
    with contextlib.closing(connect(path, "ro")) as reader:
        with contextlib.suppress(sqlite3.Error):
            reader.execute("SELECT 1 FROM sqlite_schema").fetchone()
        yield


def is_failed_sync(error: BaseException) -> bool:
    """Whether SQLite said so, itself or as the cause of the store's own error."""
    return any(
        getattr(one, "sqlite_errorcode", None) in _SYNC_ERRORS for one in (error, error.__cause__)
    )


def _write_over(wal: Path) -> None:
    with wal.open("r+b", buffering=0) as file:
        for offset in range(0, wal.stat().st_size, COPY_BYTES):
            _write_all(file.fileno(), os.pread(file.fileno(), COPY_BYTES, offset), offset)
        os.fsync(file.fileno())


def _write_all(handle: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written
