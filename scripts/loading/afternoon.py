"""The 'afternoon hub': what somebody writes in an afternoon, to see what a hub gains over it.

`websockets` and aiosqlite, one commit and so one fsync for each push, a log table, no merge. It
acks only what is on disk, keeps the order, and hands a device that was away what it missed. It
speaks the same frames as the relay, and reads like it.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiosqlite
import orjson
import uvloop
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from scripts.loading.serving import LIMITS, parser, serve_until_stopped

TABLE = """
CREATE TABLE IF NOT EXISTS log (
    user TEXT, clock INTEGER, device TEXT, push_id INTEGER, diffs TEXT, PRIMARY KEY (user, clock)
)
"""


class Log:
    """The pushes of all users, in one SQLite file."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._writing = asyncio.Lock()  # tasks that share a connection would share transactions

    async def append(self, user: str, clock: int, device: str, push_id: int, diffs: bytes) -> None:
        """Store one push; when this returns it is on disk."""
        async with self._writing:
            await self._connection.execute(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?)",
                (user, clock, device, push_id, diffs.decode()),
            )
            await self._connection.commit()

    async def after(self, user: str, clock: int) -> list[tuple[int, str, int, str]]:
        """Return clock, device, push id and diffs of what a user pushed after `clock`."""
        rows = await self._connection.execute_fetchall(
            "SELECT clock, device, push_id, diffs FROM log WHERE user = ? AND clock > ? "
            "ORDER BY clock",
            (user, clock),
        )
        return [tuple(row) for row in rows]

    async def last_push_id(self, user: str, device: str) -> int:
        """Return the id of a device's last push, 0 if there is none."""
        rows = await self._connection.execute_fetchall(
            "SELECT max(push_id) FROM log WHERE user = ? AND device = ?", (user, device)
        )
        return next(iter(rows))[0] or 0


class User:
    """One user: the clock, the sockets of the devices that are there, and who has the turn."""

    def __init__(self) -> None:
        self.clock = 0
        self.sockets: set[ServerConnection] = set()
        self.turn = asyncio.Lock()


class AfternoonHub:
    """Stores each push of a device, then hands it to the user's other devices."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._users: dict[str, User] = {}

    async def converse(self, socket: ServerConnection) -> None:
        """Serve one device until it leaves."""
        try:
            hello = orjson.loads(await socket.recv(decode=False))
            user = self._users.setdefault(hello["token"], User())
            try:
                await self._greet(socket, hello, user)
                await self._store_and_hand_out(socket, hello, user)
            finally:
                user.sockets.discard(socket)
        except ConnectionClosed:
            pass

    async def _greet(self, socket: ServerConnection, hello: dict[str, Any], user: User) -> None:
        name, device = hello["token"], hello["device"]
        async with user.turn:
            missed = await self._log.after(name, hello["logical_clock"])
            user.clock = missed[-1][0] if missed else max(user.clock, hello["logical_clock"])
            push_id = await self._log.last_push_id(name, device)
            await socket.send(_welcome(hello, user.clock, push_id), text=True)
            for clock, pusher, pushed, diffs in missed:
                own = pusher == device
                frame = _ack(pushed, clock, diffs) if own else _changes(clock, pusher, diffs)
                await socket.send(frame, text=True)
            ready = {"type": "ready", "logical_clock": user.clock, "last_push_id": push_id}
            await socket.send(orjson.dumps(ready), text=True)
            user.sockets.add(socket)

    async def _store_and_hand_out(
        self, socket: ServerConnection, hello: dict[str, Any], user: User
    ) -> None:
        name, device = hello["token"], hello["device"]
        while True:
            frame = orjson.loads(await socket.recv(decode=False))
            if frame["type"] == "push":
                for diff in frame["diffs"]:
                    del diff["logical_clock"]
                diffs = orjson.dumps(frame["diffs"])
                async with user.turn:
                    clock = user.clock + 1
                    await self._log.append(name, clock, device, frame["push_id"], diffs)
                    user.clock = clock
                    broadcast(user.sockets - {socket}, _changes(clock, device, diffs.decode()))
                    ack = {"type": "ack", "push_id": frame["push_id"], "logical_clock": clock}
                    await socket.send(orjson.dumps(ack), text=True)
            elif frame["type"] == "ping":
                pong = {**frame, "type": "pong", "server_time": time.time_ns() // 1_000_000}
                await socket.send(orjson.dumps(pong), text=True)


def _welcome(hello: dict[str, Any], clock: int, push_id: int) -> bytes:
    names = {"type": "welcome", "user": hello["token"], "device": hello["device"]}
    history = {"log_id": "log", "logical_clock": clock, "last_push_id": push_id, "reset": False}
    rest = {"server_time": time.time_ns() // 1_000_000, "expires": None, "limits": LIMITS}
    return orjson.dumps(names | history | rest)


def _changes(clock: int, device: str, diffs: str) -> str:
    head = {"type": "changes", "logical_clock": clock, "device": device}
    return f'{orjson.dumps(head).decode()[:-1]},"diffs":{diffs}}}'


def _ack(push_id: int, clock: int, diffs: str) -> str:
    return f'{{"type":"ack","push_id":{push_id},"logical_clock":{clock},"diffs":{diffs}}}'


async def run(host: str, port: int, data: Path) -> None:
    """Open the log and serve until SIGTERM or SIGINT."""
    async with aiosqlite.connect(data) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")  # a commit returns after its fsync
        await connection.execute(TABLE)
        await serve_until_stopped(AfternoonHub(Log(connection)).converse, host, port)


def main() -> None:
    """Read the command line and serve."""
    options = parser("scripts/afternoon", "A hub with a log, written in an afternoon.")
    options.add_argument("--data", type=Path, default=Path("afternoon.db"))
    arguments = options.parse_args()
    uvloop.run(run(arguments.host, arguments.port, arguments.data))


if __name__ == "__main__":
    main()
