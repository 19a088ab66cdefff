"""A device that comes to a user who has a history, and is brought level: what it is sent.

`arrive` does nothing with the bytes, while they come, but look for the end; what they say is read,
and checked, when the clock has stopped. So no server waits for who measures it, however many
frames it sends. `fetch` reads each frame as it comes and keeps none: so that this process is never
busy for long, and measures others at the same time.
"""

import asyncio
import re
import time
from typing import Any, Final, NamedTuple

import orjson

from scripts.loading.faults import LoadError
from scripts.loading.link import Link

LONGEST: Final = 60.0
"""Seconds that a catching-up may take."""

_READY: Final = b'{"type":"ready"'
_CHANGES: Final = b'{"type":"changes"'
_OBJECT: Final = b'"json_data":{'
_CLOCK: Final = re.compile(rb'"logical_clock":(\d+)')


class Arrival(NamedTuple):
    """What a device was told from its hello to its `ready`, and how long that took.

    `load_cpu` is the share of a core that this process used meanwhile.
    """

    log_id: str
    clock: int
    changes: int
    objects: int
    seconds: float
    load_cpu: float
    frames: list[bytes]


class Fetched(NamedTuple):
    """How many objects a device was told of until its `ready`, and how long that took."""

    objects: int
    seconds: float
    load_cpu: float


class _Watched:
    """A link from a hello to the frame `ready`, and what that took."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._began = self._ended = _moment()
        self._done = asyncio.Event()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self._ended.wall - self._began.wall

    @property
    def load_cpu(self) -> float:
        """The share of a core that this process used meanwhile."""
        return (self._ended.cpu - self._began.cpu) / self.seconds

    async def hello(self, clock: int, log_id: str | None) -> None:
        """Say hello and wait for `ready`.

        Raises:
            LoadError: the link was lost, or it took too long.

        """
        self._began = _moment()
        self.link.send(_hello(self.link, clock, log_id))
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._done, self.link.lost)]
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise LoadError(f"{self.link.user}: not level after {LONGEST:.0f} s") from None
        finally:
            for each in waiting:
                each.cancel()
        if not self._done.is_set():
            raise LoadError(f"{self.link.user}: the line was lost before `ready`")


class _Recording(_Watched):
    """Keeps what comes, uncut, until the end."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.frames: list[bytes] = []
        self._chunks: list[bytes] = []
        self._seam = b""
        link.feed = self._keep

    def _keep(self, data: bytes) -> None:
        self._chunks.append(data)
        seam = self._seam + data
        self._seam = seam[1 - len(_READY) :]
        if _READY in seam:
            self._ended = _moment()
            self.link.feed = None
            self.link.take = self._take
            self.link.data_received(b"".join(self._chunks))

    def _take(self, payload: bytes) -> None:
        self.frames.append(payload)
        if payload.startswith(_READY):
            self._done.set()


class _Counting(_Watched):
    """Counts the objects in what comes."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.objects = 0
        link.take = self._take

    def _take(self, payload: bytes) -> None:
        self.objects += payload.count(_OBJECT)
        if payload.startswith(_READY):
            self._ended = _moment()
            self._done.set()


class _Moment(NamedTuple):
    """A time by the clock on the wall and by this process's use of the processor (s)."""

    wall: float
    cpu: float


def _moment() -> _Moment:
    return _Moment(time.perf_counter(), time.process_time())


async def arrive(link: Link, clock: int = 0, log_id: str | None = None) -> Arrival:
    """Say hello as a device that is at `clock` of the history `log_id`; wait until it is level.

    Raises:
        LoadError: the server let it wait, or told it of a clock twice, or left one out.

    """
    recording = _Recording(link)
    await recording.hello(clock, log_id)
    return _read(recording, clock)


async def fetch(link: Link) -> Fetched:
    """Say hello as a new device; wait until it has all objects.

    Raises:
        LoadError: the server let it wait.

    """
    counting = _Counting(link)
    await counting.hello(0, None)
    return Fetched(counting.objects, counting.seconds, counting.load_cpu)


def _hello(link: Link, clock: int, log_id: str | None) -> bytes:
    hello = {"type": "hello", "token": link.user, "device": link.name, "logical_clock": clock}
    return orjson.dumps(hello | {"log_id": log_id, "half": None})


def _read(recording: _Recording, clock: int) -> Arrival:
    link, frames = recording.link, recording.frames
    welcome: dict[str, Any] = orjson.loads(frames[0])
    ready = orjson.loads(frames[-1])
    clocks = [_clock(frame) for frame in frames if frame.startswith(_CHANGES)]
    level = ready["logical_clock"]
    if clocks and clocks != list(range(level - len(clocks) + 1, level + 1)):
        raise LoadError(f"{link.user}: the clocks that it was sent have holes, or are out of order")
    if welcome.get("reset") or level != welcome.get("logical_clock"):
        raise LoadError(f"{link.user}: at {clock}, it was told {frames[0]!r} and {frames[-1]!r}")
    objects = sum(frame.count(_OBJECT) for frame in frames) - len(clocks)
    return Arrival(
        log_id=welcome["log_id"],
        clock=level,
        changes=len(clocks),
        objects=objects,
        seconds=recording.seconds,
        load_cpu=recording.load_cpu,
        frames=frames,
    )


def _clock(frame: bytes) -> int:
    found = _CLOCK.search(frame)
    return int(found[1]) if found else 0
