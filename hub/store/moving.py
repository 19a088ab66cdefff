"""Whole users come into a file that is served, or leave it, in small steps (hub/store/staging.py).

The hub sees to it that nothing of such a user is committed meanwhile; all others go on.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

from hub import exports
from hub.exports import EndOfUser, Line, NotAnExport
from hub.store.importing import Importing
from hub.store.ledger import Ledger, Rules
from hub.store.memory import Memory
from hub.store.retiring import Retiring
from hub.store.staging import (
    COMING,
    GOING,
    STEP_ROWS,
    begin,
    erase_some,
    finish,
    let_go,
    number_of,
)

_STEP_PAGES: Final = 2 * STEP_ROWS
"""What a step writes, about."""


class Moving:
    """Brings users in and lets them go, one at a time."""

    def __init__(
        self,
        ledger: Ledger,
        rules: Rules,
        write: Callable[[Callable[[Any], Any]], Any],
        fold: Callable[[], Awaitable[None]],
        retiring: Retiring,
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._write = write
        self._fold = fold
        self._retiring = retiring

    async def bring(
        self, user: exports.User, lines: AsyncIterator[Line], *, replace: bool
    ) -> Importing:
        """Bring a user in, of whom these are the lines; what was brought.

        Raises:
            NotAnExport, UserExists, StoreFailed: nobody was.

        """
        async with self._retiring.at_rest:
            await self._sweep()
            coming = Importing(user)
            try:
                await self._stage(coming, lines)
                await self._fold()
                await self._write(
                    partial(self._ledger.move, partial(self._finish, coming, replace=replace))
                )
                self._ledger.look_soon()
            finally:
                await self._sweep()
        return coming

    async def erase(self, name: str) -> bool:
        """Erase a user, and all bytes of it; False: its WAL could not be cut.

        Raises:
            StoreFailed: something may be left; the next start erases it.

        """
        async with self._retiring.at_rest:
            await self._fold()
            return await self._erase_all(partial(self._ledger.move, partial(_let_go, name)))

    async def sweep(self) -> None:
        """Erase what a crash left of users on the way, and all bytes of it."""
        async with self._retiring.at_rest:
            await self._erase_all(_nobody)

    async def _erase_all(self, let_go: Callable[[Any], Any]) -> bool:
        """Erase who is on the way, and who is let go now; False: the WAL could not be cut."""
        await self._secure("ON")
        try:
            await self._write(let_go)
            await self._sweep()
            return await self._retiring.scrub()
        finally:
            await self._secure("FAST")

    async def _sweep(self) -> None:
        for name in (COMING, GOING):
            while (number := await self._write(partial(_number_of, name))) is not None:
                await self._erase(number)

    async def _erase(self, number: int) -> None:
        step = partial(_erase_some, number)
        while await self._write(partial(self._ledger.retire, _STEP_PAGES, step)):
            await self._make_room()

    async def _make_room(self) -> None:
        if self._ledger.wal_is_long:
            await self._write(self._ledger.checkpoint)

    async def _stage(self, coming: Importing, lines: AsyncIterator[Line]) -> None:
        user, log_id = coming.user, self._rules.new_log_id()
        start = partial(begin, log_id=log_id, clock=user.clock, line=user.line)
        coming.number = await self._write(partial(self._ledger.change, start))
        step: list[Line] = []
        async for line in lines:
            if isinstance(line, EndOfUser):
                await self._add(coming, step)
                coming.check(line)
                return
            step.append(line)
            if len(step) >= STEP_ROWS:
                await self._add(coming, step)
                step = []
        raise NotAnExport(f"{user.name!r} is cut off")

    async def _add(self, coming: Importing, lines: list[Line]) -> None:
        work = partial(_add, coming, lines)
        await self._write(partial(self._ledger.retire, _STEP_PAGES, work))
        await self._make_room()

    def _finish(
        self, coming: Importing, connection: sqlite3.Connection, memory: Memory, *, replace: bool
    ) -> None:
        counts = {"objects": coming.objects, "bytes": coming.bytes, "due": self._rules.now()}
        finish(connection, coming.user.name, counts, replace=replace)
        memory.forget_user(coming.user.name)

    async def _secure(self, how: str) -> None:
        """Whether what is deleted is written over with zeros wherever it lies."""
        await self._write(
            lambda connection: connection.execute(f"PRAGMA secure_delete = {how}").fetchall()
        )


def _nobody(_connection: sqlite3.Connection) -> None:
    """Nobody goes who has not gone before."""


def _number_of(name: str, connection: sqlite3.Connection) -> int | None:
    return number_of(connection, name)


def _let_go(name: str, connection: sqlite3.Connection, memory: Memory) -> None:
    let_go(connection, name)
    memory.forget_user(name)


def _erase_some(number: int, connection: sqlite3.Connection, _memory: Memory) -> bool:
    return erase_some(connection, number)


def _add(
    coming: Importing, lines: list[Line], connection: sqlite3.Connection, _memory: Memory
) -> None:
    coming.add(lines, connection)
