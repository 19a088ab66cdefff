"""Where the store's SQL runs: one connection, one unit of work at a time.

A unit of work is one function of the connection, so that a whole transaction costs one hop to
the thread and back, and two tasks can never share one. Cancelling whoever awaits a unit does not
cancel the unit: the task that commits is therefore never cancelled by a session.

While nothing is under way or waits, a unit may also run where it is asked for, on the caller's own
thread: then nothing is handed over, and the caller waits for it.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import aiosqlite

T = TypeVar("T")


class Executor(Protocol):
    """One SQLite connection and whatever runs it."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one unit of work after those before it."""

    @property
    def is_idle(self) -> bool:
        """Whether no unit is under way or waits."""

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one unit of work at once, on the caller's thread; only while it is idle."""

    async def close(self) -> None:
        """Finish the units under way and close the connection."""


OpenExecutor = Callable[[Callable[[], sqlite3.Connection]], Awaitable[Executor]]
"""Makes an executor of a function that connects."""


class ThreadExecutor(aiosqlite.Connection):
    """The connection on a thread of its own, which is aiosqlite's.

    Invariant: of `_given` and `_done` each is written by one thread only, and a unit is done when
    it no longer uses the connection, though nobody may have been told. So whoever finds the two
    equal, on the thread that gives, has the connection to himself until he gives another.
    """

    _given = 0
    _done = 0

    async def open(self) -> None:
        """Connect; a thread that could not is not left behind for the loop to close over."""
        try:
            await self
        except BaseException:
            self._thread.join()
            raise

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one unit of work after those before it."""
        run_on_thread: Callable[..., Awaitable[T]] = self._execute
        self._given += 1
        return await run_on_thread(self._run, work)

    @property
    def is_idle(self) -> bool:
        """Whether no unit is under way or waits."""
        return self._given == self._done

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one unit of work at once, on the caller's thread; only while it is idle."""
        return work(self._conn)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._conn)
        finally:
            self._done += 1


async def on_thread(connect: Callable[[], sqlite3.Connection]) -> Executor:
    """Open a connection on a thread of its own."""
    executor = ThreadExecutor(connect, iter_chunk_size=64)
    await executor.open()
    return executor
