"""Epochs in the hub's file: the starts, and at which clock each found a user.

A user's row is written by the fold of its first push in an epoch. Invariant: rows of the log that
are not folded belong to the newest epoch of the file, for a start folds all of them before it
begins its own.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from hub.epochs import Epochs, Starts
from hub.store.memory import UserEntry
from hub.store.reading import read_starts

KEPT: Final = 1000
"""Starts that are remembered; a device that was not here since the one before begins again."""

_BEGIN: Final = "INSERT INTO epochs (number, name, began_at) VALUES (?, ?, ?)"
_FORGET: Final = "DELETE FROM epochs WHERE number <= ?"
_FOUND: Final = "INSERT INTO user_epochs (user_no, epoch_no, clock) VALUES (?, ?, ?)"
_FORGET_OF_USER: Final = "DELETE FROM user_epochs WHERE user_no = ? AND epoch_no <= ?"


def begin_epoch(connection: sqlite3.Connection, before: Starts, name: str, now: int) -> Starts:
    """Write down a start of the hub at the moment `now` (ms); `name` is nobody else's."""
    number = before.newest + 1
    connection.execute(_BEGIN, (number, f"{number}-{name}", now))
    connection.execute(_FORGET, (number - KEPT,))
    return read_starts(connection)


def write_epochs(
    connection: sqlite3.Connection, users: Iterable[UserEntry], starts: Starts
) -> None:
    """Write at which clock the newest start found these users, if they are folded first since.

    What says when epochs ended that are not known any more goes with it.
    """
    new = [user for user in users if user.rows and _last(user) < starts.newest]
    connection.executemany(_FOUND, list(_found(new, starts.newest)))
    connection.executemany(_FORGET_OF_USER, [(user.number, starts.oldest) for user in new])
    for user in new:
        user.began.append((starts.newest, user.folded))


def epochs_of(user: UserEntry, starts: Starts) -> Epochs:
    """The starts as a user went through them up to now."""
    running = [] if _last(user) == starts.newest else [(starts.newest, user.folded)]
    return Epochs(starts, (*user.began, *running))


def _last(user: UserEntry) -> int:
    return user.began[-1][0] if user.began else 0


def _found(users: Iterable[UserEntry], epoch: int) -> Iterator[tuple[int, int, int]]:
    return ((user.number, epoch, user.folded) for user in users)
