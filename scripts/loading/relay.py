"""The bare relay: the ceiling against which the hub is measured.

It speaks the frames of docs/protocol.md and does nothing else that a hub does: it stores nothing,
merges nothing, and a device that was away hears of nothing that it missed. Written as one writes a
fast relay with `websockets`: uvloop, no compression, one parse and two encodes a push.

With a journal it is the floor: what any server pays whose acks are durable, and no more than that.
"""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from scripts.loading.serving import LIMITS, parser, serve_until_stopped

JOURNAL_BYTES: Final = 4 * 2**20
"""It has its length from the start, and is written over: so a sync has only the data to write."""


class Journal:
    """Has pushes last, all that came while the group before was synced by one write and one sync.

    It is never read. Groups are formed as in the hub (hub/commit.py): what has come is let in.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._handle, bytes(JOURNAL_BYTES), 0)
        os.fsync(self._handle)
        self._at = 0
        self._group: list[tuple[bytes, Callable[[], None]]] = []

    def add(self, data: bytes, hand_out: Callable[[], None]) -> None:
        """Write this with the next group, and hand it out behind that."""
        self._group.append((data, hand_out))
        if len(self._group) == 1:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, loop.call_soon, self._write)

    def _write(self) -> None:
        group, self._group = self._group, []
        data = b"\n".join(data for data, _ in group)
        if self._at + len(data) > JOURNAL_BYTES:
            self._at = 0
        self._at += os.pwrite(self._handle, data, self._at)
        os.fdatasync(self._handle)
        for _, hand_out in group:
            hand_out()


class User:
    """One user: the clock, and the sockets of the devices that are there."""

    def __init__(self) -> None:
        self.clock = 0
        self.sockets: set[ServerConnection] = set()


class Relay:
    """Hands each push of a device to the user's other devices."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._users: dict[str, User] = {}
        self._journal = journal

    async def converse(self, socket: ServerConnection) -> None:
        """Serve one device until it leaves."""
        try:
            hello = orjson.loads(await socket.recv(decode=False))
            user = self._users.setdefault(hello["token"], User())
            try:
                await _greet(socket, hello, user)
                await _relay(socket, hello["device"], user, self._journal)
            finally:
                user.sockets.discard(socket)
        except ConnectionClosed:
            pass


async def _greet(socket: ServerConnection, hello: dict[str, Any], user: User) -> None:
    names = {"type": "welcome", "user": hello["token"], "device": hello["device"]}
    history = {"log_id": "relay", "logical_clock": user.clock, "last_push_id": 0, "reset": False}
    rest = {"server_time": time.time_ns() // 1_000_000, "expires": None, "limits": LIMITS}
    await socket.send(orjson.dumps(names | history | rest), text=True)
    user.sockets.add(socket)  # with the clock that `ready` names: no push falls in between
    ready = {"type": "ready", "logical_clock": user.clock, "last_push_id": 0}
    await socket.send(orjson.dumps(ready), text=True)


async def _relay(
    socket: ServerConnection, device: str, user: User, journal: Journal | None
) -> None:
    while True:
        frame = orjson.loads(await socket.recv(decode=False))
        if frame["type"] == "push":
            user.clock = clock = user.clock + 1
            ack = {"type": "ack", "push_id": frame["push_id"], "logical_clock": clock}
            diffs = frame["diffs"]
            for diff in diffs:
                del diff["logical_clock"]  # the base; on the way out the message carries the clock
            changes = {"type": "changes", "logical_clock": clock, "device": device, "diffs": diffs}
            if journal is not None:
                data = orjson.dumps(changes)
                journal.add(data, partial(_hand_out, user, socket, data, orjson.dumps(ack)))
                continue
            broadcast(user.sockets - {socket}, orjson.dumps(changes).decode())
            await socket.send(orjson.dumps(ack), text=True)
        elif frame["type"] == "ping":
            pong = {**frame, "type": "pong", "server_time": time.time_ns() // 1_000_000}
            await socket.send(orjson.dumps(pong), text=True)


def _hand_out(user: User, socket: ServerConnection, changes: bytes, ack: bytes) -> None:
    broadcast(user.sockets - {socket}, changes.decode())
    broadcast((socket,), ack.decode())


def main() -> None:
    """Read the command line and serve."""
    options = parser("scripts/relay", "A relay without a store.")
    options.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="have each group of pushes written there and synced before it is handed out",
    )
    arguments = options.parse_args()
    journal = Journal(arguments.journal) if arguments.journal else None
    uvloop.run(serve_until_stopped(Relay(journal).converse, arguments.host, arguments.port))


if __name__ == "__main__":
    main()
