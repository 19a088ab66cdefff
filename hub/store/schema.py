"""The hub's file: its tables, its version, and who may open it.

The `log` alone is the truth. Its rows are appended in the order in which they arrive, and nothing
else is written in the transaction that makes them durable. `log_clocks` (where a user's clocks
are), `objects`, `devices` and the heads in `users` are written behind it, a few users at a time:
of each user all of it goes together, so that it is true of the clock that is the user's `head`.
No row up to `folded` is above its user's head; a start after a crash folds those that are.

Of a user the log begins behind the clock `dropped` (hub/store/retention.py). `TABLES` makes a file
of today's format; what brings an older one there is in hub/store/upgrade.py.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from hub.store.errors import FileTooNew, NotAHubFile, StoreFailed
from hub.store.interface import Sizes

T = TypeVar("T")
_PRIMARY: Final = 0xFF
"""Of SQLite's codes, what went wrong; the rest says where."""

APPLICATION_ID: Final = 0x6D6F6279
"""'moby', in the header of every hub file."""
VERSION: Final = 4
PAGE_SIZE: Final = 2048
"""Bytes. A file that can give its space back writes a page more with each commit (SQLite's pointer
map); with pages of half the usual size a commit still writes less than it did without."""

TABLES: Final = """
CREATE TABLE hub (
    folded INTEGER NOT NULL,           -- up to this row of the log all users are folded
    restored INTEGER NOT NULL DEFAULT 0 -- 1: it is known to lack what it once had
) STRICT;
INSERT INTO hub (folded) VALUES (0);

CREATE TABLE users (
    user_no INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    log_id TEXT NOT NULL,
    head INTEGER NOT NULL DEFAULT 0,   -- the clock of the user's last push that is folded
    line INTEGER NOT NULL DEFAULT 0,   -- the newest tombstone that was dropped
    dropped INTEGER NOT NULL DEFAULT 0, -- up to this clock the log was dropped
    held INTEGER,                      -- what is next to go waits for a device to pass this clock
    due INTEGER,                       -- ms: when there may be something to drop again
    continues TEXT,                    -- older histories and the clocks up to which they are shared
    opened INTEGER NOT NULL DEFAULT 0, -- ms: when this history began to differ from those; 0: first
    objects INTEGER NOT NULL DEFAULT 0, -- how many the user has,
    bytes INTEGER NOT NULL DEFAULT 0   -- and how large they are as JSON, all as of `head`
) STRICT;
CREATE INDEX users_due ON users (due) WHERE due IS NOT NULL;

CREATE TABLE epochs (                  -- the starts of the hub
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    began_at INTEGER NOT NULL          -- ms since 1970 by the hub's clock
) STRICT;

CREATE TABLE user_epochs (             -- where a start found a user who pushed after it
    user_no INTEGER NOT NULL,
    epoch_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    PRIMARY KEY (user_no, epoch_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    device_no INTEGER PRIMARY KEY,
    user_no INTEGER NOT NULL REFERENCES users,
    name TEXT NOT NULL,
    last_push_id INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL DEFAULT 0,   -- ms since 1970 by the hub's clock, within an hour
    UNIQUE (user_no, name)
) STRICT;

CREATE TABLE log (
    seq INTEGER PRIMARY KEY,           -- the order of arrival, over all users
    user_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    device_no INTEGER NOT NULL,
    push_id INTEGER NOT NULL,          -- 0: pushed by a polling client
    stored_at INTEGER NOT NULL,        -- ms since 1970 by the hub's clock
    diffs TEXT NOT NULL,               -- the effective push, as it goes out
    refused TEXT                       -- what lost, was rejected or had no effect
) STRICT;
CREATE INDEX log_refused ON log (user_no, device_no, clock) WHERE refused IS NOT NULL;

CREATE TABLE log_clocks (              -- runs of a user's pushes
    user_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,            -- of the first of them
    seqs TEXT NOT NULL,                -- their rows in the log, one a clock: [seq, ...]
    PRIMARY KEY (user_no, clock)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (                -- refused parts of dropped rows, until their device knows
    user_no INTEGER NOT NULL,
    device_no INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    push_id INTEGER NOT NULL,
    refused TEXT NOT NULL,             -- what lost and was rejected
    PRIMARY KEY (user_no, device_no, clock)
) STRICT, WITHOUT ROWID;

CREATE TABLE objects (
    object_no INTEGER PRIMARY KEY,
    user_no INTEGER NOT NULL,
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,          -- clocks; created is 0 for a tombstone
    clock INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,        -- of the newest stamp, ms
    device_no INTEGER NOT NULL,        -- of the newest stamp
    fields TEXT,                       -- NULL: deleted
    stamps TEXT,                       -- where older: [[clocks ago, ms ago, device_no, field, ...]]
    deleted_at INTEGER,                -- ms since 1970 by the hub's clock; NULL: there
    past TEXT,                         -- what it was in a history that ended
    UNIQUE (user_no, model, id)
) STRICT;
CREATE INDEX objects_by_clock ON objects (user_no, clock);
CREATE INDEX tombstones ON objects (user_no, clock, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE revocations (             -- who is turned away though the token is good
    kind TEXT NOT NULL,                -- user, device or token, and their names, or ''
    user TEXT NOT NULL,
    device TEXT NOT NULL,
    token TEXT NOT NULL,               -- the id (jti) of one
    revoked_at INTEGER NOT NULL,       -- ms since 1970 by the hub's clock
    until INTEGER,                     -- ms: when it need not be kept any more; NULL: for ever
    PRIMARY KEY (kind, user, device, token)
) STRICT, WITHOUT ROWID;

CREATE VIEW diffs AS                   -- the log in mobync's columns; its clocks count from 0
SELECT
    edit.value ->> 'id' AS id,
    users.name AS owner,
    log.clock - 1 AS logical_clock,
    edit.value ->> 'utc_timestamp' AS utc_timestamp,
    edit.value ->> 'type' AS type,
    edit.value ->> 'model' AS model,
    edit.value -> 'json_data' AS json_data
FROM log JOIN users USING (user_no), json_each(log.diffs) AS edit;
"""


def connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Connect to a hub file; `mode` is that of SQLite's addresses, "ro" cannot write.

    Raises:
        StoreFailed: the file cannot be opened.

    """
    address = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot open {path}: {error}") from None


def check(path: Path) -> None:
    """Make sure that the file is a hub's that this version can serve, or is not there yet.

    The connection cannot write: closing one that can would move what another program left in its
    WAL into its file.

    Raises:
        FileTooNew, NotAHubFile: the file is left as it is.
        StoreFailed: it cannot be read.

    """
    if not path.exists():
        return
    # Without a WAL the file is all there is, and SQLite need not put its own files beside it.
    has_wal = path.with_name(path.name + "-wal").exists()
    with contextlib.closing(connect(path, "ro" if has_wal else "ro&immutable=1")) as connection:
        check_header(connection, path)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, and set the writer's connection up.

    Raises:
        StoreFailed: it cannot be read or written.

    """
    try:
        if value_of(connection, "user_version") == 0:
            _make_tables(connection)
        _set_up(connection)
    except sqlite3.DatabaseError as error:
        raise StoreFailed(f"cannot use {path}: {error}") from None


def _set_up(connection: sqlite3.Connection) -> None:
    # FULL: a commit returns after the fdatasync of the WAL. Acked means durable.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS fsync leaves data in the drive's cache; elsewhere this changes nothing.
    connection.execute("PRAGMA fullfsync = ON")
    # Checkpoints are the writer's own business, after a fold and not inside a commit.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # Some builds fill what was deleted with zeros, and write pages for nothing else.
    connection.execute("PRAGMA secure_delete = FAST")


def check_header(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure of the same, on a connection to the file.

    Raises:
        FileTooNew, NotAHubFile, StoreFailed: it is not.

    """
    try:
        version, application = (value_of(connection, n) for n in ("user_version", "application_id"))
        empty = not connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        raise StoreFailed(f"cannot read {path}: {error}") from None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_CORRUPT:
            raise StoreFailed(f"{path} is damaged ({error}): restore a backup") from None
        raise NotAHubFile(f"{path} is not a hub file ({error}); name another with --data") from None
    if not empty and application != APPLICATION_ID:
        raise NotAHubFile(f"{path} belongs to another program; name another file with --data")
    if version > VERSION:
        raise FileTooNew(
            f"{path} has format {version}, and this hub knows formats up to {VERSION}: "
            "a newer mobync-hub wrote it, serve it with that one"
        )


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE;{TABLES}"
        f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {VERSION};COMMIT;"
    )


def value_of(connection: sqlite3.Connection, pragma: str) -> int:
    """What a pragma of SQLite says."""
    row = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(row[0])


def sizes_of(path: Path, connection: sqlite3.Connection) -> Sizes:
    """How large a file and its WAL are; a small read.

    Raises:
        StoreFailed: the file is gone.

    """
    free, page = value_of(connection, "freelist_count"), value_of(connection, "page_size")
    wal = path.with_name(path.name + "-wal")
    try:
        return Sizes(path.stat().st_size, wal.stat().st_size if wal.exists() else 0, free * page)
    except OSError as error:
        raise StoreFailed(f"cannot look at {path}: {error.strerror}") from None


def in_one_transaction(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]
) -> T:
    """Do all of some work or nothing of it, on a file that nobody serves."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return done


def roll_back(connection: sqlite3.Connection) -> None:
    """End what transaction there is, as if it had not been."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
