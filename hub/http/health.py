"""Whether the hub is alive, and whether it serves: for whatever starts, watches or routes to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hub.endless import stop
from hub.hub import Hub
from hub.store.errors import StoreFailed
from hub.store.interface import Sizes

READY_SECONDS: Final = 2.0
"""How long the store may take for a small read."""


class Health:
    """Asks the store how it is, one question at a time, however many want to know."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._question: asyncio.Task[Sizes | None] | None = None

    async def trouble(self) -> str | None:
        """Why the hub does not serve; None if it does."""
        if self._hub.stopping:
            return "the hub stops"
        try:
            async with asyncio.timeout(READY_SECONDS):
                sizes = await asyncio.shield(self._ask())
        except TimeoutError:
            return f"the store has not answered for {READY_SECONDS:g} seconds"
        return "the store failed" if sizes is None else None

    async def sizes(self) -> Sizes | None:
        """How large the store is; None if it fails, or does not say so soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                return await asyncio.shield(self._ask())
        return None

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Own the question that is under way for as long as this lasts."""
        try:
            yield
        finally:
            await stop(self._question)

    def _ask(self) -> asyncio.Task[Sizes | None]:
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._sizes(), name="health")
        return self._question

    async def _sizes(self) -> Sizes | None:
        try:
            return await self._hub.store.sizes()
        except StoreFailed:
            return None
