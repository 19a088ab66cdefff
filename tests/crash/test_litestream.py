"""Litestream beside a hub that serves: its own program, as docs/operating.md says to run it."""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest

from tests.crash.lives import Lives, command, level, program, seen_by, within, write

LITESTREAM: Final = Path(sys.executable).with_name("litestream")
CONFIG: Final = """
dbs:
  - path: {data}
    monitor-interval: 100ms
    checkpoint-interval: 1s
    min-checkpoint-page-count: 20
    replica:
      type: file
      path: {replica}
      sync-interval: 100ms
"""


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    lives = Lives(tmp_path)
    config = CONFIG.format(data=lives.data, replica=tmp_path / "replica")
    (tmp_path / "litestream.yml").write_text(config)
    return lives


@asynccontextmanager
async def litestream(lives: Lives) -> AsyncIterator[asyncio.subprocess.Process]:
    """Litestream at work; it is killed at the end."""
    with (lives.folder / "litestream.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            LITESTREAM, "replicate", "-config", lives.folder / "litestream.yml",
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await within(process.wait(), "Litestream to die")


async def restored(lives: Lives, target: Path) -> bool:
    """Have Litestream make a file of its replica; False if there is none yet."""
    target.unlink(missing_ok=True)
    replica = f"file://{lives.folder / 'replica'}"
    code, _out, _errors = await program(LITESTREAM, "restore", "-o", target, replica)
    return code == 0


def last_row(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0])


async def replicated(lives: Lives, row: int) -> None:
    """Wait until the replica has this row of the log."""

    async def look() -> None:
        scratch = lives.folder / "scratch.db"
        while not await restored(lives, scratch) or last_row(scratch) < row:
            await asyncio.sleep(0.2)

    await within(look(), f"row {row} to be in the replica")


async def moved_into_the_file(lives: Lives, row: int) -> None:
    """Wait until the data file has this row without its WAL: somebody has checkpointed."""

    async def look() -> None:
        alone = lives.folder / "alone.db"
        while True:
            shutil.copy(lives.data, alone)
            try:
                if last_row(alone) >= row:
                    return
            except sqlite3.Error:
                pass  # torn, or still without a table
            await asyncio.sleep(0.1)

    await within(look(), f"row {row} to be moved into the data file")


async def test_what_litestream_has_replicated_is_served_again_after_all_have_died(
    lives: Lives,
) -> None:
    async with lives.hub("--checkpoints", "litestream") as hub, litestream(lives) as replicating:
        async with lives.device(hub, "phone") as phone:
            await write(phone, *(f"note-{number}" for number in range(30)))
            await level(phone)
            rows = lives.ask("SELECT max(seq) FROM log")[0][0]
            await moved_into_the_file(lives, 1)
            await replicated(lives, rows)
        replicating.kill()
        await within(hub.kill(), "the hub to die")
    copy = lives.folder / "from-litestream.db"
    assert await restored(lives, copy)
    for suffix in ("", "-wal", "-shm"):
        lives.data.with_name(f"hub.db{suffix}").unlink(missing_ok=True)
    code, out, _errors = await command("restore", copy, "--data", lives.data)
    assert (code, "each of 1 users" in out) == (0, True)
    async with lives.hub() as hub, lives.device(hub, "desk") as desk:
        assert (await seen_by(desk)).keys() == {f"note-{number}" for number in range(30)}
    assert lives.ask("PRAGMA integrity_check") == [("ok",)]


async def test_litestream_goes_on_through_a_restart_of_the_hub(lives: Lives) -> None:
    """A start writes the WAL over itself with the bytes that it has: nothing is new in it."""
    async with litestream(lives):
        for life in range(3):
            async with lives.hub("--checkpoints", "litestream") as hub:
                async with lives.device(hub, "phone") as phone:
                    await write(phone, *(f"note-{life}-{number}" for number in range(5)))
                    await level(phone)
                if life == 1:
                    await within(hub.kill(), "the hub to die")
                else:
                    assert await within(hub.stop(), "the hub to stop") == 0
        await replicated(lives, lives.ask("SELECT max(seq) FROM log")[0][0])
    copy = lives.folder / "scratch.db"
    with closing(sqlite3.connect(copy)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
