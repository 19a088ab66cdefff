"""Users on their way into a hub's file or out of it, under names that no user can have.

Both take many small transactions, between which commits go. A user who comes in whole gets the name
in the last of them, one who is to go loses it in the first; so nobody is ever there by half. What a
crash leaves goes with the next start.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from hub.store.errors import UserExists

COMING: Final = "\0coming"
GOING: Final = "\0going"
"""A user's name begins with no control character (hub/names.py)."""
STEP_ROWS: Final = 256
"""Rows that come or go in one transaction, about."""
_RUNS: Final = 8
"""Rows of `log_clocks` that go at once, of 50 rows of the log each."""

_BEGIN: Final = """
INSERT INTO users (name, log_id, head, line, dropped) VALUES (:name, :log_id, :clock, :line, :clock)
"""
_FINISH: Final = """
UPDATE users SET name = :name, objects = :objects, bytes = :bytes, due = :due
WHERE user_no = :number
"""
_RENAME: Final = "UPDATE users SET name = ?, due = NULL WHERE name = ?"
_NUMBER: Final = "SELECT user_no FROM users WHERE name = ?"
_SOME_RUNS: Final = "SELECT clock, seqs FROM log_clocks WHERE user_no = ? ORDER BY clock LIMIT ?"
_DROP_ROWS: Final = "DELETE FROM log WHERE seq IN (SELECT value FROM json_each(?))"
_DROP_RUN: Final = "DELETE FROM log_clocks WHERE user_no = ? AND clock = ?"
_DROP_OBJECTS: Final = """
DELETE FROM objects WHERE object_no IN (SELECT object_no FROM objects WHERE user_no = ? LIMIT ?)
"""
_DROP_REST: Final = (
    "DELETE FROM outcomes WHERE user_no = ?",
    "DELETE FROM user_epochs WHERE user_no = ?",
    "DELETE FROM devices WHERE user_no = ?",
    "DELETE FROM users WHERE user_no = ?",
)


def number_of(connection: sqlite3.Connection, name: str) -> int | None:
    """The number of a user, or of one on the way."""
    row = connection.execute(_NUMBER, (name,)).fetchone()
    return int(row[0]) if row else None


def is_anybody_on_the_way(connection: sqlite3.Connection) -> bool:
    """Whether there is a user under a name that no user can have."""
    return any(number_of(connection, name) is not None for name in (COMING, GOING))


def begin(connection: sqlite3.Connection, log_id: str, clock: int, line: int) -> int:
    """Make a user who is on the way in; the number."""
    place = {"name": COMING, "log_id": log_id, "clock": clock, "line": line}
    return connection.execute(_BEGIN, place).lastrowid or 0


def finish(
    connection: sqlite3.Connection, name: str, counts: Mapping[str, int], *, replace: bool
) -> None:
    """Give the user who came in the name; who had it before is on the way out.

    Raises:
        UserExists: somebody has it, who is not to be replaced.

    """
    if number_of(connection, name) is not None:
        if not replace:
            raise UserExists(name)
        connection.execute(_RENAME, (GOING, name))
    connection.execute(_FINISH, {"name": name, "number": number_of(connection, COMING), **counts})


def let_go(connection: sqlite3.Connection, name: str) -> bool:
    """Take a user's name, who is on the way out from now on; whether there was one."""
    return connection.execute(_RENAME, (GOING, name)).rowcount > 0


def erase_some(connection: sqlite3.Connection, number: int) -> bool:
    """Erase some of a user on the way; whether there is more. All of the log must be folded."""
    runs = connection.execute(_SOME_RUNS, (number, _RUNS)).fetchall()
    if runs:
        _drop_runs(connection, number, runs)
        return True
    if connection.execute(_DROP_OBJECTS, (number, STEP_ROWS)).rowcount == STEP_ROWS:
        return True
    for statement in _DROP_REST:
        connection.execute(statement, (number,))
    return False


def _drop_runs(
    connection: sqlite3.Connection, number: int, runs: Sequence[tuple[int, str]]
) -> None:
    connection.executemany(_DROP_ROWS, [(seqs,) for _clock, seqs in runs])
    connection.executemany(_DROP_RUN, [(number, clock) for clock, _seqs in runs])
