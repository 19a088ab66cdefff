"""The SQLite file of one device, held by one connection. Every call blocks until it is done."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from client.errors import StorageFailed, StorageForeign, StorageInUse, StorageTooNew
from client.storage import rows
from client.storage.interface import Identity, Kept
from client.storage.upgrading import upgrade
from protocol.records import Saved, Writes

SMALLEST: Final = 512
"""Bytes of the smallest page, and so of the smallest file (sqlite.org/fileformat2.html, 1.3)."""
PATIENCE: Final = 1.0
"""Seconds to wait for somebody who is just letting go of the file."""


_opening: Final = Lock()
"""Held by who opens a file: of two that meet half-way SQLite refuses one at once, unasked to wait,
though the other may be an opening that was cancelled and is about to let go."""


class DeviceFile:
    """An open file. Its errors are those of `client.storage.interface`.

    `locking_mode=EXCLUSIVE` makes SQLite itself keep the file to this connection: another process,
    or another Device of this one, is refused. The kernel holds the lock, so `kill -9` frees it, and
    no lock file is left behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        with self._said(), _opening:
            self._check_size()
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Fold the WAL into the file and let go of it."""
        with self._said():
            self._connection.close()

    def read(self) -> Kept:
        """All that it holds."""
        with self._said():
            query = self._connection.execute
            ((_, *identity),) = query("SELECT * FROM device")
            ((_, *position),) = query("SELECT * FROM position")
            edits = query("SELECT * FROM edits ORDER BY number")
            pushes = query("SELECT * FROM pushes ORDER BY push_id")
            setbacks = query("SELECT * FROM setbacks ORDER BY number")
            return Kept(
                Identity(*identity),
                Saved(
                    position=rows.read_position(*position),
                    objects=dict(rows.read_object(*row) for row in query("SELECT * FROM objects")),
                    edits=tuple(rows.read_edit(*row) for row in edits),
                    pushes=tuple(rows.read_push(*row) for row in pushes),
                    setbacks=dict(rows.read_setback(*row) for row in setbacks),
                ),
            )

    def sign(self, identity: Identity) -> None:
        """Note whose data it is."""
        with self._said():
            row = (identity.device, identity.user)
            self._connection.execute("UPDATE device SET name = ?, user = ?", row)

    def write(self, writes: Writes) -> None:
        """Store all of it in one transaction."""
        with self._said(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, records in rows.statements(writes):
                self._connection.executemany(statement, records)

    def checkpoint(self, limit: int) -> None:
        """Empty a WAL above so many bytes and begin it anew: in both steps SQLite syncs."""
        with self._said():
            if self._wal.stat().st_size > limit:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._touch()

    def _touch(self) -> None:
        """Write something: that takes the lock, and syncs the head of a new WAL."""
        self._connection.execute("UPDATE device SET one = 1")

    def _check_size(self) -> None:
        """Look before SQLite does, which takes a text of one byte for an empty database.

        Invariant: the file is opened by SQLite alone. Whoever closes another handle of it drops
        all locks that this process has on it (fcntl(2)), those of another Device among them.
        """
        if self._path.exists() and 0 < self._path.stat().st_size < SMALLEST:
            raise self._foreign()

    def _foreign(self) -> StorageForeign:
        return StorageForeign(f"{self._path} is no SQLite file: give the device a path of its own")

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        new = self._is_new()
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA wal_autocheckpoint = 0")
        if new:
            self._connection.executescript(rows.SCHEMA)
        else:
            upgrade(self._connection, self._path)
        self._touch()

    def _is_new(self) -> bool:
        """Look before anything is changed."""
        application, version, tables = (
            self._connection.execute(question).fetchone()[0]
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_schema",
            )
        )
        if (application, version, tables) == (0, 0, 0):
            return True
        if application != rows.APPLICATION_ID:
            raise StorageForeign(
                f"{self._path} is the file of another program: give the device a path of its own"
            )
        if version > rows.SCHEMA_VERSION:
            raise StorageTooNew(
                f"{self._path} was written by a newer version of mobync-hub (its schema is "
                f"{version}, this version knows {rows.SCHEMA_VERSION}): update mobync-hub to open "
                "it; nothing has been changed"
            )
        return False

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say what an error means and what to do."""
        try:
            yield
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StorageInUse(
                f"{self._path} is in use by another process or another Device, and one device has "
                "one process: end the other one, or give this device a path of its own"
            )
        if code == sqlite3.SQLITE_NOTADB:
            return self._foreign()
        return StorageFailed(
            f"{self._path} cannot be used ({error}), and what was not stored is not kept. "
            "Mend the cause (disk full? permissions? folder missing?) and open the device again"
        )
