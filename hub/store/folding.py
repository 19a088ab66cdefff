"""The fold: what the log made of objects, devices and heads, written behind it.

It goes in steps, each one transaction of a few users, so that no commit waits long for one.
Invariant: of a user a step writes everything or nothing. So at any time the file holds each user
as of one clock, its head, and readers add the log behind that.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import Any, Final

import orjson

from hub.retention import Retention
from hub.store.memory import Memory, UserEntry
from hub.store.retention import due_after_fold
from hub.store.rows import object_row
from protocol.diffs import Tombstone

STEP_ROWS: Final = 64
"""Rows of the file that one step writes, about: what a commit may have to wait for."""
SHARE_OF_REST: Final = 64
"""A step takes at least such a part of the unfolded log, so that the fold is never outrun."""
MOST_IN_RUN: Final = 50
"""Clocks in one row of `log_clocks`, which then fits on its page; who looks for one reads all."""

_CLOCKS: Final = "INSERT INTO log_clocks (user_no, clock, seqs) VALUES (?, ?, ?)"
_OBJECT: Final = """
INSERT INTO objects
  (user_no, model, id, created, clock, timestamp, device_no, fields, stamps, past,
   deleted_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, {})
ON CONFLICT (user_no, model, id) DO UPDATE SET
  created = excluded.created, clock = excluded.clock, timestamp = excluded.timestamp,
  device_no = excluded.device_no, fields = excluded.fields, stamps = excluded.stamps,
  past = excluded.past, deleted_at = excluded.deleted_at
"""
# None, as a value, costs as much as all the others: it is first looked up as if it had to be
# adapted. Nearly all objects are there and have no past, so one statement serves nearly all.
_OBJECTS: Final[Mapping[int, str]] = {
    9: _OBJECT.format("nullif(?, ''), NULL, NULL"),
    11: _OBJECT.format("?, ?, ?"),
}
"""What writes a row of so many columns."""
_HEAD: Final = "UPDATE users SET head = ?, objects = ?, bytes = ? WHERE user_no = ?"
_DEVICE: Final = "UPDATE devices SET last_push_id = ?, received = ?, seen = ? WHERE device_no = ?"
_DUE: Final = "UPDATE users SET due = ? WHERE user_no = ?"


def next_step(memory: Memory, up_to: int) -> Sequence[UserEntry]:
    """The users that are folded next, and one that has very much to fold, if there is one.

    They are those who have been behind longest, and were so at the row `up_to`.
    """
    room = max(STEP_ROWS, memory.unfolded // SHARE_OF_REST)
    users = {user.number: user for user in _as_many_as_fit(memory.oldest(up_to), room)}
    users.update(islice(memory.large.items(), 1))
    return list(users.values())


def write_step(
    connection: sqlite3.Connection,
    users: Sequence[UserEntry],
    folded: int,
    now: int,
    keeps: Retention,
) -> int:
    """Write all that these users' unfolded rows have changed, at the moment `now` (ms).

    Returns:
        The characters in the objects' columns.

    """
    connection.executemany(_CLOCKS, chain.from_iterable(map(_runs, users)))
    objects = [row for user in users for row in _object_rows(user, now)]
    for columns, rows in groupby(objects, len):
        connection.executemany(_OBJECTS[columns], rows)
    connection.executemany(_HEAD, [(u.head, u.count, u.bytes, u.number) for u in users if u.rows])
    connection.executemany(_DEVICE, chain.from_iterable(_device_rows(user, now) for user in users))
    connection.executemany(_DUE, _due_rows(users, now, keeps))
    connection.execute("UPDATE hub SET folded = ?", (folded,))
    return sum(map(_characters, objects))


def _as_many_as_fit(users: Iterable[UserEntry], room: int) -> Iterator[UserEntry]:
    for user in users:
        if room <= 0:
            return
        room -= user.weight
        yield user


def _runs(user: UserEntry) -> Iterator[tuple[int, int, str]]:
    first = user.head - len(user.rows) + 1
    for start in range(0, len(user.rows), MOST_IN_RUN):
        rows = orjson.dumps(user.rows[start : start + MOST_IN_RUN]).decode()
        yield user.number, first + start, rows


def _device_rows(user: UserEntry, now: int) -> Iterator[tuple[int, int, int, int]]:
    for device in user.changed_devices.values():
        device.seen = now
        yield device.last_push_id, device.received, now, device.number


def _due_rows(
    users: Sequence[UserEntry], now: int, keeps: Retention
) -> Iterator[tuple[int | None, int]]:
    for user in users:
        due = due_after_fold(user, now, keeps)
        if due != user.due:
            user.due = due
            yield due, user.number


def _object_rows(user: UserEntry, now: int) -> Iterator[tuple[Any, ...]]:
    """The columns of each object, up to its stamps if it is there and has no past."""
    numbers = user.device_numbers
    for (model, name), held in user.objects.items():
        *columns, stamps, past = object_row(held, numbers)
        if past is None and not isinstance(held, Tombstone):
            yield user.number, model, name, *columns, stamps or ""
        else:
            deleted_at = now if isinstance(held, Tombstone) else None
            yield user.number, model, name, *columns, stamps, past, deleted_at


def _characters(row: Sequence[Any]) -> int:
    """Those in the columns of an object that hold text."""
    return len(row[1]) + len(row[2]) + sum(map(len, filter(None, row[7:10])))
