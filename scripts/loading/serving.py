"""What our own small servers have in common: where they listen, how they start and stop."""

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

MAX_FRAME_BYTES: Final = 1 << 20
LIMITS: Final = {"max_diffs": 1_000, "max_frame_bytes": MAX_FRAME_BYTES}
OPTIONS: Final[dict[str, Any]] = {
    "subprotocols": [Subprotocol("mobync.v1")],
    "compression": None,
    "max_size": MAX_FRAME_BYTES,
}

Converse: TypeAlias = Callable[[ServerConnection], Awaitable[None]]
"""Serves one device until it leaves."""


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of the address; the caller may ask for more."""
    found = argparse.ArgumentParser(prog=prog, description=description)
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=8765, help="0 for a free one (default: 8765)")
    return found


async def serve_until_stopped(converse: Converse, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; port 0 means a free one."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(converse, host, port, process_request=_only_sync, **OPTIONS) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ready ws://{host}:{port}/sync", flush=True)
        await stop.wait()


def _only_sync(socket: ServerConnection, request: Request) -> Response | None:
    if request.path == "/sync":
        return None
    return socket.respond(HTTPStatus.NOT_FOUND, "Devices connect to /sync.\n")
