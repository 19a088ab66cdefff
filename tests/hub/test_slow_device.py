"""Devices that take nothing, on real sockets: what they cost the hub, and when they are cut off.

That nobody else notices, and that the hub's memory stays flat, is measured in tests/crash.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import uvloop

from hub import catchup
from hub.auth import DevAuthority
from hub.hub import Hub
from hub.limits import Limits
from hub.server import listener_for, now, open_store
from hub.session import Session
from hub.settings import Settings
from hub.states import State
from protocol.messages import PATH
from tests.crash.processes import PlainDevice, a_device, raw_hello, raw_socket, shake_hands
from tests.hub.fakes import create

DEVICES: Final = 20
PUSH_BYTES: Final = 100_000
KERNEL_BYTES: Final = 10 * 2**20
"""More than the kernel keeps for one connection, of both its ends."""
PUSHES: Final = 2 * KERNEL_BYTES // PUSH_BYTES


@asynccontextmanager
async def a_served_hub(folder: Path, limits: Limits) -> AsyncIterator[tuple[Hub, str, int]]:
    """A hub on a real socket, in this process, so that its buffers can be looked at."""
    settings = Settings(dev=True, port=0, data=folder / "hub.db", limits=limits)
    store = open_store(settings)
    await store.open()
    hub = Hub(store, DevAuthority(), limits, now)
    async with hub.running():
        listener = listener_for(hub, settings)
        async with listener.listening("127.0.0.1", 0) as (host, port):
            yield hub, f"ws://{host}:{port}{PATH}", port
            await hub.stop()
            listener.abort()
            await listener.served()
    await store.close()


def session_of(hub: Hub, device: str) -> Session:
    return next(session for session in hub.sessions if session.device == device)


async def clocks_heard(device: PlainDevice, last: int) -> list[int]:
    """Every clock that the device hears of, one by one, up to the last."""
    heard = [0]
    while heard[-1] < last:
        frame = await device.hear()
        if frame["type"] in ("changes", "ack"):
            heard.append(frame["logical_clock"])
    return heard[1:]


async def push_one_by_one(device: PlainDevice, hub: Hub) -> int:
    """Push it all; the most that lay in the stalled device's buffer meanwhile."""
    stalled = session_of(hub, "stalled")
    most = 0
    for clock in range(1, PUSHES + 1):
        text = f"{clock:010}" * (PUSH_BYTES // 10)
        await device.push(clock, create(f"o{clock % 10}", base=clock, text=text))
        assert (await device.hear_until("ack"))[-1]["logical_clock"] == clock
        most = max(most, stalled.link.buffered)
    return most


async def one_of_twenty_stalls(folder: Path) -> int:
    limits = Limits(max_log_pushes=10_000)
    async with a_served_hub(folder, limits) as (hub, url, _port), asyncio.TaskGroup() as group:

        async def listen(number: int) -> None:
            async with a_device(url, f"listener-{number}") as device:
                assert await clocks_heard(device, PUSHES) == list(range(1, PUSHES + 1))

        for number in range(DEVICES - 2):
            group.create_task(listen(number))
        async with a_device(url, "stalled") as stalled, a_device(url, "pusher") as pusher:
            for device in (stalled, pusher):
                await device.hear_until("ready")
            stalled.connection.transport.pause_reading()
            most = await push_one_by_one(pusher, hub)
            assert session_of(hub, "stalled").state is State.CATCHING_UP
            stalled.connection.transport.resume_reading()
            assert await clocks_heard(stalled, PUSHES) == list(range(1, PUSHES + 1))
            assert (await stalled.hear_until("ready"))[-1]["logical_clock"] == PUSHES
            assert session_of(hub, "stalled").state is State.LIVE
    bound = limits.send_buffer_bytes + catchup.PAGE_BYTES + 2 * (PUSH_BYTES + 500)
    assert 0 < most <= bound
    return most


@pytest.mark.serial
def test_a_stalled_device_costs_a_fixed_buffer_and_hears_of_every_clock_when_it_wakes(
    tmp_path: Path,
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        most = runner.run(one_of_twenty_stalls(tmp_path))
    went_by = PUSHES * PUSH_BYTES / 2**20
    print(f"at most {most / 1024:.0f} KiB in its buffer while {went_by:.0f} MiB went by")


async def one_never_reads(folder: Path) -> float:
    limits = Limits(stall_seconds=1.5)
    async with a_served_hub(folder, limits) as (hub, url, port), asyncio.timeout(30):
        with raw_socket(port, receive_bytes=4096) as silent:
            await asyncio.to_thread(shake_hands, silent)
            raw_hello(silent, "stalled")
            async with a_device(url, "phone") as phone:
                await phone.hear_until("ready")
                await push_one_by_one(phone, hub)
                session = session_of(hub, "stalled")
                assert session.link.buffered > 0
                began = time.monotonic()
                while session in hub.sessions:
                    await asyncio.sleep(0.02)
                took = time.monotonic() - began
                await phone.say("ping")
                assert json.loads(await phone.connection.recv())["type"] == "pong"
    assert took < limits.stall_seconds + 2.5
    return took


@pytest.mark.serial
def test_a_device_that_never_reads_is_cut_off(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(one_never_reads(tmp_path))
    print(f"cut off {took:.1f} s after the last push, with stall_seconds at 1.5")
