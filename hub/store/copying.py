"""Copies of a hub's file: one made while the hub serves, and one put in the file's place.

A copy is SQLite's own online backup, in small steps under one read transaction: without that it
would begin anew with each commit of the hub. It is checked and on the disk before it has its name.
Nobody here checkpoints a file that a hub may serve: that is the writer's own business.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from hub.progress import Tell, silent
from hub.store.errors import NotACopy, StoreFailed, TargetExists
from hub.store.histories import carry_all_on
from hub.store.lock import FileLock
from hub.store.reading import last_row
from hub.store.revocations import carry_over
from hub.store.schema import PAGE_SIZE, check, connect, value_of
from hub.store.upgrade import take_steps
from hub.store.wal import kept_open, sync

STEP_PAGES: Final = 128
"""Pages that are copied at once."""
SYNC_BYTES: Final = 8 * 2**20
"""The copy is synced so often: a hub's next sync does not wait for all of it at the end."""


class Copied(NamedTuple):
    """A copy that was made: how large, and the last row of the log in it."""

    bytes: int
    last_row: int


class Restored(NamedTuple):
    """A copy that was put in place: how many users it has, and where the file before it is kept."""

    users: int
    aside: Path | None
    is_revoked_as_before: bool
    """Whether what was revoked in the file before it still is; False: it could not be read."""


def back_up(source: Path, target: Path, tell: Tell, *, force: bool = False) -> Copied:
    """Copy a hub's file, whether or not a hub serves it.

    Raises:
        TargetExists: there is such a file already, and it is not to be replaced.
        FileTooNew, NotAHubFile, NotACopy, StoreFailed: there is no copy.

    """
    _check_there(source)
    if target.is_dir():
        raise TargetExists(f"{target} is a folder; name a file in it")
    if target.exists() and (not force or target.samefile(source)):
        raise TargetExists(f"{target} is there already; name another file, or give --force")
    with _unfinished(target, source.stat().st_mode & 0o777) as part:
        with _reading(source, "rw") as connection:
            last = _copy(connection, _Pace(part, f"copying {source}", tell))
        _verify(part, last)
        part.replace(target)
        sync(target.absolute().parent)
    return Copied(target.stat().st_size, last)


def restore(
    copy: Path, data: Path, tell: Tell, new_log_id: Callable[[], str], now: int
) -> Restored:
    """Put a copy in the place of a hub's file, as a new history of each of its users.

    What was there is kept aside. Until the last moment all is done on a file of another name.

    Raises:
        FileInUse: a hub serves the file.
        FileTooNew, NotAHubFile, NotACopy, StoreFailed: the file is as it was.

    """
    _check_there(copy)
    if data.exists() and data.samefile(copy):
        raise TargetExists(f"{data} is that copy itself; name the hub's own file with --data")
    lock = FileLock(data)
    lock.acquire()
    try:
        with _unfinished(data, 0o600) as part:
            pace = _Pace(part, f"restoring {data}", tell)
            users = _prepare(copy, pace, new_log_id, now)
            is_revoked = not data.exists() or carry_over(data, part)
            return Restored(users, _put_in_place(part, data, now), is_revoked)
    finally:
        lock.release()


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise StoreFailed(f"{path} is no file; name the right one")
    check(path)


@contextmanager
def _unfinished(target: Path, mode: int) -> Iterator[Path]:
    """A file beside the target, to be given its name when it is whole; gone if it never is."""
    part = target.with_name(f"{target.name}.part")
    try:
        _remove(part)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        part.chmod(mode)
        yield part
    except (sqlite3.Error, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StoreFailed(f"cannot make {target}: {why}") from error
    finally:
        with contextlib.suppress(OSError):
            _remove(part)


def _remove(part: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


@contextmanager
def _reading(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """One state of a file, however its hub goes on; its WAL is left as it is."""
    connection = connect(path, mode)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot read {path}: {error}") from error
    finally:
        with kept_open(path) if _has_wal(path) else contextlib.nullcontext():
            connection.close()


def _has_wal(path: Path) -> bool:
    """Whether there is something in the WAL, which the last to close would move into the file."""
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


class _Pace:
    """Tells how far a copy is, and lets others go first: it rests as long as a step took."""

    def __init__(self, part: Path, what: str, tell: Tell) -> None:
        self.part = part
        self._what = what
        self._tell = tell
        self._began = time.monotonic()
        self._unsynced = 0

    def step(self, _status: int, remaining: int, total: int) -> None:
        self._tell(self._what, total - remaining, total)
        self._unsynced += STEP_PAGES * PAGE_SIZE
        if self._unsynced >= SYNC_BYTES:
            sync(self.part)
            self._unsynced = 0
        time.sleep(min(time.monotonic() - self._began, 0.1))
        self._began = time.monotonic()


def _copy(source: sqlite3.Connection, pace: _Pace) -> int:
    """Copy what a connection sees into a new file; the last row of its log."""
    if value_of(source, "user_version") == 0:
        raise NotACopy("the file is empty; name the right one")
    last = last_row(source)
    with contextlib.closing(sqlite3.connect(pace.part, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy, pages=STEP_PAGES, progress=pace.step)
        # One file is easier to keep than one with a WAL; a hub that serves it makes its own.
        copy.execute("PRAGMA journal_mode = DELETE")
    sync(pace.part)
    return last


def _verify(part: Path, last: int) -> None:
    """Make sure that a copy is sound, is a hub's, and holds what the log held.

    Raises:
        NotACopy: it is of no use.

    """
    check(part)
    with contextlib.closing(connect(part, "ro&immutable=1")) as copy:
        [found] = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise NotACopy(f"the copy is not sound ({found}); its source may not be either")
        if last_row(copy) != last:
            raise NotACopy("the copy does not hold what the log held")


def _prepare(copy: Path, pace: _Pace, new_log_id: Callable[[], str], now: int) -> int:
    """Make of a copy a file of today's format in which each user has a new history."""
    part = pace.part
    with _reading(copy, "rw" if _has_wal(copy) else "ro&immutable=1") as connection:
        last = _copy(connection, pace)
    _verify(part, last)
    with contextlib.closing(connect(part, "rw")) as connection:
        # Whoever is killed here leaves a file that nobody uses.
        connection.execute("PRAGMA synchronous = OFF")
        version = value_of(connection, "user_version")
        with silent() as tell:
            take_steps(connection, version, now, tell)
        users = carry_all_on(connection, new_log_id, now)
    sync(part)
    return users


def _put_in_place(part: Path, data: Path, now: int) -> Path | None:
    """Let the hub's file be this one; where the one before is kept."""
    if data.exists():
        _take_after(part, data.stat())
    aside = _set_aside(data, now)
    part.replace(data)
    sync(data.absolute().parent)
    return aside


def _take_after(part: Path, before: os.stat_result) -> None:
    """Let the hub open the new file as it did the old one, whoever restores."""
    part.chmod(before.st_mode & 0o777)
    with contextlib.suppress(PermissionError):  # then it is not root who restores, but the owner
        os.chown(part, before.st_uid, before.st_gid)


def _set_aside(data: Path, now: int) -> Path | None:
    """Give the file, and its WAL, another name, under which a hub could serve it.

    The WAL goes first from where it was: beside the copy SQLite would take it for the copy's own.
    """
    there = [s for s in ("", "-wal") if data.with_name(data.name + s).exists()]
    if not there:
        return None
    moment = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = data.with_name(f"{data.name}.before-restore-{moment}")
    for suffix in there:
        os.link(data.with_name(data.name + suffix), aside.with_name(aside.name + suffix))
    sync(data.absolute().parent)
    for suffix in ("-wal", "-shm"):
        data.with_name(data.name + suffix).unlink(missing_ok=True)
    return aside
