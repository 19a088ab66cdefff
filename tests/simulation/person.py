"""A device, and its user, who edits whatever happens: a whole program that can be killed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from contextlib import closing, suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from client import Device, State, World
from client.errors import LinkFailed, SynchronizeTimeout
from client.storage.file import DeviceFile
from protocol.records import Saved
from tests.simulation.disk import DeviceDisk, copy_file
from tests.simulation.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from client.link import Link
    from protocol.diffs import Diff
    from protocol.records import CutPush, Edit
    from protocol.replica import Replica
    from tests.simulation.simulation import Simulation
    from tests.simulation.strands import Place

DAY = 86_400_000
NAMES = tuple(f"t{n}" for n in range(1, 13))
FIRST = 3
"""Objects that each of the first makes."""
FIELDS = ("a", "b", "c")
Wish = Literal["any", "create", "update", "delete", "remake", "again", "synchronize"]


class NotingWorld(World):
    """Notes each id that an edit is given."""

    note: Callable[[str], None]

    def new_id(self) -> str:
        name = super().new_id()
        self.note(name)
        return name


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
        self.life = 0
        self._edits = 0
        self._last_name = NAMES[0]
        self.takes: int | None = None
        self.is_offline = False
        self._left = self._chance.randint(2, 14)
        self._busy = self._chance.choice((0.4, 3.0, 8.0))
        self._urges: deque[Wish] = deque()
        self._urged = asyncio.Event()
        self._token_life = self._chance.choice((None, 8_000, 30_000))
        self._skew = self._chance.choice((0, 0, -3 * DAY, 2 * DAY, 30 * DAY))

    # Its process

    def start(self) -> None:
        if self.task is not None:
            return
        self.life += 1
        self.party = f"{self.user}/{self.name}#{self.life}"
        self._leaving = asyncio.Event()
        self._urged = asyncio.Event()
        self._disk = DeviceDisk(self._path, self._chance)
        self.task = self._loop.start(self.party, self._run(self._disk))

    async def _run(self, disk: DeviceDisk) -> None:
        device = Device(
            "ws://nowhere",
            token=self._token if self._token_life else f"{self.user}|",
            storage=disk,
            name=self.name,
            connect=self._connect,
            world=self._world(),
        )
        async with device:
            self.device = device
            while not self._leaving.is_set():
                await self._wait_for_urge()
                if not self._leaving.is_set() and not self._simulation.is_calm:
                    await self._act(device)
            self.device = None

    def _world(self) -> World:
        world = NotingWorld(
            now=self._now, chance=self._fresh_chance(), steady=self._simulation.steady
        )
        world.note = partial(self._simulation.account.make, self)
        return world

    async def _wait_for_urge(self) -> None:
        """Until somebody urges it on, it has a mind to do something itself, or it has to leave."""
        if self._urges:
            await asyncio.sleep(self._chance.random() * 0.1)
            return
        rests = self._left == 0 or self._simulation.is_calm
        self._urged.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if rests else self._chance.random() * self._busy):
                await self._urged.wait()

    async def _act(self, device: Device) -> None:
        if self._urges:
            wish = self._urges.popleft()
        elif self._left:
            self._left -= 1
            wish = "synchronize" if self._chance.random() < 0.15 else "any"
        else:
            return
        if wish == "synchronize":
            await self._synchronize(device)
        elif wish == "remake":
            await self._remake(device)
        elif wish == "again":
            await self._edit_one(device, "update", *self._all_of_it())
        else:
            await self._edit(device, wish)

    async def _remake(self, device: Device) -> None:
        """Make anew what is there, and delete it."""
        for name in self._known()[:1]:
            await self._edit_one(device, "create", name, self._fields(name))
            await self._edit_one(device, "delete", name, self._fields(name))

    async def _synchronize(self, device: Device) -> None:
        """Once level, it has all that had been handed out when it asked."""
        account = self._simulation.account
        asked = account.strands.asked(self.user)
        with suppress(SynchronizeTimeout):
            await device.synchronize(20.0)
            account.check_level(self.place, device.status.clock, asked)

    def begin(self) -> None:
        """Start, and make something that the others will see."""
        self._urges.extend(["create"] * FIRST)
        self.start()

    def urge(self, count: int, wish: Wish = "any") -> None:
        """Have it do so many things at once; who is away does them on coming back, if at all."""
        if self.device is not None:
            self._urges.extend([wish] * count)
            self._urged.set()

    def _fresh_chance(self) -> Random:
        return Random(self._chance.getrandbits(64))

    async def leave(self) -> None:
        """Close the device in good order."""
        if self.task is not None:
            self._leaving.set()
            self._urged.set()
            self._simulation.note(f"{self.party} leaves")
            task, party = self.task, self.party
            await asyncio.wait([task])
            if not task.done():
                return
            task.result()
            assert not self._loop.tasks_of(party), "a task outlives its device"
            self.task = None

    def kill_unless_it_leaves(self) -> None:
        """Somebody may wait for it to be closed, and would for ever."""
        if not self._leaving.is_set():
            self.kill()

    def kill(self) -> None:
        """As on `kill -9`: its file stays as it is; its line breaks."""
        if self.task is None or self.task.done():
            return
        self._simulation.note(f"{self.party} is killed")
        self._loop.kill(self.party)
        self.task = self.device = None
        self._urges.clear()
        after = self._simulation.after_death
        if self.line is not None:
            self.line.cut(after(), 0.0)
        self._leave_file_behind()

    def _leave_file_behind(self) -> None:
        left = copy_file(self._path, self._path.with_suffix(f".{self.life}"))
        if self._disk is not None and hasattr(self._disk, "file"):
            self._disk.file._connection.close()
        self._path = left
        strands = self._simulation.account.strands
        if strands.was_restored and left.exists():
            strands.owes(self.place, self._offers_in(left))

    def _offers_in(self, path: Path) -> set[str]:
        """Their ids, asked of SQLite, for the product's own reading may be what is wrong."""
        looked_at = copy_file(path, path.with_suffix(".owed"))
        with closing(sqlite3.connect(looked_at)) as file:
            tables = file.execute("SELECT name FROM sqlite_schema WHERE name = 'edits'").fetchall()
            query = "SELECT diff ->> 'id' FROM edits WHERE number < 0"
            return {name for (name,) in file.execute(query)} if tables else set()

    # What it holds

    @property
    def _replica(self) -> Replica | None:
        parts = self.device._parts if self.device is not None else None
        return parts.local.replica if parts is not None else None

    @property
    def epoch(self) -> str | None:
        """The start of the hub with which it was connected last, as far as it knows."""
        return self._replica.position.epoch if self._replica is not None else None

    def unsettled(self) -> list[Diff]:
        """Edits of which it does not know yet what became; what it offers is nobody's edit."""
        replica = self._replica
        if replica is None:
            return []
        pending = replica._pending
        return edits_of(pending.pushes.values(), pending.waiting.values())

    def stored(self) -> Saved:
        """What it would have if it died now."""
        if not self._path.exists():
            return Saved()
        left = copy_file(self._path, self._path.with_suffix(".looked-at"))
        file = DeviceFile(left)
        try:
            return file.read().saved
        finally:
            file.close()

    # Its line

    def set_clock(self, by: int) -> None:
        """Somebody sets its clock, by so many milliseconds."""
        self._skew += by

    def _now(self) -> int:
        return self._simulation.steady() + self._skew

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
        if not site.is_up or self.is_offline:
            raise LinkFailed("there is nobody")
        self.line = self._simulation.new_line(self)
        self.line.takes, self.takes = self.takes, None
        site.serve(self.line)
        return self.line.device

    # Its user

    def rest(self) -> None:
        """Make no edit by itself."""
        self._left = 0

    async def edit_now(self) -> None:
        assert self.device is not None
        await self._edit(self.device)

    async def _edit(self, device: Device, wish: Wish = "any") -> None:
        if device.status.state is State.STOPPED:
            raise AssertionError(f"the device stopped: {device.status.error}")
        if wish == "any" and self._chance.random() < 0.15:
            await self._edit_many(device)
            return
        await self._edit_one(device, *self._sketch(wish))

    async def _edit_one(self, device: Device, kind: str, name: str, fields: dict[str, Any]) -> None:
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
            known = self._known()
            for name in self._chance.sample(known if len(known) >= 3 else NAMES, 3):
                fields = self._fields(name)
                batch.update("tasks", fields)
                made.append(self._begin(device, "update", name, fields))
        for one in made:
            self._finish(one)

    def _sketch(self, wish: Wish) -> tuple[str, str, dict[str, Any]]:
        kinds = ("create", "create", "create", "update", "update", "update", "update", "delete")
        kind = wish if wish in kinds else self._chance.choice(kinds)
        name = self._chance.choice(self._known() or NAMES if kind != "create" else NAMES)
        if self._chance.random() < 0.25:
            name = self._last_name
        self._last_name = name
        return kind, name, self._fields(name)

    def _all_of_it(self) -> tuple[str, dict[str, Any]]:
        """Every field of an object that it sees; the same one as long as it does."""
        name = next(iter(self._known()), self._last_name)
        return name, {"id": name, **{field: self._value() for field in FIELDS}}

    def _known(self) -> tuple[str, ...]:
        """Objects that it sees, mostly: to edit what is not there is soon refused."""
        if self.device is None or self._chance.random() < 0.1:
            return ()
        parts = self.device._parts
        return tuple(f["id"] for f in parts.local.replica.shown("tasks")) if parts else ()

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
        self._simulation.account.edited(self.user, kind, fields)
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


def edits_of(pushes: Iterable[CutPush], waiting: Iterable[Edit]) -> list[Diff]:
    """The edits of a device's own that are pending."""
    cut = (edit for push in pushes for edit in push.edits)
    return [edit.diff for edit in (*cut, *waiting) if edit.diff.was is None]
