"""What any device knew of a hub that burnt down is there again, and nothing deleted is back.

The devices come back in any order, half-level, with unsent edits and pushes of which they never
heard, and edit on meanwhile; lines drop.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from protocol.diffs import Object
from tests.protocol.device import shown_of
from tests.refill.old import Old
from tests.refill.world import OBJECTS, World, steps

if TYPE_CHECKING:
    from protocol.diffs import Diff, Fields
    from protocol.records import Setback


HUNDREDS = range(15)


@pytest.mark.parametrize("hundred", HUNDREDS)
def test_devices_bring_back_all_that_any_of_them_knew(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        burn_once(seed)


@pytest.mark.parametrize("hundred", HUNDREDS)
def test_two_restores_in_a_row_lose_no_more_than_one(hundred: int) -> None:
    """From a copy of the hub in between, or from the same copy as the first time."""
    for seed in range(100 * hundred, 100 * hundred + 100):
        burn_twice(seed)


def burn_once(seed: int) -> None:
    """One world; what fails for a seed fails for it again."""
    world, old, made = a_world_after_a_fire(Random(seed))
    world.calm()
    for name in OBJECTS:
        unheard = [edit for edit in old.unheard if edit.json_data["id"] == name]
        new = [edit for edit in world.edits[made:] if edit.json_data["id"] == name]
        assert_refilled(world, name, old.version(name), unheard, new)
    assert_level(world)
    assert not [s for s in setbacks(world) if s.diff is not None and s.diff.was is not None]


def burn_twice(seed: int) -> None:
    """The same for two: objects that nobody has edited since the first are as they were."""
    chance = Random(seed)
    world, old, made = a_world_after_a_fire(chance)
    if chance.random() < 0.5:
        world.back_up()
        world.take(steps(chance, most=10))
    world.burn("log-3")
    world.take(steps(chance, most=10))
    world.calm()
    touched = {edit.json_data["id"] for edit in (*old.unheard, *world.edits[made:])}
    for name in OBJECTS:
        if name not in touched:
            assert shown(world, name) == old.version(name)
    assert_level(world)


def a_world_after_a_fire(chance: Random) -> tuple[World, Old, int]:
    """With some steps since; what was known before, and how many edits had been made by then."""
    world = a_world_with_a_past(chance)
    old = Old(world)
    world.burn("log-2")
    made = len(world.edits)
    world.take(steps(chance, most=20))
    return world, old, made


def a_world_with_a_past(chance: Random) -> World:
    world = World(tuple(chance.choice([0, -90_000, 90_000]) for _ in range(4)))
    world.take(steps(chance, most=40))
    world.back_up()
    world.take(steps(chance, most=30))
    return world


def assert_level(world: World) -> None:
    for device in world.devices.values():
        assert device.replica.pending == 0
        assert device.at.clock == world.hub.ledger.head
        assert device.tasks() == shown_of(world.hub)


def assert_refilled(
    world: World, name: str, version: Fields | None, unheard: list[Diff], new: list[Diff]
) -> None:
    """What is there of one task, given its last version and the edits that came on top of that."""
    final, refused = shown(world, name), refused_ids(world)
    on_top = [*unheard, *new]
    kinds = {edit.type for edit in on_top}
    if not on_top:
        assert final == version
    if version is not None and "delete" not in kinds:
        assert final is not None
    if version is None and "create" not in kinds:
        assert final is None
    if version is None or final is None or kinds - {"update"}:
        return
    set_on_top = {name for edit in on_top for name in edit.json_data}
    for name in version.keys() - set_on_top | {"id"}:
        assert final[name] == version[name]
    for name in set_on_top - {"id"}:
        last = max((e for e in on_top if name in e.json_data), key=lambda e: e.utc_timestamp)
        if last in new and last.id not in refused:
            assert final[name] == last.json_data[name]


def shown(world: World, name: str) -> Fields | None:
    held = world.hub.ledger.held.get(("tasks", name))
    return held.fields if isinstance(held, Object) else None


def setbacks(world: World) -> list[Setback]:
    return [setback for device in world.devices.values() for setback in device.setbacks]


def refused_ids(world: World) -> set[str]:
    return {setback.diff.id for setback in setbacks(world) if setback.diff is not None}
