"""An older copy of the hub's file is put back by hand, and no device diverges.

Story 6 with real processes: the hub cannot know by itself what it has lost, but the devices do.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.hub_process import HubProcess
from tests.crash.lives import Lives, level, seen_by, within, write

DEVICES = ("phone", "desk", "tablet")


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path)


async def everybody_agrees(lives: Lives, hub: HubProcess) -> set[str]:
    """The ids of the notes that all devices and the hub have, with the same fields."""
    async with (
        lives.device(hub, "phone") as phone,
        lives.device(hub, "desk") as desk,
        lives.device(hub, "tablet") as tablet,
    ):
        for device in (phone, desk, tablet):  # what one still had to send is news to the others
            await level(device)
        seen = [await seen_by(device) for device in (phone, desk, tablet)]
        assert seen[0] == seen[1] == seen[2]
        assert [device.status.pending for device in (phone, desk, tablet)] == [0, 0, 0]
    await within(hub.stop(), "the hub to stop")
    stored = {name for (name,) in lives.ask("SELECT id FROM objects WHERE fields IS NOT NULL")}
    assert stored == seen[0].keys()
    return stored


async def stopped_and_copied(lives: Lives, hub: HubProcess) -> None:
    assert await within(hub.stop(), "the hub to stop") == 0
    lives.copy("copy")


async def copied_while_it_serves(lives: Lives, _hub: HubProcess) -> None:
    lives.copy("copy")


@pytest.mark.parametrize("copy", [stopped_and_copied, copied_while_it_serves])
async def test_a_copy_put_back_by_cp_after_a_kill_lets_no_device_diverge(
    lives: Lives, copy: Callable[[Lives, HubProcess], object]
) -> None:
    """The clocks that the phone has seen are taken again, by other pushes."""
    async with lives.hub() as hub:
        for name in DEVICES:
            async with lives.device(hub, name) as device:
                await write(device, f"{name}-1")
                await level(device)
        await copy(lives, hub)  # type: ignore[misc]  # a coroutine function
        if hub.process.returncode is None:
            async with lives.device(hub, "phone") as phone:
                await write(phone, "lost-0")
                await level(phone)
    async with lives.hub() as hub:
        async with lives.device(hub, "phone") as phone:
            await write(phone, "lost-1", "lost-2", "lost-3")
            await level(phone)
        await within(hub.kill(), "the hub to die")
    await lives.offline("phone", "pending-1", "pending-2")
    lives.put_back("copy")
    async with lives.hub() as hub:
        async with lives.device(hub, "desk") as desk:
            await write(desk, "desk-2", "desk-3", "desk-4", "desk-5", "desk-6")
            await level(desk)
        agreed = await everybody_agrees(lives, hub)
    assert agreed >= {f"{name}-1" for name in DEVICES} | {"pending-1", "pending-2"}
    assert agreed >= {f"desk-{number}" for number in range(2, 7)}
    assert agreed >= {"lost-1", "lost-2", "lost-3"}
    assert lives.ask("SELECT json_array_length(continues) FROM users") == [(1,)]


async def test_who_was_not_ahead_of_the_copy_is_not_reset(lives: Lives) -> None:
    async with lives.hub() as hub:
        for name in DEVICES:
            async with lives.device(hub, name) as device:
                await write(device, f"{name}-1")
                await level(device)
        await stopped_and_copied(lives, hub)
    lives.put_back("copy")
    async with lives.hub() as hub:
        assert await everybody_agrees(lives, hub) == {f"{name}-1" for name in DEVICES}
    assert lives.ask("SELECT continues, opened FROM users") == [(None, 0)]
