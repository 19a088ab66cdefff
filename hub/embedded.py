"""A hub in somebody's program: `async with Hub(settings) as hub` (docs/embedding.md).

It is what `mobync-hub serve` runs, less what is asked of a whole process: signals, the form of the
log, the loop, the cycle collector and the umask stay with the program that it is in.
"""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from hub.server import serving
from hub.settings import Settings


class Hub:
    """Serves from entering to leaving, once.

    Raises:
        SettingsError: on entering; a setting is wrong, or somebody else has the address.
        HubError: on entering, the file cannot be used; on leaving, the store could not go on.

    """

    url: str
    """Where devices connect, with the port that it got."""
    http_url: str
    """Where it answers HTTP."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gave_up = asyncio.Event()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Serve; it is ready when this returns."""
        hub = serving(self._settings, give_up=self._gave_up.set)
        self.url, self.http_url = await self._exits.enter_async_context(hub)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop in good order: devices are told to come back, and the file is closed."""
        await self._exits.__aexit__(kind, error, traceback)

    async def gave_up(self) -> None:
        """Wait until the store cannot go on, as when its disk fails; leave then, and hear why."""
        await self._gave_up.wait()
