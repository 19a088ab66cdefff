"""Devices that stay through a restart: they edit on, and come back as the Python device does.

What they hear is checked as in a soak (scripts/soaking/devices.py): each clock once, in order. Of a
user one device writes, so that its clock is the number of its pushes.
"""

import asyncio
import random
from typing import Any, Final

from client.backoff import Backoff
from scripts.loading.faults import LoadError
from scripts.soaking import devices

_ERROR: Final = b'{"type":"error"'
_SHUTTING_DOWN: Final = b'"shutting_down"'


class Listener(devices.Device):
    """A device that hears what its user's writer pushes."""

    def __init__(self, *known: Any) -> None:
        super().__init__(*known)
        self.refused: list[str] = []
        self._backoff = Backoff(random.Random())

    @property
    def is_level(self) -> bool:
        """Whether it has been caught up on the line that it has now."""
        return self.link is not None and self._ready.is_set()

    async def stay(self) -> None:
        """Come back whenever the hub has gone, until cancelled."""
        while True:
            if self.link is not None:
                await self.link.lost.wait()
            await asyncio.sleep(self._backoff.delay())
            try:
                await self.come()
                self._backoff.reset()
            except LoadError as error:
                self.refused.append(f"{self.user}/{self.name}: {error}")

    def _take(self, payload: bytes) -> None:
        """The hub's goodbye is its last frame: a line that ends so is no fault."""
        if self.link and payload.startswith(_ERROR) and _SHUTTING_DOWN in payload:
            self._ready.clear()
            self.link.give_up()
        else:
            super()._take(payload)


class Writer(Listener, devices.Writer):
    """A device that pushes, whether there is a hub or not."""

    made = 0

    def push(self) -> None:
        """Make an edit."""
        self.made += 1
        super().push()
