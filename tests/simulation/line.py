"""A line between a device and the hub, on which frames take time and get lost at its end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from client.errors import LinkClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.loop import SeededLoop

NETWORK = "network"
PUSH = '{"type":"push"'
ROOM = 5_000
"""Bytes that a buffer may hold beyond its cap and one frame: the last step, what is told beside."""
HOLDS = 4096
"""Bytes that a device may send before it has to wait."""


class Line:
    """A `hub.link.Link`; `device` is the other end. Each way keeps the order of its frames.

    Each end sees the break of a line in its own time, and frames that are on the way by then are
    lost, the one that was half through among them. `stalled`: the device's end takes nothing;
    `takes`: it will, when it has taken so many frames.
    """

    def __init__(
        self, name: str, loop: SeededLoop, chance: Random, high_water: int, heard: Heard
    ) -> None:
        self.address = name
        self.came = loop.time()
        self.device = DeviceEnd(self)
        self.buffered = 0
        self.taken = 0
        self.heard = heard
        self.calm = False
        self.stalled = False
        self.takes: int | None = None
        self.largest = 0
        self.closing: tuple[int, str] | None = None
        self.up_broken = False
        self.down_broken = False
        self.waiting_up = 0
        self._loop = loop
        self._chance = chance
        self._context = loop.context_of(NETWORK)
        self._high_water = high_water
        self._slow = chance.choice((0.001, 0.005, 0.05, 0.3))
        self._due_up = 0.0
        self._due_down = 0.0
        self._late_until = 0.0
        self._up: deque[str] = deque()
        self._down: deque[bytes] = deque()
        self._paused = False
        self._moved_up = asyncio.Event()
        self._moved_down = asyncio.Event()

    # The hub's end

    @property
    def is_full(self) -> bool:
        return self.buffered > self._high_water

    @property
    def most_buffered(self) -> int:
        """What may be, for it is known to be full only by the frame that makes it so."""
        return self._high_water + self.largest + ROOM

    def send(self, frame: bytes) -> None:
        if self.closing is None and not self.up_broken:
            self.heard.sent(self, frame)
            self.buffered += len(frame)
            self.largest = max(self.largest, len(frame))
            self._due_down = max(self._due_down, self._loop.time()) + self._delay()
            self._later(self._due_down, self._arrive_down, frame)

    def send_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self.send(frame)

    async def drained(self) -> None:
        while self.buffered > self._high_water // 4 and not self.up_broken:
            await self._next(self._moved_down)

    async def receive(self) -> str | bytes | None:
        while (not self._up or self._paused) and not self.up_broken:
            await self._next(self._moved_up)
        if not self._up:
            return None
        frame = self._up.popleft()
        self.heard.came(self, frame)
        return frame

    async def listen(self, take: Callable[[str | bytes], None]) -> None:
        while (frame := await self.receive()) is not None:
            take(frame)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._moved_up.set()

    async def gone(self) -> None:
        while await self.receive() is not None:
            pass

    def close(self, code: int, reason: str) -> None:
        if self.closing is None:
            self.closing = code, reason
            self._due_down = max(self._due_down, self._loop.time()) + self._delay()
            self._later(self._due_down, self.break_down)

    def abort(self) -> None:
        self.break_up()
        self._later(self._loop.time() + self._delay(), self.break_down)

    # The device's end

    def speak(self, frame: bytes) -> None:
        text = frame.decode()
        twice = text.startswith(PUSH) and not self.calm and self._chance.random() < 0.04
        for _ in range(1 + twice):
            self.waiting_up += len(frame)
            self._due_up = max(self._due_up, self._loop.time()) + self._delay()
            self._later(self._due_up, self._arrive_up, text)

    @property
    def device_may_speak(self) -> bool:
        return self.waiting_up < HOLDS and not self._paused

    async def take(self) -> bytes:
        while not self._down or self.stalled:
            if self.down_broken:
                raise self._end()
            await self._next(self._moved_down)
        frame = self._down.popleft()
        self.buffered -= len(frame)
        self.taken += len(frame)
        self._moved_down.set()
        self._grow_tired()
        self.heard.took(self, frame)
        return frame

    def _grow_tired(self) -> None:
        if self.takes is not None:
            self.takes -= 1
            self.stalled |= self.takes <= 0

    def _end(self) -> LinkClosed:
        if self.closing is None or self.up_broken:
            return LinkClosed(None, "the line broke")
        return LinkClosed(*self.closing)

    # What happens on the way

    def cut(self, hub_knows_after: float, device_knows_after: float) -> None:
        """It breaks now: nothing more arrives, and each end is told of it in its time."""
        self._due_up = self._due_down = float("inf")
        now = self._loop.time()
        self._later(now + hub_knows_after, self.break_up)
        self._later(now + device_knows_after, self.break_down)

    def leave_ghost(self, hub_knows_after: float) -> None:
        """The device sees the end now; what it has said still arrives, late."""
        now = self._loop.time()
        self._late_until = now + self._chance.choice((0.0, 0.1, 0.3, 1.0))
        self.break_down()
        self._later(now + hub_knows_after, self.break_up)

    def stall(self, seconds: float) -> None:
        """The device takes nothing for so long."""
        self.stalled = True
        self._later(self._loop.time() + seconds, self.unstall)

    def break_up(self) -> None:
        """The hub sees the end; what came before it is still read."""
        self.up_broken = True
        self._paused = False
        self._moved_up.set()
        self._moved_down.set()

    def break_down(self) -> None:
        """The device sees the end, once it has taken what came before."""
        self.down_broken = True
        self.stalled = False
        self._moved_down.set()
        self._moved_up.set()

    def unstall(self) -> None:
        self.stalled = False
        self.takes = None
        self._moved_down.set()

    def _arrive_up(self, frame: str) -> None:
        if self._loop.time() < self._late_until:
            self._later(self._late_until, self._arrive_up, frame)
            return
        self.waiting_up -= len(frame.encode())
        if not self.up_broken and self._due_up != float("inf"):
            self._up.append(frame)
        self._moved_up.set()

    def _arrive_down(self, frame: bytes) -> None:
        if not self.down_broken and self._due_down != float("inf"):
            self._down.append(frame)
            self._moved_down.set()

    def _delay(self) -> float:
        return 0.001 if self.calm else self._chance.random() * self._slow

    def _later(self, when: float, what: Callable[..., object], *args: object) -> None:
        if when < float("inf"):
            self._loop.call_at(when, what, *args, context=self._context)

    async def _next(self, moved: asyncio.Event) -> None:
        moved.clear()
        await moved.wait()


class Heard:
    """Told what goes over a line."""

    def sent(self, line: Line, frame: bytes) -> None:
        """The hub has sent a frame."""

    def came(self, line: Line, frame: str) -> None:
        """The hub has taken a frame."""

    def said(self, line: Line, frame: bytes) -> None:
        """The device has sent a frame."""

    def took(self, line: Line, frame: bytes) -> None:
        """The device has taken a frame."""


class DeviceEnd:
    """A `client.link.Link`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, frame: bytes) -> None:
        line = self._line
        if line.down_broken:
            raise line._end()
        line.heard.said(line, frame)
        line.speak(frame)
        while not line.device_may_speak and not line.down_broken:
            await line._next(line._moved_up)

    async def receive(self) -> bytes:
        return await self._line.take()

    async def close(self) -> None:
        """Frames on the way up still arrive; the hub sees the end behind them."""
        line = self._line
        line.break_down()
        if not line.up_broken:
            line._due_up = max(line._due_up, line._loop.time()) + line._delay()
            line._later(line._due_up, line.break_up)
