"""Any number of accidents: devices that edit, drop, restart and are put back, and one hub.

The hub says what sections 5 and 6 say and takes what section 4 takes. Whatever happens, when all
are connected again and have said everything, all show what the hub holds, every clock was heard
once and in order (a gap raises), and of each edit that the hub refused its user was told.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.records import LostFields, RejectedEdit, Saved
from protocol.replica import Replica
from tests.protocol.device import Device, shown_of
from tests.protocol.hub import Hub

NAMES = ("phone", "desk", "tab")
names = st.sampled_from(NAMES)
object_ids = st.sampled_from(["t1", "t2", "t3"])
fields = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=2)
pages = st.sampled_from([1, 1, 2, 1000])
few = st.sampled_from([0, 1, 2, 3, 1000])
kinds = st.sampled_from(["create", "update", "update", "update", "delete"])
edits = st.tuples(kinds, object_ids, fields)


class Sync(RuleBasedStateMachine):
    """Three devices of one user."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self.devices = {name: Device(name) for name in NAMES}
        self.copies: dict[str, Saved] = {}
        self.put_back: set[str] = set()
        self.logs = 1
        self.backup: Hub | None = None
        self.now = self.hub.now
        self.in_pushes: dict[str, set[str]] = {name: set() for name in NAMES}

    @initialize(skews=st.tuples(*[st.sampled_from([0, -90_000, 90_000])] * 3))
    def begin_with_three_tasks(self, skews: tuple[int, ...]) -> None:
        for device, skew in zip(self.devices.values(), skews, strict=True):
            device.now += skew
        phone = self.devices["phone"]
        phone.edit("create", "t1", a=0, b=0)
        phone.edit("create", "t2", a=0, c=0)
        phone.edit("create", "t3")
        for device in self.devices.values():
            device.synchronize(self.hub)

    # Users

    @rule(name=names, edits=st.lists(edits, min_size=1, max_size=4), batch=st.sampled_from([0, 1]))
    def edit(self, name: str, edits: list[tuple[Any, str, dict[str, int]]], batch: int) -> None:
        for kind, what, given in edits:
            self.devices[name].edit(kind, what, batch, **given)

    @rule(name=names, what=object_ids, given=fields)
    def edit_and_push_at_once(self, name: str, what: str, given: dict[str, int]) -> None:
        device = self.devices[name]
        if device.session is None:
            device.connect(self.hub)
        device.hear()
        device.edit("update", what, **given)
        device.say(self.hub)

    @rule(passed=st.sampled_from([1, 1000, 100_000]))
    def wait(self, passed: int) -> None:
        self.hub.now += passed
        for device in self.devices.values():
            device.now += passed

    # The line

    @rule(name=names, objects=st.booleans(), page=pages, frames=few)
    def connect(self, name: str, objects: bool, page: int, frames: int) -> None:
        self.devices[name].connect(self.hub, objects=objects, page=page)
        self.devices[name].hear(frames)

    @rule(name=names, frames=few)
    def talk(self, name: str, frames: int) -> None:
        device = self.devices[name]
        if device.session is None:
            device.connect(self.hub)
        device.hear(frames)
        if device.line.live:
            device.say(self.hub)

    @rule(name=names, how=st.sampled_from(["drop", "drop with a push", "report"]))
    def end(self, name: str, how: str) -> None:
        """With a push: it was cut, and may or may not have arrived."""
        device = self.devices[name]
        if device.session is None:
            return
        if how == "report":
            device.report(self.hub)
            return
        pushes = device.pushes() if how == "drop with a push" else []
        for push in pushes[: len(pushes) // 2]:
            if device.line.live:
                self.hub.push(device.line, push)
        device.drop(self.hub)

    @rule(name=names, objects=st.booleans(), page=pages, frames=few)
    def read_too_slowly(self, name: str, objects: bool, page: int, frames: int) -> None:
        device = self.devices[name]
        if device.session is not None and device.line.live and not device.line.greeting:
            device.say(self.hub)
            device.line.fall_behind(device.at.clock, device.at.half, objects=objects, page=page)
            device.hear(frames)

    # Accidents

    @rule(name=names, copy=st.booleans())
    def take_a_copy_or_put_it_back(self, name: str, copy: bool) -> None:
        device = self.devices[name]
        if copy or name not in self.copies:
            self.copies[name] = device.storage.saved()
            return
        device.drop(self.hub)
        self.devices[name] = Device(name, self.copies[name])
        self.devices[name].now = device.now
        self.put_back.add(name)
        self.in_pushes[name] = set()

    @rule(name=names)
    def restart(self, name: str) -> None:
        self.devices[name].drop(self.hub)
        self.devices[name].restart()

    @rule(log=st.integers(0, 12), tombstones=st.integers(0, 12))
    def forget(self, log: int, tombstones: int) -> None:
        """A connected device that falls below the line is closed."""
        self.hub.forget_log(log)
        self.hub.forget_tombstones(tombstones)
        for device in self.devices.values():
            if device.at.clock < self.hub.line:
                device.drop(self.hub)

    @precondition(lambda self: self.logs < 3)
    @rule(how=st.sampled_from(["back up", "back up", "restore", "begin again"]))
    def lose_the_hub(self, how: str) -> None:
        """Restored from its backup, or from nothing: what was pushed since is gone."""
        if how == "back up":
            self.backup = self.hub.copied()
            return
        self.logs += 1
        now = self.hub.now
        backup = self.backup if how == "restore" else None
        source = backup or Hub()
        source.now = now
        self.hub = source.restored(f"log-{self.logs}", related=backup is not None)
        self.hub.now = now
        self.put_back |= set(NAMES)
        for device in self.devices.values():
            device.session = None

    # What holds at any moment

    @invariant()
    def what_is_stored_is_what_is_held(self) -> None:
        for device in self.devices.values():
            assert_same(Replica(device.storage.saved()), device.replica)

    @invariant()
    def what_a_device_lets_go_of_is_in_the_log(self) -> None:
        """No edit disappears in silence: not between the device and the hub either."""
        for name, device in self.devices.items():
            pushes = device.storage.pushes.values()
            in_pushes = {edit.diff.id for push in pushes for edit in push.edits}
            taken_back = {edit.diff.id for edit in device.storage.edits.values()}
            assert self.in_pushes[name] - in_pushes - taken_back <= self.hub.ever
            self.in_pushes[name] = in_pushes

    @invariant()
    def nothing_is_pushed_before_ready(self) -> None:
        for device in self.devices.values():
            if not device.replica.ready:
                assert device.replica.next_push() is None

    def teardown(self) -> None:
        for name in NAMES:
            self.devices[name].drop(self.hub)
        for _ in range(2):
            for device in self.devices.values():
                device.synchronize(self.hub, page=1)
        for device in self.devices.values():
            device.hear()
            assert device.replica.pending == 0
            assert device.at.clock == self.hub.ledger.head
            assert device.tasks() == shown_of(self.hub)
            if device.name not in self.put_back:
                assert what_it_was_told(device) == what_it_is_owed(self.hub, device.name)


def assert_same(one: Replica, other: Replica) -> None:
    """Two replicas show the same, say the same and would push the same."""
    assert one.position == other.position
    assert one.setbacks == other.setbacks
    assert sorted(one.shown("tasks"), key=str) == sorted(other.shown("tasks"), key=str)
    assert one._objects == other._objects
    assert one._pending.waiting == other._pending.waiting
    assert one._pending.pushes == other._pending.pushes
    assert list(one._pending.waiting) == list(other._pending.waiting)


def what_it_was_told(device: Device) -> list[Any]:
    return sorted(
        (s.push_id, None if s.diff is None else s.diff.id, what_of(s)) for s in device.setbacks
    )


def what_of(setback: LostFields | RejectedEdit) -> str:
    return setback.code if isinstance(setback, RejectedEdit) else str(dict(setback.fields))


def what_it_is_owed(hub: Hub, name: str) -> list[Any]:
    """Of every push that the hub stored of this device: what it lost and what was rejected."""
    return sorted(
        [(p.push_id, r.id, r.code) for p in hub.log if p.device == name for r in p.rejected]
        + [(p.push_id, r.id, str(r.fields)) for p in hub.log if p.device == name for r in p.lost]
    )


Sync.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestSync = Sync.TestCase
