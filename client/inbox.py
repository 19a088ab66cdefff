"""Frames that have come and wait to be taken."""

import asyncio
from typing import Final

from client.errors import LinkClosed
from client.link import Link

MAX_BYTES: Final = 1024 * 1024
MAX_FRAMES: Final = 1000
"""How much is read ahead, and so how much is taken at one go, in one transaction."""


class Inbox:
    """Takes frames off a link, and gives out at once all that wait.

    Bounded: while it is full nothing is read, so that a hub which sends faster than the device
    stores notices it by its own send buffer (section 6).
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._frames: list[bytes] = []
        self._bytes = 0
        self._end: LinkClosed | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def fill(self) -> None:
        """Read until the link ends."""
        try:
            while True:
                await self._room.wait()
                self._put(await self._link.receive())
        except LinkClosed as end:
            self._end = end
            self._filled.set()

    async def take(self) -> list[bytes]:
        """All frames that wait, one at least.

        Raises:
            LinkClosed: the link has ended, and every frame before that has been taken.

        """
        await self._filled.wait()
        if not self._frames and self._end is not None:
            raise self._end
        frames, self._frames, self._bytes = self._frames, [], 0
        self._room.set()
        if self._end is None:
            self._filled.clear()
        return frames

    def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()
        if len(self._frames) >= MAX_FRAMES or self._bytes >= MAX_BYTES:
            self._room.clear()
