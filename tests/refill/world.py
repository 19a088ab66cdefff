"""One user's devices, and a hub that burns down and is restored from a copy.

Whatever a device does, it does step by step and against the hub of `tests/protocol/hub.py`, so that
a line can drop anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from protocol.diffs import Diff, DiffType
from tests.protocol.device import Device
from tests.protocol.hub import Hub

NAMES = ("phone", "desk", "tab", "watch")
OBJECTS = ("t1", "t2", "t3", "t4", "t5")
EDITS = ("create", "update", "update", "delete")
DANGERS = ("hear", "vanish", "drop", "restart", "wait")


class Step(NamedTuple):
    """One thing that one device does, or that happens to it."""

    do: str
    device: str
    what: str
    fields: Mapping[str, int]
    how_many: int


def steps(chance: Random, most: int) -> list[Step]:
    """What happens, at most so many things; how dangerous it is differs from world to world."""
    kinds = [*EDITS * chance.randint(0, 3), *["talk"] * chance.randint(3, 12)]
    kinds += chance.sample(DANGERS, chance.randint(0, len(DANGERS)))
    return [_step(chance, kinds) for _ in range(chance.randint(0, most))]


def _step(chance: Random, kinds: Sequence[str]) -> Step:
    fields = {chance.choice("abc"): chance.randint(0, 99) for _ in range(chance.randint(1, 2))}
    return Step(
        chance.choice(kinds),
        chance.choice(NAMES),
        chance.choice(OBJECTS),
        fields,
        chance.randint(0, 4),
    )


class World:
    """Devices, the hub that they talk to, and the newest copy of it; `edits` are all ever made."""

    def __init__(self, skews: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        self.hub = Hub()
        self.devices = {name: Device(name) for name in NAMES}
        for device, skew in zip(self.devices.values(), skews, strict=True):
            device.now += skew
        self.edits: list[Diff] = []
        phone = self.devices["phone"]
        phone.edit("create", "t1", a=0, b=0)
        phone.edit("create", "t2", a=0)
        for device in self.devices.values():
            device.synchronize(self.hub)
        self.backup = self.hub.copied()

    def take(self, happening: list[Step]) -> None:
        for step in happening:
            self.pass_time(1)
            self._take(step, self.devices[step.device])

    def _take(self, step: Step, device: Device) -> None:
        match step.do:
            case "create" | "update" | "delete" as kind:
                self._edit(kind, step, device)
            case "talk":
                self._connect(device)
                device.synchronize(self.hub)
            case "hear":
                self._connect(device)
                device.hear(step.how_many)
            case "vanish":
                self._vanish(device, step.how_many)
            case "drop":
                device.drop(self.hub)
            case "restart":
                device.drop(self.hub)
                device.restart()
            case "wait":
                self.pass_time(10_000 * step.how_many)

    def _edit(self, kind: DiffType, step: Step, device: Device) -> None:
        known = set(device.storage.edits)
        device.edit(kind, step.what, **({} if kind == "delete" else step.fields))
        made = [edit for number, edit in device.storage.edits.items() if number not in known]
        self.edits += [edit.diff for edit in made]

    def _connect(self, device: Device) -> None:
        if device.session is None or self.hub.sessions.get(device.name) is not device.session:
            device.connect(self.hub, objects=self.hub.ledger.head % 2 == 0, page=1)

    def _vanish(self, device: Device, arrive: int) -> None:
        """Its pushes are cut, some arrive, and none of their acks does."""
        self._connect(device)
        device.hear()
        for push in device.pushes()[:arrive]:
            self.hub.push(device.line, push)
        device.drop(self.hub)

    def pass_time(self, ms: int) -> None:
        self.hub.now += ms
        for device in self.devices.values():
            device.now += ms

    def back_up(self) -> None:
        """Copy the hub, as an operator does now and then."""
        self.backup = self.hub.copied()

    def burn(self, log_id: str) -> None:
        """The hub is gone, and its copy takes its place under a new history."""
        self.backup.now = self.hub.now
        self.hub = self.backup.restored(log_id)
        for device in self.devices.values():
            device.session = None

    def calm(self) -> None:
        """All come back, and say all that they have to say."""
        for device in self.devices.values():
            device.drop(self.hub)
        for _ in range(2):
            for device in self.devices.values():
                device.synchronize(self.hub, page=1)
        for device in self.devices.values():
            device.hear()
