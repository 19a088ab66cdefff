"""What is the SQLite store's own: its file, its lock, its columns."""

import asyncio
import contextlib
import errno
import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from hub.store import folding, ledger, memory, reading, retention, sqlite
from hub.store.errors import FileInUse, FileTooNew, NotAHubFile, StoreFailed
from hub.store.executor import Executor, OpenExecutor, on_thread
from hub.store.interface import Store
from hub.store.schema import APPLICATION_ID
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import START, create, inline, rules, update
from tests.hub.store.bench import ALL, push, sent, stored
from tests.hub.store.sqlite_bench import FaultyConnection, SqliteBench


def opened(path: Path, open_executor: OpenExecutor = inline, **changes: Any) -> SqliteStore:
    return SqliteStore(path, rules(**changes), open_executor)


def many(name: str, count: int) -> list[Any]:
    return [create(f"{name}{number}") for number in range(count)]


async def folded(store: Store, objects: int) -> None:
    """Wait until so many objects of ada's are in the tables."""
    async with asyncio.timeout(10):
        while await store.count("ada", 0) < objects:
            await asyncio.sleep(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".db-lock"}


# What is written behind the log


async def test_objects_are_folded_soon_after_a_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 0.01)
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"))])
    await folded(store, 1)
    await store.close()


async def test_objects_are_folded_at_once_when_many_pushes_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(sqlite, "FOLD_ROWS", 3)
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a")), push(2, create("b"))])
    await asyncio.sleep(0.05)
    assert await store.count("ada", 0) == 0
    await store.commit([push(3, create("c"))])
    await folded(store, 3)
    await store.close()


async def test_a_user_with_much_to_fold_is_folded_at_once_and_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"), user="bob"), push(1, *many("a", memory.LARGE))])
    await folded(store, memory.LARGE)
    assert await store.count("bob", 0) == 0
    await store.close()


async def test_a_user_that_always_has_much_to_fold_does_not_keep_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 0.05)
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"), user="bob")])
    pushes = itertools.count(1)
    async with asyncio.timeout(10):
        while not await store.count("bob", 0):
            await store.commit([push(next(pushes), *many("a", memory.LARGE))])
    assert next(pushes) > 2
    await store.close()


async def test_no_commit_waits_for_more_than_one_step_of_a_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(folding, "STEP_ROWS", 1)
    store = opened(tmp_path / "hub.db")
    await store.open()
    users = [f"user-{number}" for number in range(10)]
    await store.commit([push(1, create("a"), user=user) for user in users])
    folding_all = asyncio.create_task(store._fold())
    for push_id in range(2, 7):
        await store.commit([push(push_id, create("b"), user=users[-1])])
        assert not folding_all.done()
    await folding_all
    assert [await store.count(user, 0) for user in users] == [1] * 9 + [2]
    await store.close()


async def test_a_fold_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 0.01)
    bench = SqliteBench(tmp_path, inline, folds=False)
    store = await bench.open()
    await store.commit([push(1, create("a"))])
    bench.break_at(3)
    await folded(store, 1)
    assert not bench.is_broken()
    await store.close()


async def test_a_commit_is_synced_wherever_the_fold_before_it_failed(tmp_path: Path) -> None:
    """Putting `synchronous` back to FULL could fail; the commits after that were acked unsynced."""
    bench = SqliteBench(tmp_path, inline, folds=False)
    store = await bench.open()
    full = 2
    for step in itertools.count():
        await store.commit([push(step + 1, create("a"))])
        bench.break_at(step)
        with contextlib.suppress(StoreFailed):
            await bench.fold()
        is_over = bench.is_broken()
        await store.commit([push(1, create("a"), user=f"user-{step}")])
        [synchronous] = await bench.store._writer.run(
            lambda connection: connection.execute("PRAGMA synchronous").fetchone()
        )
        assert synchronous == full, step
        if is_over:
            break
    assert step > 5
    await store.close()


async def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    """Not a failure made up by the test: SQLite itself is allowed no more pages."""
    bench = SqliteBench(tmp_path, on_thread, folds=False)
    store = await bench.open()
    acked = 0
    await bench.store._writer.run(
        lambda connection: connection.execute("PRAGMA max_page_count = 60").fetchall()
    )

    async def fill() -> None:
        nonlocal acked
        for push_id in range(1, 10_000):
            await store.commit([push(push_id, create("a", text="x" * 3000))])
            acked = push_id

    with pytest.raises(StoreFailed, match="full"):
        await fill()
    assert acked > 5
    with pytest.raises(StoreFailed, match="full"):
        await store.commit([push(acked + 1, create("a", text="x" * 300_000))])
    assert (await store.user("ada")).head == acked
    await bench.store._writer.run(
        lambda connection: connection.execute("PRAGMA max_page_count = 10000").fetchall()
    )
    [answer] = await store.commit([push(acked + 1, create("b"))])
    assert answer is not None
    assert answer.clock == acked + 1
    store = await bench.crash()
    assert len(await store.log("ada", 0, ALL)) == acked + 1
    await store.close()


async def test_the_wal_does_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.ledger.CHECKPOINT_BYTES", 200_000)
    store = opened(tmp_path / "hub.db")
    await store.open()
    wal = tmp_path / "hub.db-wal"
    sizes = []
    for push_id in range(1, 301):
        await store.commit([push(push_id, create("a", text="x" * 3000))])
        if push_id % 10 == 0:
            await store._fold()
            sizes.append(wal.stat().st_size)
    assert max(sizes) < 5 * 200_000
    assert sizes[-1] == sizes[len(sizes) // 2], "it is written over, not grown"
    await store.close()


@pytest.mark.parametrize(
    "query",
    [
        reading._LOG,
        reading._PAGE,
        reading._FIRST_CLOCK,
        reading._OBJECT,
        ledger._REFUSED,
        memory._UNFOLDED,
        memory._USER,
        memory._DEVICES,
        retention._DUE,
        retention._NEXT_DUE,
        retention._RUNS,
        retention._TOMBSTONES,
        retention._STORED_AT,
        retention._ROW_FROM,
        retention._KEEP_OUTCOMES,
        retention._DROP_ROWS,
        retention._DROP_TOMBSTONES,
        retention._FORGET_OUTCOMES,
    ],
)
async def test_no_query_reads_through_a_whole_history(tmp_path: Path, query: str) -> None:
    store = opened(tmp_path / "hub.db")
    await store.open()
    names = re.findall(r":([a-z_]+)", query)
    values = dict.fromkeys(names, 1) if names else ("1",) * query.count("?")
    plan = await store._reader.run(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    )
    steps = [str(row[3]) for row in plan]
    assert any(step.startswith("SEARCH") for step in steps)
    of_one_row = {
        "SCAN hub",
        "SCAN CONSTANT ROW",
        "SCAN place VIRTUAL TABLE INDEX 1:",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
    }
    assert {step for step in steps if step.startswith("SCAN")} <= of_one_row
    await store.close()


# The file


async def test_a_closed_file_is_one_whole_file(tmp_path: Path) -> None:
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"))])
    await store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hub.db", "hub.db-lock"]
    file = sqlite3.connect(tmp_path / "hub.db")
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert file.execute("SELECT count(*) FROM objects").fetchone() == (1,)
    file.close()


async def test_people_can_read_the_log_in_mobyncs_columns(tmp_path: Path) -> None:
    store = opened(tmp_path / "hub.db")
    await store.open()
    first, second = create("a", title="Milk", tags=["x"]), create("b")
    lost = update("nothing")
    await store.commit([push(1, first, second), push(2, lost), push(3, change := update("a", n=1))])
    await store.close()
    file = sqlite3.connect(tmp_path / "hub.db")
    cursor = file.execute("SELECT * FROM diffs ORDER BY logical_clock")
    columns = [column[0] for column in cursor.description]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    file.close()
    assert columns == [
        "id", "owner", "logical_clock", "utc_timestamp", "type", "model", "json_data",
    ]  # fmt: skip
    for row in rows:
        row["json_data"] = orjson.loads(row["json_data"])
    assert rows == [
        {**sent(first), "owner": "ada", "logical_clock": 0},
        {**sent(second), "owner": "ada", "logical_clock": 0},
        {**sent(change), "owner": "ada", "logical_clock": 2},
    ]
    assert rows[0]["utc_timestamp"] == START


@pytest.mark.parametrize("open_executor", [inline, on_thread])
async def test_a_file_that_a_newer_hub_wrote_is_refused_and_left_as_it_is(
    tmp_path: Path, open_executor: OpenExecutor
) -> None:
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"))])
    await store.close()
    with sqlite3.connect(tmp_path / "hub.db") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    before = contents(tmp_path)
    with pytest.raises(FileTooNew, match="format 99"):
        await opened(tmp_path / "hub.db", open_executor).open()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("open_executor", [inline, on_thread])
@pytest.mark.parametrize("content", [b"Dear diary, " * 1000, b"SQLite format 3\0" + b"\1" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes, open_executor: OpenExecutor
) -> None:
    (tmp_path / "hub.db").write_bytes(content)
    with pytest.raises(NotAHubFile, match="--data"):
        await opened(tmp_path / "hub.db", open_executor).open()
    assert contents(tmp_path)["hub.db"] == content


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, journal: str
) -> None:
    with sqlite3.connect(tmp_path / "hub.db") as file:
        file.execute(f"PRAGMA journal_mode = {journal}")
        file.execute("CREATE TABLE diary (page)")
    file.close()
    before = contents(tmp_path)
    with pytest.raises(NotAHubFile, match="another program"):
        await opened(tmp_path / "hub.db").open()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("newer_hub", [True, False])
async def test_what_another_program_has_in_its_wal_is_not_moved_into_its_file(
    tmp_path: Path, newer_hub: bool
) -> None:
    """It was killed, or still runs; to look at its header was enough to checkpoint it."""
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    file = sqlite3.connect(there / "hub.db", isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("CREATE TABLE diary (page)")
    if newer_hub:
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.execute("PRAGMA user_version = 99")
    for name in ("hub.db", "hub.db-wal"):
        shutil.copy(there / name, here / name)
    file.close()
    before = contents(here)
    with pytest.raises(FileTooNew if newer_hub else NotAHubFile):
        await opened(here / "hub.db").open()
    after = contents(here)
    assert {name: after[name] for name in before} == before


async def test_a_file_that_somebody_else_has_locked_is_not_called_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.close()
    file = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    file.execute("PRAGMA locking_mode = EXCLUSIVE")
    file.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.01))
    with pytest.raises(StoreFailed, match="locked"):
        await opened(tmp_path / "hub.db").open()
    file.close()


async def test_a_file_that_was_made_but_not_finished_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "hub.db").touch()
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.commit([push(1, create("a"))])
    await store.close()
    file = sqlite3.connect(tmp_path / "hub.db")
    assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    file.close()


async def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="nowhere"):
        await opened(tmp_path / "nowhere" / "hub.db").open()


@pytest.mark.parametrize("open_executor", [inline, on_thread])
async def test_a_store_that_could_not_be_opened_lets_go_of_everything(
    tmp_path: Path, open_executor: OpenExecutor
) -> None:
    """A disk that was full at the start left the lock taken and two threads running."""
    bench = SqliteBench(tmp_path, open_executor, folds=False)
    await bench.open()
    await bench.store.commit([push(1, create("a"))])
    await bench.store.close()

    def failing(connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        connection = FaultyConnection(connect())
        connection.word = "SELECT max(folded"
        return cast("sqlite3.Connection", connection)

    async def open_failing(connect: Callable[[], sqlite3.Connection]) -> Executor:
        return await open_executor(partial(failing, connect))

    with pytest.raises(StoreFailed, match="full"):
        await opened(tmp_path / "hub.db", open_failing).open()
    again = opened(tmp_path / "hub.db", open_executor)
    await again.open()
    assert (await again.user("ada")).head == 1
    await again.close()


# The lock


@pytest.mark.parametrize("open_executor", [inline, on_thread])
async def test_a_second_hub_on_the_same_file_is_told_who_has_it(
    tmp_path: Path, open_executor: OpenExecutor
) -> None:
    store = opened(tmp_path / "hub.db", open_executor)
    await store.open()
    with pytest.raises(FileInUse, match=f"process {os.getpid()}.* hub.db"):
        await opened(tmp_path / "hub.db", open_executor).open()
    await store.commit([push(1, create("a"))])
    await store.close()
    again = opened(tmp_path / "hub.db", open_executor)
    await again.open()
    assert (await again.user("ada")).head == 1
    await again.close()


async def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    holding = (
        "import sys, pathlib; from hub.store.lock import FileLock;"
        "FileLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True);"
        "sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path / "hub.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FileInUse, match=f"process {holder.pid}"):
            await opened(tmp_path / "hub.db").open()
        holder.kill()
    store = opened(tmp_path / "hub.db")
    await store.open()
    await store.close()


async def test_a_full_disk_does_not_undo_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _text: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = opened(tmp_path / "hub.db")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        await store.open()
    with pytest.raises(FileInUse, match="process unknown"):
        await opened(tmp_path / "hub.db").open()
    await store.close()


async def test_two_files_beside_each_other_do_not_disturb_each_other(tmp_path: Path) -> None:
    stores = [opened(tmp_path / name) for name in ("one.db", "two.db")]
    for store in stores:
        await store.open()
    for store in stores:
        bench = SqliteBench(tmp_path, inline, folds=False)
        bench.store = store
        assert [answer.clock for answer in await stored(bench, push(1, create("a")))] == [1]
        await store.close()
