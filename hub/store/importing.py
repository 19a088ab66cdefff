"""A user of an export on the way into a hub's file, step by step (hub/store/staging.py).

The user begins a new history at the clock of the export, with an empty log; so every device begins
again from the objects, and sends what it had not yet sent.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from hub import exports
from hub.errors import Unauthorized
from hub.exports import Deletion, Device, EndOfUser, Line, NotAnExport, Outcome, Push
from hub.names import MAX_USER, name_of
from hub.store.rows import object_row, read_leftovers
from protocol.diffs import (
    MAX_OBJECT_ID,
    Held,
    Key,
    Object,
    Stamp,
    Tombstone,
    check_values,
    json_size,
)
from protocol.errors import InvalidDiff

_DEVICE: Final = """
INSERT INTO devices (user_no, name, last_push_id, received, seen) VALUES (?, ?, ?, ?, ?)
"""
_OBJECT: Final = """
INSERT INTO objects (user_no, model, id, created, clock, timestamp, device_no, fields, stamps, past,
  deleted_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_OUTCOME: Final = """
INSERT INTO outcomes (user_no, device_no, clock, push_id, refused) VALUES (?, ?, ?, ?, ?)
"""
Content: TypeAlias = Device | exports.Object | Deletion | Outcome | Push


class Importing:
    """One user on the way in: what has come, and what is still to be checked at the end."""

    def __init__(self, user: exports.User) -> None:
        try:
            name_of(user.name, "the user", MAX_USER)
        except Unauthorized as error:
            raise NotAnExport(str(error)) from None
        self.user = user
        self.number = 0
        self.objects = 0
        self.bytes = 0
        self._deletions = 0
        self._devices: dict[str, int] = {}

    def add(self, lines: Iterable[Line], connection: sqlite3.Connection) -> None:
        """Write what some lines say, in one transaction.

        Raises:
            NotAnExport: they contradict what a hub keeps.

        """
        try:
            for line in lines:
                self._add(line, connection)
        except sqlite3.IntegrityError:
            raise NotAnExport(f"{self.user.name!r} has the same thing twice") from None

    def check(self, end: EndOfUser) -> None:
        """Make sure that all of the user has come.

        Raises:
            NotAnExport: something is missing.

        """
        if (len(self._devices), self.objects, self._deletions) != (
            end.devices,
            end.objects,
            end.deletions,
        ):
            raise NotAnExport(f"of {self.user.name!r} some lines are missing")

    def _add(self, line: Line, connection: sqlite3.Connection) -> None:
        match line:
            case Device():
                self._devices[line.name] = self._add_device(line, connection)
            case exports.Object():
                name, held = read_object_line(line)
                self._add_object((line.model, name), held, None, connection)
                self.objects += 1
                self.bytes += json_size(held.fields)
            case Deletion():
                grave = Tombstone(line.clock, line.timestamp, line.device, line.refilled, line.seen)
                self._add_object((line.model, line.id), grave, line.deleted_at, connection)
                self._deletions += 1
            case Outcome():
                self._add_outcome(line, connection)
            case Push():
                """The log begins anew."""
            case _:
                raise NotAnExport(f"{self.user.name!r} is cut off")

    def _add_device(self, line: Device, connection: sqlite3.Connection) -> int:
        row = self.number, line.name, line.last_push_id, line.received, line.seen
        return connection.execute(_DEVICE, row).lastrowid or 0

    def _add_object(
        self, key: Key, held: Held, deleted_at: int | None, connection: sqlite3.Connection
    ) -> None:
        if held.clock > self.user.clock:
            raise NotAnExport(f"{self.user.name!r} has an object of a later clock than the user's")
        row: tuple[Any, ...] = object_row(held, self._devices)
        connection.execute(_OBJECT, (self.number, *key, *row, deleted_at))

    def _add_outcome(self, line: Outcome, connection: sqlite3.Connection) -> None:
        if line.device not in self._devices:
            raise NotAnExport(f"{self.user.name!r} has an outcome of a device that is not there")
        refused = bytes(line.refused)
        _check_leftovers(refused)
        row = self.number, self._devices[line.device], line.clock, line.push_id, refused.decode()
        connection.execute(_OUTCOME, row)


def read_object_line(line: exports.Object) -> tuple[str, Object]:
    """The id of an object, and what it is.

    Raises:
        NotAnExport: it cannot be.

    """
    name = line.fields.get("id")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_OBJECT_ID:
        raise NotAnExport("an object has no id that could be one")
    try:
        check_values(dict(line.fields))
    except InvalidDiff as error:
        raise NotAnExport(f"the object {name!r} cannot be: {error}") from None
    stamps = {
        field: Stamp(clock, timestamp, device)
        for clock, timestamp, device, fields in line.stamps
        for field in fields
    }
    if stamps.keys() != line.fields.keys() - {"id"}:
        raise NotAnExport(f"the object {name!r} does not say who set each of its fields")
    if any(stamp.clock > line.clock for stamp in stamps.values()):
        raise NotAnExport(f"the object {name!r} has a field of a later clock than its own")
    size = json_size(line.fields)
    return name, Object(
        line.created, line.clock, line.fields, stamps, size, line.refilled, line.seen
    )


def _check_leftovers(refused: bytes) -> None:
    try:
        read_leftovers(refused)
    except ValueError as error:
        raise NotAnExport(f"an outcome cannot be: {error}") from None
