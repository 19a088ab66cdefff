"""A look into a hub's file that leaves no trace, whether or not a hub serves it."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from hub.store.errors import StoreFailed
from hub.store.schema import VERSION, check_header, connect, value_of

_NEWEST: Final = """
SELECT max(coalesce((SELECT stored_at FROM log ORDER BY seq DESC LIMIT 1), 0),
           coalesce((SELECT max(began_at) FROM epochs), 0))
"""


class NotLookedInto(StoreFailed):
    """Nobody's fault: to look would leave a file behind."""


class Examined(NamedTuple):
    """What a file says of itself: its format, when it was last written (ms), what is not sound."""

    version: int
    newest: int | None
    fault: str | None


def examine(data: Path, *, is_served: bool, thoroughly: bool) -> Examined:
    """Look into a file; `thoroughly`: at each of its pages.

    Raises:
        FileTooNew, NotAHubFile, NotLookedInto, StoreFailed: there is nothing to be seen.

    """
    try:
        with contextlib.closing(connect(data, _mode(data, is_served=is_served))) as connection:
            check_header(connection, data)
            version = value_of(connection, "user_version")
            fault = _fault(connection) if thoroughly else None
            return Examined(version, _newest(connection, version), fault)
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot read {data}: {error}") from None


def _mode(data: Path, *, is_served: bool) -> str:
    """Read what no WAL changes without SQLite's own files; else with those that are there.

    Raises:
        NotLookedInto: they would have to be made.

    """
    wal, shm = (data.with_name(data.name + suffix) for suffix in ("-wal", "-shm"))
    has_wal = wal.exists() and wal.stat().st_size > 0
    if not has_wal and not is_served:
        return "ro&immutable=1"
    if not shm.exists():
        raise NotLookedInto(f"{wal} is there without {shm.name}, so the file was not looked into")
    return "ro"


def _fault(connection: sqlite3.Connection) -> str | None:
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if found == "ok" else found


def _newest(connection: sqlite3.Connection, version: int) -> int | None:
    if version != VERSION:
        return None
    newest: int = connection.execute(_NEWEST).fetchone()[0]
    return newest or None
