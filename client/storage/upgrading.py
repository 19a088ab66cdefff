"""Files of older versions: made into one of this version, a copy of the old one first.

Each format leads to the next by a few statements, and those with the number of the new format are
one transaction. So a file is always wholly of one format, wherever a `kill -9` or a full disk ends
it, and the next opening goes on from there. The copy is complete when it has its name.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from client.storage.rows import SCHEMA_VERSION

COPY_PAGES: Final = 1024
"""Pages that are copied in one step."""

log: Final = logging.getLogger("mobync.client")

STEPS: Final[Mapping[int, Sequence[str]]] = {
    # A device that has heard of a hub stamped its edits by the hub's time; before that, on trust.
    1: (
        "ALTER TABLE position ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0",
        "UPDATE position SET corrected = timestamp WHERE log_id IS NOT NULL",
    ),
    # In which starts of the hub it was level nobody knows: the hub does not check that.
    2: (
        "ALTER TABLE position ADD COLUMN epoch TEXT",
        "ALTER TABLE position ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE position ADD COLUMN offers INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE position ADD COLUMN continues TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE objects ADD COLUMN timestamp INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE objects ADD COLUMN created INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE objects ADD COLUMN was TEXT",
    ),
}
"""By format, what makes a file of the next one of it. What was released is never changed."""


def copy_of(path: Path, version: int) -> Path:
    """Where the copy of a file is kept that was found in an older format."""
    return path.with_name(f"{path.name}.v{version}-backup")


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a device's file to this version's format; nothing if it has that.

    The connection holds the file alone, and stands in no transaction.
    """
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    copy = copy_of(path, version)
    log.info(
        "%s has format %d: it is copied to %s, then brought to %d",
        path,
        version,
        copy,
        SCHEMA_VERSION,
    )
    _keep_a_copy(connection, path, copy)
    for step in range(version, SCHEMA_VERSION):
        _take_step(connection, step)
    log.info(
        "%s was brought from format %d to %d; as it was, it is kept in %s",
        path, version, SCHEMA_VERSION, copy,
    )  # fmt: skip


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _keep_a_copy(connection: sqlite3.Connection, path: Path, copy: Path) -> None:
    """Copy the file through its own connection: another handle, closed, would drop its lock.

    One that is there already is of an upgrade that was cut short, and perhaps older than the file.
    """
    unfinished = copy.with_name(f"{copy.name}-unfinished")
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        left.unlink(missing_ok=True)
    unfinished.touch()
    shutil.copymode(path, unfinished)
    with closing(sqlite3.connect(unfinished)) as target:
        connection.backup(target, pages=COPY_PAGES, progress=_Quarters(path))
        target.execute("PRAGMA journal_mode = DELETE")
    unfinished.replace(copy)
    _sync_folder(copy.parent)


class _Quarters:
    """Says in the log how far a copy is that takes long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = 0

    def __call__(self, _status: int, left: int, pages: int) -> None:
        quarter = (pages - left) * 4 // max(pages, 1)
        if self._told < quarter < 4:
            self._told = quarter
            log.info("%s: %d %% copied", self._path, 25 * quarter)


def _sync_folder(folder: Path) -> None:
    """Make a new name last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_step(connection: sqlite3.Connection, version: int) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in STEPS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")
