"""A hub in somebody's program: as many as it likes, and nothing of the program is touched."""

import asyncio
import gc
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from client import Device
from hub.embedded import Hub
from hub.errors import SettingsError
from hub.settings import Settings
from hub.store.errors import FileInUse, SyncFailed
from hub.store.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "embedding.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def settings_in(folder: Path, port: int = 0) -> Settings:
    return Settings(dev=True, port=port, http_port=0, data=folder / "hub.db")


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    assert "1" in run(tmp_path, "-c", BLOCKS[0]).splitlines()


def test_the_fixture_of_the_page_is_a_test_that_passes(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(BLOCKS[2])
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    assert "1 passed" in run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider")


async def test_two_hubs_in_one_program_know_nothing_of_each_other(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    async with Hub(settings_in(here)) as one, Hub(settings_in(there)) as other:
        async with Device(one.url, token="alice") as phone:
            await phone.create("tasks", {"id": "t1"})
            await phone.synchronize()
        async with Device(other.url, token="alice") as phone:
            await phone.synchronize()
            assert await phone.read("tasks") == []


async def test_what_was_stored_is_there_when_the_program_starts_again(tmp_path: Path) -> None:
    async with (
        Hub(settings_in(tmp_path)) as hub,
        Device(hub.url, token="alice") as phone,
    ):
        await phone.create("tasks", {"id": "t1"})
        await phone.synchronize()
    async with Hub(settings_in(tmp_path)) as hub, Device(hub.url, token="alice") as tab:
        await tab.synchronize()
        assert await tab.read("tasks") == [{"id": "t1"}]


async def test_nothing_of_the_program_is_touched_and_nothing_is_left_of_the_hub(
    tmp_path: Path,
) -> None:
    before = asyncio.all_tasks(), signal.getsignal(signal.SIGTERM), gc.get_threshold()
    switching = sys.getswitchinterval()
    async with Hub(settings_in(tmp_path)):
        assert signal.getsignal(signal.SIGTERM) == before[1]
        assert (gc.get_threshold(), sys.getswitchinterval()) == (before[2], switching)
    assert asyncio.all_tasks() == before[0]


async def test_a_file_that_has_a_hub_is_not_served_twice(tmp_path: Path) -> None:
    async with Hub(settings_in(tmp_path)):
        with pytest.raises(FileInUse):
            async with Hub(settings_in(tmp_path)):
                pass


async def test_an_address_that_is_taken_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with Hub(settings_in(tmp_path)) as hub:
        port = int(hub.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(SettingsError, match="cannot listen"):
            async with Hub(settings_in(other, port)):
                pass


async def test_an_error_of_the_program_ends_the_hub_and_is_what_the_program_sees(
    tmp_path: Path,
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Hub(settings_in(tmp_path)):
            raise ZeroDivisionError
    async with Hub(settings_in(tmp_path)):
        pass


async def test_a_disk_that_fails_to_sync_is_told_to_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel makes of a failed sync nobody knows: the hub must not go on."""
    with pytest.raises(SyncFailed):
        await _push_to_a_disk_that_fails(settings_in(tmp_path), monkeypatch)


async def _push_to_a_disk_that_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hub(settings) as hub, asyncio.timeout(20):
        monkeypatch.setattr(Ledger, "commit", _fail)
        async with Device(hub.url, token="alice") as phone:
            await phone.create("tasks", {"id": "t1"})
            await hub.gave_up()


def _fail(*_: object) -> None:
    """As SQLite does it when an fdatasync of its WAL says EIO."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    raise error


BUGS: list[tuple[str, str]] = [
    ("hub.store.ledger.Ledger.commit", "commit"),
    ("hub.store.ledger.Ledger.fold", "fold"),
    ("hub.store.retiring.Retiring.retire", "retire"),
    ("hub.hub.Hub._sweep", "sweep"),
]


@pytest.mark.parametrize(("where", "task"), BUGS)
async def test_a_bug_that_ends_what_a_hub_lives_by_ends_the_hub_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, task: str
) -> None:
    """The task was gone, and the hub took pushes that it never answered, until somebody noticed."""
    with capture_logs() as logs, pytest.raises(ZeroDivisionError):
        await _meet_a_bug(settings_in(tmp_path), monkeypatch, where)
    assert [line["task"] for line in logs if line["event"] == "the hub gives up"] == [task]


async def _meet_a_bug(settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    async with Hub(settings) as hub, Device(hub.url, token="alice") as phone, asyncio.timeout(20):
        await phone.synchronize()
        with monkeypatch.context() as patched:
            patched.setattr(where, _divide)
            patched.setattr(Ledger, "has_due", True)
            await phone.create("tasks", {"id": "t1"})
            await hub.gave_up()


def _divide(*_: object) -> None:
    raise ZeroDivisionError


async def test_a_program_that_waits_for_its_hub_goes_on_as_long_as_that_does(
    tmp_path: Path,
) -> None:
    names = {"Hub": Hub, "Settings": Settings}
    exec(BLOCKS[1], names)  # noqa: S102 - the function on the page
    serve: Any = names["serve"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await serve(settings_in(tmp_path))
    async with Hub(settings_in(tmp_path)):
        pass
