"""A device, and its user, who edits whatever happens: a whole program that can be killed."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any

from client import Device, State, World
from client.errors import LinkFailed
from tests.simulation.disk import DeviceDisk, copy_file
from tests.simulation.line import Line

if TYPE_CHECKING:
    from client.link import Link
    from tests.simulation.account import Place
    from tests.simulation.simulation import Simulation

DAY = 86_400_000
NAMES = tuple(f"t{n}" for n in range(1, 13))
FIELDS = ("a", "b", "c")


class Person:
    """One device of a user; `claims` is what the hub must hear of, by object and field.

    A claim is a set of texts of which one must arrive: of an edit that was made when the process
    died nobody knows whether it was stored.
    """

    def __init__(self, simulation: Simulation, user: str, name: str) -> None:
        self.place: Place = user, name
        self.user = user
        self.name = name
        self.claims: dict[tuple[str, str], set[str]] = {}
        self.line: Line | None = None
        self.device: Device | None = None
        self.task: asyncio.Task[None] | None = None
        self.party = ""
        self._simulation = simulation
        self._loop = simulation.loop
        self._chance = simulation.branch(f"{user}/{name}")
        self._path = simulation.folder / f"{user}-{name}.db"
        self._disk: DeviceDisk | None = None
        self._life = 0
        self._edits = 0
        self._left = self._chance.randint(5, 30)
        self._busy = self._chance.choice((0.4, 3.0, 8.0))
        self._token_life = self._chance.choice((None, 8_000, 30_000))
        self._skew = self._chance.choice((0, 0, -3 * DAY, 2 * DAY, 30 * DAY))

    # Its process

    def start(self) -> None:
        if self.task is not None:
            return
        self._life += 1
        self.party = f"{self.user}/{self.name}#{self._life}"
        self._leaving = asyncio.Event()
        self._disk = DeviceDisk(self._path, self._chance)
        self.task = self._loop.start(self.party, self._run(self._disk))

    async def _run(self, disk: DeviceDisk) -> None:
        device = Device(
            "ws://nowhere",
            token=self._token if self._token_life else f"{self.user}|",
            storage=disk,
            name=self.name,
            connect=self._connect,
            world=World(now=self._now, chance=self._fresh_chance()),
        )
        async with device:
            self.device = device
            while not self._leaving.is_set():
                await asyncio.sleep(self._chance.random() * self._busy)
                if self._simulation.is_calm or self._left == 0:
                    await self._leaving.wait()
                else:
                    self._left -= 1
                    await self._edit(device)
            self.device = None

    def _fresh_chance(self) -> Random:
        return Random(self._chance.getrandbits(64))

    async def leave(self) -> None:
        """Close the device in good order."""
        if self.task is not None:
            self._leaving.set()
            self._simulation.note(f"{self.party} leaves")
            task, party = self.task, self.party
            await asyncio.wait([task])
            if not task.done():
                return
            task.result()
            assert not self._loop.tasks_of(party), "a task outlives its device"
            self.task = None

    def kill(self) -> None:
        """As on `kill -9`: its file stays as it is; its line breaks."""
        if self.task is None or self.task.done():
            return
        self._simulation.note(f"{self.party} is killed")
        self._loop.kill(self.party)
        self.task = self.device = None
        after = self._simulation.after_death
        if self.line is not None:
            self.line.cut(after(), 0.0)
        self._leave_file_behind()

    def _leave_file_behind(self) -> None:
        left = copy_file(self._path, self._path.with_suffix(f".{self._life}"))
        if self._disk is not None and hasattr(self._disk, "file"):
            self._disk.file._connection.close()
        self._path = left

    # Its line

    def _now(self) -> int:
        return self._simulation.now() + self._skew

    async def _token(self) -> str:
        await asyncio.sleep(self._chance.random() * 0.1)
        assert self._token_life is not None
        if self._simulation.is_calm:
            return f"{self.user}|"
        late = self._chance.random() < 0.1
        return f"{self.user}|{self._simulation.now() + (0 if late else self._token_life)}"

    async def _connect(self) -> Link:
        await asyncio.sleep(self._chance.random() * 0.05)
        site = self._simulation.site
        if not site.is_up:
            raise LinkFailed("there is nobody")
        self.line = self._simulation.new_line(self)
        site.serve(self.line)
        return self.line.device

    # Its user

    def rest(self) -> None:
        """Make no edit by itself."""
        self._left = 0

    async def edit_now(self) -> None:
        assert self.device is not None
        await self._edit(self.device)

    async def _edit(self, device: Device) -> None:
        if device.status.state is State.STOPPED:
            raise AssertionError(f"the device stopped: {device.status.error}")
        if self._chance.random() < 0.15:
            await self._edit_many(device)
            return
        kind, name, fields = self._sketch()
        made = self._begin(device, kind, name, fields)
        match kind:
            case "create":
                await device.create("tasks", fields)
            case "update":
                await device.update("tasks", fields)
            case _:
                await device.delete("tasks", name)
        self._finish(made)

    async def _edit_many(self, device: Device) -> None:
        made = []
        async with device.batch() as batch:
            for name in self._chance.sample(NAMES, 3):
                fields = self._fields(name)
                batch.update("tasks", fields)
                made.append(self._begin(device, "update", name, fields))
        for one in made:
            self._finish(one)

    def _sketch(self) -> tuple[str, str, dict[str, Any]]:
        kind = self._chance.choice(("create", "create", "update", "update", "update", "delete"))
        name = self._chance.choice(NAMES)
        return kind, name, self._fields(name)

    def _fields(self, name: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"id": name}
        for field in self._chance.sample(FIELDS, self._chance.randint(1, 3)):
            fields[field] = self._value()
        return fields

    def _value(self) -> Any:
        self._edits += 1
        text = f"{self.name}-{self._edits}"
        shape = self._chance.random()
        if shape < 0.05:
            return text + "x" * 300
        return {"deep": [text, {"er": None}]} if shape < 0.3 else text

    def _begin(
        self, device: Device, kind: str, name: str, fields: dict[str, Any]
    ) -> tuple[str, dict[tuple[str, str], str] | None]:
        """From now on the edit may be stored, and what it makes pointless may be gone."""
        self._simulation.note(f"{self.party} edits {kind} {fields}")
        if kind != "delete":
            news = {(name, f): f"{name} {json.dumps(v)}" for f, v in fields.items() if f != "id"}
            for claim, text in news.items():
                if claim in self.claims:
                    self.claims[claim].add(text)
            return name, news
        assert device._parts is not None
        known = device._parts.local.replica._fields(("tasks", name)) is not None
        for claim in [c for c in self.claims if c[0] == name]:
            if known:
                self.claims[claim].add(f"{name} deleted")
            else:
                del self.claims[claim]
        return name, {(name, ""): f"{name} deleted"} if known else None

    def _finish(self, made: tuple[str, dict[tuple[str, str], str] | None]) -> None:
        """The edit is stored on the device: from now on it must arrive."""
        for claim, text in (made[1] or {}).items():
            self.claims[claim] = {text}

    def check_claims(self, arrived: set[str]) -> None:
        for (name, field), texts in self.claims.items():
            assert texts & arrived, f"{self.name}'s {name}.{field} has disappeared: {texts}"
