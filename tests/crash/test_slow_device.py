"""One device of twenty takes nothing: nobody else feels it, and it is level again when it wakes."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.crash.hub_process import HubProcess, hub_process

LISTENERS: Final = 18
PUSHES: Final = 500
TEXT: Final = "x" * 20_000
"""With this many pushes, 10 MB that a hub without a cap would keep for who takes nothing."""
MEMORY_BYTES: Final = 5 * 2**20
"""How much the hub may grow meanwhile: its buffers for all, and what its allocator keeps."""


async def greeted(url: str, device: str, *, small_window: bool = False) -> ClientConnection:
    """A device that has been told `ready`."""
    sock = socket.create_connection(_address(url))
    if small_window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    peer = await connect(
        url, sock=sock, subprotocols=[Subprotocol("mobync.v1")], max_size=None, ping_interval=None
    )
    hello = {"type": "hello", "token": "ada", "device": device, "logical_clock": 0}
    await peer.send(json.dumps(hello))
    while json.loads(await peer.recv())["type"] != "ready":
        pass
    return peer


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    return host, int(port)


def push(number: int) -> str:
    fields = {"id": f"t{number % 20}", "text": TEXT, "n": number}
    diff = {"id": f"e{number}", "logical_clock": 0, "utc_timestamp": number}
    diff |= {"type": "create", "model": "tasks", "json_data": fields}
    return json.dumps({"type": "push", "push_id": number, "diffs": [diff]})


class Clocks:
    """What a device hears, which must be each clock once and in order."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.heard_at: dict[int, float] = {}

    async def listen(self, peer: ClientConnection, until: int) -> None:
        while self.clock < until:
            self.take(json.loads(await peer.recv()))

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] in ("changes", "ack"):
            assert frame["logical_clock"] == self.clock + 1
        if frame["type"] in ("changes", "ack", "snapshot"):
            self.clock = frame["logical_clock"]
            self.heard_at[self.clock] = time.perf_counter()


async def write(writer: ClientConnection, first: int, last: int) -> dict[int, float]:
    """Push in a closed loop; when each push was sent."""
    sent = {}
    for number in range(first, last + 1):
        sent[number] = time.perf_counter()
        await writer.send(push(number))
        assert json.loads(await writer.recv())["logical_clock"] == number
    return sent


async def delays(
    writer: ClientConnection, listeners: list[ClientConnection], first: int, last: int
) -> list[float]:
    """Milliseconds from a push to its receipt, for every push and every listener."""
    clocks = [Clocks(first - 1) for _ in listeners]
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write(writer, first, last))
        for one, peer in zip(clocks, listeners, strict=True):
            tasks.create_task(one.listen(peer, last))
    sent = writing.result()
    return [1e3 * (one.heard_at[n] - sent[n]) for one in clocks for n in sent]


def memory(hub: HubProcess) -> int:
    for line in Path(f"/proc/{hub.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not tell a process's memory")


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
async def test_a_stalled_device_costs_nobody_anything_and_is_level_after_it_wakes(
    tmp_path: Path,
) -> None:
    async with hub_process(tmp_path / "hub.db") as hub, AsyncExitStack() as stack:
        writer = await greeted(hub.url, "writer")
        stack.push_async_callback(writer.close)
        listeners = [await greeted(hub.url, f"listener-{n}") for n in range(LISTENERS)]
        for peer in listeners:
            stack.push_async_callback(peer.close)
        without = await delays(writer, listeners, 1, PUSHES)

        stalled = await greeted(hub.url, "stalled", small_window=True)
        stack.push_async_callback(stalled.close)
        stalled.transport.pause_reading()
        before = memory(hub)
        with_it = await delays(writer, listeners, PUSHES + 1, 2 * PUSHES)
        grown = memory(hub) - before

        stalled.transport.resume_reading()
        waking = Clocks(PUSHES)
        async with asyncio.timeout(30):
            await waking.listen(stalled, 2 * PUSHES)
        p99_without, p99_with = quantiles(without, n=100)[98], quantiles(with_it, n=100)[98]
        print(
            f"\npush to receive without / with a stalled device: p50 {median(without):.1f} / "
            f"{median(with_it):.1f} ms, p99 {p99_without:.1f} / {p99_with:.1f} ms; "
            f"the hub grew by {grown / 2**20:.1f} MiB over {PUSHES * len(TEXT) / 2**20:.0f} MiB"
        )
        assert median(with_it) < 2 * median(without) + 5
        assert grown < MEMORY_BYTES
