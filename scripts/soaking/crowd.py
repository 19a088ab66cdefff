"""The users of a soak: of each one device that writes and some that listen."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from websockets.uri import WebSocketURI

from scripts.loading.faults import Faults, LoadError
from scripts.loading.pushes import templates
from scripts.soaking.devices import Account, Device, Writer

LEVEL: Final = 60.0
"""Seconds until all devices must be level when the pushes have ended."""

_GLANCE: Final = 0.01
_TICK: Final = 0.01


class User:
    """One user's devices."""

    def __init__(self, writer: Writer, listeners: Sequence[Device]) -> None:
        self.writer = writer
        self.devices: Sequence[Device] = (writer, *listeners)

    async def become_level(self) -> None:
        """Wait until all is acked and heard.

        Raises:
            LoadError: it is not.

        """
        deadline = time.monotonic() + LEVEL
        # An event would have to be set with every frame.
        while not self._is_level():
            if time.monotonic() > deadline:
                clocks = {device.name: device.clock for device in self.devices}
                raise LoadError(
                    f"{self.writer.user}: not level after {LEVEL:.0f} s: {clocks}, "
                    f"{len(self.writer.unacked)} pushes without an ack"
                )
            await asyncio.sleep(_GLANCE)

    def _is_level(self) -> bool:
        clocks = {device.clock for device in self.devices}
        return not self.writer.unacked and len(clocks) == 1


class Size(msgspec.Struct, frozen=True):
    """How large a crowd is; `bytes` are of one change."""

    users: int
    listeners: int
    objects: int
    bytes: int


class Crowd:
    """All users, the same ones for the whole soak."""

    def __init__(
        self, uri: WebSocketURI, run: str, size: Size, faults: Faults, account: Account
    ) -> None:
        self.users = [
            User(
                Writer(
                    uri, name, "writer", faults, account, templates(name, size.objects, size.bytes)
                ),
                [
                    Device(uri, name, f"listener-{n}", faults, account)
                    for n in range(size.listeners)
                ],
            )
            for name in (f"{run}-{number}" for number in range(size.users))
        ]
        self.devices = [device for user in self.users for device in user.devices]

    async def come(self) -> None:
        """Connect all devices, user by user."""
        for user in self.users:
            await asyncio.gather(*(device.come() for device in user.devices))

    async def become_level(self) -> None:
        """Wait for what is under way; raises as `User.become_level`."""
        await asyncio.gather(*(user.become_level() for user in self.users))

    async def leave(self) -> None:
        """Say goodbye to all."""
        await asyncio.gather(*(device.leave() for device in self.devices))

    async def keep_pushing(self, seconds: float, rate: float) -> None:
        """Push on schedule, the writers in turn, so many a second in all, late or not."""
        start, count, done = time.monotonic(), round(seconds * rate), 0
        while done < count:
            due = min(count, int((time.monotonic() - start) * rate))
            for number in range(done, due):
                self.users[number % len(self.users)].writer.push()
            done = max(done, due)
            await asyncio.sleep(_TICK)
