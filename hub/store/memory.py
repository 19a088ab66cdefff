"""What the store's writer has in memory: the file, and what the unfolded log adds to it."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Raw

from hub.store.reading import read_folded
from protocol.diffs import Held, Key, Object
from protocol.merge import apply
from protocol.messages import decode_diffs

ObjectName: TypeAlias = tuple[int, Key]
"""A user's number, and which of the user's objects."""

MAX_USERS: Final = 20_000
MAX_OBJECT_BYTES: Final = 64 * 2**20
OBJECT_ROOM: Final = 400
"""Bytes that an object takes beside its fields, about."""

_UNFOLDED: Final = """
SELECT log.seq, users.name, devices.name, log.clock, log.push_id, CAST(log.diffs AS BLOB)
FROM log JOIN users USING (user_no) JOIN devices USING (device_no)
WHERE seq > (SELECT folded FROM hub) ORDER BY seq
"""


class DeviceEntry:
    """A device as the log says."""

    __slots__ = ("last_push_id", "name", "number", "received")

    def __init__(self, number: int, name: str, last_push_id: int = 0, received: int = 0) -> None:
        self.number = number
        self.name = name
        self.last_push_id = last_push_id
        self.received = received


class UserEntry:
    """A user and its devices as the log says."""

    __slots__ = ("devices", "head", "line", "log_id", "name", "number")

    def __init__(self, number: int, name: str, log_id: str, head: int, line: int) -> None:
        self.number = number
        self.name = name
        self.log_id = log_id
        self.head = head
        self.line = line
        self.devices: dict[str, DeviceEntry] = {}

    @property
    def device_names(self) -> Mapping[int, str]:
        """Names by numbers, as rows have them."""
        return {device.number: device.name for device in self.devices.values()}

    @property
    def device_numbers(self) -> Mapping[str, int]:
        """Numbers by names, as stamps have them."""
        return {device.name: device.number for device in self.devices.values()}


class Memory:
    """Users, devices and objects at their heads, and which of them the file does not know yet."""

    def __init__(self, connection: sqlite3.Connection, new_log_id: Callable[[], str]) -> None:
        self._connection = connection
        self._new_log_id = new_log_id
        self._users: dict[str, UserEntry] = {}
        self._objects: dict[ObjectName, Held] = {}
        self._object_bytes = 0
        self.changed_objects: dict[ObjectName, Held] = {}
        self.changed_users: dict[int, UserEntry] = {}
        self.changed_devices: dict[int, DeviceEntry] = {}
        self.clocks: list[tuple[int, int, int]] = []
        self.seq: int = connection.execute("SELECT folded FROM hub").fetchone()[0]
        self._read_unfolded()

    def user(self, name: str) -> UserEntry:
        """A user, made where it is new; call it in a transaction."""
        return self.known_user(name) or self._make_user(name)

    def known_user(self, name: str) -> UserEntry | None:
        """A user, None where it is new."""
        return self._users.get(name) or self._load_user(name)

    def device(self, user: UserEntry, name: str) -> DeviceEntry:
        """A device, made where it is new; call it in a transaction."""
        return user.devices.get(name) or self._make_device(user, name)

    def held(self, user: UserEntry, key: Key) -> Held | None:
        """An object as it stands."""
        name = user.number, key
        held = self.changed_objects.get(name) or self._objects.get(name)
        if held is None:
            held = read_folded(self._connection, user.number, key, user.device_names)
            if held is not None:
                self._keep(name, held)
        return held

    def append(
        self,
        user: UserEntry,
        device: DeviceEntry,
        clock: int,
        push_id: int,
        objects: Mapping[Key, Held],
    ) -> None:
        """Take in the next row of the log."""
        self.seq += 1
        self.clocks.append((user.number, clock, self.seq))
        user.head = clock
        device.last_push_id = max(device.last_push_id, push_id)
        self.changed_users[user.number] = user
        self.changed_devices[device.number] = device
        for key, held in objects.items():
            self.changed_objects[user.number, key] = held

    def folded(self, objects: Sequence[tuple[ObjectName, Held]]) -> None:
        """The file knows it all now; keep what may be wanted soon, within bounds."""
        self.changed_objects.clear()
        self.changed_users.clear()
        self.changed_devices.clear()
        self.clocks.clear()
        for name, held in objects:
            self._keep(name, held)
        self._trim()

    def _keep(self, name: ObjectName, held: Held) -> None:
        """Keep an object, as the one that was used last."""
        old = self._objects.pop(name, None)
        self._object_bytes += _weight(held) - (_weight(old) if old else 0)
        self._objects[name] = held

    def _trim(self) -> None:
        while self._object_bytes > MAX_OBJECT_BYTES:
            oldest = next(iter(self._objects))
            self._object_bytes -= _weight(self._objects.pop(oldest))
        while len(self._users) > MAX_USERS:
            del self._users[next(iter(self._users))]

    def _load_user(self, name: str) -> UserEntry | None:
        query = "SELECT user_no, name, log_id, head, line FROM users WHERE name = ?"
        row = self._connection.execute(query, (name,)).fetchone()
        if row is None:
            return None
        user = self._users[name] = UserEntry(*row)
        query = "SELECT device_no, name, last_push_id, received FROM devices WHERE user_no = ?"
        for device in self._connection.execute(query, (user.number,)):
            user.devices[device[1]] = DeviceEntry(*device)
        return user

    def _make_user(self, name: str) -> UserEntry:
        log_id = self._new_log_id()
        query = "INSERT INTO users (name, log_id) VALUES (?, ?)"
        number = self._connection.execute(query, (name, log_id)).lastrowid or 0
        user = self._users[name] = UserEntry(number, name, log_id, 0, 0)
        return user

    def _make_device(self, user: UserEntry, name: str) -> DeviceEntry:
        query = "INSERT INTO devices (user_no, name) VALUES (?, ?)"
        number = self._connection.execute(query, (user.number, name)).lastrowid or 0
        device = user.devices[name] = DeviceEntry(number, name)
        return device

    def _read_unfolded(self) -> None:
        for _seq, user_name, device_name, clock, push_id, diffs in self._connection.execute(
            _UNFOLDED
        ).fetchall():
            user = self.user(user_name)
            objects: dict[Key, Held] = {}
            for diff in decode_diffs(Raw(diffs)):
                current = objects.get(diff.key) or self.held(user, diff.key)
                objects[diff.key] = apply(current, diff, clock, device_name)
            self.append(user, user.devices[device_name], clock, push_id, objects)


def _weight(held: Held) -> int:
    return OBJECT_ROOM + (held.size if isinstance(held, Object) else 0)
