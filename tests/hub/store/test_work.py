"""How much work the SQLite store does for the same input: what is counted is not time.

Whoever adds a statement to each push, a hop to each commit or pages to each transaction finds it
here, and should say in docs/performance.md what it is worth.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hub.server import HOLD_UPS
from hub.store import sqlite
from hub.store.executor import Executor
from hub.store.interface import Cursor, Incoming
from hub.store.sqlite import SqliteStore
from hub.store.wal import WalFile
from tests.hub.fakes import create, inline, rules, update
from tests.hub.store.bench import ALL, push

T = TypeVar("T")

USERS = 25
GROUP_BYTES = 5 * 4120
"""Of WAL that a group may cost: four pages and a half of rows on five pages."""


class CountingExecutor:
    """Counts units of work, each a hop to the thread and back, and the statements in them."""

    def __init__(self, executor: Executor, connection: sqlite3.Connection) -> None:
        self._executor = executor
        self.units = 0
        self.statements: Counter[str] = Counter()
        connection.set_trace_callback(self._count)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.units += 1
        return await self._executor.run(work)

    @property
    def is_idle(self) -> bool:
        return self._executor.is_idle

    def run_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._executor.run_here(work)

    async def close(self) -> None:
        await self._executor.close()

    def since(self) -> tuple[int, dict[str, int]]:
        """Units and statements since this was asked the last time."""
        counted = self.units, dict(self.statements)
        self.units = 0
        self.statements.clear()
        return counted

    def _count(self, statement: str) -> None:
        words = statement.split()
        most = 3 if words[0] in ("INSERT", "PRAGMA") else 2 if words[0] == "UPDATE" else 1
        self.statements[" ".join(words[:most])] += 1


class Counted(SqliteStore):
    """A store that says what it has done."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, rules(), self._counting)
        self.path = path
        self.executors: list[CountingExecutor] = []

    @property
    def writer(self) -> CountingExecutor:
        return self.executors[0]

    @property
    def reader(self) -> CountingExecutor:
        return self.executors[1]

    async def _counting(self, connect: Callable[[], sqlite3.Connection]) -> Executor:
        connection = connect()
        executor = CountingExecutor(await inline(lambda: connection), connection)
        self.executors.append(executor)
        return executor


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counted]:
    """A store of 25 users with one object each, with nothing left to fold, back at FULL."""
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    store = Counted(tmp_path / "hub.db")
    await store.open()
    await store.commit(group(1, "create"))
    await store._fold()
    await store.user("somebody")
    for executor in store.executors:
        executor.since()
    yield store
    await store.close()


def group(push_id: int, kind: str = "update") -> Sequence[Incoming]:
    """A push of 200 bytes by each user, to the object that it changes again and again."""
    values: dict[str, Any] = {"title": "x" * 60, "text": "y" * 60, "n": push_id}
    edit = create("a", **values) if kind == "create" else update("a", base=push_id - 1, **values)
    return [push(push_id, edit, user=f"user-{number}") for number in range(USERS)]


async def test_a_group_is_one_hop_one_transaction_and_one_row_a_push(store: Counted) -> None:
    for push_id in range(2, 12):
        await store.commit(group(push_id))
        assert store.writer.since() == (
            1,
            {"BEGIN": 1, "INSERT INTO log": USERS, "COMMIT": 1},
        ), "a commit does more than it did; see docs/performance.md"


class CountedWal(WalFile):
    """Counts the syncs that SQLite does not know of."""

    syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        super().sync()


async def test_a_group_that_the_loop_may_wait_for_is_no_hop_and_one_sync(store: Counted) -> None:
    store._hold_ups = HOLD_UPS["loop"]()
    await store.commit(group(2))  # behind which SQLite is told once that it need not sync
    store.writer.since()
    with closing(CountedWal(store.path)) as wal:
        store._wal, before = wal, store._wal
        for push_id in range(3, 13):
            await store.commit(group(push_id))
            assert store.writer.since() == (
                0,
                {"BEGIN": 1, "INSERT INTO log": USERS, "COMMIT": 1},
            ), "a commit does more than it did; see docs/performance.md"
            assert wal.syncs == push_id - 2
        store._wal = before


async def test_a_commit_is_synced_and_a_fold_is_not(store: Counted) -> None:
    async def synchronous() -> int:
        [value] = await store.writer.run(
            lambda connection: connection.execute("PRAGMA synchronous").fetchone()
        )
        return int(value)

    full, normal = 2, 1
    for push_id in (2, 3):
        await store.commit(group(push_id))
        assert await synchronous() == full
        await store._fold()
        assert await synchronous() == normal
    _units, statements = store.writer.since()
    assert statements["PRAGMA synchronous ="] == 3
    assert statements["COMMIT"] == 2 + statements["UPDATE hub"]


async def test_a_fold_writes_an_object_once_however_often_it_changed(store: Counted) -> None:
    for push_id in range(2, 12):
        await store.commit(group(push_id))
    store.writer.since()
    await store._fold()
    units, statements = store.writer.since()
    assert statements["INSERT INTO objects"] == USERS
    assert statements["INSERT INTO log_clocks"] == USERS
    assert statements["UPDATE users"] == statements["UPDATE devices"] == USERS
    steps = statements["UPDATE hub"]
    assert steps == 2
    assert units == 1 + steps
    assert sum(statements.values()) == 4 * USERS + 3 * steps + 1


async def test_nothing_is_done_when_there_is_nothing_to_do(store: Counted) -> None:
    await store._fold()
    assert store.writer.since() == (2, {})


async def test_a_group_writes_the_pages_of_its_rows_and_no_others(store: Counted) -> None:
    wal = store.path.with_name("hub.db-wal")
    await store.commit(group(2))
    before = wal.stat().st_size
    for push_id in range(3, 23):
        await store.commit(group(push_id))
    assert (wal.stat().st_size - before) / 20 <= GROUP_BYTES, "a commit writes more than it did"


async def test_a_device_that_comes_back_costs_four_units_and_few_statements(
    store: Counted,
) -> None:
    await store.commit(group(2))
    store.writer.since()
    await store.user("user-1")
    await store.device("user-1", "phone")
    assert store.writer.since() == (2, {"SELECT": 1})
    await store.log("user-1", 1, ALL)
    await store.page("user-1", Cursor(0), 0, ALL)
    units, statements = store.reader.since()
    assert (units, statements["BEGIN"], statements["COMMIT"]) == (2, 2, 2)
    assert statements["SELECT"] <= 5
