"""One round: users come, rehearse, are under measure for a time, become level, and leave.

Every round has new users, so that each begins at clock 0 on whatever server it meets.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from websockets.uri import parse_uri

from scripts.loading.devices import Listener, User, Writer
from scripts.loading.faults import Faults, LoadError
from scripts.loading.figures import Spread, spread
from scripts.loading.link import DEADLINE, Link, connect
from scripts.loading.pacing import Pacer
from scripts.loading.pushes import templates
from scripts.loading.servers import Server

TICKS: Final = 10
"""How often a round reports progress while it measures."""

_AT_ONCE: Final = 50  # users that connect and rehearse at the same time
_GLANCE: Final = 0.01  # seconds between two looks at whether all are level


class Load(msgspec.Struct, frozen=True):
    """What a round consists of. `rate`: pushes/s in all, or None for a closed loop."""

    users: int
    devices: int
    seconds: float
    size: int
    objects: int
    rate: float | None


class Round(msgspec.Struct, frozen=True):
    """What a round measured. The rates are of the window; the rest counts what came later too."""

    pushes: int
    deliveries: int
    pushes_per_second: float
    deliveries_per_second: float
    push_to_ack: Spread | None
    push_to_receive: Spread | None
    sent_late: Spread | None
    server_cpu_seconds: float | None
    server_memory_bytes: int | None
    load_cpu_share: float
    errors: int
    first_errors: list[str]


class _Window(msgspec.Struct, frozen=True):
    """What only the time under measure shows."""

    seconds: float
    pushes: int
    deliveries: int
    sent_late: Spread | None
    server_cpu_seconds: float | None
    server_memory_bytes: int | None
    load_cpu_seconds: float


async def run_round(server: Server, load: Load, tick: Callable[[], None]) -> Round:
    """Put one server under load; `tick` is called `TICKS` times while it is measured."""
    faults = Faults()
    async with _crowd(server, load, faults) as users:
        window = await _measure(server, load, users, tick)
        await become_level(users)
    return _sum_up(users, window, faults)


@asynccontextmanager
async def _crowd(server: Server, load: Load, faults: Faults) -> AsyncIterator[list[User]]:
    """All users, greeted and rehearsed; they leave at the end, whatever happened."""
    door = _Door(server, load, faults)
    try:
        async with asyncio.TaskGroup() as tasks:
            arrivals = [tasks.create_task(door.enter(number)) for number in range(load.users)]
        yield [arrival.result() for arrival in arrivals]
    except* LoadError as errors:
        raise errors.exceptions[0] from None
    finally:
        await asyncio.gather(*(link.leave() for link in door.links))


class _Door:
    """Lets users in, a bounded number at once, and remembers every socket that was opened."""

    def __init__(self, server: Server, load: Load, faults: Faults) -> None:
        self.links: list[Link] = []
        self._uri = parse_uri(server.url)
        self._load = load
        self._faults = faults
        self._run = secrets.token_hex(4)  # a hub remembers the users of earlier runs
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def enter(self, number: int) -> User:
        """Connect the devices of one user and rehearse."""
        name = f"load-{self._run}-{number}"
        frames = templates(name, self._load.objects, self._load.size)
        async with self._free:
            writer = Writer(await self._connect(name, 0), frames)
            others = range(1, self._load.devices)
            user = User(writer, [Listener(await self._connect(name, other)) for other in others])
            await user.rehearse()
        return user

    async def _connect(self, user: str, device: int) -> Link:
        link = await connect(self._uri, user, f"device-{device}", self._faults)
        self.links.append(link)
        return link


async def _measure(
    server: Server, load: Load, users: Sequence[User], tick: Callable[[], None]
) -> _Window:
    server_cpu, load_cpu = server.cpu_seconds(), time.process_time()
    start = time.perf_counter()
    late = await _keep_pushing(load, users, tick)
    return _Window(
        seconds=time.perf_counter() - start,
        pushes=_pushes(users),
        deliveries=_deliveries(users),
        sent_late=late,
        server_cpu_seconds=_since(server_cpu, server.cpu_seconds()),
        server_memory_bytes=server.memory_bytes(),
        load_cpu_seconds=time.process_time() - load_cpu,
    )


async def _keep_pushing(
    load: Load, users: Sequence[User], tick: Callable[[], None]
) -> Spread | None:
    """Push for the time asked; of an open loop return how late the pushes left."""
    closed = load.rate is None
    until = time.perf_counter_ns() + int(load.seconds * 1e9) if closed else 0
    for user in users:
        user.begin(until)
    if load.rate is None:
        await _wait(load.seconds, tick)
        return None
    pacer = Pacer([user.writer for user in users], load.rate)
    await asyncio.gather(pacer.run(load.seconds), _wait(load.seconds, tick))
    return spread(pacer.late)


async def _wait(seconds: float, tick: Callable[[], None]) -> None:
    for _ in range(TICKS):
        await asyncio.sleep(seconds / TICKS)
        tick()


async def become_level(users: Sequence[User]) -> None:
    """Wait for what is under way; what does not come in time is counted as a fault."""
    deadline = time.monotonic() + DEADLINE
    # An event would have to be set with every frame, at the cost of what is measured.
    while not all(user.at_rest() for user in users) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_GLANCE)
    for user in users:
        user.settle()


def _sum_up(users: Sequence[User], window: _Window, faults: Faults) -> Round:
    return Round(
        pushes=_pushes(users),
        deliveries=_deliveries(users),
        pushes_per_second=window.pushes / window.seconds,
        deliveries_per_second=window.deliveries / window.seconds,
        push_to_ack=spread([each for user in users for each in user.writer.latencies]),
        push_to_receive=spread(
            [each for user in users for device in user.listeners for each in device.latencies]
        ),
        sent_late=window.sent_late,
        server_cpu_seconds=window.server_cpu_seconds,
        server_memory_bytes=window.server_memory_bytes,
        load_cpu_share=window.load_cpu_seconds / window.seconds,
        errors=faults.count,
        first_errors=faults.told,
    )


def _pushes(users: Sequence[User]) -> int:
    return sum(len(user.writer.latencies) for user in users)


def _deliveries(users: Sequence[User]) -> int:
    return sum(len(listener.latencies) for user in users for listener in user.listeners)


def _since(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
