"""The bare relay: the ceiling against which the hub is measured.

It speaks the frames of docs/protocol.md and does nothing else that a hub does: it stores nothing,
merges nothing, and a device that was away hears of nothing that it missed. Written as one writes a
fast relay with `websockets`: uvloop, no compression, one parse and two encodes a push.
"""

import time
from typing import Any

import orjson
import uvloop
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from scripts.loading.serving import LIMITS, parser, serve_until_stopped


class User:
    """One user: the clock, and the sockets of the devices that are there."""

    def __init__(self) -> None:
        self.clock = 0
        self.sockets: set[ServerConnection] = set()


class Relay:
    """Hands each push of a device to the user's other devices."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    async def converse(self, socket: ServerConnection) -> None:
        """Serve one device until it leaves."""
        try:
            hello = orjson.loads(await socket.recv(decode=False))
            user = self._users.setdefault(hello["token"], User())
            try:
                await _greet(socket, hello, user)
                await _relay(socket, hello["device"], user)
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


async def _relay(socket: ServerConnection, device: str, user: User) -> None:
    while True:
        frame = orjson.loads(await socket.recv(decode=False))
        if frame["type"] == "push":
            user.clock = clock = user.clock + 1
            ack = {"type": "ack", "push_id": frame["push_id"], "logical_clock": clock}
            diffs = frame["diffs"]
            for diff in diffs:
                del diff["logical_clock"]  # the base; on the way out the message carries the clock
            changes = {"type": "changes", "logical_clock": clock, "device": device, "diffs": diffs}
            broadcast(user.sockets - {socket}, orjson.dumps(changes).decode())
            await socket.send(orjson.dumps(ack), text=True)
        elif frame["type"] == "ping":
            pong = {**frame, "type": "pong", "server_time": time.time_ns() // 1_000_000}
            await socket.send(orjson.dumps(pong), text=True)


def main() -> None:
    """Read the command line and serve."""
    arguments = parser("scripts/relay", "A relay without a store.").parse_args()
    uvloop.run(serve_until_stopped(Relay().converse, arguments.host, arguments.port))


if __name__ == "__main__":
    main()
