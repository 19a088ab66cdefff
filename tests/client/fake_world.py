"""Time and chance, and a storage that can be stopped: in the hands of a test."""

import asyncio
from random import Random

from client import MemoryStorage, StorageFailed, World
from protocol.records import Writes


class Clock:
    """A clock that stands still until it is moved on; whoever sleeps wakes when his time has come.

    `asked` holds the seconds of every sleep, in order. `set_by` is how far somebody has set it
    meanwhile, which wakes nobody.
    """

    def __init__(self, now: int = 1_000_000) -> None:
        self.ms = now
        self.set_by = 0
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def world(self) -> World:
        return World(
            now=lambda: self.ms + self.set_by,
            sleep=self.sleep,
            chance=Random(1),
            steady=lambda: self.ms,
        )

    async def sleep(self, seconds: float) -> None:
        waker = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.ms + round(seconds * 1000), waker))
        self.asked.put_nowait(seconds)
        await waker

    def advance(self, seconds: float) -> None:
        """Move on, and wake those whose time has come."""
        self.ms += round(seconds * 1000)
        for due, waker in self._sleepers:
            if due <= self.ms and not waker.done():
                waker.set_result(None)
        self._sleepers = [(due, waker) for due, waker in self._sleepers if not waker.done()]

    async def slept(self, longer_than: float = 0.0) -> float:
        """The next sleep that somebody asks for, of more than so many seconds."""
        async with asyncio.timeout(10):
            while (seconds := await self.asked.get()) <= longer_than:
                pass
        return seconds


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


def impatient() -> World:
    """A world in which nobody waits before trying again."""
    return World(sleep=_at_once, chance=Random(1))


class WatchedStorage(MemoryStorage):
    """A storage that counts its saves, waits at a gate, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[Writes] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def save(self, writes: Writes) -> None:
        self.begun.set()
        await self.gate.wait()
        if self.broken:
            raise StorageFailed("the disk is full")
        self.saves.append(writes)
        await super().save(writes)
