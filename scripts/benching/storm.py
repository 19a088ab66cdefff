"""Thousands of devices whose line is cut at one moment, and who all come back."""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import ClassVar, Final

from websockets.uri import WebSocketURI, parse_uri

from client.backoff import Backoff
from scripts.benching.files import allow_files
from scripts.benching.measure import LOAD_CPU, Figures, Goal, Measure, Row, Site
from scripts.benching.seeding import History, seed
from scripts.loading.arrival import arrive
from scripts.loading.faults import Faults, LoadError
from scripts.loading.figures import percentile
from scripts.loading.link import Link, connect
from scripts.loading.servers import Server

_DEVICES_OF_A_USER: Final = 2
_PUSHES: Final = 10
"""The history of each user."""
_MISSED: Final = 5
"""How many of them a device says to have missed while it was away."""
_AT_ONCE: Final = 50  # of those who come for the first time, in good order
_GIVEN_UP: Final = 120.0
"""Seconds after which a device that is not level counts as lost."""


class Storm(Measure):
    """Every device waits as the Python device does: later and later, with full jitter."""

    name: ClassVar = "storm"
    title: ClassVar = "all devices cut at once and coming back, each having missed 5 pushes"
    rows: ClassVar = (
        Row("all level after", "seconds", "s", Goal("value", "at most", 30.0)),
        Row("half of them after", "half", "s"),
        Row("attempts a device", "attempts", ""),
    )
    weight: ClassVar = "heavy"

    async def prepare(self, site: Site) -> None:
        """Write the histories, and make room for the sockets."""
        allow_files(site.scale.storm_devices)
        users = range(site.scale.storm_devices // _DEVICES_OF_A_USER)
        histories = (History(f"user-{number}", _PUSHES, _PUSHES) for number in users)
        await seed(site.folder / "hub.db", histories)

    async def run(self, server: Server, site: Site) -> Figures:
        """Let all come in good order, cut them, and wait until all are back."""
        devices = [
            _Device(parse_uri(server.url), f"user-{number // _DEVICES_OF_A_USER}", f"d{number}")
            for number in range(site.scale.storm_devices // _DEVICES_OF_A_USER * _DEVICES_OF_A_USER)
        ]
        try:
            free = asyncio.Semaphore(_AT_ONCE)
            await _all(device.come(free) for device in devices)
            return await _storm(devices)
        finally:
            await asyncio.gather(*(device.leave() for device in devices))


class _Device:
    """A device that knows how far it is, and comes back until it is level."""

    def __init__(self, uri: WebSocketURI, user: str, name: str) -> None:
        self.attempts = 0
        self._uri = uri
        self._user = user
        self._name = name
        self._log_id = ""
        self._link: Link | None = None

    async def come(self, free: asyncio.Semaphore) -> None:
        """Come for the first time."""
        async with free:
            self._link = await connect(self._uri, self._user, self._name, Faults())
            self._log_id = (await arrive(self._link)).log_id

    def cut(self) -> None:
        """Lose the line."""
        if self._link is not None:
            self._link.cut()

    async def come_back(self) -> None:
        """Try until it is level, each time after a longer wait."""
        backoff = Backoff(random.Random())
        level = False
        while not level:
            await asyncio.sleep(backoff.delay())
            self.attempts += 1
            level = await self._attempt()

    async def _attempt(self) -> bool:
        try:
            self._link = await connect(self._uri, self._user, self._name, Faults())
            arrival = await arrive(self._link, _PUSHES - _MISSED, self._log_id)
        except LoadError:
            self.cut()
            return False
        if arrival.changes != _MISSED:
            raise LoadError(f"{self._user} heard of {arrival.changes} pushes instead of {_MISSED}")
        return True

    async def leave(self) -> None:
        """Say goodbye."""
        if self._link is not None:
            await self._link.leave()


async def _all(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for all; the first that fails ends it.

    Raises:
        LoadError: of the first that failed, or because it took too long.

    """
    try:
        async with asyncio.timeout(_GIVEN_UP), asyncio.TaskGroup() as tasks:
            for each in work:
                tasks.create_task(each)
    except* LoadError as errors:
        raise errors.exceptions[0] from None
    except* TimeoutError:
        raise LoadError(f"not all devices were level after {_GIVEN_UP:.0f} s") from None


async def _storm(devices: Sequence[_Device]) -> Figures:
    for device in devices:
        device.cut()
    began, cpu = time.perf_counter_ns(), time.process_time()
    levels: list[int] = []

    async def come_back(device: _Device) -> None:
        await device.come_back()
        levels.append(time.perf_counter_ns() - began)

    await _all(come_back(device) for device in devices)
    seconds = levels[-1] / 1e9
    return {
        "seconds": seconds,
        "half": percentile(levels, 0.5) / 1e9,
        "attempts": sum(device.attempts for device in devices) / len(devices),
        LOAD_CPU: (time.process_time() - cpu) / seconds,
    }
