"""The account of the WAL, by which checkpoints come: it is near the truth, whatever is written."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from hub.store import ledger, retiring, sqlite
from hub.store.interface import Incoming
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import create, inline, rules, update
from tests.hub.store.asking import asked
from tests.hub.store.bench import push
from tests.hub.store.test_upgrade import FILES

MOST: Final = 300_000
"""Bytes in the WAL from which on a checkpoint is due, here."""


@pytest.fixture(params=["new", "upgraded"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqliteStore]:
    """On a file whose pages have 2,048 bytes, and on one whose have 4,096."""
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 3600.0)
    monkeypatch.setattr(ledger, "CHECKPOINT_BYTES", MOST)
    path = tmp_path / "hub.db"
    if request.param == "upgraded":
        shutil.copy(FILES / "hub-1.sqlite", path)
        await _open_and_close(path)
        assert asked(path, "PRAGMA page_size") == [(4096,)]
    store = SqliteStore(path, rules(), inline)
    await store.open()
    yield store
    await store.close()


async def _open_and_close(path: Path) -> None:
    store = SqliteStore(path, rules(), inline)
    await store.open()
    await store.close()


def usual(number: int) -> list[Incoming]:
    """What waits for one sync of a busy hub."""
    return [push(number, create("milk", n=number), user=f"user-{each}") for each in range(25)]


def refused(number: int) -> list[Incoming]:
    return [push(number, update("nowhere", text="x" * 20_000), user="eve")]


def large(number: int) -> list[Incoming]:
    return [push(number, create("milk", text="x" * 20_000), user="eve")]


@pytest.mark.parametrize("pushes", [usual, refused, large])
async def test_a_checkpoint_is_due_when_so_much_lies_in_the_wal(
    store: SqliteStore, pushes: Callable[[int], list[Incoming]]
) -> None:
    """An upgraded file's pages were counted for half, and refused diffs not at all."""
    await store._write(store._ledger.checkpoint)
    number = 0
    while not store._ledger.wal_is_long:
        number += 1
        assert number < 1_000, "it never becomes due"
        await store.commit(pushes(number))
    assert MOST / 2 < _wal_bytes(store) < 2 * MOST


async def test_large_objects_that_are_folded_count_for_what_they_hold(store: SqliteStore) -> None:
    """A fold of objects of 100 KB counted for a page each."""
    store._ledger._wal_bytes = 0
    for number in range(1, 6):
        await store.commit([push(number, create(f"o{number}", text="x" * 100_000), user="eve")])
    await store._write(store._ledger.checkpoint)
    before = store._ledger._wal_bytes
    assert await store._write(lambda connection: store._ledger.fold(10**9, connection)) is False
    assert store._ledger._wal_bytes - before > 500_000


def _wal_bytes(store: SqliteStore) -> int:
    return store._path.with_name("hub.db-wal").stat().st_size
