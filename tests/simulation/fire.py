"""The hub burns down: it goes on from a copy of its file, and its devices give back what they can.

A third of all seeds have it. It throws dice of its own, so that the other worlds stay as they are.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.lost import Lost

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation
    from tests.simulation.strands import Books

SHARE = 1 / 3


class Copy(NamedTuple):
    """A copy of the hub's file, what is in it, and whether the hub was not restored since."""

    path: Path
    books: Books
    restores: int


class Fire:
    """Somebody copies the file now and then, and goes back to the newest copy when it burns.

    The file is put back without the verb at most once, last, and to a copy of the same history:
    of two lost ones of one name devices could not say which they knew (docs/protocol.md, 10).
    """

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._chance = Random(f"{world.seed} restore")
        self.burns = self._chance.random() < SHARE
        self._left = self._chance.choice((1, 1, 1, 2))
        self._restores = 0
        self._copy: Copy | None = None
        self._lost: list[Lost] = []

    async def rage(self) -> None:
        """Whatever comes between two dangers."""
        if not self.burns:
            return
        if self._copy is None or self._chance.random() < 0.2:
            self._copy = self._back_up()
        elif self._left and self._chance.random() < 0.4:
            await self._burn(self._copy)

    async def break_out(self) -> None:
        """It has to burn once; what comes behind it goes on in the calm."""
        if self.burns and not self._restores and self._copy is not None:
            await self._burn(self._copy)

    def check(self) -> None:
        """What devices knew is there."""
        for lost in self._lost:
            lost.check(self._world.account)

    def _back_up(self) -> Copy:
        self._world.note("backup")
        self._world.account.happened["backup"] += 1
        path, strands = self._world.site.back_up(), self._world.account.strands
        for user in sorted(self._world.site.users_in(path)):
            strands.record(user)  # it may be of a device that is just being greeted
        return Copy(path, strands.copied(), self._restores)

    async def _burn(self, copy: Copy) -> None:
        world, chance = self._world, self._chance
        await self._put_clock_back()
        await self._go_on(0.7)
        world.site.kill()
        self._strike_people()
        is_last = self._left == 1 and copy.restores == self._restores
        by_hand = chance.random() < 0.5 and is_last
        self._left, self._restores = self._left - 1, self._restores + 1
        self._lose(copy)
        world.poller.begin_anew()
        world.note("put back by hand" if by_hand else "restore")
        world.account.happened["put back by hand" if by_hand else "restored"] += 1
        if by_hand:
            world.site.put_back(copy.path)
        else:
            world.site.restore(copy.path)
        await asyncio.sleep(chance.choice((0.0, 0.5, 3.0)))
        world.site.start()
        await self._poll()
        await self._go_on(0.6)

    async def _poll(self) -> None:
        """A polling client comes before the devices do, and sees no more than the copy has."""
        if self._chance.random() < 0.4:
            await asyncio.sleep(0.02)
            self._world.account.happened["poll"] += 1
            await self._world.poller.come()

    async def _go_on(self, likely: float) -> None:
        """Everybody who is there edits."""
        if self._chance.random() < likely:
            for person in self._world.people:
                person.urge(self._chance.randint(0, 3))
            await asyncio.sleep(self._chance.random() * 2)

    async def _put_clock_back(self) -> None:
        """Then what is made upon a value that somebody has seen may look older than that."""
        if self._chance.random() < 0.3:
            self._world.put_hub_clock_back(600_000)
            for person in self._world.people:
                if person.line is not None:
                    person.line.cut(0.0, 0.0)
            await asyncio.sleep(1.0)

    def _strike_people(self) -> None:
        """Some die with it, and come back much later: others have given back by then.

        Some die when they have come back, in the midst of giving back.
        """
        for person in self._world.people:
            if self._chance.random() < 0.2:
                person.kill()
            elif self._chance.random() < 0.4:
                self._world.account.on_reset[person.place] = partial(
                    self._kill_soon, person, self._chance.randint(1, 40)
                )

    def _kill_soon(self, person: Person, steps: int) -> None:
        self._world.loop.after_steps(person.party, steps, person.kill_unless_it_leaves)

    def _lose(self, copy: Copy) -> None:
        account = self._world.account
        for user in sorted(self._world.site.users_in(copy.path)):
            people = [person for person in self._world.people if person.user == user]
            lost = Lost(account, user, people, copy.books.records[user])
            first = next((one for one in self._lost if one.user == user), None)
            if first is not None:
                lost.know_less(account, first)
            self._lost.append(lost)
        account.strands.restore(copy.books)
