"""One device to which everything happens: it misses much, comes half back, and days go by.

What retention, paging and resets can do wrong needs several things in a row. By chance alone a
world hardly ever gets there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

Step: TypeAlias = "Callable[[Simulation, Person], Awaitable[None]]"

Course: TypeAlias = tuple[Step, ...]


async def torment(world: Simulation) -> None:
    course = world.chance.choice(world.mood.courses) or world.chance.choices(STEPS, k=5)
    # A course that begins with a glimpse is one of a newcomer, to whom all is new.
    is_new = course[0] is glimpse or world.chance.random() < 0.2
    victim = world.newcomer() if is_new else world.someone()
    for step in course:
        world.note(f"torment {step.__name__} {victim.user}/{victim.name}")
        await step(world, victim)
    victim.start()
    victim.is_offline = False
    if victim.line is not None:
        victim.line.unstall()


async def away(world: Simulation, victim: Person) -> None:
    if world.chance.random() < 0.5:
        victim.kill()
    else:
        await victim.leave()


async def missed(world: Simulation, victim: Person) -> None:
    """Others edit much."""
    for person in world.neighbours(victim):
        person.urge(world.chance.randint(1, 4))
    await asyncio.sleep(world.chance.random() * 1.5)


async def moved(world: Simulation, victim: Person) -> None:
    """Others edit a little."""
    for person in world.neighbours(victim)[:2]:
        person.urge(world.chance.randint(1, 2), "update")
    await asyncio.sleep(world.chance.random())


async def deleted(world: Simulation, victim: Person) -> None:
    """Others delete much."""
    for person in world.neighbours(victim):
        person.urge(1, "delete")
    await asyncio.sleep(world.chance.random() * 1.5)


async def glimpse(world: Simulation, victim: Person) -> None:
    """It comes anew, and takes only a few frames."""
    if victim.line is not None:
        victim.line.cut(0.0, 0.0)
    victim.is_offline = False
    victim.takes = world.chance.randint(2, 4)
    victim.start()
    await asyncio.sleep(0.3 + world.chance.random() * 2)


async def edited(world: Simulation, victim: Person) -> None:
    """It edits itself, wherever it is: half-way, offline, level."""
    victim.urge(world.chance.randint(1, 4))
    victim.urge(1, "remake")
    await asyncio.sleep(world.chance.random())


async def offline(_world: Simulation, victim: Person) -> None:
    """It runs, and there is no network."""
    victim.start()
    victim.is_offline = True
    if victim.line is not None:
        victim.line.cut(0.0, 0.0)
    await asyncio.sleep(0.3)


async def unheard(world: Simulation, victim: Person) -> None:
    """It dies behind a push, of which it never hears what became."""
    victim.start()
    await asyncio.sleep(0.5)
    for person in world.neighbours(victim):
        person.urge(1, world.chance.choice(("delete", "update")))
    steps = world.chance.randint(1, 12)
    world.account.on_push[victim.place] = lambda: world.loop.after_steps(
        victim.party, steps, victim.kill_unless_it_leaves
    )
    victim.urge(3)
    await asyncio.sleep(1.0)
    world.account.on_push.pop(victim.place, None)
    victim.kill()


async def cut(_world: Simulation, victim: Person) -> None:
    if victim.line is not None:
        victim.line.cut(0.0, 0.0)
    await asyncio.sleep(0.1)


async def back(world: Simulation, victim: Person) -> None:
    victim.is_offline = False
    victim.start()
    if victim.line is not None:
        victim.line.unstall()
    await asyncio.sleep(world.chance.random() * 2)


async def put_back(world: Simulation, _victim: Person) -> None:
    """Somebody puts the hub's clock back."""
    world.put_hub_clock_back(600_000)


async def later(world: Simulation, victim: Person) -> None:
    """Days in which the hub lets go of what it no longer keeps."""
    await asyncio.sleep(0.6)
    world.pass_days(world.chance.choice((2.5, 6.0, 40.0)))
    await asyncio.sleep(2.5)


STEPS: tuple[Step, ...] = (
    away,
    missed,
    moved,
    deleted,
    glimpse,
    edited,
    offline,
    unheard,
    cut,
    back,
    later,
)
COURSES: tuple[Course, ...] = (
    (),  # whatever comes
    (away, missed, glimpse, moved, cut, back),
    (glimpse, moved, cut, back),
    (glimpse, moved, edited, cut, back),
    (glimpse, moved, away, moved, back),
    (glimpse, deleted, back),
    (glimpse, deleted, later, back),
    (away, deleted, later, back),
    (away, missed, deleted, glimpse, later, back),
    (away, missed, deleted, glimpse, away, later, back),
    (missed, away, missed, missed, glimpse, later, back),
    (unheard, missed, later, back),
    (unheard, missed, missed, glimpse, cut, back),
    (offline, edited, deleted, later, back),
    (offline, edited, missed, back),
    (put_back, cut, away, back, edited),
)
