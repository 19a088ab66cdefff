"""A read that fails costs that read alone."""

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hub.process import NICER
from hub.store.reading import in_one_read
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import rules
from tests.machine.disk import Disk

MOST_STEPS = 40
"""More steps of SQLite's machine than `BEGIN`, the read and its end take together."""


@pytest.fixture
def disk() -> Iterator[Disk]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield Disk(connection)


def answer(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("SELECT 42").fetchone()[0]
    return number


@pytest.mark.parametrize("step", range(1, MOST_STEPS))
def test_the_read_behind_one_that_failed_is_answered(disk: Disk, step: int) -> None:
    """A read failed in its BEGIN, behind the point where SQLite was in a transaction.

    Nobody ended that one: each later read said "cannot start a transaction within a transaction",
    and until the hub was started anew no device could catch up (simulation, seed 5097).
    """
    disk.interrupt_after = step
    failed = 0
    for _attempt in range(3):
        try:
            assert disk._run(lambda connection: in_one_read(connection, answer)) == 42
        except sqlite3.OperationalError:
            failed += 1
    assert failed <= 1
    assert not disk.connection.in_transaction


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priorities")
async def test_who_reads_lets_who_serves_go_first(tmp_path: Path) -> None:
    """On one core a page of objects was read to its end while a push waited for its turn."""
    store = SqliteStore(tmp_path / "hub.db", rules())
    await store.open()

    def priority(_connection: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await store._writer.run(priority) == priority(None)
    assert await store._reader.run(priority) == min(priority(None) + NICER, 19)
    await store.close()
