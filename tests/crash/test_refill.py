"""A hub that burnt down, restored from an older copy, gets back from its devices what they know.

Real processes, `kill -9`, and the commands that an operator gives.
"""

import asyncio
import json
from pathlib import Path

import pytest

from client import Device
from tests.crash.lives import Lives, Notes, command, level, seen_by, within, write

DEVICES = ("phone", "desk", "tablet")


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path)


async def a_day_after_the_backup(lives: Lives) -> Notes:
    """All devices write, the hub is copied, all write on, half of them are level; it is killed.

    What the desk, which is level, sees in the end; and the tablet is half a day behind.
    """
    async with lives.hub() as hub:
        for name in DEVICES:
            async with lives.device(hub, name) as device:
                await write(device, f"{name}-1", f"{name}-2")
                await level(device)
        code, _, errors = await command("backup", lives.folder / "copy.db", "--data", lives.data)
        assert code == 0, errors
        for name, first in (
            ("phone", range(3, 6)),
            ("tablet", range(3, 9)),
            ("phone", range(6, 9)),
        ):
            async with lives.device(hub, name) as device:
                await write(device, *(f"{name}-{n}" for n in first))
                if first.start == 3:
                    await within(device.delete("notes", f"{name}-1"), "a deletion")
                await level(device)
        async with lives.device(hub, "desk") as desk:
            await within(desk.update("notes", {"id": "phone-2", "done": True}), "an edit")
            seen = await seen_by(desk)
        await within(hub.kill(), "the hub to die")
    return seen


async def restore(lives: Lives) -> None:
    code, _, errors = await command("restore", lives.folder / "copy.db", "--data", lives.data)
    assert code == 0, errors


async def refills(lives: Lives) -> list[dict[str, object]]:
    code, out, errors = await command("refills", "--data", lives.data)
    assert code == 0, errors
    return [json.loads(line) for line in out.splitlines()]


async def everybody_sees(lives: Lives, notes: Notes, *flags: str) -> None:
    async with lives.hub(*flags) as hub:
        for _ in range(2):
            for name in DEVICES:
                async with lives.device(hub, name) as device:
                    await level(device)
        for name in DEVICES:
            async with lives.device(hub, name) as device:
                assert await seen_by(device) == notes


async def test_one_level_device_brings_back_everything_of_everybody(lives: Lives) -> None:
    seen = await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub() as hub, lives.device(hub, "desk") as desk:
        assert await seen_by(desk) == seen
        report = await refills(lives)
    assert [(each["user"], each["device"]) for each in report] == [("ada", "desk")]
    assert report[0]["deletions"] == 2
    await everybody_sees(lives, seen)
    assert len(await refills(lives)) == 1


@pytest.mark.parametrize("order", [("tablet", "phone", "desk"), ("phone", "desk", "tablet")])
async def test_half_level_devices_in_any_order_do_no_harm(
    lives: Lives, order: tuple[str, ...]
) -> None:
    seen = await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub() as hub:
        for name in order:
            async with lives.device(hub, name) as device:
                await level(device)
    await everybody_sees(lives, seen)


async def test_a_refill_goes_on_after_hub_and_device_were_killed_in_the_middle(
    lives: Lives,
) -> None:
    """The device has made its offers, and perhaps sent some; both have kept what they have."""
    seen = await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub() as hub, lives.hurried_device(hub, "desk") as desk:
        await within(_until_offers_wait(desk), "the desk to make its offers")
        await within(hub.kill(), "the hub to die")
        assert desk.status.pending > 0
    await everybody_sees(lives, seen)


async def _until_offers_wait(device: Device) -> None:
    while not device.status.pending:
        await asyncio.sleep(0)


async def test_two_fires_and_one_backup_lose_nothing_that_devices_know(lives: Lives) -> None:
    seen = await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub() as hub, lives.device(hub, "desk") as desk:
        await write(desk, "after the first fire")
        seen = await seen_by(desk)
        await within(hub.kill(), "the hub to die")
    await restore(lives)
    await everybody_sees(lives, seen)


async def test_a_user_who_came_after_the_backup_is_brought_back_whole(lives: Lives) -> None:
    """The hub had never heard of the user, and the user's devices forgot all that they had."""
    async with lives.hub() as hub:
        async with lives.device(hub, "ada's") as device:
            await write(device, "ada's own")
            await level(device)
        code, _, errors = await command("backup", lives.folder / "copy.db", "--data", lives.data)
        assert code == 0, errors
        async with (
            lives.device(hub, "phone", "bob") as phone,
            lives.device(hub, "desk", "bob") as desk,
        ):
            await write(phone, "one", "two")
            await level(desk)
            await within(desk.delete("notes", "one"), "a deletion")
            await write(desk, "three")
            seen = await seen_by(desk)
        await within(hub.kill(), "the hub to die")
    await restore(lives)
    async with lives.hub() as hub:
        for name in ("phone", "desk", "tablet", "phone"):
            async with lives.device(hub, name, "bob") as device:
                seen_by_last = await seen_by(device)
                assert name == "phone" or seen_by_last == seen
        assert seen_by_last == seen


async def test_a_copy_that_is_put_back_by_hand_after_it_was_restored_is_refilled(
    lives: Lives,
) -> None:
    """The copy knew nothing of the history in between, and its devices gave nothing back."""
    await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub() as hub:
        for name in DEVICES:
            async with lives.device(hub, name) as device:
                await write(device, f"{name} after the fire")
                await level(device)
        async with lives.device(hub, "desk") as desk:
            seen = await seen_by(desk)
        await within(hub.kill(), "the hub to die")
    lives.put_back("copy.db")
    await everybody_sees(lives, seen)
    assert {each["user"] for each in await refills(lives)} == {"ada"}


async def test_an_operator_can_turn_the_refill_off(lives: Lives) -> None:
    await a_day_after_the_backup(lives)
    await restore(lives)
    async with lives.hub("--refill", "off") as hub, lives.device(hub, "desk") as desk:
        assert sorted(await seen_by(desk)) == sorted(f"{n}-{k}" for n in DEVICES for k in (1, 2))
        assert desk.setbacks == {}
    assert await refills(lives) == []
