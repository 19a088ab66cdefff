"""A look into a hub's file, whether or not a hub serves it: one state, and nothing written."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.store.errors import NoSuchUser, StoreFailed
from hub.store.reading import device_names, user_no
from hub.store.schema import VERSION, check, connect, value_of


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a file, for as long as this lasts, however its hub goes on.

    The hub's WAL cannot be written over meanwhile: do not wait in there for anybody.

    Raises:
        StoreFailed: there is no file, or it cannot be read, or is of an older format.
        FileTooNew, NotAHubFile: it is none that this version knows.

    """
    if not path.is_file():
        found = "no file" if path.exists() else "not there"
        raise StoreFailed(f"{path} is {found}: name the hub's file with --data")
    check(path)
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            _check_format(connection, path)
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot read {path}: {error}") from None


def known(connection: sqlite3.Connection, user: str) -> int:
    """A user's number.

    Raises:
        NoSuchUser: the file has nobody of that name.

    """
    number = user_no(connection, user)
    if not number:
        raise NoSuchUser(user)
    return number


def is_known(connection: sqlite3.Connection, user: str, device: str = "") -> bool:
    """Whether a user, or a device of it, was ever here."""
    number = user_no(connection, user)
    return bool(number) and device in ("", *device_names(connection, number).values())


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    version = value_of(connection, "user_version")
    if not version:
        raise StoreFailed(f"{path} is empty: a hub makes its tables when it starts first")
    if version < VERSION:
        raise StoreFailed(
            f"{path} has format {version}, and this verb reads format {VERSION}: serve it once "
            "with this version, which upgrades it"
        )
