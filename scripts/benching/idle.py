"""What a device costs that is there, authenticated and live, and says nothing."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Final

from websockets.uri import parse_uri

from scripts.benching.files import allow_files
from scripts.benching.measure import TARGETS, Figures, Goal, Measure, Row, Site
from scripts.loading.devices import Device
from scripts.loading.faults import Faults, LoadError
from scripts.loading.link import Link, connect
from scripts.loading.servers import Server

_DEVICES_OF_A_USER: Final = 2
_FIRST: Final = 20
"""Devices that come before the memory is taken: what a server needs once is no device's cost."""
_AT_ONCE: Final = 50


class Idle(Measure):
    """Many devices come, and the server's memory is compared."""

    name: ClassVar = "idle"
    title: ClassVar = "an idle device, authenticated and live"
    targets: ClassVar = TARGETS
    rows: ClassVar = (Row("memory a device", "memory", "KB", Goal("value", "at most", 16.0)),)
    weight: ClassVar = "once"

    async def prepare(self, site: Site) -> None:
        """Make room for the sockets, here and in the servers, which inherit it."""
        allow_files(site.scale.idle_devices)

    async def run(self, server: Server, site: Site) -> Figures:
        """Compare the memory with many devices and with a few."""
        async with _crowd() as crowd:
            await crowd.come(server, _FIRST)
            before = server.memory_bytes()
            await crowd.come(server, site.scale.idle_devices)
            after = server.memory_bytes()
            crowd.check()
        if before is None or after is None:
            return {}
        return {"memory": (after - before) / 1024 / site.scale.idle_devices}


class _Crowd:
    """Devices of many users, each new."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self._faults = Faults()
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def come(self, server: Server, count: int) -> None:
        """Let so many more devices come, and be told `ready`."""
        run = secrets.token_hex(4)
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                user = f"idle-{run}-{number // _DEVICES_OF_A_USER}"
                tasks.create_task(self._enter(server, user, f"device-{number}"))

    async def _enter(self, server: Server, user: str, name: str) -> None:
        async with self._free:
            link = await connect(parse_uri(server.url), user, name, self._faults)
            self.links.append(link)
            await Device(link).greet()

    def check(self) -> None:
        """Raise if anybody was not there to the end."""
        if self._faults.count:
            raise LoadError(f"{self._faults.count} errors, the first: {self._faults.told[0]}")


@asynccontextmanager
async def _crowd() -> AsyncIterator[_Crowd]:
    crowd = _Crowd()
    try:
        yield crowd
    except* LoadError as errors:
        raise errors.exceptions[0] from None
    finally:
        await asyncio.gather(*(link.leave() for link in crowd.links))
