"""`kill -9` in the middle of writing: what the application was told is stored, is stored."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from client import Device, State
from protocol.messages import (
    SUBPROTOCOL,
    FromDevice,
    Hello,
    Push,
    Ready,
    Welcome,
    decode_from_device,
    encode,
)
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock, impatient

WRITER = """
import asyncio, sys
from client import Device

async def write(url, path):
    async with Device(url, token="alice", path=path) as phone:
        number = 0
        while True:
            number += 1
            await phone.create("tasks", {"id": f"t{number}"})
            print(number, flush=True)

asyncio.run(write(sys.argv[1], sys.argv[2]))
"""
NOBODY = "ws://127.0.0.1:9/sync"


@asynccontextmanager
async def a_writer(url: str, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that makes one edit after another, says the number of each, and is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, url, str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said_before_its_death(process: asyncio.subprocess.Process, least: int) -> int:
    """Kill a writer after so many edits; the last number that it has said."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(least):
            await process.stdout.readline()
        process.kill()
        rest = (await process.stdout.read()).decode()
    whole = rest[: rest.rfind("\n") + 1].split()
    return int(whole[-1]) if whole else least


@pytest.mark.parametrize("least", [1, 50, 400])
async def test_edits_that_were_made_before_a_kill_are_there_after_it(
    hub: FakeHub, tmp_path: Path, least: int
) -> None:
    path = tmp_path / "phone.db"
    async with a_writer(NOBODY, path) as process:
        said = await said_before_its_death(process, least)

    hub.away = "not in this test"
    async with Device(NOBODY, token="a", path=path, connect=hub.connect) as phone:
        names = [task["id"] for task in await phone.read("tasks")]
        assert names == [f"t{number}" for number in range(1, len(names) + 1)]
        assert said <= len(names) <= said + 1
        assert phone.status.pending == len(names)


async def test_a_push_that_the_hub_has_seen_is_sent_again_as_it_was_after_a_kill(
    hub: FakeHub, tmp_path: Path
) -> None:
    path = tmp_path / "phone.db"
    seen: list[FromDevice] = []
    full = asyncio.Event()

    async def swallow(socket: ServerConnection) -> None:
        with suppress(ConnectionClosedError):
            await take(socket)

    async def take(socket: ServerConnection) -> None:
        hello = decode_from_device(await socket.recv())
        assert isinstance(hello, Hello)
        welcome = Welcome("alice", hello.device, "log-1", 0, 0, False, 1, None, {})
        await socket.send(encode(welcome), text=True)
        await socket.send(encode(Ready(0, 0)), text=True)
        async for frame in socket:
            seen.append(decode_from_device(frame))
            if len(seen) == 4:
                full.set()

    async with serve(swallow, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        async with a_writer(f"ws://127.0.0.1:{port}/sync", path) as process:
            async with asyncio.timeout(30):
                await full.wait()
            process.kill()

    async with Device(
        NOBODY, token="a", path=path, connect=hub.connect, world=impatient()
    ) as phone:
        session = await hub.ready_session()
        again = [await session.expect(Push) for _ in range(4)]
        await phone.create("tasks", {"id": "afterwards"})
        session.ack(again[0], 1)
        fifth = await session.expect(Push)
        assert phone.status.clock == 1

    assert again == seen
    assert fifth.push_id == 5
    names = [diff["json_data"]["id"] for push in (*again, fifth) for diff in push.diffs]
    assert names == [*(f"t{number}" for number in range(1, len(names))), "afterwards"]


async def test_a_file_whose_process_was_killed_is_free(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "phone.db"
    async with a_writer(NOBODY, path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.kill()
        await process.wait()

        async with Device(NOBODY, token="a", path=path, world=clock.world) as phone:
            assert phone.status.state is not State.STOPPED
