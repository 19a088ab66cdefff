"""`mobync-hub backup` and `mobync-hub restore` with real hubs and real devices."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from client import Device
from tests.crash.lives import Lives, command, level, seen_by, within, write


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path)


def notes_in(copy: Path) -> int:
    """How many pushes the log of a copy holds; it is sound, and one file."""
    assert not copy.with_name(f"{copy.name}-wal").exists()
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(file.execute("SELECT count(*) FROM log").fetchone()[0])


async def keep_writing(device: Device, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await write(device, f"later-{count}")
        count += 1
        await level(device)
    return count


async def test_a_hub_that_serves_is_copied_and_goes_on(lives: Lives) -> None:
    copy, stop = lives.folder / "copy.db", asyncio.Event()
    lives.data.touch(0o640)
    async with lives.hub() as hub, lives.device(hub, "phone") as phone:
        await write(phone, "before-1", "before-2")
        await level(phone)
        writing = asyncio.create_task(keep_writing(phone, stop))
        code, out, errors = await command("backup", copy, "--data", lives.data)
        stop.set()
        count = await within(writing, "the phone to write on")
        assert (code, errors) == (0, f"copying {lives.data}: 100 %\n")
        assert re.match(
            rf"{re.escape(str(copy))}: \d+\.\d KB, checked, up to row \d+ of the log\n", out
        ), out
        assert 2 <= notes_in(copy) <= 2 + count
        assert copy.stat().st_mode & 0o777 == 0o640
        assert sorted(each.name for each in lives.folder.glob("copy*")) == ["copy.db"]
        assert len(await seen_by(phone)) == 2 + count


async def test_story_6_a_restored_hub_goes_on_from_its_backup_with_all_its_devices(
    lives: Lives,
) -> None:
    copy = lives.folder / "copy.db"
    async with lives.hub() as hub:
        async with lives.device(hub, "desk") as desk:
            await write(desk, "desk-1")
            await level(desk)
        assert (await command("backup", copy, "--data", lives.data))[0] == 0
        async with lives.device(hub, "phone") as phone:
            await write(phone, "lost-1", "lost-2")
            await level(phone)
        code, _out, errors = await command("restore", copy, "--data", lives.data)
        assert code == 1
        assert "another hub (process" in errors
        await within(hub.kill(), "the hub to die")
    await lives.offline("phone", "pending-1")
    await lives.offline("desk", "pending-2")
    code, out, _errors = await command("restore", copy, "--data", lives.data)
    assert code == 0
    assert f"{lives.data}: restored from {copy}; each of 1 users has a new history" in out
    [aside] = lives.folder.glob("hub.db.before-restore-*Z")
    with closing(sqlite3.connect(aside)) as before:
        assert before.execute("SELECT count(*) FROM log").fetchone() == (3,)
    async with (
        lives.hub() as hub,
        lives.device(hub, "phone") as phone,
        lives.device(hub, "desk") as desk,
    ):
        await level(phone)
        seen = await seen_by(phone)
        assert seen == await seen_by(desk)
        assert seen.keys() == {"desk-1", "lost-1", "lost-2", "pending-1", "pending-2"}
    [(clock,)] = lives.ask("SELECT continues ->> '$[0].logical_clock' FROM users WHERE opened > 0")
    assert clock == 1


async def test_a_backup_of_a_hub_that_was_killed_has_what_lies_in_its_wal(lives: Lives) -> None:
    async with lives.hub() as hub:
        async with lives.device(hub, "phone") as phone:
            await write(phone, "one", "two")
            await level(phone)
        await within(hub.kill(), "the hub to die")
    wal = lives.data.with_name("hub.db-wal").read_bytes()
    assert (await command("backup", lives.folder / "copy.db", "--data", lives.data))[0] == 0
    assert notes_in(lives.folder / "copy.db") == 2
    assert lives.data.with_name("hub.db-wal").read_bytes() == wal
