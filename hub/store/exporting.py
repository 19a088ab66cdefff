"""All of a user, or of all users, read out of one state of a hub's file as lines of an export."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from hub.exports import (
    VERSION,
    Deletion,
    Device,
    End,
    EndOfUser,
    Export,
    Line,
    Outcome,
    Push,
    Stamped,
    User,
)
from hub.exports import Object as ObjectLine
from hub.progress import Tell
from hub.store.beside import known
from hub.store.looking import devices, pushes, standing
from hub.store.reading import head_of
from hub.store.rows import NOTHING_LEFT, Leftovers
from protocol.diffs import Held, Key, Object, Stamp, Tombstone

TOLD_ROWS: Final = 1_000
"""Lines between two words on how far it is."""

_NAMES: Final = "SELECT name FROM users WHERE name >= ' ' ORDER BY name"
# Who is on the way in or out has a name that begins with less (hub/store/staging.py).
_ROWS: Final = "SELECT objects + head - dropped FROM users WHERE name = ?"
_USER: Final = "SELECT log_id, line FROM users WHERE user_no = ?"
_DELETED_AT: Final = """
SELECT deleted_at FROM objects WHERE user_no = ? AND model = ? AND id = ? AND fields IS NULL
"""
_OUTCOMES: Final = """
SELECT devices.name, outcomes.clock, outcomes.push_id, CAST(refused AS BLOB)
FROM outcomes JOIN devices USING (device_no)
WHERE outcomes.user_no = ? AND outcomes.clock > devices.received ORDER BY outcomes.clock
"""


def names_of(connection: sqlite3.Connection, user: str | None) -> Sequence[str]:
    """Whom to export: one user, or all of them.

    Raises:
        NoSuchUser: the one is not there.

    """
    if user is None:
        return [name for (name,) in connection.execute(_NAMES)]
    known(connection, user)
    return [user]


def export(
    connection: sqlite3.Connection, users: Sequence[str], now: int, tell: Tell
) -> Iterator[Line]:
    """All of these users; `tell` hears now and then how much is done, of one large user, too."""
    yield Export(version=VERSION, exported_at=now)
    whole = sum(_rows_of(connection, user) for user in users)
    done = 0
    for user in users:
        for line in _lines_of(connection, user, now):
            yield line
            done += 1
            if done % TOLD_ROWS == 0:
                tell("exporting", min(done, whole), whole)
    tell("exporting", whole, whole)
    yield End(users=len(users))


def _rows_of(connection: sqlite3.Connection, user: str) -> int:
    """About how many lines a user has: the objects and the log."""
    rows: int = connection.execute(_ROWS, (user,)).fetchone()[0]
    return rows


def _lines_of(connection: sqlite3.Connection, name: str, now: int) -> Iterator[Line]:
    number = known(connection, name)
    log_id, line = connection.execute(_USER, (number,)).fetchone()
    yield User(name=name, log_id=log_id, clock=head_of(connection, number), line=line)
    counts = dict.fromkeys(EndOfUser.__struct_fields__, 0)
    for device in devices(connection, name):
        counts["devices"] += 1
        yield Device(
            name=device.device,
            last_push_id=device.last_push_id,
            received=device.received,
            seen=device.seen or 0,
        )
    for key, held in standing(connection, number):
        counts["objects" if isinstance(held, Object) else "deletions"] += 1
        yield _held_line(connection, number, key, held, now)
    yield from _outcomes(connection, number)
    yield from _pushes(connection, number)
    yield EndOfUser(**counts)


def _held_line(
    connection: sqlite3.Connection, user: int, key: Key, held: Held, now: int
) -> ObjectLine | Deletion:
    if isinstance(held, Tombstone):
        row = connection.execute(_DELETED_AT, (user, *key)).fetchone()
        return Deletion(
            model=key[0],
            id=key[1],
            clock=held.clock,
            timestamp=held.timestamp,
            device=held.device,
            deleted_at=row[0] if row else now,
            refilled=held.refilled,
            seen=held.seen,
        )
    return ObjectLine(
        model=key[0],
        created=held.created,
        clock=held.clock,
        fields=held.fields,
        stamps=_stamped(held),
        refilled=held.refilled,
        seen=held.seen,
    )


def _stamped(held: Object) -> tuple[Stamped, ...]:
    """Each stamp once, with all its fields."""
    fields: dict[Stamp, list[str]] = {}
    for name, stamp in held.stamps.items():
        fields.setdefault(stamp, []).append(name)
    return tuple(
        (stamp.clock, stamp.timestamp, stamp.device, tuple(names))
        for stamp, names in fields.items()
    )


def _outcomes(connection: sqlite3.Connection, user: int) -> Iterator[Outcome]:
    for device, clock, push_id, refused in connection.execute(_OUTCOMES, (user,)):
        yield Outcome(device=device, clock=clock, push_id=push_id, refused=Raw(refused))


def _pushes(connection: sqlite3.Connection, user: int) -> Iterator[Outcome | Push]:
    """The log, and, of each push that had something refused, the outcome that its device awaits."""
    received = dict(connection.execute(_RECEIVED, (user,)).fetchall())
    for push in pushes(connection, user, 0):
        refused = push.refused
        if (
            push.push_id
            and push.clock > received[push.device]
            and (refused.lost or refused.rejected)
        ):
            told = Raw(msgspec.json.encode(Leftovers(refused.lost, refused.rejected)))
            yield Outcome(device=push.device, clock=push.clock, push_id=push.push_id, refused=told)
        left = Raw(b"null") if refused == NOTHING_LEFT else Raw(msgspec.json.encode(refused))
        yield Push(
            clock=push.clock,
            device=push.device,
            push_id=push.push_id,
            stored_at=push.stored_at,
            diffs=push.diffs,
            refused=left,
        )


_RECEIVED: Final = "SELECT name, received FROM devices WHERE user_no = ?"
