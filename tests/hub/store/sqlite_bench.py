"""The SQLite store on the bench: folded on demand, crashed, and failed at any statement."""

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from hub.retention import Retention
from hub.store.executor import Executor, OpenExecutor
from hub.store.holdups import HoldUps
from hub.store.interface import Store
from hub.store.sqlite import NEVER, SqliteStore
from tests.hub.fakes import FakeClock, rules
from tests.hub.store.bench import KEEPS, Bench

FULL = "database or disk is full"
DAY: Final = 86_400.0


class FaultyConnection:
    """A connection that fails when it is told to, as if the disk were full."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.steps: int | None = None
        self.word: str | None = None

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._count(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        self._count(sql)
        return self._connection.executemany(sql, rows)

    def executescript(self, sql: str) -> sqlite3.Cursor:
        self._count(sql)
        return self._connection.executescript(sql)

    def close(self) -> None:
        self._connection.close()

    def _count(self, sql: str) -> None:
        if self.word is not None and sql.lstrip().startswith(self.word):
            self.word = None
            raise sqlite3.OperationalError(FULL)
        if self.steps is not None:
            if not self.steps:
                self.steps = None
                raise sqlite3.OperationalError(FULL)
            self.steps -= 1


class SqliteBench(Bench):
    """A `SqliteStore` that writes nothing behind the log but when it is told to."""

    store: SqliteStore

    def __init__(
        self,
        folder: Path,
        open_executor: OpenExecutor,
        *,
        folds: bool,
        keeps: Retention = KEEPS,
        hold_ups: HoldUps = NEVER,
    ) -> None:
        super().__init__(folds=folds)
        self._folder = folder
        self._open_executor = open_executor
        self._hold_ups = hold_ups
        self.clock = FakeClock()
        self._rules = rules(self.clock, retention=keeps)
        self._copies = itertools.count(1)
        self._connections: list[FaultyConnection] = []
        self.path = folder / "hub.db"

    async def open(self) -> Store:
        self._connections.clear()
        self.store = SqliteStore(self.path, self._rules, self._connect, hold_ups=self._hold_ups)
        await self.store.open()
        return self.store

    async def reopen(self) -> Store:
        await self.store.close()
        return await self.open()

    async def crash(self) -> Store:
        folder = self._folder / f"after-crash-{next(self._copies)}"
        folder.mkdir()
        for name in ("hub.db", "hub.db-wal"):
            if (self.path.parent / name).exists():
                shutil.copy(self.path.parent / name, folder / name)
        await self.store.close()
        self.path = folder / "hub.db"
        return await self.open()

    async def fold(self) -> None:
        await self.store._fold()

    async def later(self, days: float) -> None:
        await self.fold()
        self.clock.advance(days * DAY)
        await self.retire()

    async def retire(self) -> None:
        """Note who was here, and let go what may go, as the store does by itself."""
        await self.fold()
        while self.store._ledger.has_due:
            await self.store._retiring.retire()

    def break_at_after(self, step: int, days: float) -> None:
        self.clock.advance(days * DAY)
        self.break_at(step)

    async def space(self) -> int:
        await self.store._write(self.store._ledger.checkpoint)
        return self.path.stat().st_size

    def break_at(self, step: int) -> None:
        self._writer.steps = step

    def break_commits(self) -> None:
        self._writer.word = "COMMIT"

    def is_broken(self) -> bool:
        broken = self._writer.steps is not None or self._writer.word is not None
        self._writer.steps = self._writer.word = None
        return broken

    async def move_line(self, user: str, line: int) -> Store:
        await self.store.close()
        with sqlite3.connect(self.path) as file:
            file.execute("UPDATE users SET line = ? WHERE name = ?", (line, user))
        file.close()
        return await self.open()

    @property
    def _writer(self) -> FaultyConnection:
        return self._connections[0]

    async def _connect(self, connect: Callable[[], sqlite3.Connection]) -> Executor:
        def wrapped() -> sqlite3.Connection:
            connection = FaultyConnection(connect())
            self._connections.append(connection)
            return cast("sqlite3.Connection", connection)

        return await self._open_executor(wrapped)
