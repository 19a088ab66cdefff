"""Tasks that go on for as long as who owns them: one that ends by itself has a bug.

A hub that commits no more, or whose store no longer folds, would take pushes and never answer them.
It gives up instead: what was acknowledged is stored, and the next start goes on from there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import structlog

logger: Final = structlog.get_logger("hub")


@contextlib.asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Have something go on beside, for as long as this lasts; at the end it is awaited."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await stop(task)


async def stop(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task, if there is one, and wait until it has ended."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Endless:
    """Some such tasks. `give_up` is called when one of them ends in an error; `stop` raises it."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin with one, which goes on until `stop`."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._look_at)
        self._tasks.append(task)

    async def stop(self) -> None:
        """End them all; raises what one of them ended in before, if any did."""
        errors: list[Exception] = []
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            try:
                await task
            except asyncio.CancelledError:
                pass
            except Exception as error:  # noqa: BLE001 - it is raised when all have ended
                errors.append(error)
        if errors:
            raise errors[0]

    def _look_at(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the hub gives up", task=task.get_name(), exc_info=error)
            self._give_up()
