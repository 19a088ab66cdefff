"""A real hub as a process of its own, and plain devices that talk to it over real sockets."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from protocol.messages import SUBPROTOCOL
from tests.hub.fakes import Frame

READY: Final = re.compile(r"ready (wss?://127\.0\.0\.1:(\d+)/sync) (https?://\S+)")
START_SECONDS: Final = 30.0
WAITS: Final = ("loop", "thread")
"""Where a hub waits for its disk, for certain (`--disk-wait`)."""


class HubProcess:
    """A running hub; `url` is where devices connect."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self.url = ""
        self.http_url = ""
        self.port = 0

    def wait_until_ready(self) -> None:
        """Wait for the line that says that it serves."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = READY.match(line)
        assert match, f"the hub said {line!r} instead of being ready"
        self.url, self.port, self.http_url = match[1], int(match[2]), match[3]

    def kill(self) -> None:
        """End it as a power cut would, as far as the process is concerned."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)

    def stop(self, seconds: float = START_SECONDS) -> int:
        """Ask it to stop, and wait for its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(seconds)


def start(
    data: Path, *flags: str, prefix: Sequence[str] = (), log: Path | None = None
) -> HubProcess:
    """Start a hub on this file; it is not ready yet."""  # fmt: skip
    command = Path(sys.executable).with_name("mobync-hub")
    addresses = ("--host", "127.0.0.1", "--port", "0", "--http-port", "0")
    with (log or data.with_suffix(".log")).open("a") as errors:
        process = subprocess.Popen(
            [*prefix, command, "serve", "--dev", *addresses, "--data", data, *flags],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return HubProcess(process)


@contextmanager
def a_hub_process(data: Path, *flags: str, prefix: Sequence[str] = ()) -> Iterator[HubProcess]:
    """A hub that serves, and is gone afterwards in any case."""
    hub = start(data, *flags, prefix=prefix)
    try:
        hub.wait_until_ready()
        yield hub
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hub.pid, signal.SIGKILL)
        hub.process.wait(START_SECONDS)
        assert hub.process.stdout is not None
        hub.process.stdout.close()


class PlainDevice:
    """A device that only says and hears frames."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def push(self, push_id: int, *diffs: Any, **fields: Any) -> None:
        await self.say("push", push_id=push_id, diffs=diffs, **fields)

    async def hear(self) -> Frame:
        frame: Frame = json.loads(await self.connection.recv())
        return frame

    async def hear_until(self, kind: str) -> list[Frame]:
        frames = [await self.hear()]
        while frames[-1]["type"] != kind:
            frames.append(await self.hear())
        return frames


@asynccontextmanager
async def a_device(
    url: str, device: str, user: str = "ada", *, clock: int = 0, log_id: str | None = None,
    **options: Any,
) -> AsyncIterator[PlainDevice]:  # fmt: skip
    """A device that has said hello; the hub's answers are yet to be heard."""
    options = {"max_size": None, "compression": None, **options}
    async with connect(url, subprotocols=[SUBPROTOCOL], **options) as connection:  # type: ignore[list-item]  # a NewType of str
        plain = PlainDevice(connection)
        await plain.say("hello", token=user, device=device, logical_clock=clock, log_id=log_id)
        yield plain


def raw_socket(port: int, receive_bytes: int | None = None) -> socket.socket:
    """A TCP connection to the hub, and nothing said yet."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect(("127.0.0.1", port))
    return connection


UPGRADE: Final = (
    "GET /sync HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


def raw_frame(text: str) -> bytes:
    """A text frame as a client sends it, masked with zeros so that it can be read in a trace."""
    payload = text.encode()
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 2**16:
        length = bytes([0x80 | 126]) + len(payload).to_bytes(2)
    else:
        length = bytes([0x80 | 127]) + len(payload).to_bytes(8)
    return b"\x81" + length + bytes(4) + payload


def shake_hands(connection: socket.socket) -> None:
    """Open a WebSocket on a raw socket."""
    connection.sendall(UPGRADE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 ")


def raw_hello(connection: socket.socket, device: str, user: str = "ada") -> None:
    """Say hello on a raw WebSocket."""
    hello = {"type": "hello", "token": user, "device": device, "logical_clock": 0}
    connection.sendall(raw_frame(json.dumps(hello)))


async def in_time(awaitable: Any, seconds: float = START_SECONDS) -> Any:
    """Wait, but not for ever."""
    async with asyncio.timeout(seconds):
        return await awaitable
