"""`kill -9` of the hub in the middle of writing: what was acked is there, once, and all go on."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from client import Device, World
from client.errors import LinkFailed
from client.link import Connect, Link, websocket
from protocol.messages import Ack, decode_from_hub
from tests.crash.forked import a_forked_hub, wait_until_ready

ROUNDS: Final = int(os.environ.get("MOBYNC_KILL_ROUNDS", "25"))
"""A thousand by one command: MOBYNC_KILL_ROUNDS=1000 scripts/test tests/crash/test_kill.py."""
DEVICES: Final = 4
LEVEL_SECONDS: Final = 60.0


async def sleep_little(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.2))


HURRIED: Final = World(sleep=sleep_little)
"""A hub that is killed every second would else be asked later and later."""


class Acks:
    """Every ack that any device was sent, over all connections, and a bell for each."""

    def __init__(self) -> None:
        self.clocks: dict[tuple[str, int], int] = {}
        self._bell = asyncio.Condition()

    async def note(self, device: str, ack: Ack) -> None:
        known = self.clocks.setdefault((device, ack.push_id), ack.logical_clock)
        assert known == ack.logical_clock, f"{device}'s push {ack.push_id} was stored twice"
        async with self._bell:
            self._bell.notify_all()

    async def more(self, count: int) -> None:
        wanted = len(self.clocks) + count
        async with self._bell:
            await self._bell.wait_for(lambda: len(self.clocks) >= wanted)


class ListeningLink:
    """A device's link that notes the acks which pass."""

    def __init__(self, link: Link, device: str, acks: Acks) -> None:
        self._link = link
        self._device = device
        self._acks = acks

    async def send(self, frame: bytes) -> None:
        await self._link.send(frame)

    async def close(self) -> None:
        await self._link.close()

    async def receive(self) -> bytes:
        frame = await self._link.receive()
        message = decode_from_hub(frame)
        if isinstance(message, Ack):
            await self._acks.note(self._device, message)
        return frame


class Address:
    """Where the hub is: each has a port of its own, that the system chose."""

    def __init__(self) -> None:
        self.url = ""

    def listening(self, device: str, acks: Acks) -> Connect:
        async def open_link() -> Link:
            if not self.url:
                raise LinkFailed("no hub was there yet")
            return ListeningLink(await websocket(self.url)(), device, acks)

        return open_link


async def keep_editing(device: Device, made: dict[str, int]) -> None:
    """Count up in an object of one's own, a little ahead of what the hub has confirmed."""
    await device.create("counters", {"id": device.name, "n": 0})
    while True:
        made[device.name] += 1
        await device.update("counters", {"id": device.name, "n": made[device.name]})
        await device.until(lambda status: status.pending <= 2)


@pytest.mark.long
@pytest.mark.timeout(60 + 8 * ROUNDS)
async def test_after_each_kill_every_acked_push_is_there_once_and_the_devices_go_on(
    tmp_path: Path,
) -> None:
    chance = random.Random(5)
    acks, address, data = Acks(), Address(), tmp_path / "hub.db"
    made: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        devices = []
        for number in range(DEVICES):
            name = f"device-{number}"
            connect = address.listening(name, acks)
            device = Device(
                "ws://127.0.0.1/sync", token="ada", name=name, connect=connect, world=HURRIED
            )
            devices.append(await stack.enter_async_context(device))
            made[name] = 0
        editing = [asyncio.create_task(keep_editing(device, made)) for device in devices]
        for _ in range(ROUNDS):
            with a_forked_hub(data) as (hub, output):
                address.url = await asyncio.to_thread(wait_until_ready, output)
                await in_time(acks.more(chance.randint(1, 60)), editing)
                hub.kill()
            check_log(data, acks)
        for task in editing:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with a_forked_hub(data) as (hub, output):
            address.url = await asyncio.to_thread(wait_until_ready, output)
            await all_agree(devices, hub)
            hub.terminate()
            await asyncio.to_thread(hub.join, LEVEL_SECONDS)
            assert hub.exitcode == 0
    check_log(data, acks)
    for name, value in made.items():
        assert final_value(data, name) == value
    print(f"\n{ROUNDS} kills, {len(acks.clocks)} acked pushes, none lost, none twice")


async def in_time(waiting: Awaitable[None], editing: list["asyncio.Task[None]"]) -> None:
    async with asyncio.timeout(LEVEL_SECONDS):
        await waiting
    for task in editing:
        assert not task.done(), task.exception()


async def all_agree(devices: list[Device], hub: Any) -> None:
    assert hub.is_alive()
    for _ in range(2):
        for device in devices:
            await device.synchronize(LEVEL_SECONDS)
    seen = [
        sorted(await device.read("counters"), key=lambda fields: str(fields["id"]))
        for device in devices
    ]
    assert all(objects == seen[0] for objects in seen)
    assert not any(device.setbacks for device in devices)


def check_log(data: Path, acks: Acks) -> None:
    """The log has no hole, no push twice, and every push that was acked, at its clock."""
    connection = sqlite3.connect(data)
    rows = connection.execute(
        "SELECT clock, name, push_id FROM log JOIN devices USING (device_no) ORDER BY clock"
    ).fetchall()
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert verdict == "ok"
    assert [clock for clock, _name, _push_id in rows] == list(range(1, len(rows) + 1))
    stored = {(name, push_id): clock for clock, name, push_id in rows}
    assert len(stored) == len(rows)
    assert acks.clocks.items() <= stored.items()


def final_value(data: Path, device: str) -> int:
    connection = sqlite3.connect(data)
    query = "SELECT fields ->> 'n' FROM objects WHERE id = ?"
    (value,) = connection.execute(query, (device,)).fetchone()
    connection.close()
    return int(value)
