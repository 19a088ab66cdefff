"""An event loop whose time stands still until it is moved, and that knows when nothing moves."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")

LONGEST_UNREST = 20_000
"""Turns of the loop after which it is taken to be running in circles."""


class Restless(AssertionError):
    """The program goes on and on without being given anything to do."""


class StillLoop(asyncio.SelectorEventLoop):
    """No timer of it waits for real time, so that a test decides what comes first."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._scheduled_calls = 0
        super().__init__()

    def time(self) -> float:
        """Seconds since the loop was made, as far as it was moved."""
        return self._seconds

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Count what is due: every step of every task comes through here."""
        self._scheduled_calls += 1
        return super().call_soon(callback, *args, context=context)

    def pass_time(self, seconds: float) -> None:
        """Move the time; what becomes due runs with the next `settle`."""
        self._seconds += seconds

    async def settle(self) -> None:
        """Return once everybody waits for a frame, a disk or the time.

        A turn is quiet if only this coroutine was put in line meanwhile. Timers that have become
        due run in the first quiet turn, what they set in motion in the second.
        """
        quiet = 0
        for _ in range(LONGEST_UNREST):
            before = self._scheduled_calls
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._scheduled_calls == before + 1 else 0
            if quiet == 2:
                return
        raise Restless(f"still moving after {LONGEST_UNREST} turns of the loop")
