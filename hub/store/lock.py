"""One hub a file: a lock that ends with its process, however that ends."""

import contextlib
import fcntl
import os
from pathlib import Path

from hub.store.errors import FileInUse, StoreFailed


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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
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


def _sign(handle: int) -> None:
    """Write who holds it, for another's message; a full disk does not undo the lock."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
