"""Copies of a hub's file, made and put in its place (hub/store/copying.py)."""

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from hub.store import copying
from hub.store.copying import back_up, restore
from hub.store.errors import FileInUse, FileTooNew, NotACopy, NotAHubFile, StoreFailed, TargetExists
from hub.store.lock import FileLock
from hub.store.schema import VERSION
from tests.hub.fakes import START, create, inline, update
from tests.hub.store.asking import asked
from tests.hub.store.bench import ALL, push
from tests.hub.store.sqlite_bench import SqliteBench

FILES: Final = Path(__file__).parent / "files"


def names() -> Callable[[], str]:
    numbers = iter(range(1, 99))
    return lambda: f"restored-{next(numbers)}"


def told(_part: str, _done: int, _whole: int) -> None:
    """Nobody looks."""


def restored(copy: Path, data: Path, now: int = START) -> copying.Restored:
    return restore(copy, data, told, names(), now)


@pytest.fixture
async def bench(tmp_path: Path) -> SqliteBench:
    """A store that is open, with a push of two users, one of them folded."""
    bench = SqliteBench(tmp_path, inline, folds=False)
    await bench.open()
    await bench.store.commit([push(1, create("a")), push(1, create("a"), user="bob")])
    await bench.fold()
    await bench.store.commit([push(2, update("a", base=1, n=1))])
    return bench


@pytest.fixture
async def stopped(bench: SqliteBench) -> Path:
    """The file of a hub that has stopped."""
    await bench.store.close()
    return bench.path


# Backup


async def test_a_copy_of_an_open_file_holds_all_that_was_committed(
    bench: SqliteBench, tmp_path: Path
) -> None:
    copied = back_up(bench.path, tmp_path / "copy.db", told)
    await bench.store.commit([push(3, update("a", base=2, n=2))])
    assert copied.last_row == 3
    assert copied.bytes == (tmp_path / "copy.db").stat().st_size
    assert asked(tmp_path / "copy.db", "SELECT count(*) FROM log") == [(3,)]
    assert len(await bench.store.log("ada", 0, ALL)) == 3
    await bench.store.close()


async def test_a_hub_that_commits_without_end_does_not_make_a_copy_begin_anew(
    bench: SqliteBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's online backup does, whenever another connection has written."""
    monkeypatch.setattr(copying, "STEP_PAGES", 4)
    steps: list[tuple[int, int]] = []
    writer = bench._connections[0]

    def write_between(_part: str, done: int, total: int) -> None:
        steps.append((done, total))
        assert len(steps) < 1000, "the copy never ends"
        writer.execute("UPDATE devices SET seen = seen + 1")

    back_up(bench.path, tmp_path / "copy.db", write_between)
    [total] = {total for _done, total in steps}
    assert [done for done, _total in steps] == [*range(4, total, 4), total]
    assert asked(tmp_path / "copy.db", "PRAGMA integrity_check") == [("ok",)]
    await bench.store.close()


def test_a_copy_has_the_permissions_of_the_file(stopped: Path, tmp_path: Path) -> None:
    stopped.chmod(0o600)
    back_up(stopped, tmp_path / "copy.db", told)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_replaced_only_by_force(stopped: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("something dear")
    with pytest.raises(TargetExists, match="--force"):
        back_up(stopped, target, told)
    assert target.read_text() == "something dear"
    back_up(stopped, target, told, force=True)
    assert asked(target, "SELECT count(*) FROM log") == [(3,)]


def test_a_file_is_never_copied_onto_itself(stopped: Path) -> None:
    before = stopped.read_bytes()
    with pytest.raises(TargetExists):
        back_up(stopped, stopped, told, force=True)
    with pytest.raises(TargetExists, match="is that copy itself"):
        restored(stopped, stopped)
    assert stopped.read_bytes() == before


@pytest.mark.parametrize("target", ["nowhere/copy.db", "/proc/copy.db"])
def test_a_copy_that_cannot_be_written_leaves_nothing(
    stopped: Path, tmp_path: Path, target: str
) -> None:
    with pytest.raises(StoreFailed, match="cannot make"):
        back_up(stopped, tmp_path / target, told)
    assert not list(tmp_path.glob("**/*.part*"))


def test_a_copy_that_is_interrupted_leaves_nothing(stopped: Path, tmp_path: Path) -> None:
    def interrupt(_part: str, _done: int, _whole: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(stopped, tmp_path / "copy.db", interrupt)
    assert not list(tmp_path.glob("copy*"))


def test_what_is_left_of_a_copy_that_was_killed_is_no_hindrance(
    stopped: Path, tmp_path: Path
) -> None:
    for suffix in ("", "-journal", "-wal"):
        (tmp_path / f"copy.db.part{suffix}").write_bytes(b"x" * 5000)
    back_up(stopped, tmp_path / "copy.db", told)
    assert [each.name for each in tmp_path.glob("copy*")] == ["copy.db"]


def test_a_damaged_file_gives_no_copy(stopped: Path, tmp_path: Path) -> None:
    pages = bytearray(stopped.read_bytes())
    root = asked(stopped, "SELECT rootpage FROM sqlite_schema WHERE name = 'objects'")[0][0]
    pages[2048 * (root - 1) : 2048 * root] = os.urandom(2048)
    stopped.write_bytes(pages)
    with pytest.raises((NotACopy, StoreFailed)):
        back_up(stopped, tmp_path / "copy.db", told)
    assert not list(tmp_path.glob("copy*"))


NO_HUB_FILES = {
    "missing": (StoreFailed, "is no file"),
    "a text": (NotAHubFile, "is not a hub file"),
    "of another program": (NotAHubFile, "another program"),
    "too new": (FileTooNew, "newer mobync-hub"),
    "empty": (NotACopy, "is empty"),
}


@pytest.fixture(params=NO_HUB_FILES)
def no_hub_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any, str]:
    path, what = tmp_path / "other.db", request.param
    if what == "a text":
        path.write_text("not a database at all, however long it may be" * 50)
    elif what == "empty":
        path.touch()
    elif what != "missing":
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE notes (text)")
            if what == "too new":
                file.execute(f"PRAGMA application_id = {0x6D6F6279}")
                file.execute(f"PRAGMA user_version = {VERSION + 1}")
    error, words = NO_HUB_FILES[what]
    return path, error, words


def test_what_is_no_hub_file_is_neither_copied_nor_restored(
    no_hub_file: tuple[Path, Any, str], stopped: Path, tmp_path: Path
) -> None:
    path, error, words = no_hub_file
    before = stopped.read_bytes()
    with pytest.raises(error, match=words):
        back_up(path, tmp_path / "copy.db", told)
    with pytest.raises(error, match=words):
        restored(path, stopped)
    assert stopped.read_bytes() == before
    assert not list(tmp_path.glob("*.part*"))
    assert not list(tmp_path.glob("*before-restore*"))


# Restore


async def test_a_restored_file_has_a_new_history_for_each_user_up_to_what_its_log_holds(
    bench: SqliteBench, tmp_path: Path
) -> None:
    back_up(bench.path, tmp_path / "copy.db", told)
    await bench.store.close()
    assert restored(tmp_path / "copy.db", tmp_path / "new.db").users == 2
    histories = "SELECT name, log_id, continues, opened FROM users ORDER BY name"
    assert asked(tmp_path / "new.db", histories) == [
        ("ada", "restored-1", '[{"log_id":"log-1","logical_clock":2}]', START),
        ("bob", "restored-2", '[{"log_id":"log-2","logical_clock":1}]', START),
    ]
    assert asked(tmp_path / "copy.db", "SELECT DISTINCT opened FROM users") == [(0,)]


@pytest.mark.parametrize("version", range(1, VERSION))
async def test_a_backup_of_an_older_version_is_upgraded(version: int, tmp_path: Path) -> None:
    copy = FILES / f"hub-{version}.sqlite"
    assert restored(copy, tmp_path / "hub.db").users == 2
    bench = SqliteBench(tmp_path, inline, folds=False)
    await bench.open()
    standing = await bench.store.user("ada")
    assert (standing.head, standing.history.branched_at) == (9, 9)
    await bench.store.close()
    assert [each.name for each in tmp_path.glob("*backup*")] == []


def test_what_was_there_is_kept_aside_with_its_wal(stopped: Path, tmp_path: Path) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    wal = tmp_path / "hub.db-wal"
    wal.write_bytes(b"of the old file")
    before = stopped.read_bytes()
    aside = restored(tmp_path / "copy.db", stopped).aside
    assert aside == tmp_path / "hub.db.before-restore-20260921T141320Z"
    assert aside.read_bytes() == before
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == b"of the old file"
    assert not wal.exists()


def test_a_wal_without_its_file_is_not_taken_for_that_of_the_restored_one(
    stopped: Path, tmp_path: Path
) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    stopped.unlink()
    (tmp_path / "hub.db-wal").write_bytes(b"of a file that is gone")
    restored(tmp_path / "copy.db", stopped)
    assert not (tmp_path / "hub.db-wal").exists()
    assert asked(stopped, "SELECT count(*) FROM log") == [(3,)]


def test_a_file_that_a_hub_serves_is_not_replaced(stopped: Path, tmp_path: Path) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    before, lock = stopped.read_bytes(), FileLock(stopped)
    lock.acquire()
    try:
        with pytest.raises(FileInUse, match="stop it first"):
            restored(tmp_path / "copy.db", stopped)
    finally:
        lock.release()
    assert stopped.read_bytes() == before


def test_a_restored_file_has_the_permissions_of_the_one_before(
    stopped: Path, tmp_path: Path
) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    stopped.chmod(0o640)
    restored(tmp_path / "copy.db", stopped)
    assert stopped.stat().st_mode & 0o777 == 0o640
    restored(tmp_path / "copy.db", tmp_path / "new.db")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_root_restores_belongs_to_whom_it_belonged(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, *owner: given.append((path.name, *owner)))
    restored(tmp_path / "copy.db", stopped)
    before = stopped.stat()
    assert given == [("hub.db.part", before.st_uid, before.st_gid)]


KILLED: Final = """
import os, signal, sys
from pathlib import Path
from hub.store import copying, histories

moment, copy, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

def die(*_anything):
    os.kill(os.getpid(), signal.SIGKILL)

tell = die if moment == "in the copy" else print
if moment == "in the new histories":
    histories._carried_on = die
elif moment == "before the old one goes":
    copying._set_aside = die
copying.restore(copy, data, tell, lambda: "x", 1)
"""


@pytest.mark.parametrize(
    "moment", ["in the copy", "in the new histories", "before the old one goes"]
)
async def test_a_restore_that_was_killed_leaves_the_file_and_is_done_again(
    stopped: Path, tmp_path: Path, moment: str
) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    before = stopped.read_bytes()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, moment, str(tmp_path / "copy.db"), str(stopped),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _out, errors = await process.communicate()
    assert process.returncode == -9, errors.decode()
    assert stopped.read_bytes() == before
    assert restored(tmp_path / "copy.db", stopped).users == 2
    assert not list(tmp_path.glob("*.part*"))


def test_a_disk_that_fails_before_the_end_leaves_the_file_as_it_was(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(stopped, tmp_path / "copy.db", told)
    before = stopped.read_bytes()

    def full(_source: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StoreFailed, match="No space left"):
        restored(tmp_path / "copy.db", stopped)
    assert stopped.read_bytes() == before
    shutil.copy(stopped, tmp_path / "still.db")
    assert asked(tmp_path / "still.db", "SELECT DISTINCT opened FROM users") == [(0,)]
