"""A replica with a storage behind it and a line to a hub, all in memory and step by step."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw

from protocol.messages import Changes, Ready, Received, Welcome
from protocol.records import CutPush, Edit, Known, Position, RejectedEdit, Saved, Setback, Writes
from protocol.replica import Replica
from tests.protocol.hub import Hub
from tests.protocol.ledger import NOW, edit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.diffs import DiffType, Fields, Key
    from protocol.messages import FromHub, Push
    from tests.protocol.hub import Session

Record = TypeVar("Record")

_names = itertools.count(1)


class Storage:
    """What is on the disk: every `Writes` applied, one after the other."""

    def __init__(self) -> None:
        self.position = Position()
        self.objects: dict[Key, Known] = {}
        self.edits: dict[int, Edit] = {}
        self.pushes: dict[int, CutPush] = {}
        self.setbacks: dict[int, Setback] = {}

    def keep(self, writes: Writes) -> None:
        """One transaction."""
        self.position = writes.position
        if writes.forget:
            self.objects.clear()
        self.objects.update(writes.objects)
        _apply(self.edits, writes.edits)
        _apply(self.pushes, writes.pushes)
        _apply(self.setbacks, writes.setbacks)

    def saved(self) -> Saved:
        """All of it, read back."""
        return Saved(
            self.position,
            dict(self.objects),
            [edit for _, edit in sorted(self.edits.items())],
            [push for _, push in sorted(self.pushes.items())],
            dict(sorted(self.setbacks.items())),
        )


def _apply(held: dict[int, Record], changes: Mapping[int, Record | None]) -> None:
    for number, record in changes.items():
        held.pop(number, None)
        if record is not None:
            held[number] = record


class Device:
    """One device of alice; whatever it does is stored before the next thing happens."""

    def __init__(self, name: str = "phone", saved: Saved | None = None) -> None:
        self.name = name
        self.now = NOW
        self.replica = Replica(saved or Saved())
        self.storage = Storage()
        if saved:
            self.storage.keep(
                Writes(
                    saved.position,
                    objects=dict(saved.objects),
                    edits={edit.number: edit for edit in saved.edits},
                    pushes={push.push_id: push for push in saved.pushes},
                    setbacks=dict(saved.setbacks),
                )
            )
        self.session: Session | None = None

    # Alone

    def edit(self, kind: DiffType, name: str = "t1", batch: int = 0, **fields: Any) -> str:
        """Edit a task; the id of the edit."""
        diff_id = f"{self.name}-{next(_names)}"
        given = {"id": name, **fields}
        self.replica.edit(kind, "tasks", given, diff_id=diff_id, now=self.now, batch=batch)
        self.store()
        return diff_id

    def store(self) -> None:
        """Store what has changed."""
        self.storage.keep(self.replica.take_writes())

    def restart(self) -> None:
        """The process was killed: what is stored is what there is."""
        self.replica = Replica(self.storage.saved())
        self.session = None

    def task(self, name: str = "t1") -> Fields | None:
        """What the user sees of a task beside its id."""
        fields = self.replica.show(("tasks", name))
        return None if fields is None else {n: v for n, v in fields.items() if n != "id"}

    def tasks(self) -> dict[Any, Fields]:
        """What the user sees of all tasks."""
        return {fields["id"]: fields for fields in self.replica.shown("tasks")}

    @property
    def at(self) -> Position:
        """Where it is."""
        return self.replica.position

    @property
    def setbacks(self) -> list[Setback]:
        """What the application has still to be shown."""
        return list(self.replica.setbacks.values())

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """The same in short: of each the push, and its code or the fields that lost."""
        return [
            (s.push_id, s.code if isinstance(s, RejectedEdit) else s.fields) for s in self.setbacks
        ]

    # On the line

    def connect(self, hub: Hub, *, objects: bool = False, page: int = 1000) -> None:
        """Say hello; nothing of an older connection arrives any more."""
        hello = self.replica.hello("alice", self.name)
        self.store()
        self.session = hub.greet(hello, objects=objects, page=page)

    @property
    def line(self) -> Session:
        """The connection that there is."""
        assert self.session is not None
        return self.session

    def hear(self, frames: int = 10**6) -> None:
        """Take so many frames, or all that come without anybody's doing."""
        while frames and (self.line.out or not self.line.live):
            if not self.line.out:
                self.line.go_on()
            self.take(self.line.deliver())
            frames -= 1

    def take(self, message: FromHub) -> None:
        """Take a frame and store what it changes."""
        self.replica.take(message, self.now)
        self.store()

    def pushes(self) -> list[Push]:
        """All that it would send now, stored before."""
        cut = list(iter(self.replica.next_push, None))
        self.store()
        return cut

    def say(self, hub: Hub) -> int:
        """Push what may be pushed; how many pushes that were."""
        pushes = self.pushes()
        for push in pushes:
            hub.push(self.line, push)
        return len(pushes)

    def report(self, hub: Hub) -> None:
        """Say `received`; half-way, nothing."""
        if self.at.half is None:
            hub.received(self.name, Received(self.at.clock).logical_clock)

    def synchronize(self, hub: Hub, *, objects: bool = False, page: int = 1000) -> None:
        """Connect if need be, and go on until there is nothing left to say."""
        if self.session is None or hub.sessions.get(self.name) is not self.session:
            self.connect(hub, objects=objects, page=page)
        self.hear()
        while self.say(hub):
            self.hear()

    def drop(self, hub: Hub) -> None:
        """The line breaks; what is under way is gone."""
        hub.sessions.pop(self.name, None)
        self.session = None


def shown_of(hub: Hub) -> dict[str, Fields]:
    """What every device should show that is level and has nothing pending."""
    return {name: fields for (_, name), fields in hub.objects.items()}


# Frames and devices to begin a test with


def welcome(**fields: Any) -> Welcome:
    """The welcome of a hub that has nothing, but for these fields."""
    return msgspec.structs.replace(Hub().welcome("phone", reset=False), **fields)


def changes(clock: int, *diffs: dict[str, Any]) -> Changes:
    """A push of the desk."""
    return Changes(clock, "desk", stored(*diffs))


def stored(*diffs: dict[str, Any]) -> Raw:
    """Diffs as they lie in the log."""
    return Raw(msgspec.json.encode(diffs))


def level(clock: int = 1) -> Device:
    """A device that is ready, and knows t1 as {a: 0} since clock 1."""
    phone = Device()
    phone.take(welcome(logical_clock=clock))
    phone.take(changes(1, edit("create", {"a": 0})))
    for later in range(2, clock + 1):
        phone.take(changes(later))
    phone.take(Ready(clock, 0))
    return phone
