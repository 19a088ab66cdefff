"""What happens to the devices while the pushes go on: one mishap after another, by chance."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

from websockets.uri import WebSocketURI

from scripts.loading.faults import Faults
from scripts.loading.pushes import templates
from scripts.soaking.crowd import Crowd, User
from scripts.soaking.devices import Account, Device, Writer

AT_ONCE: Final = 20
"""Mishaps under way; a device meets one at a time."""
AWAY: Final = 3.0
"""Seconds that a device is away at most."""
ASLEEP: Final = 30.0
"""Seconds that a device reads nothing at most, or half of a short soak. The hub cuts off who takes
nothing for a minute."""

Mishap = Callable[[Device], Awaitable[None]]


class Churn:
    """So many mishaps a second, each a task that is awaited at the end."""

    def __init__(
        self, crowd: Crowd, uri: WebSocketURI, chance: Random, faults: Faults, account: Account
    ) -> None:
        self._crowd = crowd
        self._uri = uri
        self._chance = chance
        self._faults = faults
        self._account = account
        self._asleep = ASLEEP
        self._busy: set[Device] = set()
        self._mishaps: Mapping[Mishap, int] = {
            self._cut: 6,
            self._leave: 3,
            self._replace: 3,
            self._begin_anew: 2,
            self._fall_asleep: 3,
            self._visit: 3,
        }

    async def run(self, seconds: float, rate: float) -> None:
        """Let things happen for so long; ends when all devices are back."""
        until = time.monotonic() + seconds
        self._asleep = min(ASLEEP, seconds / 2)
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() < until:
                await asyncio.sleep(self._chance.expovariate(rate))
                if len(self._busy) < AT_ONCE:
                    self._begin_one(tasks, until)

    def _begin_one(self, tasks: asyncio.TaskGroup, until: float) -> None:
        free = [device for device in self._crowd.devices if device not in self._busy]
        if free and time.monotonic() < until:
            mishap = self._chance.choices([*self._mishaps], [*self._mishaps.values()])[0]
            tasks.create_task(self._happen(mishap, self._chance.choice(free)))

    async def _happen(self, mishap: Mishap, device: Device) -> None:
        self._busy.add(device)
        try:
            await mishap(device)
        finally:
            self._busy.discard(device)

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(0, most))

    async def _cut(self, device: Device) -> None:
        self._account.cut += 1
        device.cut()
        await self._pause(AWAY)
        await device.come()

    async def _leave(self, device: Device) -> None:
        self._account.left += 1
        await device.leave()
        await self._pause(AWAY)
        await device.come()

    async def _replace(self, device: Device) -> None:
        self._account.replaced += 1
        await device.come()

    async def _begin_anew(self, device: Device) -> None:
        if isinstance(device, Writer):  # it would need a name of its own
            return await self._replace(device)
        self._account.began_anew += 1
        device.cut()
        device.forget()
        return await device.come()

    async def _fall_asleep(self, device: Device) -> None:
        self._account.slow += 1
        link = device.link
        if link is not None:
            link.stop_reading()
            await self._pause(self._asleep)
            link.read_on()

    async def _visit(self, _device: Device) -> None:
        """A user who was never here comes, pushes once, and is never seen again."""
        self._account.visitors += 1
        name = f"visitor-{secrets.token_hex(8)}"
        visitor = Writer(
            self._uri, name, "phone", self._faults, self._account, templates(name, 1, 200)
        )
        user = User(visitor, [])
        await visitor.come()
        visitor.push()
        await user.become_level()
        await visitor.leave()
