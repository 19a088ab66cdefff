"""The bare relay in this process, and a load that is soon over."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import serve

from scripts.loading import relay, serving
from scripts.loading.rounds import Load
from scripts.loading.servers import Server

SMALL = Load(users=2, devices=3, seconds=0.3, size=200, objects=3, rate=None)


@contextlib.asynccontextmanager
async def relay_here(journal: relay.Journal | None = None, **options: Any) -> AsyncIterator[Server]:
    """The relay in this process, so that a test can spoil it."""
    settings = serving.OPTIONS | {"ping_interval": None} | options
    async with serve(relay.Relay(journal).converse, "127.0.0.1", 0, **settings) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Server("relay", f"ws://127.0.0.1:{port}/sync")
