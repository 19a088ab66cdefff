"""Epochs in the hub's file: what is kept of them, and what that costs."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from hub.store import epochs, sqlite
from hub.store.errors import StoreFailed
from tests.hub.fakes import create, inline
from tests.hub.store.asking import asked
from tests.hub.store.bench import push
from tests.hub.store.sqlite_bench import SqliteBench


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteBench]:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    bench = SqliteBench(tmp_path, inline, folds=True)
    await bench.open()
    yield bench
    await bench.store.close()


async def a_push(bench: SqliteBench, number: int, user: str = "ada") -> None:
    await bench.store.commit([push(number, create("a"), user=user)])
    await bench.fold()


async def test_a_user_has_one_row_for_each_epoch_but_the_first_in_which_it_pushed(
    bench: SqliteBench,
) -> None:
    await a_push(bench, 1)
    await a_push(bench, 2)
    await bench.reopen()
    await a_push(bench, 1, "bob")
    await bench.reopen()
    await a_push(bench, 3)
    assert asked(bench.path, "SELECT * FROM user_epochs") == [(1, 3, 2), (2, 2, 0)]


async def test_rows_that_a_crash_left_unfolded_belong_to_the_epoch_in_which_they_were_stored(
    bench: SqliteBench,
) -> None:
    await bench.store.commit([push(1, create("a"))])
    await bench.crash()
    await bench.store.commit([push(2, create("b"))])
    await bench.crash()
    assert asked(bench.path, "SELECT * FROM user_epochs") == [(1, 2, 1)]


async def test_old_epochs_are_forgotten_and_what_was_known_of_users_by_them(
    bench: SqliteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "KEPT", 3)
    for number in range(1, 7):
        await a_push(bench, number)
        await bench.reopen()
    await a_push(bench, 7)
    standing = await bench.store.user("ada")
    names = list(standing.epochs.starts.numbers)
    assert names == ["5-start-5", "6-start-6", "7-start-7"]
    assert [standing.epochs.end(name, standing.head) for name in names] == [5, 6, 7]
    assert asked(bench.path, "SELECT epoch_no, clock FROM user_epochs") == [(6, 5), (7, 6)]
    assert standing.epochs.is_forgotten("4-start-4")
    assert not standing.epochs.is_forgotten("5-lost")
    assert not standing.epochs.is_forgotten("8-start-8")
    assert not standing.epochs.is_forgotten("no number")


async def test_a_start_that_cannot_write_its_epoch_does_not_serve(
    bench: SqliteBench, tmp_path: Path
) -> None:
    await bench.store.close()
    with closing(sqlite3.connect(bench.path)) as file:
        refusing = "BEGIN SELECT RAISE(FAIL, 'no'); END"
        file.execute(f"CREATE TRIGGER full BEFORE INSERT ON epochs {refusing}")
    with pytest.raises(StoreFailed, match="nothing was stored: no"):
        await bench.open()
    with closing(sqlite3.connect(bench.path)) as file:
        file.execute("DROP TRIGGER full")
    await bench.open()
