"""The one way to a connection that writes a hub's file; whoever takes it holds the file's lock."""

import sqlite3
from pathlib import Path

from hub.process import step_back
from hub.progress import Progress
from hub.store.schema import check, connect, prepare
from hub.store.upgrade import upgrade
from hub.store.wal import kept_open, sync_names, write_again


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file for reading, on a thread that lets others go first."""
    step_back()
    return connect(path, "ro")


def connect_writer(path: Path, now: int, progress: Progress) -> sqlite3.Connection:
    """Open a file, sound and of today's format, at this moment (ms); it is made where it is not.

    Raises:
        FileTooNew, NotAHubFile, StoreFailed: it was left as it is.

    """
    check(path)
    connection = connect(path)
    try:
        write_again(connection, path)
        upgrade(connection, path, now, progress)
        prepare(connection, path)
        sync_names(path)
    except BaseException:
        with kept_open(path):
            connection.close()
        raise
    return connection
