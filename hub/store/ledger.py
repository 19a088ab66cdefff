"""The store's writer: decides pushes, appends them to the log, and folds the log behind it.

What is in memory is what the file says, and what the rows behind `folded` add to it. When a
transaction fails, memory is forgotten and made again from the file, as after a crash: there is
one way to come back, and it is used every time.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec

from hub.store.errors import StoreFailed
from hub.store.interface import DeviceStanding, Incoming, Stored, UserStanding
from hub.store.memory import DeviceEntry, Memory, UserEntry
from hub.store.reading import first_clock, read_ids
from hub.store.rows import leftovers_of, object_row, read_leftovers
from protocol.diffs import Held, Object
from protocol.merge import NO_IDS, Outcome, Policy, Terms, decide
from protocol.messages import PushOutcome, encode_diffs

CHECKPOINT_BYTES: Final = 16 * 2**20
"""Bytes in the WAL, about, from which on a fold is followed by a checkpoint."""
PAGE_BYTES: Final = 4096
"""What a row costs in the WAL beside its diffs, about, with its share of the fold."""

_APPEND: Final = """
INSERT INTO log (seq, user_no, clock, device_no, push_id, stored_at, diffs, refused)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_FOLD_CLOCKS: Final = "INSERT INTO log_clocks (user_no, clock, seq) VALUES (?, ?, ?)"
_FOLD_OBJECT: Final = """
INSERT INTO objects
  (user_no, model, id, created, clock, timestamp, device_no, fields, stamps)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_no, model, id) DO UPDATE SET
  created = excluded.created, clock = excluded.clock, timestamp = excluded.timestamp,
  device_no = excluded.device_no, fields = excluded.fields, stamps = excluded.stamps
"""
_FOLD_USER: Final = "UPDATE users SET head = ? WHERE user_no = ?"
_FOLD_DEVICE: Final = "UPDATE devices SET last_push_id = ?, received = ? WHERE device_no = ?"
_REFUSED: Final = """
SELECT push_id, refused FROM log
WHERE user_no = ? AND device_no = ? AND clock > ? AND refused IS NOT NULL ORDER BY clock
"""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer decides by, and the clock (ms) and the randomness that it is given."""

    now: Callable[[], int]
    new_log_id: Callable[[], str]
    max_ahead: int
    max_object_bytes: int
    max_depth: int
    policy: Policy | None = None


class Ledger:
    """The one writer of a hub file. Each method is one unit of work on its connection."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._memory: Memory | None = None
        self._wal_bytes = 0

    def user(self, name: str, connection: sqlite3.Connection) -> UserStanding:
        """How a user stands; made where it is new."""
        user = self._remember(connection).known_user(name)
        if user is None:
            with self._transaction(connection) as memory:
                user = memory.user(name)
        return UserStanding(user.log_id, user.head, user.line)

    def device(self, user: str, name: str, connection: sqlite3.Connection) -> DeviceStanding:
        """How a device stands."""
        owner = self._remember(connection).known_user(user)
        device = owner.devices.get(name) if owner else None
        if owner is None or device is None:
            return DeviceStanding(0, 0, ())
        place = owner.number, device.number, device.received
        outcomes = [
            PushOutcome(push_id, tuple(leftovers.lost), tuple(leftovers.rejected))
            for push_id, refused in connection.execute(_REFUSED, place)
            if (leftovers := read_leftovers(refused)).lost or leftovers.rejected
        ]
        return DeviceStanding(device.last_push_id, device.received, outcomes)

    def commit(
        self, group: Sequence[Incoming], connection: sqlite3.Connection
    ) -> Sequence[Stored | None]:
        """Decide and append pushes in one durable transaction."""
        with self._transaction(connection) as memory:
            return [self._store(incoming, memory, connection) for incoming in group]

    def fold(self, received: Mapping[tuple[str, str], int], connection: sqlite3.Connection) -> None:
        """Write behind the log what it made of objects, devices and heads.

        Not synced on its own: a crash that loses it leaves the log to fold again.
        """
        if not self._remember(connection).clocks and not received:
            return
        connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._transaction(connection) as memory:
                _note_received(memory, received)
                objects = _write_fold(memory, connection)
            memory.folded(objects)
        finally:
            connection.execute("PRAGMA synchronous = FULL")

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the WAL into the file once it is long, so that it is written over, not grown."""
        if self._wal_bytes >= CHECKPOINT_BYTES:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._wal_bytes = 0

    @property
    def unfolded(self) -> int:
        """How many rows of the log wait to be folded."""
        return len(self._memory.clocks) if self._memory else 0

    def _remember(self, connection: sqlite3.Connection) -> Memory:
        if self._memory is None:
            self._memory = Memory(connection, self._rules.new_log_id)
        return self._memory

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[Memory]:
        memory = self._remember(connection)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield memory
            connection.execute("COMMIT")
        except BaseException as error:
            self._memory = None
            _roll_back(connection)
            if isinstance(error, sqlite3.Error):
                raise StoreFailed(f"nothing was stored: {error}") from error
            raise

    def _store(
        self, incoming: Incoming, memory: Memory, connection: sqlite3.Connection
    ) -> Stored | None:
        user = memory.user(incoming.user)
        device = memory.device(user, incoming.device)
        if not incoming.polled and incoming.push_id <= device.last_push_id:
            return None
        terms = self._terms(incoming, user, connection)
        outcome = decide(incoming.diffs, partial(memory.held, user), terms)
        if incoming.polled and terms.stored_ids.issuperset(outcome.ids):
            return None
        memory.append(user, device, terms.clock, incoming.push_id, outcome.objects)
        return self._append(incoming, user, device, outcome, memory.seq, connection)

    def _append(
        self,
        incoming: Incoming,
        user: UserEntry,
        device: DeviceEntry,
        outcome: Outcome,
        seq: int,
        connection: sqlite3.Connection,
    ) -> Stored:
        diffs = encode_diffs(outcome.diffs)
        self._wal_bytes += PAGE_BYTES + len(diffs)
        place = seq, user.number, user.head, device.number, incoming.push_id, self._rules.now()
        connection.execute(_APPEND, (*place, diffs.decode(), leftovers_of(outcome)))
        return Stored(
            user.head,
            device.name,
            incoming.push_id,
            diffs,
            outcome.lost,
            outcome.rejected,
            outcome.differs,
        )

    def _terms(self, incoming: Incoming, user: UserEntry, connection: sqlite3.Connection) -> Terms:
        rules = self._rules
        first, ids = user.head + 1, NO_IDS
        if incoming.again or incoming.polled:
            first = first_clock(connection, user.number) or first
            ids = read_ids(connection, user.number, _oldest_base(incoming.diffs, user.head))
        return Terms(
            user=user.name,
            device=incoming.device,
            clock=user.head + 1,
            latest=rules.now() + rules.max_ahead,
            again=incoming.again,
            polled=incoming.polled,
            read_only=incoming.read_only,
            first_clock=first,
            stored_ids=ids,
            max_object_bytes=rules.max_object_bytes,
            max_depth=rules.max_depth,
            policy=rules.policy,
        )


def _note_received(memory: Memory, received: Mapping[tuple[str, str], int]) -> None:
    for (user_name, device_name), clock in received.items():
        device = memory.device(memory.user(user_name), device_name)
        device.received = max(device.received, clock)
        memory.changed_devices[device.number] = device


def _write_fold(
    memory: Memory, connection: sqlite3.Connection
) -> Sequence[tuple[tuple[int, Any], Held]]:
    connection.executemany(_FOLD_CLOCKS, memory.clocks)
    numbers = {user.number: user.device_numbers for user in memory.changed_users.values()}
    objects = []
    for (user, key), held in memory.changed_objects.items():
        row = object_row(held, numbers[user])
        connection.execute(_FOLD_OBJECT, (user, *key, *row))
        objects.append(((user, key), _measured(held, row[4])))
    connection.executemany(
        _FOLD_USER, [(user.head, user.number) for user in memory.changed_users.values()]
    )
    connection.executemany(
        _FOLD_DEVICE,
        [(d.last_push_id, d.received, d.number) for d in memory.changed_devices.values()],
    )
    connection.execute("UPDATE hub SET folded = ?", (memory.seq,))
    return objects


def _measured(held: Held, fields: str | bytes | None) -> Held:
    """The object with its true size in bytes, now that its JSON has been made."""
    if isinstance(held, Object) and fields is not None:
        size = len(fields.encode() if isinstance(fields, str) else fields)
        return msgspec.structs.replace(held, size=size)
    return held


def _oldest_base(diffs: Sequence[Any], head: int) -> int:
    bases = [diff.get("logical_clock") for diff in diffs if isinstance(diff, dict)]
    return min((base for base in bases if type(base) is int), default=head)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
