"""What needs several things at one moment, which the dangers hardly ever bring together.

A quarter of all seeds has it, and throws dice of its own for that, so that the other worlds stay as
they are. Each takes the world and a victim, as the steps of torment.py do.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.torment import Step, away, back, later, missed, offline

if TYPE_CHECKING:
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

SHARE = 1 / 4
OFTEN = 0.4


class Hardships:
    """They come behind the dangers, each on somebody whom it likes."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._chance = Random(f"{world.seed} hardship")
        self._come = self._chance.random() < SHARE

    async def come(self) -> None:
        if not self._come or self._chance.random() > OFTEN:
            return
        victim = self._chance.choice(self._world.people)
        for step in self._chance.choice(HARDSHIPS):
            self._world.note(f"hardship {step.__name__} {victim.user}/{victim.name}")
            self._world.account.happened[step.__name__] += 1
            await step(self._world, victim)
        victim.is_offline = False
        victim.start()


async def overwhelmed(world: Simulation, victim: Person) -> None:
    """It takes nothing while others push much; then it wants to be level."""
    if victim.line is None:
        return
    line = victim.line
    line.stall(30.0)
    for _turn in range(8):
        for person in world.neighbours(victim):
            person.urge(4)
        await asyncio.sleep(0.5)
    victim.urge(1, "synchronize")
    await asyncio.sleep(1.0)
    line.unstall()
    await asyncio.sleep(1.0)


async def all_gone(world: Simulation, victim: Person) -> None:
    """Nobody of a user is there any more, what they pushed waits for the disk, and they return."""
    people = [victim, *world.neighbours(victim)]
    if world.site.is_up:
        world.site.disks[0].slow = 1.0
    for person in people:
        person.urge(3)
    await asyncio.sleep(0.2 + world.chance.random() * 0.4)
    for person in people:
        if person.line is not None:
            person.line.cut(0.0, 0.0)
    await asyncio.sleep(3.0)
    for disk in world.site.disks:
        disk.slow = 0.002


async def refused(world: Simulation, victim: Person) -> None:
    """It edits offline what others delete, and dies behind its push, which is stored."""
    await offline(world, victim)
    victim.urge(4, "update")
    await asyncio.sleep(0.6)
    for person in world.neighbours(victim):
        person.urge(2, "delete")
    await asyncio.sleep(1.0)
    steps = world.chance.randint(2, 12)
    world.account.on_push[victim.place] = lambda: world.loop.after_steps(
        victim.party, steps, victim.kill_unless_it_leaves
    )
    victim.is_offline = False
    await asyncio.sleep(4.0)
    world.account.on_push.pop(victim.place, None)
    victim.kill()


async def over_itself(world: Simulation, victim: Person) -> None:
    """It edits offline what it has just pushed, and the hub's clock is put back meanwhile."""

    def lose_the_line() -> None:
        victim.is_offline = True
        if victim.line is not None:
            victim.line.leave_ghost(2.0)

    victim.is_offline = False
    victim.start()
    await asyncio.sleep(0.5)
    world.account.on_push[victim.place] = lose_the_line
    victim.urge(1, "again")
    await asyncio.sleep(1.5)
    world.account.on_push.pop(victim.place, None)
    world.put_hub_clock_back(600_000)
    victim.urge(1, "again")
    await asyncio.sleep(0.3)
    victim.is_offline = False
    await asyncio.sleep(1.0)


async def died_in_the_fold(world: Simulation, _victim: Person) -> None:
    """The hub dies when it has folded some of what is behind."""
    steps = world.chance.randint(1, 2)
    world.account.on_fold = lambda: world.loop.after_steps(world.site.party, steps, world.kill_hub)
    for person in world.people:
        person.urge(2)
    await asyncio.sleep(1.5)
    world.account.on_fold = None
    world.site.start()


async def commit_refused(world: Simulation, _victim: Person) -> None:
    """All of a transaction is written, and the disk does not take its end."""
    world.site.refuse_commit = world.site.is_up
    for person in world.people:
        person.urge(2)
    await asyncio.sleep(1.0)
    world.site.refuse_commit = False


async def set_back(world: Simulation, victim: Person) -> None:
    """The hub's clock is put back, and a device that has heard of it starts again."""
    victim.urge(1, "again")
    await asyncio.sleep(0.5)
    world.put_hub_clock_back(600_000)
    if victim.line is not None:
        victim.line.cut(0.0, 0.0)
    await asyncio.sleep(2.0)
    victim.kill()
    victim.start()
    await asyncio.sleep(1.5)
    victim.urge(2, "again")
    await asyncio.sleep(0.5)


HARDSHIPS: tuple[tuple[Step, ...], ...] = (
    (overwhelmed,),
    (all_gone,),
    (refused, missed, missed, later, back),
    (refused, away, missed, later, back),
    (over_itself,),
    (died_in_the_fold,),
    (commit_refused,),
    (set_back,),
)
