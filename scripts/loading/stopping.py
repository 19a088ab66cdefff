"""How a command that measures runs to its end, or to the signal that stops it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
import uvloop

from scripts.loading.faults import LoadError

T = TypeVar("T")


def run_until_stopped(work: Coroutine[Any, Any, T], lost: str) -> T:
    """Run the work of a command; SIGTERM ends it as Ctrl-C does: the servers are stopped first.

    Raises:
        ClickException: it failed, or it was stopped, and then `lost` says what was not done.

    """
    try:
        return uvloop.run(_stoppable(work))
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    except asyncio.CancelledError:
        raise click.ClickException(f"stopped before the end; {lost}") from None


async def _stoppable(work: Coroutine[Any, Any, T]) -> T:
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work
