"""One connection in memory, on which nothing moves by itself."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from protocol.messages import FromHub, Hello, Push, decode_from_device, decode_from_hub

WELCOME = b'{"type":"welcome"'


class Line:
    """A `hub.link.Link` and the device's end of it.

    Frames lie in `up` and `down` until they are carried. `broken`: the hub has noticed that the
    line is dead; a device that has left without that leaves a line that the hub believes in.
    `pushed` names the pushes that arrived on it; `on_welcome` is told when the hub greets.
    """

    address = "memory"

    def __init__(self, high_water: int, on_welcome: Callable[["Line"], None], came: float) -> None:
        self.came = came
        self.up: deque[str] = deque()
        self.down: deque[bytes] = deque()
        self.broken = False
        self.closing: int | None = None
        self.pushed: set[int] = set()
        self.hello: Hello | None = None
        self.welcome: FromHub | None = None
        self._on_welcome = on_welcome
        self._high_water = high_water
        self._arrived: deque[str] = deque()
        self._sent = 0
        self._paused = False
        self._moved = asyncio.Event()

    # The hub's end

    @property
    def buffered(self) -> int:
        return sum(map(len, self.down))

    @property
    def is_full(self) -> bool:
        return self.buffered > self._high_water

    @property
    def taken(self) -> int:
        return self._sent - self.buffered

    def send(self, frame: bytes) -> None:
        if not self.broken and self.closing is None:
            self._sent += len(frame)
            self.down.append(frame)
            if frame.startswith(WELCOME):
                self.welcome = decode_from_hub(frame)
                self._on_welcome(self)

    def send_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self.send(frame)

    async def drained(self) -> None:
        while self.buffered > self._high_water // 4 and not self.broken:
            await self._next_move()

    async def receive(self) -> str | bytes | None:
        while not self._arrived:
            if self.broken:
                return None
            await self._next_move()
        return self._arrived.popleft()

    async def listen(self, take: Callable[[str | bytes], None]) -> None:
        while (frame := await self.receive()) is not None:
            take(frame)
            while self._paused and not self.broken:
                await self._next_move()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._moved.set()

    async def gone(self) -> None:
        while await self.receive() is not None:
            pass

    def close(self, code: int, reason: str) -> None:
        if self.closing is None:
            self.closing = code

    def abort(self) -> None:
        self.cut()

    async def _next_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    # The device's end

    def speak(self, frame: bytes) -> None:
        self.up.append(frame.decode())

    @property
    def over(self) -> bool:
        """Whether the device, having taken all that came, sees the end of the line."""
        return self.broken or (self.closing is not None and not self.down)

    # What happens on the way

    def carry_up(self, most: int) -> int:
        """So many of the device's frames arrive at the hub."""
        carried = 0
        while self.up and carried < most and not self.broken:
            frame = self.up.popleft()
            self._arrived.append(frame)
            self._note(frame)
            carried += 1
        self._moved.set()
        return carried

    def _note(self, frame: str) -> None:
        message = decode_from_device(frame)
        if isinstance(message, Hello):
            self.hello = message
        if isinstance(message, Push):
            self.pushed.add(message.push_id)

    def carry_down(self) -> bytes | None:
        """The next of the hub's frames arrives at the device."""
        frame = self.down.popleft() if self.down else None
        self._moved.set()
        return frame

    def cut(self) -> None:
        """The hub sees the end of the line; what is still on the way is gone."""
        self.broken = True
        self.up.clear()
        self.down.clear()
        self._moved.set()
