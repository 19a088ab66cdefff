"""The upgrade of a file says how far it is: lines in a pipe, bars on a terminal."""

import itertools
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from hub.progress import lines
from hub.store import upgrade
from hub.store.schema import connect
from tests.hub.store.asking import asked
from tests.hub.store.test_upgrade import FILES

COMMAND: Final = Path(sys.executable).with_name("mobync-hub")
SECONDS: Final = 60.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(FILES / "hub-1.sqlite", tmp_path / "hub.db"))


def test_in_a_pipe_it_is_a_line_for_each_part_and_each_tenth_of_the_copy(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "COPY_PAGES", 1)
    with closing(connect(old)) as connection, capture_logs() as logs:
        upgrade.upgrade(connection, old, 0, lines)
    told = [(log["part"], log.get("percent")) for log in logs if "part" in log]
    copied = [int(percent or 0) for part, percent in told if part == "copy"]
    assert copied == sorted(set(copied))
    assert len(copied) > 8
    assert copied[-1] == 100
    assert told[len(copied) :] == [
        ("format 2", None),
        ("format 2", 100),
        ("format 3", None),
        ("format 3", 100),
        ("format 4", None),
        ("format 4", 100),
        ("writing it anew", None),
        ("writing it anew", 100),
    ]


def test_a_file_of_today_is_opened_without_a_word(old: Path) -> None:
    with closing(connect(old)) as connection:
        upgrade.upgrade(connection, old, 0)
        with capture_logs() as logs:
            upgrade.upgrade(connection, old, 0, lines)
    assert logs == []


def test_the_copy_of_a_large_file_is_made_in_steps(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte in one step could not be told of, nor be interrupted."""
    with closing(connect(old)) as file:
        file.execute("CREATE TABLE ballast (text TEXT)")
        file.executemany("INSERT INTO ballast VALUES (?)", [("x" * 10_000,)] * 1_500)
    seen: list[tuple[int, int]] = []

    def copied(part: str, done: int, whole: int) -> None:
        if part == "copy":
            seen.append((done, whole))

    with closing(connect(old)) as connection:
        upgrade._back_up(connection, old, 1, copied)
    pages = seen[-1][1]
    assert seen[-1] == (pages, pages)
    assert max(b - a for (a, _), (b, _) in itertools.pairwise(seen)) <= upgrade.COPY_PAGES
    assert asked(upgrade.backup_of(old, 1), "SELECT count(*) FROM ballast") == [(1_500,)]


def test_on_a_terminal_it_is_a_bar(old: Path) -> None:
    ours, theirs = pty.openpty()
    flags = ("--dev", "--port", "0", "--http-port", "0", "--data", str(old))
    hub = subprocess.Popen(
        [COMMAND, "serve", *flags], stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    assert hub.stdout is not None
    with hub:
        assert hub.stdout.readline().startswith("ready ")
        hub.send_signal(signal.SIGTERM)
        shown = read_all(ours)
        assert hub.wait(SECONDS) == 0
    os.close(ours)
    assert "copy" in shown
    assert "writing it anew" in shown
    assert "100%" in shown


def read_all(terminal: int) -> str:
    """What is shown until the other end is closed, which Linux tells as an error."""
    shown = b""
    try:
        while read := os.read(terminal, 65536):
            shown += read
    except OSError:
        pass
    return shown.decode()
