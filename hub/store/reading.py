"""What is read from a hub file: the log by clock, the objects by their last change.

Each function is part of one unit of work on one connection. The rows of the log behind `folded`
are not all found by `log_clocks` yet; there are few of them, and they are read through. JSON that
is spliced and never parsed comes as bytes.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Raw

from hub.epochs import NO_STARTS, Starts
from hub.store.interface import Cursor, Page, Stored
from hub.store.rows import NOTHING_LEFT, read_leftovers, read_object, version_in
from hub.store.schema import roll_back
from protocol.diffs import Held, Key
from protocol.merge import apply
from protocol.messages import SnapshotObject, decode_diffs

T = TypeVar("T")

LOG: Final = """
SELECT {columns}
FROM log_clocks AS run CROSS JOIN json_each(run.seqs) AS place
  CROSS JOIN log ON log.seq = place.value JOIN devices USING (device_no)
WHERE run.user_no = :user AND run.clock + place.key > :after AND run.clock >= coalesce(
  (SELECT max(clock) FROM log_clocks WHERE user_no = :user AND clock <= :after + 1), 0)
UNION ALL
SELECT {columns}
FROM log JOIN devices USING (device_no)
WHERE log.seq > (SELECT folded FROM hub) AND log.user_no = :user
  AND log.clock > max(:after, (SELECT head FROM users WHERE user_no = :user))
"""
"""A user's rows of the log behind a clock, in the order of their clocks."""
# Both halves come in the order of their clocks, and the second lies behind the first.
_LOG: Final = LOG.format(
    columns="log.clock, devices.name, log.push_id, CAST(log.diffs AS BLOB), log.refused"
)

_PAGE: Final = """
SELECT object_no, model, id, clock, CAST(fields AS BLOB), timestamp, created, past FROM objects
WHERE user_no = :user AND (clock, object_no) > (:clock, :number)
  AND (fields IS NOT NULL OR clock > :skip_deleted)
ORDER BY clock, object_no
"""

_OBJECT: Final = """
SELECT created, clock, timestamp, device_no, CAST(fields AS BLOB), stamps, past FROM objects
WHERE user_no = ? AND model = ? AND id = ?
"""

_LAST_ROW: Final = "SELECT max(folded, coalesce((SELECT max(seq) FROM log), 0)) FROM hub"
_STARTS: Final = "SELECT name, number FROM epochs ORDER BY number"
_HEAD: Final = """
SELECT max(
  coalesce((SELECT head FROM users WHERE user_no = :user), 0),
  coalesce((SELECT max(clock) FROM log
    WHERE user_no = :user AND seq > (SELECT folded FROM hub)), 0))
"""
_FIRST_CLOCK: Final = "SELECT dropped + 1 FROM users WHERE user_no = ?"


def in_one_read(connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    """Run several queries on one state of the file.

    Invariant: no read meets the transaction of another, though a BEGIN failed behind its effect or
    a rollback before it.
    """
    roll_back(connection)
    try:
        connection.execute("BEGIN")
        found = read(connection)
        connection.execute("COMMIT")
        return found
    finally:
        roll_back(connection)


def read_starts(connection: sqlite3.Connection) -> Starts:
    """The starts of the hub that its file knows."""
    numbers: dict[str, int] = dict(connection.execute(_STARTS).fetchall())
    if not numbers:
        return NO_STARTS
    names = list(numbers)
    return Starts(numbers, names[-1], numbers[names[0]], numbers[names[-1]])


def last_row(connection: sqlite3.Connection) -> int:
    """The number of the last row that the log ever had."""
    row: int = connection.execute(_LAST_ROW).fetchone()[0]
    return row


def user_no(connection: sqlite3.Connection, name: str) -> int:
    """A user's number, 0 if there is none."""
    row = connection.execute("SELECT user_no FROM users WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 0


def read_log(
    connection: sqlite3.Connection, user: int, after: int, max_bytes: int | None = None
) -> Sequence[Stored]:
    """Pushes behind a clock, in order, until they are `max_bytes` or more."""
    return list(_until_full(_log_rows(connection, user, after), max_bytes))


def read_ids(connection: sqlite3.Connection, user: int, after: int) -> frozenset[str]:
    """Ids of all diffs stored behind a clock, with or without effect."""
    rows = _log_rows(connection, user, after)
    return frozenset(name for row in rows for name in _ids(row[3], row[4]))


def first_clock(connection: sqlite3.Connection, user: int) -> int:
    """The first clock that the log still holds, or will hold next."""
    row = connection.execute(_FIRST_CLOCK, (user,)).fetchone()
    return int(row[0]) if row else 1


def history_of(connection: sqlite3.Connection, user: int) -> str:
    """The log id of the history that a user has now."""
    row = connection.execute("SELECT log_id FROM users WHERE user_no = ?", (user,)).fetchone()
    return str(row[0]) if row else ""


def head_of(connection: sqlite3.Connection, user: int) -> int:
    """The clock of a user's last push."""
    row = connection.execute(_HEAD, {"user": user}).fetchone()
    return int(row[0])


def folded_head(connection: sqlite3.Connection, user: int) -> int:
    """The clock up to which a user's objects are folded."""
    row = connection.execute("SELECT head FROM users WHERE user_no = ?", (user,)).fetchone()
    return int(row[0]) if row else 0


def read_page(
    connection: sqlite3.Connection, user: int, cursor: Cursor, skip_deleted: int, max_bytes: int
) -> Page:
    """One page of objects."""
    head = folded_head(connection, user)
    objects: list[SnapshotObject] = []
    size, finished = 0, cursor.finished
    place = {"user": user, "clock": cursor.clock, "number": cursor.number}
    for number, model, name, clock, fields, *past in connection.execute(
        _PAGE, {**place, "skip_deleted": skip_deleted}
    ):
        finished = max(finished, clock - 1)
        if objects and size >= max_bytes:
            return Page(objects, finished, head, cursor)
        objects.append(_snapshot_object(model, name, clock, fields, *past))
        size += len(fields or b"") + len(model) + len(name)
        cursor = Cursor(clock, number)
    return Page(objects, max(finished, head), head, None)


def count_objects(connection: sqlite3.Connection, user: int, after: int) -> int:
    """How many objects changed after a clock."""
    query = "SELECT count(*) FROM objects WHERE user_no = ? AND clock > ?"
    return int(connection.execute(query, (user, after)).fetchone()[0])


def read_folded(
    connection: sqlite3.Connection, user: int, key: Key, names: Mapping[int, str]
) -> Held | None:
    """An object as it was folded; `names` of the user's devices by their numbers."""
    row = connection.execute(_OBJECT, (user, *key)).fetchone()
    return read_object(row, names) if row else None


def read_objects(
    connection: sqlite3.Connection, user: int, keys: Sequence[Key]
) -> Mapping[Key, Held]:
    """Objects as they stand: as they were folded, and the log since then over them."""
    names = device_names(connection, user)
    folded = {key: read_folded(connection, user, key, names) for key in keys}
    held = {key: value for key, value in folded.items() if value is not None}
    for row in read_log(connection, user, folded_head(connection, user)):
        for diff in decode_diffs(Raw(row.diffs)):
            if diff.key in folded:
                held[diff.key] = apply(held.get(diff.key), diff, row.clock, row.device)
    return held


def device_names(connection: sqlite3.Connection, user: int) -> Mapping[int, str]:
    """A user's devices by their numbers."""
    query = "SELECT device_no, name FROM devices WHERE user_no = ?"
    return dict(connection.execute(query, (user,)).fetchall())


def _log_rows(connection: sqlite3.Connection, user: int, after: int) -> Iterable[Any]:
    return connection.execute(_LOG, {"user": user, "after": after})


def _until_full(rows: Iterable[Any], max_bytes: int | None) -> Iterator[Stored]:
    size = 0
    for clock, device, push_id, diffs, refused in rows:
        leftovers = read_leftovers(refused) if refused else NOTHING_LEFT
        yield Stored(clock, device, push_id, diffs, leftovers.lost, leftovers.rejected)
        size += len(diffs)
        if max_bytes is not None and size >= max_bytes:
            return


def _snapshot_object(
    model: str,
    name: str,
    clock: int,
    fields: bytes | None,
    timestamp: int,
    created: int,
    past: str | None,
) -> SnapshotObject:
    was = version_in(past) if past else None
    if fields is None:
        return SnapshotObject(model, clock, id=name, deleted=True, utc_timestamp=timestamp, was=was)
    json_data = Raw(fields)
    return SnapshotObject(
        model, clock, json_data, utc_timestamp=timestamp, created=created, was=was
    )


def _ids(diffs: bytes, refused: str | None) -> Iterator[str]:
    for diff in decode_diffs(Raw(diffs)):
        yield diff.id
    if refused is not None:
        yield from read_leftovers(refused).ids
