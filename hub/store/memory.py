"""What the store's writer has in memory: the file, and what the unfolded log adds to it."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, takewhile
from typing import Final, TypeAlias

from msgspec import Raw

from hub.store.reading import last_row, read_folded, read_starts
from hub.store.rows import read_history
from protocol.diffs import Held, Key, Object, json_size
from protocol.history import History
from protocol.merge import apply
from protocol.messages import decode_diffs

ObjectName: TypeAlias = tuple[int, Key]
"""A user's number, and which of the user's objects."""

MAX_USERS: Final = 20_000
LARGE: Final = 64
"""Unfolded objects of a user from which on it is folded without waiting for more."""
MAX_OBJECT_BYTES: Final = 64 * 2**20
OBJECT_ROOM: Final = 400
"""Bytes that an object takes beside its fields, about."""

_UNFOLDED: Final = """
SELECT log.seq, users.name, devices.name, log.push_id, CAST(log.diffs AS BLOB)
FROM log JOIN users USING (user_no) JOIN devices USING (device_no)
WHERE log.seq > (SELECT folded FROM hub) AND log.clock > users.head ORDER BY log.seq
"""
_USER: Final = """
SELECT
  user_no, name, head, line, dropped, held, due, objects, bytes, log_id, continues, opened
FROM users WHERE name = ?
"""
_TOUCHED: Final = "SELECT coalesce((SELECT stored_at FROM log ORDER BY seq DESC LIMIT 1), 0)"
_RESTORED: Final = "SELECT restored FROM hub"
_EPOCHS: Final = """
SELECT epoch_no, clock FROM user_epochs WHERE user_no = ? ORDER BY epoch_no
"""
_DEVICES: Final = """
SELECT device_no, name, last_push_id, received, seen FROM devices WHERE user_no = ?
"""


class DeviceEntry:
    """A device as the log says; `seen` is when it was here, in ms, within an hour."""

    __slots__ = ("last_push_id", "name", "number", "received", "seen")

    def __init__(
        self, number: int, name: str, last_push_id: int = 0, received: int = 0, seen: int = 0
    ) -> None:
        self.number = number
        self.name = name
        self.last_push_id = last_push_id
        self.received = received
        self.seen = seen


class UserEntry:
    """A user and its devices as the log says, and what of it the file does not know yet.

    `rows` are the rows of the log that are not folded, `objects` and `changed_devices` what they
    changed. `behind_from` is above every row before the first of them. The log begins behind the
    clock `dropped`; there may be more to drop at `due` (ms), or once devices have passed `held`.
    There are `count` objects, of about so many `bytes` of JSON; less, if it is not folded yet.
    `began` has the epochs in which it pushed, and its clocks when they began, as the file has them.
    """

    __slots__ = (
        "began",
        "behind_from",
        "bytes",
        "changed_devices",
        "count",
        "devices",
        "dropped",
        "due",
        "head",
        "held",
        "history",
        "line",
        "name",
        "number",
        "objects",
        "rows",
    )

    def __init__(
        self,
        number: int,
        name: str,
        history: History,
        head: int = 0,
        line: int = 0,
        dropped: int = 0,
        held: int | None = None,
        due: int | None = None,
        count: int = 0,
        size: int = 0,
    ) -> None:
        self.number = number
        self.name = name
        self.history = history
        self.head = head
        self.line = line
        self.dropped = dropped
        self.held = held
        self.due = due
        self.count = count
        self.bytes = size
        self.devices: dict[str, DeviceEntry] = {}
        self.began: list[tuple[int, int]] = []
        self.behind_from = 0
        self.rows: list[int] = []
        self.objects: dict[Key, Held] = {}
        self.changed_devices: dict[int, DeviceEntry] = {}

    @property
    def device_names(self) -> Mapping[int, str]:
        """Names by numbers, as rows have them."""
        return {device.number: device.name for device in self.devices.values()}

    @property
    def device_numbers(self) -> Mapping[str, int]:
        """Numbers by names, as stamps have them."""
        return {device.name: device.number for device in self.devices.values()}

    @property
    def folded(self) -> int:
        """The clock up to which the file knows the user."""
        return self.head - len(self.rows)

    @property
    def weight(self) -> int:
        """How many rows of the file a fold of this user writes, about."""
        return len(self.objects) + len(self.changed_devices) + 2


class Memory:
    """Users, devices and objects at their heads, and which users the file lags behind.

    `behind` has those in the order of their `behind_from`, `large` the largest of them. Once the
    file `was_restored`, or put back, a user who is new to it may be an old one whom it lacks. All
    that is unfolded came at `touched` (ms) or before; that is long ago if nobody served the file.
    """

    def __init__(
        self, connection: sqlite3.Connection, new_log_id: Callable[[], str], now: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._new_log_id = new_log_id
        self._now = now
        self.touched: int = connection.execute(_TOUCHED).fetchone()[0]
        self.was_restored = bool(connection.execute(_RESTORED).fetchone()[0])
        self._users: dict[str, UserEntry] = {}
        self._objects: dict[ObjectName, Held] = {}
        self._object_bytes = 0
        self.behind: dict[int, UserEntry] = {}
        self.large: dict[int, UserEntry] = {}
        self.unfolded = 0
        self.starts = read_starts(connection)
        self.seq = last_row(connection)
        self._read_unfolded()

    def user(self, name: str) -> UserEntry:
        """A user, made where it is new; call it in a transaction."""
        return self._users.get(name) or self._load_user(name) or self._make_user(name)

    def known_user(self, name: str) -> UserEntry | None:
        """A user, None where it is new."""
        return self._users.get(name) or self._load_user(name)

    def device(self, user: UserEntry, name: str) -> DeviceEntry:
        """A device, made where it is new; call it in a transaction."""
        return user.devices.get(name) or self._make_device(user, name)

    def held(self, user: UserEntry, key: Key) -> Held | None:
        """An object as it stands."""
        held = user.objects.get(key) or self._objects.get((user.number, key))
        if held is None:
            held = read_folded(self._connection, user.number, key, user.device_names)
            if held is not None:
                self._keep((user.number, key), held)
        return held

    def append(
        self, user: UserEntry, device: DeviceEntry, push_id: int, objects: Mapping[Key, Held]
    ) -> int:
        """Take in a row that is new in the log; its number."""
        self.seq += 1
        self._take_in(self.seq, user, device, push_id, objects)
        return self.seq

    def note_received(self, user: UserEntry, device: DeviceEntry, clock: int) -> None:
        """Take in how far a device is."""
        device.received = max(device.received, clock)
        self._fall_behind(user, device, self.seq + 1)

    def forget_objects(self, user: UserEntry, keys: Iterable[Key]) -> None:
        """The file has no such objects, or tombstones, any more."""
        for key in keys:
            held = self._objects.pop((user.number, key), None)
            self._object_bytes -= _weight(held) if held else 0

    def forget_user(self, name: str) -> None:
        """Know nothing of a user any more, of whom nothing is unfolded."""
        user = self._users.pop(name, None)
        if user is not None:
            keys = [key for number, key in self._objects if number == user.number]
            self.forget_objects(user, keys)

    def oldest(self, up_to: int) -> Iterator[UserEntry]:
        """Users who were behind at the row `up_to`, those first who have been so longest."""
        return takewhile(lambda user: user.behind_from <= up_to, self.behind.values())

    def folded(self, users: Iterable[UserEntry]) -> int:
        """The last row before all that will be unfolded once these users are folded."""
        done = {user.number for user in users}
        left = (user.behind_from for user in self.behind.values() if user.number not in done)
        return next(left, self.seq + 1) - 1

    def measure(self, users: Iterable[UserEntry]) -> None:
        """Give what these users have unfolded its true size; call it before it is folded."""
        for user in users:
            measured = {key: _measured(held) for key, held in user.objects.items()}
            user.bytes += sum(map(_bytes, measured.values())) - sum(
                map(_bytes, user.objects.values())
            )
            user.objects = measured

    def forget_unfolded(self, users: Iterable[UserEntry]) -> None:
        """The file knows all of these users; keep what may be wanted soon, within bounds."""
        for user in users:
            del self.behind[user.number]
            self.large.pop(user.number, None)
            self.unfolded -= len(user.rows)
            for key, held in user.objects.items():
                self._keep((user.number, key), held)
            user.rows, user.objects, user.changed_devices = [], {}, {}
        self.trim()

    def _take_in(
        self,
        seq: int,
        user: UserEntry,
        device: DeviceEntry,
        push_id: int,
        objects: Mapping[Key, Held],
    ) -> None:
        self._fall_behind(user, device, seq)
        self.unfolded += 1
        user.head += 1
        user.rows.append(seq)
        self._count(user, objects)
        user.objects.update(objects)
        if push_id > device.last_push_id:
            device.last_push_id = push_id
        if len(user.objects) >= LARGE:
            self.large[user.number] = user

    def _count(self, user: UserEntry, objects: Mapping[Key, Held]) -> None:
        """Count what there is more or less. What there was is here: the decision asked for it."""
        for key, held in objects.items():
            before = user.objects.get(key) or self._objects.get((user.number, key))
            if isinstance(held, Object) and isinstance(before, Object):  # as it nearly always is
                user.bytes += held.size - before.size
                continue
            user.count += isinstance(held, Object) - isinstance(before, Object)
            user.bytes += _bytes(held) - _bytes(before)

    def _fall_behind(self, user: UserEntry, device: DeviceEntry, seq: int) -> None:
        user.changed_devices[device.number] = device
        if user.number not in self.behind:
            user.behind_from = seq
            self.behind[user.number] = user

    def _keep(self, name: ObjectName, held: Held) -> None:
        """Keep an object, as the one that was used last."""
        old = self._objects.pop(name, None)
        self._object_bytes += _weight(held) - (_weight(old) if old else 0)
        self._objects[name] = held

    def trim(self) -> None:
        """Forget what was used long ago, where it is more than the bounds allow."""
        while self._object_bytes > MAX_OBJECT_BYTES:
            oldest = next(iter(self._objects))
            self._object_bytes -= _weight(self._objects.pop(oldest))
        if len(self._users) > MAX_USERS:
            known = (user for user in self._users.values() if user.number not in self.behind)
            for user in list(islice(known, len(self._users) - MAX_USERS)):
                del self._users[user.name]

    def _load_user(self, name: str) -> UserEntry | None:
        row = self._connection.execute(_USER, (name,)).fetchone()
        if row is None:
            return None
        number, name, *rest, log_id, continues, opened = row
        user = UserEntry(number, name, read_history(log_id, continues, opened), *rest)
        user.began += self._connection.execute(_EPOCHS, (number,))
        for device in self._connection.execute(_DEVICES, (user.number,)):
            user.devices[device[1]] = DeviceEntry(*device)
        self._users[name] = user
        return user

    def _make_user(self, name: str) -> UserEntry:
        log_id = self._new_log_id()
        opened = self._now() if self.was_restored else 0
        query = "INSERT INTO users (name, log_id, opened) VALUES (?, ?, ?)"
        number = self._connection.execute(query, (name, log_id, opened)).lastrowid or 0
        user = self._users[name] = UserEntry(number, name, History(log_id, opened=opened))
        return user

    def _make_device(self, user: UserEntry, name: str) -> DeviceEntry:
        query = "INSERT INTO devices (user_no, name) VALUES (?, ?)"
        number = self._connection.execute(query, (user.number, name)).lastrowid or 0
        device = user.devices[name] = DeviceEntry(number, name)
        return device

    def _read_unfolded(self) -> None:
        for seq, user_name, device_name, push_id, diffs in self._connection.execute(_UNFOLDED):
            user = self.user(user_name)
            objects: dict[Key, Held] = {}
            for diff in decode_diffs(Raw(diffs)):
                current = objects.get(diff.key) or self.held(user, diff.key)
                objects[diff.key] = apply(current, diff, user.head + 1, device_name)
            self._take_in(seq, user, user.devices[device_name], push_id, objects)


def _measured(held: Held) -> Held:
    """The object with its true size: the bound grows with each edit, and would fill the room."""
    if not isinstance(held, Object):
        return held
    created, clock, fields, stamps = held.created, held.clock, held.fields, held.stamps
    return Object(created, clock, fields, stamps, json_size(fields), held.refilled, held.seen)


def _bytes(held: Held | None) -> int:
    return held.size if isinstance(held, Object) else 0


def _weight(held: Held) -> int:
    return OBJECT_ROOM + _bytes(held)
