"""A crowd that comes and never says hello, in all the ways in which one can say nothing.

Each opens a connection, says something or other that never becomes a hello, and waits to be cut
off: it answers no close. Meanwhile others push, and what they wait for their acks is measured.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, suppress
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import uvloop

from tests.crash.processes import UPGRADE, HubProcess, PlainDevice, a_device, raw_frame
from tests.hub.fakes import create

PUSHERS: Final = 10
PUSH_SECONDS: Final = 0.1
"""Between two pushes of one pusher."""
QUIET_PUSHES: Final = 30
"""Of each pusher, before the crowd comes."""

_POST: Final = b"POST /sync HTTP/1.1\r\nHost: x\r\n"
_HALF: Final = UPGRADE.removesuffix(b"\r\n")
_HELLO: Final = raw_frame('{"type":"hello","token":"ada","device":"d","logical_clock":0}')


class Manner(NamedTuple):
    """How one says nothing: `first` at once, and then, tick by tick, what `then` gives."""

    name: str
    first: bytes
    then: Callable[[int], bytes] = lambda _tick: b""
    is_http: bool = False


def _piece(data: bytes) -> Callable[[int], bytes]:
    """All but the last byte of it, one byte a tick."""
    return lambda tick: data[tick : tick + 1] if tick < len(data) - 1 else b""


MANNERS: Final[Sequence[Manner]] = (
    Manner("nothing", b""),
    Manner("half a handshake", UPGRADE[:50]),
    Manner("a handshake, a byte a tick", b"", _piece(UPGRADE)),
    Manner("headers without end", _HALF, lambda tick: b"X-%d: y\r\n" % tick),
    Manner("a WebSocket and no hello", UPGRADE),
    Manner("a WebSocket and pings", UPGRADE, lambda _tick: b"\x89\x80\0\0\0\0"),
    Manner("half a hello", UPGRADE + _HELLO[:20]),
    Manner("a hello, a byte a tick", UPGRADE, _piece(_HELLO)),
    Manner(
        "a hello in fragments without end",
        UPGRADE + b"\x01\x81\0\0\0\0{",
        lambda _tick: b"\x00\x81\0\0\0\0 ",
    ),
    Manner("nothing, to HTTP", b"", is_http=True),
    Manner("half a request, to HTTP", _POST[:9], is_http=True),
    Manner("a request, a byte a tick, to HTTP", b"", _piece(_POST * 9), is_http=True),
    Manner("headers without end, to HTTP", _POST, lambda tick: b"X-%d: y\r\n" % tick, is_http=True),
)


class Report(NamedTuple):
    """What came of it; times in seconds."""

    last: float
    """From a connection's beginning to its end, at the longest."""
    slowest: str
    """In which manner."""
    none_left: float
    """From the first one's coming to the hub's having closed all their sockets."""
    before: Sequence[float]
    during: Sequence[float]
    """What others waited from push to ack, push by push."""

    @property
    def p99_before(self) -> float:
        return quantiles(self.before, n=100)[98]

    @property
    def p99_during(self) -> float:
        return quantiles(self.during, n=100)[98]

    def __str__(self) -> str:
        return (
            f"gone after {self.last:.1f} s at the latest; no socket is left after "
            f"{self.none_left:.1f} s\n"
            f"others, push to ack, before and meanwhile: p50 {1e3 * median(self.before):.1f} and "
            f"{1e3 * median(self.during):.1f} ms, p99 {1e3 * self.p99_before:.1f} and "
            f"{1e3 * self.p99_during:.1f} ms"
        )


class _Sullen(asyncio.Protocol):
    """One of the crowd."""

    def __init__(self, manner: Manner) -> None:
        loop = asyncio.get_running_loop()
        self.manner = manner
        self.gone: asyncio.Future[None] = loop.create_future()
        self.lasted = 0.0
        self._came = loop.time()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._say(self.manner.first)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.gone.done():
            self.lasted = asyncio.get_running_loop().time() - self._came
            self.gone.set_result(None)

    def eof_received(self) -> bool:
        """It does not hang up itself, though the hub says no more: so this is the end for it."""
        self.connection_lost(None)
        return True

    def hang_up(self) -> None:
        self._transport.close()

    def tick(self, number: int) -> None:
        if not self.gone.done():
            self._say(self.manner.then(number))

    def _say(self, data: bytes) -> None:
        if data:
            self._transport.write(data)


async def besiege(hub: HubProcess, sockets: int, tick_seconds: float) -> Report:
    """Have a crowd come to a hub that others use; wait until all of it are gone.

    The crowd has a process of its own, so that the others wait for the hub and not for the crowd.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        async with AsyncExitStack() as stack:
            pushers = [_Pusher(await _greeted(hub, number, stack)) for number in range(PUSHERS)]
            await asyncio.wrap_future(elsewhere.submit(time.monotonic))  # it has begun
            before = await _together(pushers, lambda done: done >= QUIET_PUSHES)
            crowd = elsewhere.submit(come_and_wait, Goal.of(hub), sockets, tick_seconds)
            during = await _together(pushers, lambda _done: crowd.done())
    return Report(*crowd.result(), before, during)


async def _greeted(hub: HubProcess, number: int, stack: AsyncExitStack) -> PlainDevice:
    device = await stack.enter_async_context(a_device(hub.url, "phone", f"user-{number}"))
    await device.hear_until("ready")
    return device


class Goal(NamedTuple):
    """Where the crowd goes."""

    pid: int
    url: str
    http_url: str

    @classmethod
    def of(cls, hub: HubProcess) -> "Goal":
        return cls(hub.pid, hub.url, hub.http_url)


def come_and_wait(hub: Goal, sockets: int, tick_seconds: float) -> tuple[float, str, float]:
    """How long the last lasted and in which manner, and when the hub had no socket of theirs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_crowd(hub, sockets, tick_seconds))


async def _crowd(hub: Goal, sockets: int, tick_seconds: float) -> tuple[float, str, float]:
    loop = asyncio.get_running_loop()
    before, began = sockets_of(hub), loop.time()
    crowd = [await _come(hub, MANNERS[number % len(MANNERS)]) for number in range(sockets)]
    ticking = loop.create_task(_tick(crowd, tick_seconds))
    await asyncio.gather(*(one.gone for one in crowd))
    while sockets_of(hub) > before:
        await asyncio.sleep(0.05)
    ticking.cancel()
    none_left = loop.time() - began
    for one in crowd:
        one.hang_up()
    slowest = max(crowd, key=lambda one: one.lasted)
    return slowest.lasted, slowest.manner.name, none_left


async def _come(hub: Goal, manner: Manner) -> _Sullen:
    parts = urlsplit(hub.http_url if manner.is_http else hub.url)
    _transport, one = await asyncio.get_running_loop().create_connection(
        lambda: _Sullen(manner), str(parts.hostname), parts.port or 0
    )
    return one


def sockets_of(hub: Goal) -> int:
    """Sockets that the hub holds, by the system's own account; 0 where it keeps none."""
    found = 0
    for name in Path(f"/proc/{hub.pid}/fd").glob("*"):
        with suppress(FileNotFoundError):
            found += name.readlink().name.startswith("socket:")
    return found


async def _tick(crowd: Sequence[_Sullen], seconds: float) -> None:
    for number in range(10**6):
        await asyncio.sleep(seconds)
        for one in crowd:
            one.tick(number)


class _Pusher:
    """A device that pushes on schedule, and how long it waited for each ack."""

    def __init__(self, device: PlainDevice) -> None:
        self._device = device
        self._push_id = 0

    async def push_until(self, is_enough: Callable[[int], bool]) -> list[float]:
        loop = asyncio.get_running_loop()
        waited: list[float] = []
        while not is_enough(len(waited)):
            self._push_id += 1
            began = loop.time()
            await self._device.push(self._push_id, create(f"o{self._push_id}"))
            await self._device.hear_until("ack")
            waited.append(loop.time() - began)
            await asyncio.sleep(PUSH_SECONDS)
        return waited


async def _together(
    pushers: Sequence[_Pusher], is_enough: Callable[[int], bool]
) -> Sequence[float]:
    waits = await asyncio.gather(*(pusher.push_until(is_enough) for pusher in pushers))
    return [wait for each in waits for wait in each]
