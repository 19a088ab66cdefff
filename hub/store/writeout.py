"""Having a file written without waiting for it: sync_file_range(2), where there is one.

It is a hint and no sync: whoever needs the bytes to last syncs the file, and hears there of what
went wrong. Python's library has no name for it.
"""

from collections.abc import Callable
from typing import Final

try:
    import ctypes
except (ImportError, MemoryError):  # built without it, or memory may not be made executable
    ctypes = None  # type: ignore[assignment]

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE: begin to write, and wait for nothing."""


def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """The call of the C library; None where it has none, as beside Linux."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None) if ctypes else None
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_CALL: Final = _sync_file_range()


def begin_to_write(handle: int) -> None:
    """Have the disk begin with all that is in memory of a file."""
    if _CALL is not None:
        _CALL(handle, 0, 0, _WRITE)
