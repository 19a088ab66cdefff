"""The store's executor without a thread: units of work that wait, fail, or are never heard of."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Unit = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class Disk:
    """One connection. As on a thread, a unit runs though nobody awaits it any more.

    `held`: units wait. `mute`: they are run, but nobody hears of it. `interrupt_after`: the next
    unit fails after about so many steps of SQLite's own machine, in the middle of a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.held = False
        self.mute = False
        self.interrupt_after: int | None = None
        self._units: deque[Unit] = deque()
        self._spare_the_fsyncs()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._units.append((work, future))
        loop.call_soon(self._run_next)
        return await future

    @property
    def is_idle(self) -> bool:
        return not (self._units or self.held or self.mute)

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._run(work)

    async def close(self) -> None:
        self.connection.close()

    def release(self) -> None:
        """Run what waits; from now on nothing does."""
        self.held = False
        while self._units:
            self._run_next()

    def die(self) -> None:
        """The process is killed: what waits is never run."""
        self._units.clear()
        self.held = True

    def _run_next(self) -> None:
        if self.held or not self._units:
            return
        work, future = self._units.popleft()
        try:
            result = self._run(work)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits, as a thread does
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done() and not self.mute:
                future.set_result(result)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.interrupt_after is None:
            return work(self.connection)
        self.connection.set_progress_handler(self._striker(self.interrupt_after), 1)
        self.interrupt_after = None
        try:
            return work(self.connection)
        finally:
            self.connection.set_progress_handler(None, 0)

    def _striker(self, steps: int) -> Callable[[], int]:
        """Says once when to interrupt: never behind a COMMIT that has taken effect."""
        left = iter(range(steps - 1, -1, -1))
        was_in_transaction = False

        def strike() -> int:
            nonlocal was_in_transaction
            committed = was_in_transaction and not self.connection.in_transaction
            was_in_transaction |= self.connection.in_transaction
            return int(next(left, -1) == 0 and not committed)

        return strike

    def _spare_the_fsyncs(self) -> None:
        """Nothing here can tell a synced page from another, and thousands of fsyncs take long."""
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.set_authorizer(_allow_but_synchronous)


def _allow_but_synchronous(action: int, name: str | None, *_rest: object) -> int:
    if action == sqlite3.SQLITE_PRAGMA and name == "synchronous":
        return sqlite3.SQLITE_IGNORE
    return sqlite3.SQLITE_OK
