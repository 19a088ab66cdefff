"""What an operator sees of a hub's file: its users, their devices, objects and pushes.

Each is as the log says, so what is not folded yet counts like the rest. Structs here are rows as
programs read them, and their fields keep their names.
"""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec
import orjson
from msgspec import Raw

from hub.store.beside import known
from hub.store.memory import DeviceEntry, Memory, UserEntry
from hub.store.reading import LOG, device_names, folded_head, read_log, read_objects
from hub.store.rows import NOTHING_LEFT, Leftovers, read_leftovers, read_object
from protocol.diffs import Held, Key, Object
from protocol.messages import decode_diffs

Standing: TypeAlias = tuple[Key, Held]

_USERS: Final = """
SELECT users.name, log_id, head, dropped + 1, objects, bytes,
  (SELECT count(*) FROM devices WHERE devices.user_no = users.user_no),
  nullif((SELECT max(seen) FROM devices WHERE devices.user_no = users.user_no), 0),
  (SELECT stored_at FROM log WHERE seq = (
    SELECT seqs ->> '$[#-1]' FROM log_clocks WHERE log_clocks.user_no = users.user_no
    ORDER BY clock DESC LIMIT 1))
FROM users WHERE {which} ORDER BY name
"""
_FOUND: Final = _USERS.format(
    which="name >= ' ' AND name > :after AND (:find = '' OR instr(lower(name), lower(:find)) > 0)"
)
# Who is on the way in or out has a name that begins with less (hub/store/staging.py).
_NAMED: Final = _USERS.format(which="name IN (SELECT value FROM json_each(:names))")
_LAST_STORED: Final = "SELECT stored_at FROM log WHERE seq = ?"
_OBJECTS: Final = """
SELECT model, id, created, clock, timestamp, device_no, CAST(fields AS BLOB), stamps, past
FROM objects WHERE user_no = :user AND {which} ORDER BY model, id
"""
# Each begins in the index where it is to go on, and reads nothing before that.
_OF_ALL: Final = _OBJECTS.format(which="(model, id) > (:behind_model, :behind_id)")
_OF_MODEL: Final = _OBJECTS.format(which="model = :model AND id > :behind_id")
FIRST: Final[Key] = ("", "")
"""A key before that of any object: names have at least one character."""
_PUSHES: Final = LOG.format(
    columns="log.clock, devices.name, log.push_id, log.stored_at, CAST(log.diffs AS BLOB), "
    "log.refused"
)


class UserRow(msgspec.Struct, frozen=True):
    """A user: the clock of the last push and when it was stored (ms), and the log's first clock.

    `seen` is when a device of it was here last, in ms, within an hour; None: nobody knows.
    """

    user: str
    log_id: str
    clock: int
    first_clock: int
    objects: int
    bytes: int
    devices: int
    seen: int | None
    stored_at: int | None


class DeviceRow(msgspec.Struct, frozen=True):
    """A device: up to which clock it has `received`, and by how many pushes it is behind.

    `behind` is None for one that has never said so. `since` is when the first push that it lacks
    was stored (ms), where the log still holds it. `seen` as of a user.
    """

    device: str
    received: int
    behind: int | None
    since: int | None
    seen: int | None
    last_push_id: int


class ObjectRow(msgspec.Struct, frozen=True):
    """An object: where it was created and last changed, by whom, and its fields; None: deleted."""

    model: str
    id: str
    created: int
    clock: int
    utc_timestamp: int
    device: str
    fields: Mapping[str, Any] | None


class PushRow(msgspec.Struct, frozen=True):
    """A stored push: its effective diffs as they went out, and what lost or was refused."""

    clock: int
    device: str
    push_id: int
    stored_at: int
    diffs: Raw
    refused: Leftovers


def users(connection: sqlite3.Connection, after: str = "", find: str = "") -> Iterator[UserRow]:
    """All users behind a name, by name, or those of them in whose name a text is."""
    return _user_rows(connection, _FOUND, {"after": after, "find": find})


def users_named(connection: sqlite3.Connection, names: Sequence[str]) -> Iterator[UserRow]:
    """Users of these names, as far as there are any."""
    return _user_rows(connection, _NAMED, {"names": orjson.dumps(names).decode()})


def _user_rows(
    connection: sqlite3.Connection, query: str, place: Mapping[str, str]
) -> Iterator[UserRow]:
    memory = _remembered(connection)
    behind = {user.name: user for user in memory.behind.values()}
    memory.measure(behind.values())
    for row in (UserRow(*columns) for columns in connection.execute(query, place)):
        user = behind.get(row.user)
        yield row if user is None else _with_unfolded(row, user, connection)


def standing_of(connection: sqlite3.Connection, name: str) -> UserRow:
    """One user.

    Raises:
        NoSuchUser: there is none of that name.

    """
    known(connection, name)
    return next(users_named(connection, [name]))


def devices(connection: sqlite3.Connection, name: str) -> Iterator[DeviceRow]:
    """A user's devices, those first that were here last."""
    known(connection, name)
    return _devices(connection, _remembered(connection), name)


def devices_of(
    connection: sqlite3.Connection, names: Iterable[str], most: int
) -> Mapping[str, Sequence[DeviceRow]]:
    """Of some users those devices, so many at most, that were here last."""
    memory = _remembered(connection)
    return {name: list(islice(_devices(connection, memory, name), most)) for name in names}


def _devices(connection: sqlite3.Connection, memory: Memory, name: str) -> Iterator[DeviceRow]:
    user = memory.user(name)
    for device in sorted(user.devices.values(), key=lambda each: (-each.seen, each.name)):
        yield _device_row(device, user, connection)


def objects(
    connection: sqlite3.Connection, name: str, model: str | None, behind: Key = FIRST
) -> Iterator[ObjectRow]:
    """A user's objects behind a key, by model and id; deleted ones, too.

    Those of one model, if it is named.
    """
    number = known(connection, name)
    return (object_row(key, held) for key, held in standing(connection, number, model, behind))


def standing(
    connection: sqlite3.Connection, user: int, model: str | None = None, behind: Key = FIRST
) -> Iterator[Standing]:
    """A user's objects behind a key as they stand, by model and id."""
    wanted = [key for key in _unfolded_keys(connection, user, model) if key > behind]
    unfolded = read_objects(connection, user, wanted)
    names = device_names(connection, user)
    folded = (
        ((of, name), read_object(tuple(row), names))
        for of, name, *row in _folded(connection, user, model, behind)
    )
    rest = ((key, held) for key, held in folded if key not in unfolded)
    return heapq.merge(rest, sorted(unfolded.items()), key=lambda each: each[0])


def _folded(
    connection: sqlite3.Connection, user: int, model: str | None, behind: Key
) -> Iterable[Any]:
    place = {"user": user, "model": model, "behind_model": behind[0], "behind_id": behind[1]}
    if model is None:
        return connection.execute(_OF_ALL, place)
    if model < behind[0]:
        return ()
    return connection.execute(_OF_MODEL, place if model == behind[0] else place | {"behind_id": ""})


def object_row(key: Key, held: Held) -> ObjectRow:
    """An object as it is shown."""
    if not isinstance(held, Object):
        return ObjectRow(*key, 0, held.clock, held.timestamp, held.device, None)
    newest = max(
        held.stamps.values(), key=lambda stamp: (stamp.clock, stamp.timestamp), default=None
    )
    at, by = (newest.timestamp, newest.device) if newest else (0, "")
    return ObjectRow(*key, held.created, held.clock, at, by, held.fields)


def pushes(connection: sqlite3.Connection, user: int, after: int) -> Iterator[PushRow]:
    """A user's pushes behind a clock, as far back as the log goes."""
    for clock, device, push_id, stored_at, diffs, refused in connection.execute(
        _PUSHES, {"user": user, "after": after}
    ):
        left = read_leftovers(refused) if refused else NOTHING_LEFT
        yield PushRow(clock, device, push_id, stored_at, Raw(diffs), left)


def _remembered(connection: sqlite3.Connection) -> Memory:
    """What the hub has in memory, or would have; nobody is made here."""
    return Memory(connection, lambda: "", lambda: 0)


def _with_unfolded(row: UserRow, user: UserEntry, connection: sqlite3.Connection) -> UserRow:
    stored_at = connection.execute(_LAST_STORED, (user.rows[-1],)).fetchone()[0]
    return msgspec.structs.replace(
        row, clock=user.head, objects=user.count, bytes=user.bytes, stored_at=stored_at
    )


def _device_row(device: DeviceEntry, user: UserEntry, connection: sqlite3.Connection) -> DeviceRow:
    behind = max(user.head - device.received, 0) if device.received else None
    place = {"user": user.number, "after": device.received}
    lacks = connection.execute(_PUSHES, place).fetchone() if behind else None
    since = lacks[3] if lacks is not None and lacks[0] == device.received + 1 else None
    return DeviceRow(
        device.name,
        min(device.received, user.head),
        behind,
        since,
        device.seen or None,
        device.last_push_id,
    )


def _unfolded_keys(connection: sqlite3.Connection, user: int, model: str | None) -> Sequence[Key]:
    rows: Iterable[Any] = read_log(connection, user, folded_head(connection, user))
    keys = (diff.key for row in rows for diff in decode_diffs(Raw(row.diffs)))
    return list(dict.fromkeys(key for key in keys if model in (None, key[0])))
