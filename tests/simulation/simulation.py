"""One seed, one world: a hub and its devices, all that befalls them, and the calm behind it.

FoundationDB's manner: the real programs, in one thread, on a loop that owns time, chance, lines
and disks; so that whatever happens can be made to happen again.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import tempfile
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from hub.hub import Hub
from tests.simulation.account import Account
from tests.simulation.line import Line
from tests.simulation.loop import SeededLoop
from tests.simulation.person import NAMES, Person
from tests.simulation.site import Site, WatchedStore

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_790_000_000_000
RAM = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
LONGEST_CALM = 600.0


class Sizes(NamedTuple):
    """How small everything is made, so that half-ways and fallings behind happen at all."""

    log_pushes: int
    send_buffer: int
    page_bytes: int
    last_step: int
    fold_rows: int
    under_way: int


SIZES = (
    Sizes(4, 600, 100, 2, 2, 4),
    Sizes(6, 2_000, 300, 4, 20, 8),
    Sizes(1_000, 1_000, 65_536, 64, 8_000, 64),
)


class Told(NamedTuple):
    """How a world went: the hash of its events, how many, and what happened how often."""

    trace: str
    steps: int
    happened: dict[str, int]


class Simulation:
    """Everything of one seed. `say` is told each event in words."""

    store_class: type[WatchedStore] = WatchedStore
    hub_class: type[Hub] = Hub

    def __init__(self, seed: int, folder: Path, say: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.folder = folder
        self.is_calm = False
        self._is_over = False
        self._say = say
        self._trace = hashlib.sha256()
        self._chance = self.branch("fate")
        self.sizes = self._chance.choice(SIZES)
        self.has_power_cuts = self._chance.random() < 0.3
        self.loop = SeededLoop(self.branch("loop"), self._on_step)
        self.account = Account(self.now, self.note)
        self.site = Site(self)
        self._lines: list[Line] = []
        self.people = self._people()

    def _people(self) -> list[Person]:
        count = self._chance.randint(3, 8)
        users = ("ada", "ada", "ada", "bob") if count > 4 else ("ada",)
        return [Person(self, users[n % len(users)], f"d{n}") for n in range(count)]

    # What everybody is given

    def branch(self, name: str) -> Random:
        """Chance of somebody's own, so that one who throws more dice changes nobody else's."""
        return Random(f"{self.seed}/{name}")

    def now(self) -> int:
        """The hub's clock, ms."""
        return START + round(self.loop.time() * 1000)

    def note(self, event: str) -> None:
        if self._is_over:
            return
        text = f"{self.loop.time():10.4f} {event}"
        self._trace.update(text.encode())
        if self._say is not None:
            self._say(text)

    def _on_step(self, party: str, now: float) -> None:
        self._trace.update(f"{party} {now!r}".encode())

    def after_death(self) -> float:
        """Seconds until the other end of a line notices; a ghost may be believed in for long."""
        return self._chance.choice((0.0, 0.1, 2.0, 20.0)) if not self.is_calm else 0.0

    def new_line(self, person: Person) -> Line:
        name = f"{person.user}/{person.name}:{len(self._lines)}"
        size = self.sizes.send_buffer
        line = Line(name, self.loop, self.branch(name), size, self.account)
        line.calm = self.is_calm
        self._lines.append(line)
        self.account.belongs(line, person)
        return line

    # The story

    def run(self) -> Told:
        """Live through it.

        Raises:
            AssertionError: something that must hold did not.

        """
        asyncio.set_event_loop(None)
        with ExitStack() as cleaning:
            cleaning.callback(self.loop.close)
            cleaning.callback(self.loop.bury)
            for name, value in (
                ("hub.catchup.PAGE_BYTES", self.sizes.page_bytes),
                ("hub.catchup.LAST_STEP", self.sizes.last_step),
                ("hub.store.sqlite.FOLD_ROWS", self.sizes.fold_rows),
            ):
                cleaning.enter_context(patch(name, value))
            self._live_through()
            told = Told(self._trace.hexdigest(), self.loop.steps, dict(self.account.happened))
            self._is_over = True
        return told

    def _live_through(self) -> None:
        """What was found wrong first is what counts; all else may have come of it."""
        try:
            self.loop.run_until_complete(self._live())
        except BaseException as error:
            if self.account.failure is not None:
                raise self.account.failure from error
            raise

    async def _live(self) -> None:
        self.site.start()
        late = self._chance.randint(0, len(self.people) - 2)
        for person in self.people[late:]:
            person.start()
        for _turn in range(self._chance.randint(8, 16)):
            await asyncio.sleep(self._chance.random() * 1.5)
            await self._befall()
            self._check_troubles()
        await self._calm()
        await self._check_all()
        await self._end()

    async def _befall(self) -> None:
        what = self._chance.choices(
            (
                self._cut,
                self._join,
                self._stall,
                self._kill_person,
                self._kill_hub,
                self._stop_hub,
                self._leave,
                self._slow_disk,
                self._fail_write,
                self._long_silence,
            ),
            (6, 3, 3, 4, 4, 1, 2, 2, 3, 0.5),
        )[0]
        name = what.__name__.strip("_")
        self.account.happened[name] += 1
        self.note(name)
        await what()

    def _someone(self) -> Person:
        return self._chance.choice(self.people)

    async def _cut(self) -> None:
        line = self._someone().line
        if line is not None:
            line.cut(self.after_death(), self.after_death())

    async def _join(self) -> None:
        """One comes who was not there from the beginning; the line may not hold for long."""
        person = next((p for p in self.people if p.task is None), self._someone())
        person.start()
        await asyncio.sleep(self._chance.random())
        if person.line is not None and self._chance.random() < 0.5:
            person.line.cut(0.0, 0.0)

    async def _stall(self) -> None:
        line = self._someone().line
        if line is not None:
            line.stalled = True
            seconds = self._chance.choice((0.5, 5.0, 90.0))
            line._later(self.loop.time() + seconds, line.unstall)

    async def _kill_person(self) -> None:
        person = self._someone()
        self.loop.after_steps(person.party, self._chance.randint(1, 60), person.kill)
        await asyncio.sleep(self._chance.random())
        person.kill()
        await asyncio.sleep(self._chance.random())
        person.start()

    async def _kill_hub(self) -> None:
        power = self.has_power_cuts and self._chance.random() < 0.5

        def kill() -> None:
            self.site.kill(power=power)

        if self.site.is_up:
            self.loop.after_steps(self.site.party, self._chance.randint(1, 150), kill)
            await asyncio.sleep(self._chance.random())
            kill()
        await asyncio.sleep(self._chance.choice((0.0, 0.5, 3.0)))
        self.site.start()

    async def _stop_hub(self) -> None:
        await self.site.stop()
        await asyncio.sleep(self._chance.random())
        self.site.start()

    async def _leave(self) -> None:
        person = self._someone()
        await person.leave()
        await asyncio.sleep(self._chance.random() * 3)
        person.start()

    async def _slow_disk(self) -> None:
        for disk in self.site.disks:
            disk.slow = self._chance.choice((0.002, 0.05, 1.0))

    async def _fail_write(self) -> None:
        if self.site.is_up:
            disk = self.site.disks[0]
            disk.slow = self._chance.choice((disk.slow, 0.5))
            await asyncio.sleep(self._chance.random() * disk.slow)
            disk.interrupt_after = self._chance.randint(1, 300)

    async def _long_silence(self) -> None:
        await asyncio.sleep(self._chance.choice((20, 70)))

    # The calm

    async def _calm(self) -> None:
        self.note("calm")
        self.is_calm = True
        for line in self._lines:
            line.calm = True
            line.unstall()
        self.site.start()
        for disk in self.site.disks:
            disk.slow, disk.interrupt_after = 0.002, None
        for person in self.people:
            person.start()
        async with asyncio.timeout(LONGEST_CALM):
            for _round in range(2):
                for person in self.people:
                    await self._level(person)

    async def _level(self, person: Person) -> None:
        while person.device is None:
            await asyncio.sleep(0.1)
        await person.device.synchronize(None)

    async def _check_all(self) -> None:
        self._check_troubles()
        for user, record in self.account.records.items():
            rows = await self.site.store.log(user, 0, 10**9)
            record.check_log(rows)
            self.account.check_acked(user, rows)
            keys = [("tasks", name) for name in NAMES]
            record.check_objects(await self.site.store.objects(user, keys))
        for person in self.people:
            await self._check_person(person)

    async def _check_person(self, person: Person) -> None:
        record, device = self.account.record(person.user), person.device
        assert device is not None
        shown = {("tasks", fields["id"]): fields for fields in await device.read("tasks")}
        assert shown == record.states[-1], f"{person.name} shows something else"
        assert device.status.pending == 0
        assert device.status.clock == record.head
        person.check_claims(self.account.arrived[person.place])
        record.check_told(person.name, device.setbacks.values(), 0)

    async def _end(self) -> None:
        for person in self.people:
            await person.leave()
        await self.site.stop()
        assert self.loop.tasks_of() == [asyncio.current_task()], "a task is left"
        self._check_troubles()

    def _check_troubles(self) -> None:
        if self.account.failure is not None:
            raise self.account.failure
        for trouble in self.loop.troubles:
            raise trouble


def simulate(
    seed: int,
    say: Callable[[str], None] | None = None,
    kind: type[Simulation] = Simulation,
) -> Told:
    """Run the world of a seed in a folder of its own."""
    where = RAM if RAM.is_dir() else None
    # When garbage goes, what it ends goes on as steps of the loop: the same ones each time.
    gc.collect()
    gc.disable()
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-", dir=where) as folder:
            return kind(seed, Path(folder), say).run()
    finally:
        gc.enable()
