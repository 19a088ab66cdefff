"""Revocations in the hub's file.

They stand by names and not by numbers, for a user or a device may be revoked that never came.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from hub.progress import Progress
from hub.revoking import LEEWAY_MS, Revocation
from hub.store.errors import StoreError, StoreFailed
from hub.store.lock import FileLock
from hub.store.opening import connect_writer
from hub.store.schema import check, connect, in_one_transaction, value_of
from hub.store.wal import kept_open

T = TypeVar("T")
SINCE: Final = 4
"""The first format that has revocations."""

_READ: Final = """
SELECT kind, user, device, token, revoked_at, until FROM revocations
ORDER BY revoked_at, kind, user, device, token
"""
_WRITE: Final = "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?, ?, ?)"
_ERASE: Final = "DELETE FROM revocations WHERE (kind, user, device, token) = (?, ?, ?, ?)"
_ERASE_ENDED: Final = "DELETE FROM revocations WHERE until <= ?"


def read(connection: sqlite3.Connection) -> Sequence[Revocation]:
    """All that is revoked, those first that have been so longest."""
    return [Revocation(*row) for row in connection.execute(_READ)]


def write(revocation: Revocation, now: int, connection: sqlite3.Connection) -> None:
    """Keep a revocation, made at this moment (ms), and none of tokens that have long run out."""
    connection.execute(_ERASE_ENDED, (now - LEEWAY_MS,))
    connection.execute(_WRITE, (*revocation.subject, now, revocation.until))


def erase(revocation: Revocation, connection: sqlite3.Connection) -> bool:
    """Keep no revocation of this subject; whether there was one."""
    return connection.execute(_ERASE, revocation.subject).rowcount > 0


def read_file(path: Path) -> Sequence[Revocation]:
    """All that is revoked in a hub's file, also of a hub that serves.

    Raises:
        StoreFailed: there is no file, or it cannot be read.
        FileTooNew, NotAHubFile: it is none that this version knows.

    """
    _check_there(path)
    return _kept(path, "ro") or ()


def change_file(
    path: Path, work: Callable[[sqlite3.Connection], T], now: int, progress: Progress
) -> T:
    """Do something durable with the file of a hub that is stopped; an older file is upgraded.

    Raises:
        FileInUse: a hub serves it.
        StoreFailed: there is no file, or it cannot be written.
        FileTooNew, NotAHubFile: it is none that this version knows.

    """
    _check_there(path)
    lock = FileLock(path)
    lock.acquire()
    try:
        # The WAL is left as it is: to move it into the file is the hub's business, or Litestream's.
        with (
            kept_open(path),
            contextlib.closing(connect_writer(path, now, progress)) as connection,
        ):
            return in_one_transaction(connection, work)
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot write {path}: {error}") from None
    finally:
        lock.release()


def carry_over(source: Path, target: Path) -> bool:
    """Let a file have just the revocations of another one; nobody serves either.

    False: the other one cannot be read, and the file has those that it had. So it has if the other
    one is of a format that knew none.
    """
    has_wal = source.with_name(source.name + "-wal").exists()
    try:
        _check_there(source)
        revocations = _kept(source, "ro" if has_wal else "ro&immutable=1")
    except StoreError:
        return False
    if revocations is not None:
        with contextlib.closing(connect(target, "rw")) as connection:
            in_one_transaction(connection, partial(_replace_all, revocations))
    return True


def _kept(path: Path, mode: str) -> Sequence[Revocation] | None:
    """All that is revoked; None: the file has a format that knew of no revocations."""
    try:
        with contextlib.closing(connect(path, mode)) as connection:
            return read(connection) if value_of(connection, "user_version") >= SINCE else None
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot read {path}: {error}") from None


def _replace_all(revocations: Sequence[Revocation], connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM revocations")
    rows = [(*each.subject, each.at, each.until) for each in revocations]
    connection.executemany(_WRITE, rows)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise StoreFailed(f"{path} is not there: name the hub's file with --data")
    check(path)
