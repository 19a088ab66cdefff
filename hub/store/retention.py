"""What of the log and of the tombstones may go (hub/retention.py says for how long it stays).

The log loses the oldest pushes of a user; `users.dropped` is the clock of the last that went.
Nothing that is not folded goes, and nothing that a device seen lately still needs, as its
`received` says, within `held_log_rows`. A device that has never said `received` is a newcomer, who
gets objects. A tombstone goes when all devices seen lately have passed it, or when it is old.

Nobody looks for users: each that has something to drop some day is `due` at a moment, by an index.
What a device holds back is `held`: the fold makes the user due as soon as that changes.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from hub.retention import Retention
from hub.store.memory import DeviceEntry, Memory, UserEntry

USERS_AT_ONCE: Final = 8
"""Users that are looked at in one unit of work."""
MOST_ROWS: Final = 500
"""Rows of the log, and tombstones, that are found of one user at once; it stays due for more."""
SLACK: Final = 8
"""A user's log grows by this part of its bound before it is cut, so as not to be cut each time."""
REST_MS: Final = 1_000
"""A user in whom nothing more may go is left alone for so long, whatever the clocks say."""

_DUE: Final = """
SELECT due, user_no, name FROM users WHERE (due, user_no) > (:due, :number) AND due <= :now
ORDER BY due, user_no LIMIT :most
"""
_SOONER: Final = "UPDATE users SET due = :due WHERE due > :due"
_NEXT_DUE: Final = "SELECT min(due) FROM users"
_RUNS: Final = """
SELECT clock, seqs FROM log_clocks WHERE user_no = :user AND clock >= coalesce(
  (SELECT max(clock) FROM log_clocks WHERE user_no = :user AND clock <= :first), 0)
ORDER BY clock
"""
_TOMBSTONES: Final = """
SELECT clock, deleted_at FROM objects WHERE user_no = ? AND deleted_at IS NOT NULL ORDER BY clock
"""
_STORED_AT: Final = "SELECT stored_at FROM log WHERE seq = ?"
_ROW_FROM: Final = "SELECT seq, stored_at FROM log WHERE seq >= ? ORDER BY seq LIMIT 1"


class Row(NamedTuple):
    """A row of the log; `run` is the clock of its row in `log_clocks`, if it is the last there."""

    seq: int
    user: int
    clock: int
    run: int | None


class Horizon(NamedTuple):
    """How far back everything is kept at a moment; `old_seq` is the last row older than that."""

    now: int
    old_seq: int
    keeps: Retention

    def is_near(self, device: DeviceEntry, user: UserEntry) -> bool:
        """Whether a device was seen lately, so that things wait for it."""
        return (
            device.number in user.changed_devices or device.seen + self.keeps.device_ms > self.now
        )


class Visit(NamedTuple):
    """What was found of a user at the clock `folded`: what may go, and when to look again.

    `line` is the last tombstone that may go, 0 for none.
    """

    number: int
    name: str
    folded: int
    rows: Sequence[Row]
    line: int
    due: int | None
    held: int | None


class Looked(NamedTuple):
    """Users that were due; the last of them is `last`, None if there are no more of them."""

    visits: Sequence[Visit]
    last: tuple[int, int] | None


def horizon_at(connection: sqlite3.Connection, now: int, keeps: Retention) -> Horizon:
    """How far back everything is kept."""
    return Horizon(now, _last_older(connection, now - keeps.log_ms), keeps)


def look(
    connection: sqlite3.Connection, memory: Memory, horizon: Horizon, after: tuple[int, int]
) -> Looked:
    """Look at the users who are due next, behind those who were due at `after`.

    From here on whoever asks is told of the line as it will be.
    """
    place = {"due": after[0], "number": after[1], "now": horizon.now, "most": USERS_AT_ONCE}
    visits: list[Visit] = []
    rows = 0
    for due, number, name in connection.execute(_DUE, place).fetchall():
        user = memory.user(name)
        visits.append(_visit(connection, user, horizon))
        user.line = max(user.line, visits[-1].line)
        rows += len(visits[-1].rows)
        if rows >= MOST_ROWS or len(visits) == USERS_AT_ONCE:
            return Looked(visits, (due, number))
    return Looked(visits, None)


def hasten(moment: int, connection: sqlite3.Connection, _memory: Memory) -> None:
    """Let nobody wait beyond a moment (ms) that was given when the settings kept things longer."""
    connection.execute(_SOONER, {"due": moment})


def next_due(connection: sqlite3.Connection) -> int | None:
    """When the next user is due (ms); None if nobody is."""
    due: int | None = connection.execute(_NEXT_DUE).fetchone()[0]
    return due


def due_after_fold(user: UserEntry, now: int, keeps: Retention) -> int | None:
    """When a user that was just folded has to be looked at."""
    if user.due is not None and user.due <= now:
        return user.due
    if _is_long(user, now, keeps) or _is_let_go(user, now, keeps):
        return now
    # What is due already may be a tombstone alone, much later than the new rows.
    return _least(user.due, now + keeps.log_ms if user.head > user.dropped else None)


def _is_long(user: UserEntry, now: int, keeps: Retention) -> bool:
    """Whether a user's log is so much above its bound that it is to be cut."""
    length = user.head - user.dropped
    if length <= _with_slack(keeps.log_rows):
        return False
    return length > _with_slack(keeps.held_log_rows) or user.dropped < _needed_from(
        user, _near(user, Horizon(now, 0, keeps))
    )


def _with_slack(most: int) -> int:
    return most + most // SLACK


def _near(user: UserEntry, horizon: Horizon) -> Sequence[DeviceEntry]:
    return [device for device in user.devices.values() if horizon.is_near(device, user)]


def _needed_from(user: UserEntry, near: Sequence[DeviceEntry]) -> int:
    """The clock behind which a device still needs the log; a newcomer gets objects."""
    return min((device.received for device in near if device.received), default=user.head)


def _is_let_go(user: UserEntry, now: int, keeps: Retention) -> bool:
    """Whether the devices have passed what was held back for them."""
    held, horizon = user.held, Horizon(now, 0, keeps)
    return held is not None and all(
        device.received > held
        for device in _near(user, horizon)
        # One that has received nothing holds tombstones, and no rows: it is waited for where
        # nothing else is.
        if device.received or not held
    )


def _visit(connection: sqlite3.Connection, user: UserEntry, horizon: Horizon) -> Visit:
    near = _near(user, horizon)
    rows, row_due, row_held = _old_rows(connection, user, horizon, near)
    line, line_due, line_held = _old_tombstones(connection, user, horizon, near)
    return Visit(
        user.number,
        user.name,
        user.folded,
        rows,
        line,
        _least(row_due, line_due),
        # Where both are held, it is by the same clock, or tombstones are by 0, for a newcomer who
        # may never say more.
        line_held if row_held is None else row_held,
    )


def _old_rows(
    connection: sqlite3.Connection,
    user: UserEntry,
    horizon: Horizon,
    near: Sequence[DeviceEntry],
) -> tuple[Sequence[Row], int | None, int | None]:
    """Rows that may go, when the next one may, and the clock that a device has to pass first."""
    keeps = horizon.keeps
    held = _needed_from(user, near)
    rows: list[Row] = []
    for row in _rows(connection, user):
        is_over = row.seq <= horizon.old_seq or row.clock <= user.head - keeps.log_rows
        is_free = row.clock <= held or row.clock <= user.head - keeps.held_log_rows
        if not is_over:
            old = _stored_at(connection, row) + keeps.log_ms
            return rows, max(old, horizon.now + REST_MS), None
        if not is_free:
            behind = [d for d in near if 0 < d.received < row.clock]
            return rows, _next_leave(behind, user, horizon), held
        if len(rows) >= MOST_ROWS:
            return rows, horizon.now, None
        rows.append(row)
    return rows, None, None


def _old_tombstones(
    connection: sqlite3.Connection,
    user: UserEntry,
    horizon: Horizon,
    near: Sequence[DeviceEntry],
) -> tuple[int, int | None, int | None]:
    """The last tombstone that may go, when the next may, and the clock that holds it back."""
    passed = min((device.received for device in near), default=user.head)
    old = horizon.now - horizon.keeps.tombstone_ms
    line = count = 0
    for clock, deleted_at in connection.execute(_TOMBSTONES, (user.number,)):
        if clock > passed and deleted_at > old:
            behind = [device for device in near if device.received < clock]
            leave = _next_leave(behind, user, horizon)
            return line, min(leave, deleted_at + horizon.keeps.tombstone_ms), passed
        if count >= MOST_ROWS:
            return line, horizon.now, None
        line, count = clock, count + 1
    return line, None, None


def _next_leave(behind: Iterable[DeviceEntry], user: UserEntry, horizon: Horizon) -> int:
    """When the first of these devices is no longer waited for; those here now are seen now."""
    keep = horizon.keeps.device_ms
    seen = (horizon.now if d.number in user.changed_devices else d.seen for d in behind)
    return min(seen, default=horizon.now) + keep + 1


def _rows(connection: sqlite3.Connection, user: UserEntry) -> Iterator[Row]:
    """A user's folded rows of the log, from the first on."""
    place = {"user": user.number, "first": user.dropped + 1}
    for first, seqs in connection.execute(_RUNS, place):
        run = orjson.loads(seqs)
        last = first + len(run) - 1
        for clock, seq in enumerate(run, first):
            if clock > user.dropped:
                yield Row(seq, user.number, clock, first if clock == last else None)


def _stored_at(connection: sqlite3.Connection, row: Row) -> int:
    return int(connection.execute(_STORED_AT, (row.seq,)).fetchone()[0])


def _last_older(connection: sqlite3.Connection, moment: int) -> int:
    """The last row of the log that was stored before a moment, found by halving.

    Rows are stored in the order of the hub's clock, unless that was put back; then this is a row
    somewhere about there.
    """
    low, high = 0, connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
    while low < high:
        middle = (low + high + 1) // 2
        seq, stored_at = connection.execute(_ROW_FROM, (middle,)).fetchone()
        low, high = (seq, high) if stored_at <= moment else (low, middle - 1)
    return low


def _least(*moments: int | None) -> int | None:
    return min((moment for moment in moments if moment is not None), default=None)


# Dropping


_KEEP_OUTCOMES: Final = """
INSERT OR IGNORE INTO outcomes (user_no, device_no, clock, push_id, refused)
SELECT log.user_no, device_no, clock, push_id, json_remove(refused, '$.diffs', '$.ids')
FROM json_each(?) AS place CROSS JOIN log ON log.seq = place.value JOIN devices USING (device_no)
WHERE refused IS NOT NULL AND push_id > 0 AND clock > received
  AND coalesce(json_array_length(refused, '$.lost'), 0)
    + coalesce(json_array_length(refused, '$.rejected'), 0) > 0
"""
_DROP_ROWS: Final = "DELETE FROM log WHERE seq IN (SELECT value FROM json_each(?))"
_DROP_RUN: Final = "DELETE FROM log_clocks WHERE user_no = ? AND clock = ?"
_DROPPED: Final = "UPDATE users SET dropped = max(dropped, ?) WHERE user_no = ?"
_LINE: Final = "UPDATE users SET line = max(line, ?) WHERE user_no = ?"
_DROP_TOMBSTONES: Final = """
DELETE FROM objects WHERE object_no IN (
  SELECT object_no FROM objects WHERE user_no = ? AND deleted_at IS NOT NULL AND clock <= ?
  ORDER BY clock LIMIT ?)
RETURNING model, id
"""
_FORGET_OUTCOMES: Final = """
DELETE FROM outcomes WHERE user_no = ? AND clock <= (
  SELECT received FROM devices WHERE devices.device_no = outcomes.device_no)
"""
_LOOK_AGAIN: Final = "UPDATE users SET due = ?, held = ? WHERE user_no = ?"


def drop_rows(
    rows: Sequence[Row],
    names: Mapping[int, str],
    connection: sqlite3.Connection,
    memory: Memory,
) -> None:
    """Drop rows of the log, of each user the oldest; `names` of the users by their numbers."""
    seqs = orjson.dumps([row.seq for row in rows]).decode()
    connection.execute(_KEEP_OUTCOMES, (seqs,))
    connection.execute(_DROP_ROWS, (seqs,))
    runs = [(row.user, row.run) for row in rows if row.run is not None]
    connection.executemany(_DROP_RUN, runs)
    dropped = {row.user: row.clock for row in rows}
    connection.executemany(_DROPPED, [(clock, number) for number, clock in dropped.items()])
    for number, clock in dropped.items():
        user = memory.user(names[number])
        user.dropped = max(user.dropped, clock)


def drop_tombstones(visit: Visit, most: int, connection: sqlite3.Connection, memory: Memory) -> int:
    """Drop some tombstones up to the line, which is raised with them; how many those were.

    Nothing goes that memory, if it was begun anew since the look, has not announced.
    """
    user = memory.user(visit.name)
    if user.line < visit.line:
        return 0
    connection.execute(_LINE, (visit.line, visit.number))
    place = visit.number, visit.line, most
    keys = connection.execute(_DROP_TOMBSTONES, place).fetchall()
    memory.forget_objects(user, keys)
    return len(keys)


def settle(
    visits: Sequence[Visit], horizon: Horizon, connection: sqlite3.Connection, memory: Memory
) -> None:
    """Write when to look at these users again."""
    for visit in visits:
        user = memory.user(visit.name)
        user.held, user.due = visit.held, visit.due
        if user.line < visit.line:
            user.due = horizon.now
        elif user.folded > visit.folded:
            user.due = due_after_fold(user, horizon.now, horizon.keeps)
        elif _is_let_go(user, horizon.now, horizon.keeps):
            # A device said so between the look and now, when nobody knew yet what it held.
            user.due = horizon.now
        connection.execute(_LOOK_AGAIN, (user.due, user.held, user.number))
        connection.execute(_FORGET_OUTCOMES, (user.number,))
    memory.trim()
