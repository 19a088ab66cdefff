"""One hub a file: a lock that ends with its process, however that ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from hub.store.errors import FileInUse, StoreFailed

ASKED_SECONDS: Final = 0.05
"""Longer than `holder_of` holds a lock that nobody else does."""


class FileLock:
    """Held beside the data file, in `NAME-lock`, which also says by which process.

    The data file itself is not locked: closing another handle of it would drop SQLite's own
    locks in this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + "-lock")
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FileInUse: another process holds it.
            StoreFailed: the folder cannot be written to.

        """
        handle = self._opened()
        try:
            _take(handle)
        except OSError:
            holder = _signed(handle)
            os.close(handle)
            raise FileInUse(
                f"another hub (process {holder}) serves {self.path.name.removesuffix('-lock')}; "
                "stop it first, or name another file with --data"
            ) from None
        self._handle = handle
        _sign(handle)

    def release(self) -> None:
        """Let go. The file stays: to remove it could break another's lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(f"cannot write {self.path}: {error.strerror}") from None


def holder_of(data: Path) -> str | None:
    """Which process serves a file, by its number; None: none does.

    The lock is tried, and held for no longer than that takes; the file of it is not made.
    """
    try:
        handle = os.open(data.with_name(data.name + "-lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _signed(handle)
    else:
        return None
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    """Lock it; who only asks who holds it is waited for."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    time.sleep(ASKED_SECONDS)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _signed(handle: int) -> str:
    return os.read(handle, 32).decode(errors="replace").strip() or "unknown"


def _sign(handle: int) -> None:
    """Write who holds it, for another's message; a full disk does not undo the lock."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
