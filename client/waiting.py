"""Waiting for what happens: the one bell of a device, and the first of several things."""

import asyncio
from collections.abc import Awaitable


class Bell:
    """Wakes all who wait each time that it rings. Whoever wakes looks for himself what is new."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all who wait."""
        listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            if not listener.done():
                listener.set_result(None)

    async def heard(self) -> None:
        """Wait for the next ring."""
        listener = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        try:
            await listener
        finally:
            self._listeners.discard(listener)


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait until one of these is done; the others are given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
