"""The store's writer: decides pushes, appends them to the log, and folds the log behind it.

What is in memory is what the file says, and what the rows add to it that are not folded. When a
transaction fails, memory is forgotten and made again from the file, as after a crash: there is
one way to come back, and it is used every time.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from hub.limits import Limits
from hub.retention import Retention
from hub.store.appending import LogPage
from hub.store.epochs import begin_epoch, epochs_of, write_epochs
from hub.store.errors import StoreFailed
from hub.store.folding import next_step, write_step
from hub.store.histories import write_history
from hub.store.interface import DeviceStanding, Incoming, Stored, UserStanding
from hub.store.memory import Memory, UserEntry
from hub.store.reading import first_clock, read_ids
from hub.store.retention import Horizon, Looked, hasten, horizon_at, look, next_due
from hub.store.rows import read_leftovers
from hub.store.schema import roll_back, value_of
from hub.store.staging import is_anybody_on_the_way
from hub.store.wal import look_at_wal
from protocol.history import History
from protocol.merge import NO_IDS, Policy, Room, Terms, decide
from protocol.messages import PushOutcome

T = TypeVar("T")
CHECKPOINT_BYTES: Final = 2 * 2**20
"""Bytes in the WAL, about, from which on a checkpoint is due: it should hold no commit up long."""
COMMIT_PAGES: Final = 4
"""What a commit costs in the WAL beside its rows, about."""
PLENTY: Final = 2**53
LARGEST_PUSH: Final = 32 * 2**20
"""Bytes by which one push can make a user's objects grow, and more."""
SEEN_MS: Final = 3_600_000
"""A device that is seen again within an hour is not written down again for that alone."""
SPARE_SHARE: Final = 32
"""Free pages in this part of the file stay there for what comes next."""
LEAST_SPARE: Final = 4
"""And so many in any case."""
PAGES_BACK: Final = 16
"""Pages of the file that are given back in one unit of work."""
_REFUSED: Final = """
SELECT push_id, refused FROM outcomes WHERE user_no = :user AND device_no = :device
  AND clock > :received
UNION ALL
SELECT push_id, refused FROM log WHERE user_no = :user AND device_no = :device
  AND clock > :received AND refused IS NOT NULL
"""
# Both halves come in the order of their clocks, and the log begins behind what was dropped of it.


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer decides by, and the clock (ms) and the randomness that it is given."""

    now: Callable[[], int]
    new_log_id: Callable[[], str]
    new_epoch: Callable[[], str]
    max_ahead: int
    max_object_bytes: int
    max_depth: int
    max_objects: int = PLENTY
    """Objects of one user."""
    max_bytes: int = PLENTY
    """Bytes of their JSON."""
    policy: Policy | None = None
    refill: bool = True
    retention: Retention = Retention()
    checkpoints: bool = True
    """False: another program does it, and the hub never."""


def bounds_of(limits: Limits) -> dict[str, int]:
    """What of the operator's limits is in the rules, by its name there."""
    return {
        "max_ahead": int(limits.max_clock_ahead_seconds * 1000),
        "max_object_bytes": limits.max_object_bytes,
        "max_depth": limits.max_depth,
        "max_objects": limits.max_objects_per_user,
        "max_bytes": limits.max_bytes_per_user,
    }


class Ledger:
    """The one writer of a hub file. Each method is one unit of work on its connection.

    `folds`, in steps, and `checkpoints` are counted.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._memory: Memory | None = None
        self._wal_bytes = 0
        self._page_bytes = 0
        self._synchronous = ""
        self._next_due: int | None = 0
        self.folds = 0
        self.checkpoints = 0

    def keep_to(self, limits: Limits, _connection: sqlite3.Connection) -> None:
        """Decide by these limits from now on: between two groups, as any unit of work."""
        self._rules = replace(self._rules, **bounds_of(limits))

    def user(self, name: str, connection: sqlite3.Connection) -> UserStanding:
        """How a user stands; made where it is new."""
        user = self._remember(connection).known_user(name)
        if user is None:
            with self._transaction(connection) as memory:
                user = memory.user(name)
        epochs = epochs_of(user, self._remember(connection).starts)
        return UserStanding(user.history, user.head, user.line, epochs, self._rules.refill)

    def begin_epoch(self, connection: sqlite3.Connection) -> bool:
        """The hub begins to serve, with everything folded that came before.

        Whether a crash has left users on the way in or out.
        """
        with self._transaction(connection) as memory:
            rules = self._rules
            name = rules.new_epoch()
            memory.starts = begin_epoch(connection, memory.starts, name, rules.now())
            return is_anybody_on_the_way(connection)

    def fork(self, name: str, clock: int, connection: sqlite3.Connection) -> History:
        """Open a history for a user that carries on the present one from a clock."""
        rules = self._rules

        def carry_on(history: History) -> History:
            return history.carried_on(rules.new_log_id(), clock, rules.now())

        return self._change_history(name, carry_on, connection)

    def take_up(self, name: str, lost: str, connection: sqlite3.Connection) -> History:
        """Have a user's history carry on a lost one from nothing."""
        return self._change_history(name, lambda history: history.with_lost(lost), connection)

    def _change_history(
        self, name: str, change: Callable[[History], History], connection: sqlite3.Connection
    ) -> History:
        with self._transaction(connection) as memory:
            user = memory.user(name)
            user.history = change(user.history)
            memory.was_restored = True
            write_history(connection, user)
        self._count(COMMIT_PAGES)
        return user.history

    def change(self, work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        """Do something small and durable that has nothing to do with the log."""
        with self._transaction(connection):
            done = work(connection)
        self._count(COMMIT_PAGES)
        return done

    def device(self, user: str, name: str, connection: sqlite3.Connection) -> DeviceStanding:
        """How a device stands."""
        owner = self._remember(connection).known_user(user)
        if owner is None:
            return DeviceStanding(0, 0, ())
        device = owner.devices.get(name)
        if device is None:
            return DeviceStanding(0, 0, (), self._seen_lately(owner))
        place = {"user": owner.number, "device": device.number, "received": device.received}
        outcomes = [
            PushOutcome(push_id, tuple(leftovers.lost), tuple(leftovers.rejected))
            for push_id, refused in connection.execute(_REFUSED, place)
            if (leftovers := read_leftovers(refused)).lost or leftovers.rejected
        ]
        return DeviceStanding(device.last_push_id, device.received, outcomes)

    def _seen_lately(self, user: UserEntry) -> int:
        since = self._rules.now() - self._rules.retention.device_ms
        return sum(
            device.seen > since or device.number in user.changed_devices
            for device in user.devices.values()
        )

    def commit(
        self, group: Sequence[Incoming], connection: sqlite3.Connection, *, syncs: bool = True
    ) -> Sequence[Stored | None]:
        """Decide and append pushes in one transaction, durable if it syncs."""
        with self._transaction(connection, "FULL" if syncs else "NORMAL") as memory:
            page = LogPage(connection, self._rules.now())
            stored = [self._store(incoming, memory, page) for incoming in group]
            page.write()
            memory.touched = page.now
        self._count(COMMIT_PAGES, page.bytes)
        return stored

    def note_received(
        self, received: Mapping[tuple[str, str], int], connection: sqlite3.Connection
    ) -> int:
        """Take in how far devices are; the row of the log from which on nobody is behind yet."""
        if received:
            with self._transaction(connection, synchronous="NORMAL") as memory:
                memory.touched = self._rules.now()
                long_ago = memory.touched - SEEN_MS
                for (user_name, device_name), clock in received.items():
                    user = memory.user(user_name)
                    device = memory.device(user, device_name)
                    if clock > device.received or device.seen < long_ago:
                        memory.note_received(user, device, clock)
        return self._remember(connection).seq + 1

    def fold(self, up_to: int, connection: sqlite3.Connection) -> bool:
        """Fold the users that come next, in one step; whether more were behind at `up_to`.

        Not synced on its own: a crash that loses it leaves the log to fold again.
        """
        users = next_step(self._remember(connection), up_to)
        if not users:
            return False
        keeps = self._rules.retention
        with self._transaction(connection, synchronous="NORMAL") as memory:
            now = min(self._rules.now(), memory.touched)
            memory.measure(users)
            write_epochs(connection, users, memory.starts)
            object_bytes = write_step(connection, users, memory.folded(users), now, keeps)
        self._count(sum(user.weight for user in users), object_bytes)
        memory.forget_unfolded(users)
        self.folds += 1
        self._expect(user.due for user in users)
        return any(memory.oldest(up_to))

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the WAL into the file, so that it is written over, and not grown.

        If that is another program's business, see whether it does it.
        """
        if self._rules.checkpoints:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self.checkpoints += 1
        else:
            look_at_wal(connection)
        self._wal_bytes = 0

    @property
    def has_due(self) -> bool:
        """Whether it is time to look for what retention lets go."""
        return self._next_due is not None and self._next_due <= self._rules.now()

    def horizon(self, connection: sqlite3.Connection) -> Horizon:
        """How far back everything is kept as of now."""
        return horizon_at(connection, self._rules.now(), self._rules.retention)

    def look(
        self, horizon: Horizon, after: tuple[int, int], connection: sqlite3.Connection
    ) -> Looked:
        """Look at the users who are due next."""
        return look(connection, self._remember(connection), horizon, after)

    def retire(
        self, pages: int, work: Callable[[sqlite3.Connection, Memory], T], connection: Any
    ) -> T:
        """Do a step of what retention asks for, which writes about so many pages."""
        with self._transaction(connection, synchronous="NORMAL") as memory:
            done = work(connection, memory)
        self._count(pages)
        return done

    def hasten_all(self, connection: sqlite3.Connection) -> None:
        """Have everybody looked at now who would be some day."""
        now = self._rules.now()
        self.retire(COMMIT_PAGES, partial(hasten, now), connection)
        self._next_due = now

    def look_soon(self) -> None:
        """Somebody is due who was not there before."""
        self._expect((self._rules.now(),))

    def rest(self, connection: sqlite3.Connection) -> None:
        """Find out when there is something to look at again."""
        self._next_due = next_due(connection)

    def give_back(self, connection: sqlite3.Connection) -> bool:
        """Give some free pages back, if there are many; whether that was so."""
        free, pages = value_of(connection, "freelist_count"), value_of(connection, "page_count")
        if free <= max(LEAST_SPARE, pages // SPARE_SHARE):
            return False
        self._set_synchronous("NORMAL", connection)
        # As a script, for `execute` would stop behind the first page.
        connection.executescript(f"PRAGMA incremental_vacuum({PAGES_BACK})")
        self._count(2 * PAGES_BACK)
        return value_of(connection, "freelist_count") < free

    def give_all_back(self, connection: sqlite3.Connection) -> bool:
        """Give some free pages back; whether there are more."""
        self._set_synchronous("NORMAL", connection)
        connection.executescript(f"PRAGMA incremental_vacuum({PAGES_BACK})")
        self._count(2 * PAGES_BACK)
        return value_of(connection, "freelist_count") > 0

    def cut_wal(self, connection: sqlite3.Connection) -> bool:
        """Move all of the WAL into the file and leave none of its bytes; False: somebody reads it.

        Nobody waits for that: the next commit would, too.
        """
        if not self._rules.checkpoints:
            return False
        patience = value_of(connection, "busy_timeout")
        connection.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            [is_busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
        self._wal_bytes = 0
        return not is_busy

    def move(
        self, work: Callable[[sqlite3.Connection, Memory], T], connection: sqlite3.Connection
    ) -> T:
        """Do something durable that changes who is there."""
        with self._transaction(connection) as memory:
            done = work(connection, memory)
        self._count(COMMIT_PAGES)
        return done

    def _expect(self, dues: Iterable[int | None]) -> None:
        known = [due for due in (self._next_due, *dues) if due is not None]
        self._next_due = min(known, default=None)

    @property
    def unfolded(self) -> int:
        """How many rows of the log wait to be folded."""
        return self._memory.unfolded if self._memory else 0

    @property
    def has_large(self) -> bool:
        """Whether a user has so much to fold that it should not become more."""
        return bool(self._memory and self._memory.large)

    @property
    def wal_is_long(self) -> bool:
        """Whether a checkpoint is due."""
        return self._wal_bytes >= CHECKPOINT_BYTES

    def _count(self, pages: int, more_bytes: int = 0) -> None:
        """Add to the account of the WAL: pages written for their own sake, and what rows hold."""
        self._wal_bytes += pages * self._page_bytes + more_bytes

    def _remember(self, connection: sqlite3.Connection) -> Memory:
        if self._memory is None:
            # An upgraded file keeps the pages that it was made with.
            self._page_bytes = self._page_bytes or value_of(connection, "page_size")
            self._memory = Memory(connection, self._rules.new_log_id, self._rules.now)
        return self._memory

    @contextmanager
    def _transaction(
        self, connection: sqlite3.Connection, synchronous: str = "FULL"
    ) -> Iterator[Memory]:
        memory = self._remember(connection)
        try:
            self._set_synchronous(synchronous, connection)
            connection.execute("BEGIN IMMEDIATE")
            yield memory
            connection.execute("COMMIT")
        except BaseException as error:
            self._memory = None
            roll_back(connection)
            if isinstance(error, sqlite3.Error):
                raise StoreFailed(f"nothing was stored: {error}") from error
            raise

    def _set_synchronous(self, synchronous: str, connection: sqlite3.Connection) -> None:
        """Invariant: a transaction begins with its own, whatever became of what set another."""
        if self._synchronous != synchronous:
            self._synchronous = ""
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def _store(self, incoming: Incoming, memory: Memory, page: LogPage) -> Stored | None:
        user = memory.user(incoming.user)
        device = memory.device(user, incoming.device)
        if not incoming.polled and incoming.push_id <= device.last_push_id:
            return None
        terms = self._terms(incoming, user, page, self._room(incoming, user, memory))
        outcome = decide(incoming.diffs, partial(memory.held, user), terms)
        if incoming.polled and terms.stored_ids.issuperset(outcome.ids):
            return None
        seq = memory.append(user, device, incoming.push_id, outcome.objects)
        return page.append(seq, user, device, incoming.push_id, outcome)

    def _room(self, incoming: Incoming, user: UserEntry, memory: Memory) -> Room | None:
        """What the user may still add; None: more than any push does."""
        rules = self._rules
        has_plenty = (
            user.count + len(incoming.diffs) <= rules.max_objects
            and user.bytes + LARGEST_PUSH <= rules.max_bytes
        )
        if has_plenty:
            return None
        memory.measure((user,))
        return Room(rules.max_objects - user.count, rules.max_bytes - user.bytes)

    def _terms(
        self, incoming: Incoming, user: UserEntry, page: LogPage, room: Room | None
    ) -> Terms:
        rules = self._rules
        first, ids = user.head + 1, NO_IDS
        if incoming.again or incoming.polled:
            connection = page.write()
            first = first_clock(connection, user.number)
            ids = read_ids(connection, user.number, _oldest_base(incoming.diffs, user.head))
        return Terms(
            user=user.name,
            device=incoming.device,
            clock=user.head + 1,
            latest=page.now + rules.max_ahead,
            again=incoming.again,
            polled=incoming.polled,
            read_only=incoming.read_only,
            first_clock=first,
            stored_ids=ids,
            max_object_bytes=rules.max_object_bytes,
            max_depth=rules.max_depth,
            policy=rules.policy,
            room=room,
            history=user.history,
            refill=rules.refill,
        )


def _oldest_base(diffs: Sequence[Any], head: int) -> int:
    bases = [diff.get("logical_clock") for diff in diffs if isinstance(diff, dict)]
    return min((base for base in bases if type(base) is int), default=head)
