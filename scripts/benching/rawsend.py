"""A server that answers every hello with the same frames from memory: the ceiling of a catch-up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from scripts.loading.serving import parser, serve_until_stopped

_AT_ONCE: Final = 1_000
"""Frames written before the socket is waited for."""


class RawSender:
    """Sends all frames, as fast as `websockets` writes them."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = frames

    async def converse(self, socket: ServerConnection) -> None:
        """Serve one device until it leaves."""
        try:
            await socket.recv(decode=False)
            for start in range(0, len(self._frames), _AT_ONCE):
                for frame in self._frames[start : start + _AT_ONCE]:
                    broadcast((socket,), frame, text=True)
                await socket.drain()
            await socket.wait_closed()
        except ConnectionClosed:
            pass


def main() -> None:
    """Read the command line and serve."""
    options = parser("rawsend", "A server that sends the frames of a file, one a line.")
    options.add_argument("frames", type=Path)
    arguments = options.parse_args()
    sender = RawSender(arguments.frames.read_bytes().split(b"\n"))
    uvloop.run(serve_until_stopped(sender.converse, arguments.host, arguments.port))


if __name__ == "__main__":
    main()
