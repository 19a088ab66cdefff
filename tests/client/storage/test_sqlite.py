"""What only the SQLite storage promises."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client import (
    SqliteStorage,
    StorageFailed,
    StorageForeign,
    StorageInUse,
    StorageTooNew,
)
from client.storage import rows, sqlite
from client.storage.file import DeviceFile
from protocol.diffs import Diff
from protocol.records import Edit, Known, Position, Writes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    held = SqliteStorage(path)
    await held.open()
    yield held
    await held.close()


def ask(path: Path, question: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def an_edit(number: int, size: int = 10) -> Edit:
    return Edit(number, -number, Diff("d", 0, 1, "create", "m", {"id": "x", "text": "x" * size}))


async def test_people_can_read_the_tables(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.save(
        Writes(
            Position("log-1", clock=3),
            objects={("tasks", "t1"): Known(3, {"id": "t1"}), ("tasks", "t2"): Known(2, None)},
            edits={1: an_edit(1)},
        )
    )
    await storage.close()

    assert ask(path, "SELECT model, id, clock, json FROM objects ORDER BY id") == [
        ("tasks", "t1", 3, '{"id":"t1"}'),
        ("tasks", "t2", 2, None),
    ]
    assert ask(path, "SELECT log_id, clock FROM position") == [("log-1", 3)]
    assert ask(path, "SELECT number, diff ->> 'type' FROM edits") == [(1, "create")]


async def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.close()
    ask(path, f"PRAGMA user_version = {rows.SCHEMA_VERSION + 1}")
    before = content_of(path)

    with pytest.raises(StorageTooNew, match=r"newer version .* schema is 4.* knows 3.*update"):
        await storage.open()

    assert content_of(path) == before


@pytest.mark.parametrize("content", [b"This is a diary, and a long one. " * 100, b"A diary", b"x"])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    path: Path, content: bytes
) -> None:
    fill(path, content)

    with pytest.raises(StorageForeign, match="no SQLite file"):
        await SqliteStorage(path).open()

    assert content_of(path) == content


async def test_the_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    ask(path, "CREATE TABLE accounts (name TEXT)")
    before = content_of(path)

    with pytest.raises(StorageForeign, match="another program"):
        await SqliteStorage(path).open()

    assert content_of(path) == before


async def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="folder missing"):
        await SqliteStorage(tmp_path / "nowhere" / "device.db").open()


async def said_by_another_process_that_opens(path: Path) -> str:
    program = (
        "import asyncio, sys\n"
        "from client import SqliteStorage, StorageInUse\n"
        "try:\n"
        "    asyncio.run(SqliteStorage(sys.argv[1]).open())\n"
        "except StorageInUse as error:\n"
        "    print(error)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode()


async def test_another_process_on_the_same_file_is_refused(
    storage: SqliteStorage, path: Path
) -> None:
    said = await said_by_another_process_that_opens(path)

    assert "in use by another process" in said
    assert "end the other one" in said


async def test_a_second_device_of_this_process_does_not_open_the_file_to_another_process(
    storage: SqliteStorage, path: Path
) -> None:
    """An application opened its device twice, was refused, and let a second process in.

    To look into the file it opened it and closed it again, which drops all of a process's locks on
    a file (fcntl(2)): those of the device that held it, too. Then two processes wrote it.
    """
    with pytest.raises(StorageInUse):
        await SqliteStorage(path).open()

    assert "in use by another process" in await said_by_another_process_that_opens(path)


async def test_a_reader_who_has_the_file_open_is_not_overrun(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.close()
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM objects").fetchall()

    with pytest.raises(StorageInUse):
        await storage.open()

    reader.close()
    await storage.open()
    await storage.close()


async def test_a_save_that_fails_half_way_leaves_nothing(storage: SqliteStorage) -> None:
    await storage.save(Writes(Position(clock=1), edits={1: an_edit(1)}))
    unreadable = Edit(2, -2, Diff("d", 0, 1, "create", "m", {"id": "x", "bad": object()}))

    with pytest.raises(TypeError):
        await storage.save(Writes(Position(clock=2), edits={2: unreadable}))

    kept = await storage.load()
    assert kept.saved.position.clock == 1
    assert [edit.number for edit in kept.saved.edits] == [1]


async def test_a_full_disk_is_said_and_leaves_nothing(storage: SqliteStorage) -> None:
    await storage.save(Writes(Position(clock=1), edits={1: an_edit(1)}))
    # Stands for the disk: the file may not grow any more.
    connection = storage._file._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageFailed, match="disk full"):
        await storage.save(Writes(Position(clock=2), edits={2: an_edit(2, size=100_000)}))

    kept = await storage.load()
    assert kept.saved.position.clock == 1
    assert [edit.number for edit in kept.saved.edits] == [1]


async def test_the_wal_stays_short(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_BYTES", 256 * 1024)
    monkeypatch.setattr(sqlite, "CHECKPOINT_RECORDS", 20)
    longest = 0
    for number in range(1, 400):
        await storage.save(Writes(Position(edits=number), edits={number: an_edit(number)}))
        longest = max(longest, path.with_name("device.db-wal").stat().st_size)

    assert 256 * 1024 < longest < 512 * 1024
    assert len((await storage.load()).saved.edits) == 399


async def test_closing_leaves_one_file(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.save(Writes(Position(clock=1)))
    await storage.close()

    assert [file.name for file in path.parent.iterdir()] == ["device.db"]


async def test_an_opening_that_was_cancelled_lets_go_of_the_file(path: Path) -> None:
    """An application gave up opening its device and tried again: its own file was in use.

    So it was in every third try. The opening that was given up was done all the same, and the two
    met half-way.
    """
    for number in range(20):
        file = path.with_name(f"device-{number}.db")
        opening = asyncio.create_task(SqliteStorage(file).open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])

        assert opening.cancelled()
        storage = SqliteStorage(file)
        await storage.open()
        await storage.close()


async def test_an_edit_costs_one_transaction_of_one_statement_a_table(path: Path) -> None:
    """Every awaited edit waits for this: 25 of the 80 microseconds that it takes."""
    file = DeviceFile(path)
    said: list[str] = []
    file._connection.set_trace_callback(lambda statement: said.append(statement.split()[0]))
    file.write(Writes(Position(edits=1), edits={1: an_edit(1)}))
    file.write(Writes(Position(edits=2), edits={1: None, 2: an_edit(2)}))
    file.close()

    assert said[:4] == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
    assert said[4:] == ["BEGIN", "UPDATE", "DELETE", "INSERT", "COMMIT"]
