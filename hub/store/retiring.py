"""Retention at work: it lets go what may go in small steps, between which commits go.

A pass gathers what may go of the users that are due, drops it in the order of the log, so that
whole pages are freed at once, and gives free pages back to the disk. Every step is one unit of
work, one transaction, and true for itself; a crash between two of them loses nothing but the plan.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from hub.store.errors import StoreFailed
from hub.store.ledger import Ledger
from hub.store.retention import (
    USERS_AT_ONCE,
    Horizon,
    Visit,
    drop_rows,
    drop_tombstones,
    settle,
)

T = TypeVar("T")

RETIRE_SECONDS: Final = 2.0
"""How often it is asked whether anybody is due; that costs no unit of work."""
BATCH_ROWS: Final = 16_000
"""Rows of the log that are gathered before they are dropped."""
STEP_ROWS: Final = 128
"""Rows of the log, or tombstones, that go in one step."""
SHARE_OF_BATCH: Final = 64
"""A step takes at least such a part of its batch, so that pushes never outrun it."""
PAUSE_SECONDS: Final = 0.004
"""After each step, and twice as long as the step took: commits, and reads, go first."""
CUTS: Final = 20
"""How often it is tried to cut the WAL."""
CUT_SECONDS: Final = 0.1

logger: Final = structlog.get_logger("store")


class Retiring:
    """The task that lets go; `tell` hears of a user's line before it rises.

    `rows` of the log and `tombstones` are counted as they go.
    """

    def __init__(self, ledger: Ledger, write: Callable[[Callable[[Any], Any]], Any]) -> None:
        self.tell: Callable[[str, int], None] = _tell_nobody
        self.rows = 0
        self.tombstones = 0
        self.at_rest = asyncio.Lock()
        """Whoever holds it knows that no pass is under way, and that none knows of any user."""
        self._ledger = ledger
        self._write = write

    async def run(self) -> None:
        """Let go of what may go, until cancelled."""
        while True:
            await asyncio.sleep(RETIRE_SECONDS)
            try:
                while self._ledger.has_due:
                    await self.retire()
            except StoreFailed as error:
                # Nothing is lost, and nothing grows that was not there; the next turn tries again.
                logger.warning("retention failed", error=str(error))

    async def retire(self) -> None:
        """Look at everybody who is due, and let go what may go of them, within bounds."""
        async with self.at_rest:
            horizon = await self._do(self._ledger.horizon)
            after: tuple[int, int] | None = (-1, 0)
            while after is not None:
                visits, after = await self._gather(horizon, after)
                for visit in visits:
                    if visit.line:
                        self.tell(visit.name, visit.line)
                await self._let_go(visits, horizon)
                while await self._do(self._ledger.give_back):
                    pass
            await self._do(self._ledger.rest)

    async def compact(self) -> None:
        """Let go at once all that may go by now, however little it is."""
        await self._do(self._ledger.hasten_all)
        while self._ledger.has_due:
            await self.retire()

    async def scrub(self) -> bool:
        """Leave no free pages, and no WAL; False: of the WAL something is left.

        Whoever reads the file keeps its WAL there; it is tried for some seconds.
        """
        while await self._do(self._ledger.give_all_back):
            pass
        for _attempt in range(CUTS):
            if await self._do(self._ledger.cut_wal):
                return True
            await asyncio.sleep(CUT_SECONDS)
        return False

    async def _gather(
        self, horizon: Horizon, after: tuple[int, int]
    ) -> tuple[Sequence[Visit], tuple[int, int] | None]:
        visits: list[Visit] = []
        rows = 0
        last: tuple[int, int] | None = after
        while last is not None and rows < BATCH_ROWS:
            looked = await self._do(partial(self._ledger.look, horizon, last))
            visits += looked.visits
            rows += sum(len(visit.rows) + 1 for visit in looked.visits)
            last = looked.last
        return visits, last

    async def _let_go(self, visits: Sequence[Visit], horizon: Horizon) -> None:
        for visit in visits:
            while visit.line and await self._drop_tombstones(visit) == STEP_ROWS:
                pass
        names = {visit.number: visit.name for visit in visits}
        rows = sorted(row for visit in visits for row in visit.rows)
        for step in _parts(rows, max(STEP_ROWS, len(rows) // SHARE_OF_BATCH)):
            await self._retire(len(step), partial(drop_rows, step, names))
            self.rows += len(step)
        for few in _parts(visits, USERS_AT_ONCE):
            await self._retire(len(few), partial(settle, few, horizon))

    async def _drop_tombstones(self, visit: Visit) -> int:
        dropped = await self._retire(STEP_ROWS, partial(drop_tombstones, visit, STEP_ROWS))
        self.tombstones += dropped
        return dropped

    async def _retire(self, pages: int, work: Callable[..., T]) -> T:
        done: T = await self._do(partial(self._ledger.retire, pages, work))
        if self._ledger.wal_is_long:
            await self._do(self._ledger.checkpoint)
        return done

    async def _do(self, work: Callable[[Any], T]) -> T:
        """Do one unit of work, and rest from it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        done: T = await self._write(work)
        await asyncio.sleep(PAUSE_SECONDS + 2 * (loop.time() - began))
        return done


def _parts(things: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (things[start : start + most] for start in range(0, len(things), most))


def _tell_nobody(_user: str, _line: int) -> None:
    """Nobody has asked."""
