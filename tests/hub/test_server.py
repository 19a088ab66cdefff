"""The hub behind real sockets, and as a process: serve, refuse, stop."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub.limits import Limits
from hub.server import serving
from hub.settings import Settings
from protocol.messages import SUBPROTOCOL
from tests.crash.processes import (
    UPGRADE,
    a_device,
    a_hub_process,
    raw_hello,
    raw_socket,
    shake_hands,
    start,
)
from tests.hub.fakes import Frame, create

LIMITS = Limits(hello_seconds=5, max_frame_bytes=10_000, max_object_bytes=10_000)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    settings = Settings(dev=True, port=0, http_port=0, data=tmp_path / "hub.db", limits=LIMITS)
    async with serving(settings) as (websocket_url, _http_url):
        yield websocket_url


async def heard_to_the_end(connection: Any) -> tuple[list[Frame], int, str]:
    """All frames up to the close, its code and its reason."""
    frames = []
    try:
        while True:
            frames.append(json.loads(await connection.recv()))
    except ConnectionClosed as closed:
        close = closed.rcvd
        return frames, close.code if close else 1006, close.reason if close else ""


async def test_two_devices_hear_of_each_other(url: str) -> None:
    async with a_device(url, "phone") as phone, a_device(url, "laptop") as laptop:
        assert phone.connection.subprotocol == SUBPROTOCOL
        await phone.hear_until("ready")
        await laptop.hear_until("ready")
        await phone.push(1, create("a", title="naïve 💧"))
        assert await phone.hear() == {"type": "ack", "push_id": 1, "logical_clock": 1}
        changes = await laptop.hear()
        assert changes["diffs"][0]["json_data"] == {"id": "a", "title": "naïve 💧"}


async def test_type_is_the_first_key_of_each_frame_and_frames_are_text(url: str) -> None:
    async with a_device(url, "phone") as phone, a_device(url, "laptop") as laptop:
        await laptop.hear_until("ready")
        frames = [await phone.connection.recv() for _ in range(2)]
        await laptop.push(1, create("a"))
        await phone.push(1, create("b"))
        frames += [await phone.connection.recv() for _ in range(2)]
        await phone.say("ping")
        await phone.say("auth", token="ada")
        await phone.say("nonsense")
        frames += [await phone.connection.recv() for _ in range(3)]
        kinds = []
        for frame in frames:
            assert isinstance(frame, str)
            assert frame.startswith('{"type":"')
            kinds.append(json.loads(frame)["type"])
        assert kinds == [
            "welcome", "ready", "changes", "ack", "pong", "authenticated", "error",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "code", "name"),
    [
        ("no JSON", 4400, "bad_message"),
        (b"{}", 4400, "bad_message"),
        ('{"type": "hello", "token": "", "device": "d", "logical_clock": 0}', 4401, "unauthorized"),
        ('{"type": "hello", "token": "a", "device": "mobync", "logical_clock": 0}', 4403,
         "forbidden"),
        ("x" * 10_001, 1009, None),
    ],
)  # fmt: skip
async def test_a_refused_connection_is_told_why_by_its_last_frame_and_its_close(
    url: str, frame: str | bytes, code: int, name: str | None
) -> None:
    async with connect(url, subprotocols=[SUBPROTOCOL]) as connection:  # type: ignore[list-item]  # a NewType of str
        await connection.send(frame)
        frames, closed_with, _reason = await heard_to_the_end(connection)
        assert closed_with == code
        assert [told.get("code") for told in frames] == ([name] if name else [])


async def test_a_frame_that_is_too_large_ends_a_greeted_connection_with_1009(url: str) -> None:
    async with a_device(url, "phone") as phone:
        await phone.hear_until("ready")
        await phone.push(1, create("a", text="x" * 10_001))
        _frames, code, _reason = await heard_to_the_end(phone.connection)
        assert code == 1009


async def test_only_the_path_of_the_protocol_is_served(url: str) -> None:
    for path in ("/", "/sync/", "/Sync", "/other"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url.removesuffix("/sync") + path)
        assert refused.value.response.status_code == 404
    async with a_device(url + "?colour=blue", "phone") as phone:
        await phone.hear_until("ready")


async def test_a_client_that_speaks_another_protocol_is_refused(url: str) -> None:
    with pytest.raises(InvalidStatus):
        await connect(url, subprotocols=["mobync.v2"])  # type: ignore[list-item]  # a NewType of str


async def test_a_newer_socket_closes_the_older(url: str) -> None:
    async with a_device(url, "phone") as older:
        await older.hear_until("ready")
        async with a_device(url, "phone") as newer:
            await newer.hear_until("ready")
            frames, code, _reason = await heard_to_the_end(older.connection)
            assert ([frame["code"] for frame in frames], code) == (["replaced"], 4409)


async def test_a_hub_that_stops_tells_everybody(tmp_path: Path) -> None:
    settings = Settings(dev=True, port=0, http_port=0, data=tmp_path / "hub.db", limits=LIMITS)
    async with contextlib.AsyncExitStack() as devices:
        async with serving(settings) as (url, _http):
            phone = await devices.enter_async_context(a_device(url, "phone"))
            await phone.hear_until("ready")
        frames, code, _reason = await heard_to_the_end(phone.connection)
        assert ([frame["code"] for frame in frames], code) == (["shutting_down"], 1012)


# As a process


def test_a_hub_stops_on_sigterm_with_exit_code_0(tmp_path: Path) -> None:
    with a_hub_process(tmp_path / "hub.db") as hub:
        assert hub.stop() == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["hub.db", "hub.db-lock", "hub.log"]


def test_a_second_hub_on_the_same_file_says_so_and_ends(tmp_path: Path) -> None:
    with a_hub_process(tmp_path / "hub.db") as hub:
        second = start(tmp_path / "hub.db", log=tmp_path / "second.log")
        assert second.process.wait(30) == 1
        assert second.process.stdout is not None
        assert second.process.stdout.read() == ""
        second.process.stdout.close()
        said = (tmp_path / "second.log").read_text()
        assert f"process {hub.pid}" in said
        assert "Traceback" not in said


def test_a_hub_that_cannot_open_its_file_says_so_and_ends(tmp_path: Path) -> None:
    """Its store's threads were left running when the file failed in the middle of opening."""
    with a_hub_process(tmp_path / "hub.db") as hub:
        asyncio.run(store_one(hub.url))
        hub.kill()
    damaged = tmp_path / "hub.db-wal"
    limit = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({damaged.stat().st_size},) * 2)"
    serve = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from hub.cli import main"
    arguments = [
        "serve",
        "--dev",
        "--port",
        "0",
        "--http-port",
        "0",
        "--data",
        str(tmp_path / "hub.db"),
    ]
    code = f"{limit}; {serve}; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        # A tracer would fail to write its own file, under the same limit, and say so.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    with a_hub_process(tmp_path / "hub.db") as hub:
        asyncio.run(heads_of(hub.url))
        assert hub.stop() == 0


async def store_one(url: str) -> None:
    async with a_device(url, "phone") as phone:
        await phone.hear_until("ready")
        await phone.push(1, create("a"))
        await phone.hear_until("ack")


async def heads_of(url: str) -> None:
    async with a_device(url, "phone") as phone:
        welcome = await phone.hear()
        assert (welcome["logical_clock"], welcome["last_push_id"]) == (1, 1)


def test_a_hub_stops_in_time_though_a_hundred_peers_are_stalled(tmp_path: Path) -> None:
    """They are stalled in every way there is: none of them ever reads, or answers a close."""
    with (
        a_hub_process(tmp_path / "hub.db", "--stop-seconds", "4") as hub,
        contextlib.ExitStack() as sockets,
    ):
        asyncio.run(fill(hub.url))
        for number in range(100):
            peer = sockets.enter_context(raw_socket(hub.port, receive_bytes=4096))
            stall(peer, number)
        began = time.monotonic()
        assert hub.stop(8) == 0
        print(f"stopped in {time.monotonic() - began:.1f} s with 100 stalled peers")
        assert time.monotonic() - began < 4 + 1.5
    assert "Traceback" not in (tmp_path / "hub.log").read_text()


def stall(peer: socket.socket, number: int) -> None:
    if number % 5 == 1:
        peer.sendall(UPGRADE[:50])
    elif number % 5 == 2:
        shake_hands(peer)
    elif number % 5 > 2:
        shake_hands(peer)
        raw_hello(peer, f"stalled-{number}")


async def fill(url: str) -> None:
    """Store so much that the kernel's buffers do not hold it."""
    async with a_device(url, "writer") as writer:
        await writer.hear_until("ready")
        for push_id in range(1, 33):
            await writer.push(push_id, create(f"o{push_id}", text="x" * 250_000))
            await writer.hear_until("ack")


def test_a_hub_stops_in_time_and_tells_everybody_though_they_go_on_pushing(tmp_path: Path) -> None:
    async def push_on(url: str, name: str, begun: asyncio.Semaphore) -> tuple[int, int]:
        """Push until the hub closes: how many were acked, and the code."""
        acked = 0
        async with a_device(url, "phone", name) as device:
            await device.hear_until("ready")
            try:
                for push_id in range(1, 100_000):
                    await device.push(push_id, create("a"))
                    if push_id > 4:
                        acked += (await device.hear())["type"] == "ack"
                        begun.release()
            except ConnectionClosed:
                pass
            _frames, code, _reason = await heard_to_the_end(device.connection)
        return acked, code

    async def main() -> float:
        begun = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            pushing = [group.create_task(push_on(hub.url, f"u{n}", begun)) for n in range(20)]
            for _ack in range(200):
                await begun.acquire()
            began = time.monotonic()
            assert await asyncio.to_thread(hub.stop) == 0
            took = time.monotonic() - began
        assert {code for _acked, code in (task.result() for task in pushing)} == {1012}
        return took

    with a_hub_process(tmp_path / "hub.db", "--stop-seconds", "6") as hub:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            took = runner.run(main())
        print(f"stopped in {took:.2f} s with 20 busy pushers")
        assert took < 3
    assert "Traceback" not in (tmp_path / "hub.log").read_text()
