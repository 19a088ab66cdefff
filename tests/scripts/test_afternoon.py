"""The afternoon hub (scripts/afternoon): what the hub is measured against, beside the relay."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from scripts.loading.rounds import Load, run_round
from scripts.loading.servers import Server, started

SMALL = Load(users=2, devices=3, seconds=0.3, size=200, objects=3, rate=None)


@contextlib.asynccontextmanager
async def afternoon_hub(folder: Path) -> AsyncIterator[Server]:
    async with started("afternoon", folder, None) as server:
        yield server


async def come(server: Server, device: str, clock: int = 0) -> tuple[ClientConnection, list[Any]]:
    """A device, and what it was told up to `ready`."""
    socket = await connect(server.url, subprotocols=[Subprotocol("mobync.v1")], compression=None)
    hello = {"type": "hello", "token": "ada", "device": device, "logical_clock": clock}
    await socket.send(json.dumps(hello))
    told = [await hear(socket)]
    while told[-1]["type"] != "ready":
        told.append(await hear(socket))
    return socket, told


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


DIFF = {"id": "e1", "utc_timestamp": 1, "type": "create", "model": "m", "json_data": {"id": "a"}}


async def push(socket: ClientConnection, push_id: int) -> None:
    sent = DIFF | {"logical_clock": 0}
    await socket.send(json.dumps({"type": "push", "push_id": push_id, "diffs": [sent]}))


async def test_a_push_is_acked_and_handed_to_the_other_devices(tmp_path: Path) -> None:
    async with afternoon_hub(tmp_path) as server:
        (phone, _), (laptop, _) = await come(server, "phone"), await come(server, "laptop")
        await push(phone, 5)
        assert await hear(phone) == {"type": "ack", "push_id": 5, "logical_clock": 1}
        changes = {"type": "changes", "logical_clock": 1, "device": "phone", "diffs": [DIFF]}
        assert await hear(laptop) == changes
        await phone.close()
        await laptop.close()


async def test_what_was_acked_is_there_after_a_restart(tmp_path: Path) -> None:
    async with afternoon_hub(tmp_path) as server:
        phone, _ = await come(server, "phone")
        for push_id in (1, 2):
            await push(phone, push_id)
            await hear(phone)
        await phone.close()
    async with afternoon_hub(tmp_path) as server:
        laptop, told = await come(server, "laptop", clock=1)
        assert [frame["type"] for frame in told] == ["welcome", "changes", "ready"]
        assert told[1]["logical_clock"] == told[2]["logical_clock"] == 2
        phone, told = await come(server, "phone", clock=1)
        assert (told[0]["last_push_id"], told[1]["type"], told[1]["push_id"]) == (2, "ack", 2)
        await push(phone, 3)
        assert (await hear(laptop))["logical_clock"] == 3
        await laptop.close()
        await phone.close()


async def test_the_devices_of_the_load_find_no_fault_in_it(tmp_path: Path) -> None:
    async with afternoon_hub(tmp_path) as server:
        found = await run_round(server, SMALL, lambda: None)
    assert (found.errors, found.first_errors) == (0, [])
    assert found.deliveries == 2 * found.pushes > 0
