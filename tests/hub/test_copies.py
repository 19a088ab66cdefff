"""The commands `mobync-hub backup` and `mobync-hub restore`, as an operator gives them."""

import io
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from hub import copies, progress
from hub.cli import main
from hub.store.lock import FileLock

HUB_FILE = Path(__file__).parent / "store" / "files" / "hub-2.sqlite"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a hub's file in it; the niceness of the test stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "nice", lambda _more: 0)
    for name in [name for name in os.environ if name.startswith("MOBYNC_")]:
        monkeypatch.delenv(name)
    shutil.copy(HUB_FILE, "hub.db")
    return tmp_path


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment)


def test_the_data_file_is_named_as_for_serving(folder: Path) -> None:
    (folder / "data").mkdir()
    shutil.move("hub.db", "data/mine.db")
    (folder / "hub.toml").write_text('data = "data/mine.db"\ndev = true\n')
    assert run("backup", "one.db", "--data", "data/mine.db").exit_code == 0
    assert run("backup", "two.db", MOBYNC_DATA="data/mine.db").exit_code == 0
    assert run("backup", "three.db", "--config", "hub.toml").exit_code == 0
    failed = run("backup", "four.db")
    assert (failed.exit_code, "hub.db is no file" in failed.stderr) == (1, True)
    assert {each.name for each in folder.glob("*.db")} == {"one.db", "two.db", "three.db"}


def test_a_setting_that_cannot_be_is_explained() -> None:
    (Path("hub.toml")).write_text("data = 5\n")
    result = run("backup", "one.db", "--config", "hub.toml")
    assert result.exit_code == 2
    assert "data is 5, which is not the name of a file" in result.stderr


def test_a_backup_says_where_it_is_and_what_it_holds() -> None:
    result = run("backup", "copy.db")
    assert re.fullmatch(r"copy.db: [\d.]+ KB, checked, up to row 11 of the log\n", result.stdout)
    assert result.stderr == "copying hub.db: 100 %\n"


def test_a_backup_that_is_there_is_replaced_when_told_so() -> None:
    assert run("backup", "copy.db").exit_code == 0
    again = run("backup", "copy.db")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "copy.db is there already; name another file, or give --force" in again.stderr
    assert run("backup", "copy.db", "--force").exit_code == 0


def test_a_restore_says_what_it_did_and_what_devices_will_do() -> None:
    run("backup", "copy.db")
    result = run("restore", "copy.db")
    first, second, third = result.stdout.splitlines()
    assert first == "hub.db: restored from copy.db; each of 2 users has a new history"
    assert second.startswith("hub.db.before-restore-")
    assert "what was there before" in second
    assert third.startswith("Start the hub. Devices that have seen more than the copy holds begin")


def test_where_there_was_nothing_nothing_is_kept() -> None:
    result = run("restore", "hub.db", "--data", "new.db")
    assert result.exit_code == 0
    assert "before" not in result.stdout


def test_a_hub_that_serves_is_to_be_stopped_first(folder: Path) -> None:
    run("backup", "copy.db")
    lock = FileLock(folder / "hub.db")
    lock.acquire()
    try:
        result = run("restore", "copy.db")
    finally:
        lock.release()
    assert result.exit_code == 1
    assert "stop it first" in result.stderr


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_the_help_shows_how_it_is_used(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"mobync-hub {command} /backups/hub-monday.db --data hub.db" in result.output
    assert "MOBYNC_DATA" in result.output


def test_a_person_on_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(progress, "Console", lambda **_options: terminal)
    monkeypatch.setattr(copies, "for_whom_it_is", lambda _in_a_pipe: progress.bars)
    assert run("backup", "copy.db").exit_code == 0
    assert "copying hub.db" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_a_pipe_is_told_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.quarters() as tell:
        for done in range(1001):
            tell("copying", done, 1000)
    assert capsys.readouterr().err == "".join(f"copying: {part} %\n" for part in (25, 50, 75, 100))
