"""Bugs in the log, the fold and retention."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hub.store import folding, reading, retention
from hub.store.interface import Incoming, Stored
from hub.store.ledger import Ledger
from hub.store.memory import Memory, UserEntry
from hub.store.retention import Horizon, Looked, Visit
from hub.store.sqlite import SqliteStore
from tests.simulation.mutants.mutant import Mutant, Patches


def acked_before_the_sync() -> Patches:
    set_synchronous = Ledger._set_synchronous

    def never(self: Ledger, _synchronous: str, connection: sqlite3.Connection) -> None:
        set_synchronous(self, "NORMAL", connection)

    return {"hub.store.ledger.Ledger._set_synchronous": never}


def acked_and_not_stored() -> Patches:
    commit, groups = SqliteStore.commit, iter(range(1, 10**9))

    async def forget(self: SqliteStore, group: Sequence[Incoming]) -> Sequence[Stored | None]:
        if next(groups) % 7:
            return await commit(self, group)
        user = await self.user(group[0].user)
        return [
            Stored(user.head + n, one.device, one.push_id, b"[]", differs=False)
            for n, one in enumerate(group, 1)
        ]

    return {"hub.store.sqlite.SqliteStore.commit": forget}


def stored_twice() -> Patches:
    store = Ledger._store

    def again(self: Ledger, incoming: Incoming, memory: Memory, page: Any) -> Stored | None:
        device = memory.device(memory.user(incoming.user), incoming.device)
        device.last_push_id = min(device.last_push_id, incoming.push_id - 1)
        return store(self, incoming, memory, page)

    return {"hub.store.ledger.Ledger._store": again}


def push_ids_not_folded() -> Patches:
    rows = folding._device_rows

    def without(user: UserEntry, now: int) -> Iterator[tuple[int, int, int, int]]:
        return ((0, received, seen, number) for _, received, seen, number in rows(user, now))

    return {"hub.store.folding._device_rows": without}


def received_not_folded_right() -> Patches:
    rows = folding._device_rows

    def ahead(user: UserEntry, now: int) -> Iterator[tuple[int, int, int, int]]:
        for last_push_id, _received, seen, number in rows(user, now):
            yield last_push_id, user.head, seen, number

    return {"hub.store.folding._device_rows": ahead}


def head_without_objects() -> Patches:
    rows, turns = folding._object_rows, iter(range(10**9))

    def some(user: UserEntry, now: int) -> Iterator[tuple[int | str | bytes | None, ...]]:
        every = list(rows(user, now))
        return iter(every if next(turns) % 5 else every[:-1])

    return {"hub.store.folding._object_rows": some}


def unfolded_rows_not_read() -> Patches:
    return {"hub.store.reading._LOG": reading._LOG.partition("UNION ALL")[0]}


def unfolded_rows_lost_at_the_start() -> Patches:
    return {"hub.store.memory.Memory._read_unfolded": lambda _self: None}


def folded_past_the_rest() -> Patches:
    """`hub.folded` goes past users whose rows are not folded yet."""

    def folded(self: Memory, _users: Any) -> int:
        return self.seq

    return {"hub.store.memory.Memory.folded": folded}


def row_dropped_that_is_needed() -> Patches:
    rows = retention._old_rows

    def careless(connection: Any, user: UserEntry, horizon: Horizon, _near: Any) -> Any:
        return rows(connection, user, horizon, [])

    return {"hub.store.retention._old_rows": careless}


def tombstone_dropped_that_is_needed() -> Patches:
    tombstones = retention._old_tombstones

    def careless(connection: Any, user: UserEntry, horizon: Horizon, _near: Any) -> Any:
        return tombstones(connection, user, horizon, [])

    return {"hub.store.retention._old_tombstones": careless}


def line_does_not_rise() -> Patches:
    look_for_all = retention.look

    def look(connection: Any, memory: Memory, horizon: Horizon, after: Any) -> Looked:
        lines = {user.name: user.line for user in memory._users.values()}
        looked = look_for_all(connection, memory, horizon, after)
        for visit in looked.visits:
            memory.user(visit.name).line = lines.get(visit.name, 0)
        return looked

    def drop(visit: Visit, most: int, connection: sqlite3.Connection, memory: Memory) -> int:
        place = visit.number, visit.line, most
        keys = connection.execute(retention._DROP_TOMBSTONES, place).fetchall()
        memory.forget_objects(memory.user(visit.name), keys)
        return 0

    return {
        "hub.store.ledger.look": look,
        "hub.store.retiring.drop_tombstones": drop,
        "hub.hub.Hub._raise_line": lambda *_: None,
    }


def line_not_told() -> Patches:
    """The file's line rises, and the hub that runs is not told of it."""
    return {"hub.hub.Hub._raise_line": lambda *_: None}


def tombstones_stay_in_memory() -> Patches:
    return {"hub.store.memory.Memory.forget_objects": lambda *_: None}


def outcomes_go_with_the_log() -> Patches:
    return {"hub.store.retention._KEEP_OUTCOMES": "SELECT ?"}


def folds_for_ever() -> Patches:
    """It never finds that there is nothing to do."""
    return {"hub.store.ledger.Ledger.has_due": property(lambda _self: True)}


def group_half_stored() -> Patches:
    """A transaction that fails is kept as far as it came (17)."""

    def keep(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("COMMIT")

    return {"hub.store.ledger.roll_back": keep}


def memory_kept_after_a_failure() -> Patches:
    """What a failed transaction has changed in memory is taken for stored."""
    transaction = Ledger._transaction

    @contextmanager
    def keep(
        self: Ledger, connection: sqlite3.Connection, synchronous: str = "FULL"
    ) -> Iterator[Memory]:
        memory = self._remember(connection)
        try:
            with transaction(self, connection, synchronous):
                yield memory
        except BaseException:
            self._memory = memory
            raise

    return {"hub.store.ledger.Ledger._transaction": keep}


def _mutant(plant: Callable[[], Patches], harm: str) -> Mutant:
    return Mutant(plant.__name__, harm, plant)


STORE = (
    _mutant(acked_before_the_sync, "A power cut takes back what was acked."),
    _mutant(acked_and_not_stored, "A restart takes back what was acked."),
    _mutant(stored_twice, "An edit that was sent twice undoes what was made in between."),
    _mutant(push_ids_not_folded, "The same, once the hub has restarted."),
    _mutant(received_not_folded_right, "An edit that lost disappears in silence after a restart."),
    _mutant(head_without_objects, "After a restart an object has an old value."),
    _mutant(unfolded_rows_not_read, "A phone that comes back does not hear of the newest pushes."),
    _mutant(unfolded_rows_lost_at_the_start, "A hub that was killed forgets what it acked last."),
    _mutant(folded_past_the_rest, "The same, if others were folded before."),
    _mutant(row_dropped_that_is_needed, "A phone that was away for an hour is sent everything."),
    _mutant(tombstone_dropped_that_is_needed, "A phone that was away for an hour is reset."),
    _mutant(line_does_not_rise, "What was deleted comes back on a phone that was away (5)."),
    _mutant(line_not_told, "The same, while the hub runs."),
    _mutant(tombstones_stay_in_memory, "What may be made anew is refused until a restart."),
    _mutant(outcomes_go_with_the_log, "An edit that lost disappears in silence after a holiday."),
    _mutant(folds_for_ever, "The hub's disk is never at rest."),
    _mutant(group_half_stored, "A push that was refused is stored through another's commit (17)."),
    _mutant(memory_kept_after_a_failure, "Clocks and objects that no disk holds are told."),
)
