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
from tests.folders import IN_MEMORY
from tests.simulation.account import Account
from tests.simulation.fire import Fire
from tests.simulation.hardships import Hardships
from tests.simulation.line import Line
from tests.simulation.loop import SeededLoop
from tests.simulation.mood import mood_of
from tests.simulation.person import NAMES, Person
from tests.simulation.poller import Poller
from tests.simulation.site import Site, WatchedStore

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_790_000_000_000
DAY_MS = 86_400_000
MOST_PEOPLE = 9
MOST_BACK = 3_000_000
"""Ms: from an hour on devices would follow, and stamp edits lower than before."""
MOST_AT_REST = 30
"""Units of work of a hub at rest in half a minute: retention may look at users who are due."""
LONGEST_CALM = 600.0


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
        self.chance = self.branch("fate")
        self.mood = mood_of(self.branch("mood"))
        self._days = 0.0
        self._put_back = 0
        self.loop = SeededLoop(self.branch("loop"), self._on_step)
        self.account = Account(self.now, self.note)
        self.site = Site(self)
        self._lines: list[Line] = []
        self.people = self._people()
        self.poller = Poller(self)
        self.fire = Fire(self)
        self.hardships = Hardships(self)

    def _people(self) -> list[Person]:
        count = self.chance.randint(3, 6)
        users = ("ada", "ada", "ada", "bob") if count > 4 else ("ada",)
        return [Person(self, users[n % len(users)], f"d{n}") for n in range(count)]

    # What everybody is given

    def branch(self, name: str) -> Random:
        """Chance of somebody's own, so that one who throws more dice changes nobody else's."""
        return Random(f"{self.seed}/{name}")

    def now(self) -> int:
        """The hub's clock, ms."""
        return self.steady() - self._put_back

    def steady(self) -> int:
        """A clock that nobody sets, ms: it goes on while machines sleep."""
        return START + round(self.loop.time() * 1000 + self._days * DAY_MS)

    def put_hub_clock_back(self, by: int) -> None:
        """Somebody puts the hub's clock back, by so many ms; no device then begins lower."""
        if self._put_back + by < MOST_BACK:
            self._put_back += by

    def pass_days(self, days: float) -> None:
        """All clocks go on, and nobody does anything: no timer of the loop runs out."""
        self.note(f"{days} days pass")
        self._days += days
        self.account.confuse()

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
        return self.chance.choice((0.0, 0.1, 2.0, 20.0)) if not self.is_calm else 0.0

    def new_line(self, person: Person) -> Line:
        name = f"{person.user}/{person.name}:{len(self._lines)}"
        size = self.mood.sizes.send_buffer
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
                ("hub.catchup.PAGE_BYTES", self.mood.sizes.page_bytes),
                ("hub.catchup.LAST_STEP", self.mood.sizes.last_step),
                ("hub.store.sqlite.FOLD_ROWS", self.mood.sizes.fold_rows),
                ("hub.store.folding.STEP_ROWS", self.mood.sizes.step_rows),
                ("protocol.replica.HistoryGap", self.account.gap),
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
            first = self.account.failure or next(iter(self.loop.troubles), error)
            if first is not error:
                raise first from error
            raise

    async def _live(self) -> None:
        self.site.start()
        late = self.chance.randint(0, len(self.people) - 2)
        for person in self.people[late:]:
            person.begin()
        for _turn in range(self.chance.randint(4, 8)):
            await asyncio.sleep(self.chance.random() * 1.5)
            await self._befall()
            self._check_troubles()
            await self.fire.rage()
            await self.hardships.come()
            self._check_troubles()
        await self.fire.break_out()
        await self._calm()
        await self._check_all()
        await self._check_rest()
        await self._end()

    async def _befall(self) -> None:
        danger = self.chance.choices(self.mood.dangers, self.mood.weights)[0]
        self.account.happened[danger.name] += 1
        self.note(danger.name)
        await danger.happen(self)

    # What those need who make things happen

    def someone(self) -> Person:
        return self.chance.choice(self.people)

    def newcomer(self) -> Person:
        """Somebody who was never there before, or anybody if that is everybody."""
        idle = next((person for person in self.people if person.life == 0), None)
        if idle is None and len(self.people) < MOST_PEOPLE:
            idle = Person(self, "ada", f"d{len(self.people)}")
            self.people.append(idle)
        return idle or self.someone()

    def neighbours(self, person: Person) -> list[Person]:
        """The other devices of the same user."""
        return [p for p in self.people if p.user == person.user and p is not person]

    def kill_hub(self) -> None:
        self.site.kill(power=self.mood.has_power_cuts and self.chance.random() < 0.5)

    # The calm

    async def _calm(self) -> None:
        self.note("calm")
        self.is_calm = True
        for line in self._lines:
            line.calm = True
            line.unstall()
        self.site.start()
        self.loop.forget_alarms()
        self.account.on_commit = self.account.on_fold = None
        self.account.on_push.clear()
        self.account.on_reset.clear()
        for disk in self.site.disks:
            disk.slow, disk.interrupt_after = 0.002, None
        self.site.fail_commit, self.site.refuse_commit = None, False
        for person in self.people:
            person.is_offline = False
            person.start()
        async with asyncio.timeout(LONGEST_CALM):
            for _round in range(2):
                for person in self.people:
                    await self._level(person)

    async def _level(self, person: Person) -> None:
        while person.device is None:
            await asyncio.sleep(0.1)
        asked = self.account.strands.asked(person.user)
        await person.device.synchronize(None)
        self.account.check_level(person.place, person.device.status.clock, asked)

    async def _check_all(self) -> None:
        self._check_troubles()
        if self.account.happened["poll"]:
            await self.poller.check()
            for person in self.people:
                await self._level(person)
        for user, record in self.account.strands.records.items():
            rows = await self.site.store.log(user, 0, 10**9)
            record.check_log_rows(rows)
            self.account.check_acked(user, rows)
            keys = [("tasks", name) for name in NAMES]
            record.check_objects(await self.site.store.objects(user, keys))
        for person in self.people:
            await self._check_person(person)
        self.fire.check()

    async def _check_person(self, person: Person) -> None:
        record, device = self.account.record(person.user), person.device
        assert device is not None
        shown = {("tasks", fields["id"]): fields for fields in await device.read("tasks")}
        assert shown == record.states[-1], f"{person.name} shows something else"
        assert device.status.pending == 0
        assert device.status.clock == record.head
        self.account.strands.check_owed(person.place)
        person.check_claims(record.arrived[person.name])
        record.check_told(
            person.name, self.account.own_setbacks(person, device.setbacks.values()), 0
        )

    async def _check_rest(self) -> None:
        """Where nothing happens, the store has nothing to do, and holds nothing back."""
        await asyncio.sleep(5.0)
        units = sum(disk.units for disk in self.site.disks)
        await asyncio.sleep(30.0)
        assert sum(disk.units for disk in self.site.disks) <= units + MOST_AT_REST
        assert self.site.store._ledger.unfolded == 0, "something is never folded"

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
    # When garbage goes, what it ends goes on as steps of the loop: the same ones each time.
    # What there is before the first world is frozen, so that to collect costs one world's garbage.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-", dir=IN_MEMORY) as folder:
            return kind(seed, Path(folder), say).run()
    finally:
        gc.enable()
