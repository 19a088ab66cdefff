"""Bringing a hub file of an older format up to today's: forward, in place, with a copy beside it.

Each step is one transaction, which ends with the new format's number: a process that is killed
leaves the file as it was or as it should be, and the next start goes on from there.
"""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from hub.progress import Progress, Tell, silent
from hub.store.errors import StoreFailed, SyncFailed
from hub.store.schema import VERSION, value_of
from hub.store.wal import is_failed_sync, sync

STEPS: Final[Mapping[int, str]] = {
    1: """
ALTER TABLE users ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN held INTEGER;
ALTER TABLE users ADD COLUMN due INTEGER;
UPDATE users SET due = {now};
CREATE INDEX users_due ON users (due) WHERE due IS NOT NULL;
ALTER TABLE devices ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET seen = {now};
CREATE TABLE outcomes (
    user_no INTEGER NOT NULL,
    device_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    push_id INTEGER NOT NULL,
    refused TEXT NOT NULL,
    PRIMARY KEY (user_no, device_no, clock)
) STRICT, WITHOUT ROWID;
ALTER TABLE objects ADD COLUMN deleted_at INTEGER;
UPDATE objects SET deleted_at = {now} WHERE fields IS NULL;
CREATE INDEX tombstones ON objects (user_no, clock, deleted_at) WHERE deleted_at IS NOT NULL;
""",
    2: """
ALTER TABLE users ADD COLUMN continues TEXT;
ALTER TABLE users ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
CREATE TABLE epochs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    began_at INTEGER NOT NULL
) STRICT;
CREATE TABLE user_epochs (
    user_no INTEGER NOT NULL,
    epoch_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    PRIMARY KEY (user_no, epoch_no)
) STRICT, WITHOUT ROWID;
ALTER TABLE objects ADD COLUMN past TEXT;
""",
    3: """
CREATE TABLE revocations (
    kind TEXT NOT NULL,
    user TEXT NOT NULL,
    device TEXT NOT NULL,
    token TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (kind, user, device, token)
) STRICT, WITHOUT ROWID;
ALTER TABLE hub ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
UPDATE hub SET restored = EXISTS (SELECT 1 FROM users WHERE opened > 0);
ALTER TABLE users ADD COLUMN objects INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE users SET (objects, bytes) = (
    SELECT count(*), coalesce(sum(length(CAST(fields AS BLOB))), 0) FROM objects
    WHERE objects.user_no = users.user_no AND fields IS NOT NULL);
""",
}
"""What makes the next format of each older one. A device or a deletion of which the old file does
not say when it was counts from now."""

COPY_PAGES: Final = 1024
"""Pages that are copied in one step, of which it is told how far the copy is."""
_INCREMENTAL: Final = 2

logger: Final = structlog.get_logger("store")


def upgrade(
    connection: sqlite3.Connection, path: Path, now: int, progress: Progress = silent
) -> None:
    """Bring a file to today's format, if it is of an older one; nothing is done to a new file.

    It takes about as long as copying the file twice: `progress` is told.

    Raises:
        StoreFailed: says what to do; the file is as it was.

    """
    try:
        version = value_of(connection, "user_version")
        if version and (version < VERSION or not _can_shrink(connection)):
            with progress() as tell:
                _upgrade(connection, path, version, now, tell)
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(
            f"cannot upgrade {path} to format {VERSION}: {error}; it is as it was. Make room for "
            "a copy of it on its disk, and start the hub again"
        ) from None


def _upgrade(
    connection: sqlite3.Connection, path: Path, version: int, now: int, tell: Tell
) -> None:
    if version < VERSION:
        copy = _back_up(connection, path, version, tell)
        take_steps(connection, version, now, tell)
        logger.info("upgraded", file=str(path), format=VERSION, was=version, backup=str(copy))
    if not _can_shrink(connection):
        tell("writing it anew", 0, 0)
        _rebuild(connection, path)
        tell("writing it anew", 1, 1)


def _can_shrink(connection: sqlite3.Connection) -> bool:
    return value_of(connection, "auto_vacuum") == _INCREMENTAL


def backup_of(path: Path, version: int) -> Path:
    """Where the copy of a file is kept that was of an older format."""
    return path.with_name(f"{path.name}.v{version}-backup")


def _back_up(connection: sqlite3.Connection, path: Path, version: int, tell: Tell) -> Path:
    """Copy the file. Invariant: a file of the copy's name is a whole copy, on the disk."""
    target = backup_of(path, version)
    unfinished = target.with_name(target.name + ".part")
    size = value_of(connection, "page_count") * value_of(connection, "page_size")
    logger.info("upgrading", file=str(path), was=version, bytes=size, backup=str(target))
    unfinished.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(unfinished)) as copy:
        connection.backup(
            copy,
            pages=COPY_PAGES,
            progress=lambda _status, left, pages: tell("copy", pages - left, pages),
        )
    sync(unfinished)
    unfinished.replace(target)
    sync(path.absolute().parent)
    return target


def take_steps(connection: sqlite3.Connection, version: int, now: int, tell: Tell) -> None:
    """Bring a file of this format to today's; for one of which there is a copy."""
    for older in range(version, VERSION):
        tell(f"format {older + 1}", 0, 0)
        _take_step(connection, older, now)
        tell(f"format {older + 1}", 1, 1)


def _take_step(connection: sqlite3.Connection, version: int, now: int) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE;{STEPS[version].format(now=now)}"
        f"PRAGMA user_version = {version + 1};COMMIT;"
    )


def _rebuild(connection: sqlite3.Connection, path: Path) -> None:
    """Write the file anew as one that can give its space back.

    Without it the hub serves as well, and uses free space again; so a disk without room for it
    stops nobody; one that fails to sync does. A process that is killed meanwhile leaves the file as
    it was.
    """
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.Error as error:
        if is_failed_sync(error):
            raise SyncFailed from error
        logger.warning(
            "free space stays in the file",
            file=str(path),
            error=str(error),
            remedy="make room for a copy of it on its disk; the next start tries again",
        )
