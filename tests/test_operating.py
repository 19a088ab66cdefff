"""docs/operating.md as an operator follows it: every command that it shows is run here."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from client import Device
from tests.test_readme import ROOT, commands, run, running

PAGE: Final = (ROOT / "docs" / "operating.md").read_text()
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
SECONDS: Final = 60.0

BACKUP, RESTORE, SERVE, REPLICATE, FROM_REPLICA, RESTORE_THAT, RESET, AGAIN = range(8)


def command(number: int) -> str:
    return commands(PAGE)[number]


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    words = [line.split()[:2] for line in commands(PAGE)]
    assert words == [
        ["mobync-hub", "backup"],
        ["mobync-hub", "restore"],
        ["mobync-hub", "serve"],
        ["litestream", "replicate"],
        ["litestream", "restore"],
        ["mobync-hub", "restore"],
        ["litestream", "reset"],
        ["litestream", "replicate"],
    ]


def push(ready: str, *names: str) -> None:
    """Store a record of each name through the hub that is ready."""

    async def store() -> None:
        async with Device(ready.split()[1], token="alice") as device:
            for name in names:
                await device.create("tasks", {"id": name})
            await device.synchronize(SECONDS)

    asyncio.run(store())


def records(file: Path) -> set[str]:
    """The ids of all that was pushed, by the log of a hub's file."""
    query = "SELECT edit.value ->> '$.json_data.id' FROM log, json_each(log.diffs) AS edit"
    with closing(sqlite3.connect(file)) as hub:
        return {name for (name,) in hub.execute(query)}


def test_a_backup_and_what_it_is_restored_to(tmp_path: Path) -> None:
    with running(
        command(SERVE).replace(" --checkpoints litestream", ""), tmp_path, PATH=PATH
    ) as up:
        push(up, "kept")
        run(command(BACKUP), tmp_path, PATH=PATH)
        push(up, "later")
    assert records(tmp_path / "hub.db") == {"kept", "later"}
    out = run(command(RESTORE), tmp_path, PATH=PATH)
    assert "hub.db: restored from backup.db; each of 1 users has a new history" in out
    assert records(tmp_path / "hub.db") == {"kept"}


@contextmanager
def replicating(number: int, folder: Path) -> Iterator[None]:
    """Litestream at work, as long as this lasts."""
    words = command(number).split()
    with (folder / "litestream.log").open("ab") as log:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, "PATH": PATH}, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(SECONDS)


def wait_until_replicated(folder: Path, replica: str, *names: str) -> None:
    target, ends = folder / "looked-at.db", time.monotonic() + SECONDS
    while time.monotonic() < ends:
        target.unlink(missing_ok=True)
        restoring = f"litestream restore -o {target} {replica}"
        done = subprocess.run(
            restoring.split(), cwd=folder, env={**os.environ, "PATH": PATH},
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode == 0 and records(target) >= set(names):
            return
        time.sleep(0.2)
    pytest.fail(f"waited {SECONDS:.0f} s for {names} to be in {replica}")


def test_litestream_beside_the_hub_and_what_it_is_restored_to(tmp_path: Path) -> None:
    with replicating_hub(tmp_path, REPLICATE) as up:
        push(up, "kept")
        wait_until_replicated(tmp_path, "file://replica", "kept")
    run(command(FROM_REPLICA), tmp_path, PATH=PATH)
    out = run(command(RESTORE_THAT), tmp_path, PATH=PATH)
    assert "hub.db: restored from restored.db; each of 1 users has a new history" in out
    run(command(RESET), tmp_path, PATH=PATH)
    with replicating_hub(tmp_path, AGAIN) as up:
        push(up, "new")
        wait_until_replicated(tmp_path, command(AGAIN).split()[-1], "kept", "new")


@contextmanager
def replicating_hub(folder: Path, number: int) -> Iterator[str]:
    """A hub that leaves the checkpoints to Litestream, and Litestream; its `ready` line."""
    with running(command(SERVE), folder, PATH=PATH) as up, replicating(number, folder):
        yield up
