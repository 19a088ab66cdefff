"""One push, one hello or one catch-up, and a line that breaks at a given step of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.simulation.mood import KEEPS, SIZES
from tests.simulation.simulation import Simulation

if TYPE_CHECKING:
    from tests.simulation.person import Person

Way = Literal["push", "hello", "catch-up"]
MISSED = 12
"""Pushes that the device lacks when it catches up: more than one page, and than the log's limit."""


class Walk(Simulation):
    """Two devices; the line of the first breaks after `steps` steps of the hub.

    `broke`: whether the hub made so many steps before all was said. Of a device that only greets
    the hub has then little left to say; one that catches up gets pages first and the log then.
    """

    def __init__(self, way: Way, steps: int, folder: Path) -> None:
        super().__init__(seed=0, folder=folder)
        self.way = way
        self.steps = steps
        self.broke = False
        self.mood = self.mood._replace(sizes=SIZES[0], keeps=KEEPS[0], has_power_cuts=False)
        self.people = self.people[:2]
        for person in self.people:
            person.rest()

    async def _live(self) -> None:
        walker, other = self.people
        self.site.start()
        for person in self.people:
            person.start()
            await self._level(person)
        await self._go(walker, other)
        await self._calm()
        await asyncio.sleep(1.0)
        users = self.site.hub.users._users.values()
        assert not [user.name for user in users if user.lock.is_held], "a lock stays held"
        await self._check_all()
        await self._end()

    async def _go(self, walker: Person, other: Person) -> None:
        if self.way == "push":
            self._watch(walker)
            await walker.edit_now()
            await walker.edit_now()
            await asyncio.sleep(5.0)
            return
        assert walker.line is not None
        walker.line.cut(0.0, 0.0)
        await walker.leave()
        if self.way == "catch-up":
            for _edit in range(MISSED):
                await other.edit_now()
                await self._level(other)
        walker.start()
        self._watch(walker)
        await asyncio.sleep(5.0)

    def _watch(self, walker: Person) -> None:
        """Count from here; the line is one that is open by the time it breaks."""

        def break_line() -> None:
            self.broke = True
            if walker.line is not None:
                walker.line.cut(0.0, 0.0)

        self.loop.after_steps(self.site.party, self.steps, break_line)
