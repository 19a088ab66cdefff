"""Files of older formats, as that version made them (make_file.py), under the code of today."""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from client import Device, RejectedEdit, SqliteStorage, StorageFailed, StorageTooNew
from client.storage import Identity, Kept, rows, upgrading
from protocol.messages import Half, Hello, Push
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock
from tests.client.storage.make_file import MADE_AT, make

FILES = Path(__file__).parent / "files"
FORMATS = range(1, rows.SCHEMA_VERSION)
"""Every older one."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.db"


def take_out(number: int, path: Path) -> Path:
    """A file of this format, where the device will look for it."""
    return Path(shutil.copy(FILES / f"device-{number}.sqlite", path))


async def read(path: Path) -> Kept:
    storage = SqliteStorage(path)
    await storage.open()
    try:
        return await storage.load()
    finally:
        await storage.close()


def ask(path: Path, question: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def dump(path: Path) -> Sequence[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def check_that_nothing_is_missing(kept: Kept) -> None:
    """What make_file.py says that a file holds."""
    position = kept.saved.position
    assert kept.identity == Identity("phone", "alice")
    assert (position.log_id, position.clock, position.half) == ("log-1", 400, Half(2, 900))
    assert (position.counter, position.settled, position.edits) == (6, 2, 9)
    assert (position.timestamp, position.skew) == (MADE_AT + 5_008, 5_000)
    assert [push.push_id for push in kept.saved.pushes] == [3, 4, 5, 6]
    assert [edit.number for edit in kept.saved.edits] == [7, 8, 9]
    assert kept.saved.edits[1].diff.json_data == {"id": "n1", "ratio": 0.1, "large": 2**53 - 1}
    assert {name: known.clock for (_, name), known in kept.saved.objects.items()} == {
        "kept": 1,
        "theirs": 400,
    }
    (setback,) = kept.saved.setbacks.values()
    assert isinstance(setback, RejectedEdit)
    assert setback.code == "object_deleted"


@pytest.mark.parametrize("number", FORMATS)
async def test_a_file_of_an_older_format_is_opened_with_all_that_it_holds(
    number: int, path: Path
) -> None:
    kept = await read(take_out(number, path))

    check_that_nothing_is_missing(kept)
    assert kept.saved.position.corrected == MADE_AT + 5_008


async def test_the_code_of_today_makes_the_same_of_the_same(path: Path) -> None:
    """Of the same edits; or else the files in `files` say little of what devices really hold."""
    await make(path)

    check_that_nothing_is_missing(await read(path))


@pytest.mark.parametrize("number", FORMATS)
async def test_an_upgraded_file_is_like_one_made_today(number: int, path: Path) -> None:
    await read(take_out(number, path))
    new = path.with_name("new.db")
    await read(new)

    assert ask(path, "PRAGMA user_version") == [(rows.SCHEMA_VERSION,)]
    columns = (
        "SELECT m.name, c.name, c.type, c.pk FROM sqlite_schema m, pragma_table_info(m.name) c"
    )
    assert ask(path, columns) == ask(new, columns)


@pytest.mark.parametrize("number", FORMATS)
async def test_the_file_as_it_was_is_kept_beside_it(number: int, path: Path) -> None:
    take_out(number, path).chmod(0o600)
    before = dump(path)

    await read(path)

    copy = upgrading.copy_of(path, number)
    assert {file.name for file in path.parent.iterdir()} == {path.name, copy.name}
    assert dump(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    assert ask(copy, "PRAGMA user_version") == [(number,)]
    assert ask(copy, "PRAGMA application_id") == [(rows.APPLICATION_ID,)]


async def test_a_file_is_upgraded_once(path: Path) -> None:
    await read(take_out(1, path))
    copy = upgrading.copy_of(path, 1)
    copy.unlink()

    check_that_nothing_is_missing(await read(path))
    assert not copy.exists()


async def test_a_device_that_never_heard_of_a_hub_is_corrected_when_it_does(path: Path) -> None:
    ask_path = take_out(1, path)
    connection = sqlite3.connect(ask_path)
    with connection:
        connection.execute("UPDATE position SET log_id = NULL")
    connection.close()

    assert (await read(path)).saved.position.corrected == 0


async def test_an_upgraded_device_goes_on_where_it_stood(path: Path, hub: FakeHub) -> None:
    clock = Clock(MADE_AT + 60_000)
    async with Device(
        "ws://hub.invalid/sync",
        token="alice",
        path=take_out(1, path),
        connect=hub.connect,
        world=clock.world,
    ) as phone:
        session = await hub.session()
        hello = await session.greet(logical_clock=900, last_push_id=2, server_time=clock.ms + 5_000)
        session.page(900, head=900)
        session.ready(900, 2)
        pushes = [await session.expect(Push) for _ in range(4)]

        assert isinstance(hello, Hello)
        assert (hello.device, hello.logical_clock) == ("phone", 400)
        assert hello.half == Half(2, 900, seen=900)
        assert [push.push_id for push in pushes] == [3, 4, 5, 6]
        assert phone.status.pending == 7
        assert await phone.get("tasks", "theirs") == {"id": "theirs", "title": "half"}


KILLER = """
import os, shutil, signal, sqlite3, sys
from pathlib import Path
from client.storage import file

fixture, folder, steps_left = Path(sys.argv[1]), Path(sys.argv[2]), 0

def step():
    global steps_left
    steps_left -= 1
    if steps_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Mortal(sqlite3.Connection):
    def execute(self, *arguments):
        step()
        return super().execute(*arguments)

    def backup(self, target, **options):
        super().backup(target, pages=1, progress=lambda *_: step())

def replace(self, target, replaced=Path.replace):
    step()
    return replaced(self, target)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **named: connect(*args, factory=Mortal, **named)
Path.replace = replace
for number in range(1, 1000):
    path = folder / f"{number}.db"
    shutil.copy(fixture, path)
    child = os.fork()
    if child == 0:
        steps_left = number
        file.DeviceFile(path).close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(number, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
"""
"""Opens a file again and again, and is killed before the first, the second, … step of it."""


async def killed_at_every_step(folder: Path, fixture: Path) -> Sequence[Path]:
    """The files that each death left behind."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLER, str(fixture), str(folder), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    lines = [tuple(map(int, line.split())) for line in said.decode().splitlines()]
    assert process.returncode == 0
    assert [signal for _, signal in lines] == [9] * (len(lines) - 1) + [0]
    return [folder / f"{number}.db" for number, _ in lines]


@pytest.mark.parametrize("number", FORMATS)
async def test_an_upgrade_that_is_killed_anywhere_is_done_by_the_next_opening(
    number: int, tmp_path: Path
) -> None:
    fixture = FILES / f"device-{number}.sqlite"
    left = await killed_at_every_step(tmp_path, fixture)
    before = dump(fixture)

    versions = []
    for path in left:
        ((version,),) = ask(path, "PRAGMA user_version")
        versions.append(version)
        if version == number:
            assert dump(path) == before
        check_that_nothing_is_missing(await read(path))
        assert dump(upgrading.copy_of(path, number)) == before
    statements = sum(len(upgrading.STEPS[step]) for step in range(number, rows.SCHEMA_VERSION))
    assert versions.count(number) > statements
    assert versions[-1] == rows.SCHEMA_VERSION
    assert not list(tmp_path.glob("*unfinished*"))


async def test_a_copy_that_cannot_be_made_leaves_the_file_as_it_is(path: Path) -> None:
    take_out(1, path)
    before = dump(path)
    unfinished = upgrading.copy_of(path, 1)
    unfinished.with_name(f"{unfinished.name}-unfinished").mkdir()

    with pytest.raises(StorageFailed, match=r"cannot be used.*open the device again"):
        await SqliteStorage(path).open()

    assert dump(path) == before
    assert ask(path, "PRAGMA user_version") == [(1,)]


@pytest.mark.parametrize("ahead", [1, 7])
async def test_a_file_of_a_newer_format_is_refused_and_left_as_it_is(
    path: Path, ahead: int
) -> None:
    await make(path)
    ask(path, f"PRAGMA user_version = {rows.SCHEMA_VERSION + ahead}")
    before = path.read_bytes()

    with pytest.raises(StorageTooNew, match=r"newer version.*nothing has been changed"):
        await SqliteStorage(path).open()

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_every_older_format_has_a_file_and_a_way_forward() -> None:
    assert [*upgrading.STEPS] == [*FORMATS]
    assert {file.name for file in FILES.iterdir()} == {f"device-{n}.sqlite" for n in FORMATS}


async def test_the_log_says_what_is_done_with_an_older_file(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "COPY_PAGES", 1)
    take_out(1, path)
    with caplog.at_level("INFO", "mobync.client"):
        await read(path)
    begun, *copied, done = caplog.messages
    assert f"{path} has format 1: it is copied to" in begun
    assert copied == [f"{path}: {percent} % copied" for percent in (25, 50, 75)]
    assert f"{path} was brought from format 1" in done
