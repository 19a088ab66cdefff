"""What the hub does is held to the model, user by user: at every moment and in the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tests.machine.phone import server_state, shown
from tests.machine.record import Record
from tests.machine.sizes import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.store.interface import Incoming, Stored
    from tests.machine.keeping import Gone
    from tests.machine.line import Line
    from tests.machine.phone import Phone
    from tests.machine.world import World


class Witness:
    """It is told what the store did, and asks devices and the store how they stand.

    `greeted` is the newest line of each device, `unheard` the group that is being committed.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.records: dict[str, Record] = {}
        self.greeted: dict[tuple[str, str], Line] = {}
        self.unheard: Sequence[Incoming] = ()

    def observe(self, group: Sequence[Incoming], stored: Sequence[Stored | None]) -> None:
        self._world.happened["group of several"] += len(group) > 1
        self._world.happened["group of two users"] += len({incoming.user for incoming in group}) > 1
        for incoming, what in zip(group, stored, strict=True):
            self._check_fence(incoming, what)
            self._current(incoming.user).observe(incoming, what, self._world.now)

    def _current(self, user: str) -> Record:
        """A user's record, which is told in which history the hub decides."""
        record = self.record(user)
        record.history = self._world.store.history_of(user)
        return record

    def _check_fence(self, incoming: Incoming, stored: Stored | None) -> None:
        """Nothing that an older socket had under way is stored after a newer one's welcome."""
        line = self.greeted.get((incoming.user, incoming.device))
        if line is not None and stored is not None:
            assert incoming.push_id in line.pushed

    def observe_unheard(self, group: Sequence[Incoming]) -> None:
        """A group that was being committed at the end is there as a whole, or not at all."""
        logs = {
            user: deque(row for row in self._rows(user) if row.clock > self.record(user).head)
            for user in {incoming.user for incoming in group}
        }
        if not any(logs.values()):
            return
        self._world.happened["stored unheard"] += 1
        for incoming in group:
            log = logs[incoming.user]
            row = log[0] if log else None
            if self._current(incoming.user).observe_row(incoming, row, self._world.now):
                log.popleft()

    def observe_gone(self, found: Mapping[str, Gone]) -> None:
        """What the store has let go; the task that did it is not to die of what the test says."""
        try:
            for user, what in found.items():
                self.record(user).let_go(what, self._world.now)
        except AssertionError as error:
            self._world.troubles.append(error)

    def record(self, user: str) -> Record:
        if user not in self.records:
            self.records[user] = Record(
                MAX_OBJECT_BYTES, self._world.happened, self._world.sizes.keeps
            )
        return self.records[user]

    def greet(self, user: str, device: str, line: Line) -> None:
        self.greeted[user, device] = line
        assert line.hello is not None
        was_reset = self.record(user).keeping.check_reset(line.hello, line.welcome)
        self._world.happened["reset below the line"] += was_reset

    # What must hold at every moment

    def check(self, phone: Phone) -> None:
        """A device that is not half-way holds the fold of the log up to its clock."""
        record, position = self.record(phone.user), phone.replica.position
        held = server_state(phone)
        phone.line_seen = record.lineage[: phone.level]
        if position.half is None:
            assert held == record.states[position.clock]
            return
        for key, clock in record.changed[record.head].items():
            if clock <= position.clock:
                assert held.get(key) == record.states[record.head][key]

    # What must hold once all is said

    def check_all(self) -> None:
        self.check_log()
        for phone in self._world.phones.values():
            record = self.record(phone.user)
            self._check_level(phone, record)
            record.check_claims(phone.kept.claims, phone.folded)
            record.check_told(phone.name, phone.own_setbacks(), phone.exempt)

    def _check_level(self, phone: Phone, record: Record) -> None:
        assert phone.line is not None
        assert phone.replica.ready
        assert phone.replica.pending == 0
        assert phone.replica.position.clock == record.head
        assert phone.replica.position.half is None
        assert shown(phone) == record.states[-1]
        clocks = {key: phone.kept.objects[key].clock for key in record.states[-1]}
        assert clocks == record.changed[-1]

    def check_log(self) -> None:
        """What the store says of itself is what the model says."""
        do, store = self._world.do, self._world.store
        for user, record in self.records.items():
            record.check_log(self._rows(user))
            record.check_objects(do(store.objects(user, record.keys)))
            assert do(store.user(user)).head == record.head
            assert do(store.first_clock(user)) == record.keeping.gone.dropped + 1
            for name in {phone.name for phone in self._world.phones.values() if phone.user == user}:
                standing = do(store.device(user, name))
                assert standing.last_push_id == record.model.last_push_id(name)

    def _rows(self, user: str) -> list[Stored]:
        return list(self._world.do(self._world.store.log(user, 0, 10**9)))
