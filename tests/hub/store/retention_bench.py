"""A store under retention as tests see it: it lets go when they move its clock and say so."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from hub.retention import Retention
from hub.store.interface import Incoming, Stored
from tests.hub.fakes import create, inline
from tests.hub.store.bench import ALL, pages, push, told
from tests.hub.store.sqlite_bench import SqliteBench

KEEPS: Final = Retention(
    log_days=7, log_rows=1_000, held_log_rows=2_000, device_days=30, tombstone_days=90
)


class Kept(SqliteBench):
    """A store under test, with a clock and a retention of its own."""

    def __init__(self, folder: Path, keeps: Retention = KEEPS) -> None:
        super().__init__(folder, inline, folds=True, keeps=keeps)

    async def write(self, pushes: Sequence[Incoming]) -> list[Stored | None]:
        stored = [(await self.store.commit([incoming]))[0] for incoming in pushes]
        await self.fold()
        return stored

    async def clocks(self, user: str = "ada") -> list[int]:
        return [row.clock for row in await self.store.log(user, 0, ALL)]

    async def tombstones(self) -> list[str]:
        found = [entry for page in await pages(self.store, 0, 0, ALL) for entry in page.objects]
        return [told(entry) for entry in found if entry.deleted]

    def says(self, device: str, clock: int, user: str = "ada") -> None:
        self.store.received(user, device, clock)

    def ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as file:
            return file.execute(query).fetchall()


def edits(first: int, last: int, name: str = "a", **who: str) -> list[Incoming]:
    return [push(number, create(name, n=number), **who) for number in range(first, last + 1)]


async def opened(folder: Path, **keeps: Any) -> Kept:
    bench = Kept(folder, Retention(**keeps))
    await bench.open()
    return bench
