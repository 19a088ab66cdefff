"""A hub without sockets, threads or waiting: its links, its executor and all its time are a test's.

`in_virtual_time` runs a test on a loop whose time passes only when nothing else is left to do, and
then at once: a minute costs nothing, and a test in which nothing will ever happen again fails
instead of hanging.
"""

import asyncio
import functools
import itertools
import json
import selectors
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from hub.auth import Authority, DevAuthority
from hub.hub import Hub
from hub.limits import Limits
from hub.rates import NO_RATES, Rates
from hub.retention import Retention
from hub.session import Session
from hub.store.errors import StoreFailed
from hub.store.executor import Executor, OpenExecutor
from hub.store.interface import Incoming, Meanwhile, Stored, nothing
from hub.store.ledger import Rules
from hub.store.sqlite import SqliteStore
from protocol.diffs import MAX_DEPTH, MAX_OBJECT_BYTES

P = ParamSpec("P")
T = TypeVar("T")
Frame: TypeAlias = dict[str, Any]

START: Final = 1_790_000_000_000
"""What the fake clock says at first, ms."""
LONGEST_TEST: Final = 7200.0
"""Virtual seconds after which a test that still waits is taken to wait for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for the next timer it says that the time has come."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None or self.now > LONGEST_TEST:
                raise AssertionError("the test waits for something that will never happen")
            self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when nothing else is left to do."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test on a `VirtualLoop`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    return run


async def settled() -> None:
    """Let everything happen that can happen without time passing."""
    for _turn in range(100):
        await asyncio.sleep(0)


class FakeClock:
    """The hub's wall clock, in ms; the loop's own time does not move it."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class InlineExecutor:
    """Runs SQL where it is asked for, after one turn of the loop: no thread, always the same."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    is_idle = True

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await asyncio.sleep(0)
        return work(self._connection)

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self._connection)

    async def close(self) -> None:
        self._connection.close()


async def inline(connect: Callable[[], sqlite3.Connection]) -> Executor:
    return InlineExecutor(connect())


def rules(clock: Callable[[], int] | None = None, life: str = "", **changes: Any) -> Rules:
    """Rules with a clock that stands still, and log ids that count, in another `life` others."""
    numbers, starts = itertools.count(1), itertools.count(1)
    chosen: dict[str, Any] = {
        "now": clock or FakeClock(),
        "new_log_id": lambda: f"log-{life}{next(numbers)}",
        "new_epoch": lambda: f"start-{life}{next(starts)}",
        "max_ahead": 60_000,
        "max_object_bytes": MAX_OBJECT_BYTES,
        "max_depth": MAX_DEPTH,
        **changes,
    }
    return Rules(**chosen)


class GatedStore(SqliteStore):
    """A store whose commits wait while the test holds them, and fail when it says so."""

    def __init__(self, path: Path, chosen: Rules, open_executor: OpenExecutor = inline) -> None:
        super().__init__(path, chosen, open_executor)
        self.groups: list[Sequence[Incoming]] = []
        self.failures = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._reached = asyncio.Event()

    def hold(self) -> None:
        self._gate.clear()
        self._reached.clear()

    def let_go(self) -> None:
        self._gate.set()

    async def reached(self) -> None:
        """Wait until a commit stands at the gate."""
        await self._reached.wait()

    async def commit(
        self, group: Sequence[Incoming], meanwhile: Meanwhile = nothing
    ) -> Sequence[Stored | None]:
        self.groups.append(group)
        self._reached.set()
        await self._gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreFailed("nothing was stored: database or disk is full")
        return await super().commit(group, meanwhile)


class FakeLink:
    """Both ends of a connection: a `Link` for the hub, and its device in the test's hand.

    While the device reads, it takes each frame as it is sent. While it stalls, what is sent stays
    in the buffer, of which `drained` waits for all but a quarter of `high` bytes once it is above.
    """

    def __init__(
        self, high: int = 256 * 1024, *, answers_close: bool = True, address: str = "test"
    ) -> None:
        self.address = address
        self.came = asyncio.get_running_loop().time()
        self.buffered = 0
        self.most_buffered = 0
        self.taken = 0
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self._high = high
        self._answers_close = answers_close
        self._reads = True
        self._buffer: deque[bytes] = deque()
        self._drained: list[asyncio.Future[None]] = []
        self._from_device: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._heard: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._broken = False
        self._reading = asyncio.Event()
        self._reading.set()

    # The hub's end

    def send(self, frame: bytes) -> None:
        if self.closed or self._broken:
            return
        self._buffer.append(frame)
        self.buffered += len(frame)
        self.most_buffered = max(self.most_buffered, self.buffered)
        self._flow()

    def send_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self.send(frame)

    @property
    def is_full(self) -> bool:
        return self.buffered > self._high

    async def drained(self) -> None:
        if self.is_full and not self._broken:
            waiter = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            await waiter

    async def receive(self) -> str | bytes | None:
        if self._broken and self._from_device.empty():
            return None
        return await self._from_device.get()

    async def listen(self, take: Callable[[str | bytes], None]) -> None:
        while (frame := await self.receive()) is not None:
            take(frame)
            await self._reading.wait()

    def pause(self) -> None:
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    async def gone(self) -> None:
        while await self.receive() is not None:
            pass

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = code, reason
            self._flow()

    def abort(self) -> None:
        self.aborted = True
        self._break()

    # The device's end

    @property
    def unread(self) -> int:
        """Frames of the device that the hub has not read."""
        return self._from_device.qsize()

    def say(self, kind: str, **fields: Any) -> None:
        self.say_raw(json.dumps({"type": kind, **fields}))

    def say_raw(self, frame: str | bytes) -> None:
        self._from_device.put_nowait(frame)

    def hello(self, device: str, token: str = "ada", **fields: Any) -> None:
        self.say("hello", token=token, device=device, **{"logical_clock": 0, **fields})

    def push(self, push_id: int, *diffs: Any, **fields: Any) -> None:
        self.say("push", push_id=push_id, diffs=diffs, **fields)

    async def hear(self) -> Frame:
        """The next frame; an end of the connection ends the test that did not expect it."""
        frame = await self._heard.get()
        assert frame is not None, f"the connection ended: {self.closed or 'cut off'}"
        return frame

    async def take_one(self) -> Frame:
        """Take the next frame, once everything has happened that can, and none behind it."""
        await settled()
        self.take(1)
        return await self.hear()

    async def hear_until(self, kind: str) -> list[Frame]:
        """The next frames up to and with the first of this type."""
        frames = [await self.hear()]
        while frames[-1]["type"] != kind:
            frames.append(await self.hear())
        return frames

    async def frames(self) -> AsyncIterator[Frame]:
        """Each frame as it comes, up to the end of the connection."""
        while (frame := await self._heard.get()) is not None:
            yield frame

    async def hear_all(self) -> list[Frame]:
        """All frames up to the end of the connection."""
        return [frame async for frame in self.frames()]

    async def heard_by_now(self) -> list[Frame]:
        """All frames that have come, once everything has happened that can."""
        await settled()
        return [frame for _ in range(self._heard.qsize()) if (frame := self._heard.get_nowait())]

    def stall(self) -> None:
        self._reads = False

    def take(self, frames: int | None = None) -> None:
        """Take this many frames from the buffer; None: read again, from now on."""
        self._reads = frames is None
        self._flow(frames)

    def vanish(self) -> None:
        """The line breaks: what is on it is gone, and the hub soon finds out."""
        self._break()

    def _flow(self, frames: int | None = None) -> None:
        while self._buffer and (self._reads or frames):
            frames = frames - 1 if frames else frames
            frame = self._buffer.popleft()
            self.buffered -= len(frame)
            self.taken += len(frame)
            self._heard.put_nowait(json.loads(frame))
        if self.buffered <= self._high // 4:
            self._wake()
        if self.closed and not self._buffer and self._answers_close:
            self._break()

    def _wake(self) -> None:
        while self._drained:
            waiter = self._drained.pop()
            if not waiter.done():
                waiter.set_result(None)

    def _break(self) -> None:
        if not self._broken:
            self._broken = True
            self.buffered = 0
            self._buffer.clear()
            self._wake()
            self._heard.put_nowait(None)
            self._reading.set()
            self._from_device.put_nowait(None)


def code(link: FakeLink) -> int | None:
    """The code with which the hub closed a connection."""
    return link.closed and link.closed[0]


class Site:
    """A hub, and the devices that a test connects to it."""

    def __init__(self, hub: Hub, store: GatedStore, clock: FakeClock) -> None:
        self.hub = hub
        self.store = store
        self.clock = clock
        self._served: dict[FakeLink, asyncio.Task[None]] = {}

    def connect(self, **link: Any) -> FakeLink:
        """A connection that has not said anything."""
        new = FakeLink(self.hub.limits.send_buffer_bytes, **link)
        self._served[new] = asyncio.create_task(self.hub.serve(new))
        return new

    async def greet(self, device: str, token: str = "ada", **hello: Any) -> FakeLink:
        """A connection that has been told `welcome` and nothing after it."""
        link = self.connect()
        link.stall()
        link.hello(device, token, **hello)
        await settled()
        link.take(1)
        assert (await link.hear())["type"] == "welcome"
        return link

    async def live(self, device: str, token: str = "ada", **hello: Any) -> FakeLink:
        """A connection that has been told `ready`."""
        link = self.connect()
        link.hello(device, token, **hello)
        await link.hear_until("ready")
        return link

    def session(self, link: FakeLink) -> Session:
        return next(session for session in self.hub.sessions if session.link is link)

    async def gone(self, link: FakeLink) -> None:
        """Wait until the hub has done with a connection."""
        await self._served.pop(link)

    async def close(self) -> None:
        self.store.let_go()
        for link in self._served:
            link.vanish()
        await asyncio.gather(*self._served.values())


@asynccontextmanager
async def a_hub(
    path: Path,
    *,
    limits: Limits | None = None,
    authority: Authority | None = None,
    clock: FakeClock | None = None,
    retention: Retention | None = None,
    rates: Rates = NO_RATES,
    life: str = "",
) -> AsyncIterator[Site]:
    """A hub on this file for as long as this lasts."""
    clock = clock or FakeClock()
    store = GatedStore(path, rules(clock, life, retention=retention or Retention()))
    await store.open()
    hub = Hub(store, authority or DevAuthority(), limits or Limits(), clock, rates)
    async with hub.running():
        site = Site(hub, store, clock)
        try:
            yield site
        finally:
            await site.close()
    await store.close()


_numbers = itertools.count(1)


def diff(kind: str, name: str, base: int = 0, at: int = START, **fields: Any) -> Frame:
    """A diff of the object `name`, made by one who had seen `base`."""
    return {
        "id": f"e{next(_numbers)}",
        "logical_clock": base,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": {"id": name, **fields},
    }


def create(name: str, base: int = 0, at: int = START, **fields: Any) -> Frame:
    return diff("create", name, base, at, **fields)


def update(name: str, base: int = 0, at: int = START, **fields: Any) -> Frame:
    return diff("update", name, base, at, **fields)


def delete(name: str, base: int = 0, at: int = START) -> Frame:
    return diff("delete", name, base, at)
