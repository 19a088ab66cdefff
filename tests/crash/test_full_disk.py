"""A disk that is full: a real one, small and in memory, made larger while the hub runs."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.crash.forked import a_forked_hub, wait_until_ready
from tests.crash.writer import Went, Writer, check_file

SMALL: Final = "300k"
LARGE: Final = "16m"
PUSHES: Final = 100
"""Of 4 KB each: more than the small disk holds."""


def mount(folder: Path, *options: str) -> str | None:
    """Mount a disk in memory; why that cannot be."""
    command = ["mount", "-t", "tmpfs", *options, "none", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stderr.strip() or "mount failed") if done.returncode else None


@contextmanager
def a_small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    if reason := mount(folder, "-o", f"size={SMALL}"):
        pytest.skip(f"a small disk needs the right to mount one: {reason}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_reads_go_on_and_pushes_come_back_when_there_is_room(
    tmp_path: Path,
) -> None:
    log = tmp_path / "hub.log"
    writer = Writer()
    with a_small_disk(tmp_path / "disk") as disk, a_forked_hub(disk / "hub.db", log=log) as hub:
        process, output = hub
        url = wait_until_ready(output)
        assert asyncio.run(writer.push(url, 1)) is Went.DONE
        reader = writer.twin("reader")
        assert asyncio.run(writer.push(url, PUSHES)) is Went.REFUSED
        full_at = len(writer.acked)
        assert 1 < full_at < PUSHES
        assert asyncio.run(reader.push(url, 0)) is Went.DONE
        assert len(reader.heard) == full_at
        check_file(disk / "hub.db", writer)

        assert mount(disk, "-o", f"remount,size={LARGE}") is None
        assert asyncio.run(writer.push(url, PUSHES)) is Went.DONE
        process.terminate()
        process.join(30)
        assert process.exitcode == 0
        check_file(disk / "hub.db", writer)
    assert "Traceback" not in log.read_text()
    print(f"\nfull after {full_at} pushes, {writer.refusals} closes with 1013, then all {PUSHES}")
