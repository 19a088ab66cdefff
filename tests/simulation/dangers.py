"""What can befall a world: a literal table. Each takes the world, and as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.torment import torment

if TYPE_CHECKING:
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

DAYS = (0.1, 1.2, 2.5, 6.0, 40.0)
BACK_BY = (120_000, 600_000, 1_200_000)
"""Milliseconds by which the hub's clock is put back: less than an hour in all."""
SET_BY = (-3_600_000, -90_000, 45_000, 7_200_000, 86_400_000)
"""Milliseconds by which people set a device's clock."""


async def cut(world: Simulation) -> None:
    line = world.someone().line
    if line is not None:
        line.cut(world.after_death(), world.after_death())


async def haunt(world: Simulation) -> None:
    """The device comes again at once, and what it said on the old line is still on its way.

    The disk is slow, and others push: so it waits in the hub while the device says hello again.
    """
    person = world.someone()
    for disk in world.site.disks:
        disk.slow = world.chance.choice((disk.slow, 0.4, 0.8))
    for other in world.neighbours(person):
        other.urge(1)
    person.urge(4)
    _after_pushes(world, person, world.chance.randint(1, 3))
    await asyncio.sleep(1.0 + world.chance.random())
    world.account.on_push.pop(person.place, None)


def _after_pushes(world: Simulation, person: Person, count: int) -> None:
    def pushed() -> None:
        if count > 1:
            _after_pushes(world, person, count - 1)
        elif person.line is not None:
            person.line.leave_ghost(world.chance.choice((0.5, 2.0, 20.0)))

    world.account.on_push[person.place] = pushed


async def join(world: Simulation) -> None:
    """One comes who was not there from the beginning; the line may not hold for long."""
    person = world.newcomer()
    person.start()
    await asyncio.sleep(world.chance.random())
    if person.line is not None and world.chance.random() < 0.5:
        person.line.cut(0.0, 0.0)


async def stall(world: Simulation) -> None:
    line = world.someone().line
    if line is not None:
        line.stall(world.chance.choice((0.5, 5.0, 90.0)))


async def kill_person(world: Simulation) -> None:
    person = world.someone()
    world.loop.after_steps(person.party, world.chance.randint(1, 60), person.kill_unless_it_leaves)
    await asyncio.sleep(world.chance.random())
    person.kill()
    await asyncio.sleep(world.chance.random())
    person.start()


async def kill_behind_push(world: Simulation) -> None:
    """A device dies within a few steps of having sent a push."""
    person = world.someone()
    steps = world.chance.randint(1, 12)
    world.account.on_push[person.place] = lambda: world.loop.after_steps(
        person.party, steps, person.kill_unless_it_leaves
    )
    person.urge(2)
    await asyncio.sleep(world.chance.random() * 2)
    world.account.on_push.pop(person.place, None)
    person.start()


async def kill_hub(world: Simulation) -> None:
    if world.site.is_up:
        world.loop.after_steps(world.site.party, world.chance.randint(1, 150), world.kill_hub)
        await asyncio.sleep(world.chance.random())
        world.kill_hub()
    await asyncio.sleep(world.chance.choice((0.0, 0.5, 3.0)))
    world.site.start()


async def kill_behind_commit(world: Simulation) -> None:
    """The hub dies within a few steps of a commit: before the ack, the broadcast or the fold."""
    steps = world.chance.randint(1, 25)
    world.account.on_commit = lambda: world.loop.after_steps(
        world.site.party, steps, world.kill_hub
    )
    for person in world.people:
        person.urge(1)
    await asyncio.sleep(world.chance.random() * 2)
    world.account.on_commit = None
    world.site.start()


async def stop_hub(world: Simulation) -> None:
    await world.site.stop()
    await asyncio.sleep(world.chance.random())
    world.site.start()


async def leave(world: Simulation) -> None:
    person = world.someone()
    await person.leave()
    await asyncio.sleep(world.chance.random() * 3)
    person.start()


async def slow_disk(world: Simulation) -> None:
    for disk in world.site.disks:
        disk.slow = world.chance.choice((0.002, 0.05, 1.0))


async def fail_write(world: Simulation) -> None:
    if world.site.is_up:
        disk = world.site.disks[0]
        disk.slow = world.chance.choice((disk.slow, 0.5))
        await asyncio.sleep(world.chance.random() * disk.slow)
        disk.interrupt_after = world.chance.randint(1, 300)


async def fail_commit(world: Simulation) -> None:
    """The disk refuses a commit, while more pushes come."""
    if world.site.is_up:
        world.site.disks[0].slow = 0.4
        world.site.fail_commit = world.chance.randint(1, 200)
        for person in world.people:
            person.urge(world.chance.randint(1, 5))
        await asyncio.sleep(0.5 + world.chance.random())


async def fail_read(world: Simulation) -> None:
    if world.site.is_up:
        world.site.disks[1].interrupt_after = world.chance.randint(1, 100)


async def long_silence(world: Simulation) -> None:
    await asyncio.sleep(world.chance.choice((20, 70)))


async def set_clock(world: Simulation) -> None:
    world.someone().set_clock(world.chance.choice(SET_BY))


async def put_hub_clock_back(world: Simulation) -> None:
    world.put_hub_clock_back(world.chance.choice(BACK_BY))


async def days_pass(world: Simulation) -> None:
    """All clocks go on, as over a night in which the machines slept."""
    world.pass_days(world.chance.choice(DAYS))
    await asyncio.sleep(world.chance.choice((0.1, 3.0)))


async def rush(world: Simulation) -> None:
    """Everybody edits at once."""
    for person in world.people:
        person.urge(world.chance.randint(1, 4))
    await asyncio.sleep(world.chance.random())


async def poll(world: Simulation) -> None:
    """A client of mobync's comes by, with a few edits."""
    for _edit in range(world.chance.randint(0, 3)):
        world.poller.edit()
    await world.poller.come()


class Danger(NamedTuple):
    """`weight`: how often it comes, next to the others."""

    happen: Callable[[Simulation], Awaitable[None]]
    weight: float

    @property
    def name(self) -> str:
        return self.happen.__name__


TORMENT = Danger(torment, 14)
DANGERS = (
    Danger(cut, 6),
    Danger(haunt, 6),
    Danger(join, 3),
    Danger(stall, 3),
    Danger(kill_person, 4),
    Danger(kill_behind_push, 2),
    Danger(kill_hub, 4),
    Danger(kill_behind_commit, 4),
    Danger(stop_hub, 1),
    Danger(leave, 2),
    Danger(slow_disk, 2),
    Danger(fail_write, 3),
    Danger(fail_commit, 3),
    Danger(fail_read, 1),
    Danger(long_silence, 0.5),
    Danger(set_clock, 1),
    Danger(put_hub_clock_back, 2),
    Danger(days_pass, 2),
    Danger(rush, 2),
    Danger(poll, 3),
    TORMENT,
)
# A hub whose file is put back to an older copy, or restored from one, is in fire.py: it has dice of
# its own.
