"""`mobync-hub delete-user` and `compact`: what goes is gone, its bytes too, and nothing else is."""

import asyncio
import json
import os
import pty
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from hub.retention import Retention
from hub.server import open_store
from hub.store.beside import looking
from hub.store.revocations import read_file
from tests.hub.fakes import FakeClock, create, delete, update
from tests.hub.http.served import LiveDevice, dev_settings, serve
from tests.hub.store.bench import push
from tests.hub.verbs.files import MAIN, a_store, commit, edited, in_a_process, told, verb
from tests.hub.verbs.test_moving import nobody_is_on_the_way
from tests.hub.verbs.test_restoring import LONG

SECRET = "dear diary"
DAY = 86_400


def text(number: int, size: int = 40) -> str:
    """Something of hers that no other file of the world has."""
    return f"{SECRET} {number} " * size


async def diary(data: Path, pushes: int = 60) -> Path:
    """Ada writes much, changes it and deletes some of it, beside bob, who keeps what he has."""
    async with a_store(data) as store:
        for number in range(1, pushes):
            name = f"{SECRET} {number}"
            edits = [create(name, number, text=text(number, number))]
            edits += [update(f"{SECRET} {number // 2}", number, text=text(number))]
            edits += [delete(f"{SECRET} {number // 3}", number)] if number % 4 == 0 else []
            await commit(store, push(number, *edits, device=f"{SECRET} {number % 3}"))
            await commit(store, push(number, create(f"b{number}", number, n=number), user="bob"))
        await commit(store, push(99, update("never", text=text(0)), device="of bob", user="bob"))
    return data


def bytes_of(data: Path) -> bytes:
    """All that lies beside one another under the file's name."""
    parts = [part for part in data.parent.glob(data.name + "*") if part.is_file()]
    return b"".join(part.read_bytes() for part in parts)


def bobs(data: Path) -> Any:
    return told(data, "objects", "bob"), told(data, "log", "bob"), told(data, "devices", "bob")


async def test_nothing_of_a_deleted_user_is_left_in_the_file_and_all_of_the_others(
    tmp_path: Path,
) -> None:
    data = await diary(tmp_path / "hub.db")
    async with a_store(data) as store:
        await commit(store, push(99, delete("b1", 99), user="bob"))
    before = bobs(data)
    assert bytes_of(data).count(SECRET.encode()) > 1_000
    config = data.with_name("hub.toml")
    config.write_text("[retention]\nlog_days = 3650\n")
    [said] = told(data, "delete-user", "ada", "--yes", "--config", str(config))
    assert (said["user"], said["is_wal_cut"]) == ("ada", True)
    left = bytes_of(data)
    assert b"dear diary 0" in left, "the edit of bob's that was rejected is bob's"
    assert all(f"{SECRET} {number} ".encode() not in left for number in range(1, 60))
    assert b"ada" in left, "the name is in the list of those who are revoked"
    assert [row["user"] for row in told(data, "users")] == ["bob"]
    assert bobs(data) == before
    assert nobody_is_on_the_way(data)
    with closing(sqlite3.connect(data)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert [each.user for each in read_file(data)] == ["ada"]


async def test_what_a_crash_left_of_a_deletion_is_gone_with_its_bytes_after_the_next_start(
    tmp_path: Path,
) -> None:
    data = await diary(tmp_path / "hub.db")
    before = bobs(data)
    edited(data, "UPDATE users SET name = char(0) || 'going' WHERE name = 'ada'")
    edited(data, "DELETE FROM objects WHERE user_no = 1 AND object_no % 2")
    async with a_store(data):
        pass
    left = bytes_of(data)
    assert all(f"{SECRET} {number} ".encode() not in left for number in range(1, 60))
    assert nobody_is_on_the_way(data)
    assert bobs(data) == before


async def test_on_a_live_hub_the_sockets_close_first_and_the_bytes_are_gone_while_it_serves(
    tmp_path: Path,
) -> None:
    data = await diary(tmp_path / "hub.db")
    async with (
        serve(dev_settings(tmp_path, retention=LONG)) as hub,
        hub.live_device("ada", "phone") as phone,
        hub.live_device("bob", "tab") as tab,
    ):
        late = create(f"{SECRET} 1 2 3", text=text(1))
        await phone.say(type="push", push_id=1, diffs=[late])
        assert (await phone.hear())["type"] == "ack"
        done = await asyncio.to_thread(in_a_process, data, "delete-user", "ada", "--yes")
        assert (done.returncode, json.loads(done.stdout)["is_wal_cut"]) == (0, True), done.stderr
        assert await ended(phone) == 4403
        assert f"{SECRET} 1 ".encode() not in bytes_of(data)
        assert [row["user"] for row in told(data, "users")] == ["bob"]
        poll = {"auth_token": "ada", "logical_clock": 0, "diffs": []}
        assert (await hub.ask("POST", "/sync", json=poll)).status == 403
        await tab.say(type="push", push_id=1, diffs=[create("still here")])
        assert (await tab.hear())["type"] == "ack"
        undone = await asyncio.to_thread(in_a_process, data, "revoke", "--undo", "user", "ada")
        assert "let in again" in undone.stdout
        async with hub.live_device("ada"):
            [anew] = [row for row in told(data, "users") if row["user"] == "ada"]
            assert (anew["clock"], anew["objects"]) == (0, 0)
    assert nobody_is_on_the_way(data)


async def ended(device: LiveDevice) -> int | None:
    try:
        while True:
            await device.hear()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_who_reads_the_file_keeps_the_wal_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.retiring.CUTS", 2)
    data = await diary(tmp_path / "hub.db", 5)
    store = open_store(dev_settings(tmp_path, retention=LONG))
    await store.open()
    with looking(data) as file:
        file.execute("SELECT count(*) FROM log").fetchone()
        assert not await store.delete_user("ada")
    assert await store.delete_user("ada")
    await store.close()


@pytest.mark.parametrize("user", ["eve", "Ada", "ada "])
async def test_who_is_not_there_is_not_deleted(tmp_path: Path, user: str) -> None:
    data = await diary(tmp_path / "hub.db", 3)
    done = verb(data, "delete-user", user, "--yes")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is no user" in done.stderr
    assert len(told(data, "users")) == 2
    assert not read_file(data)


async def test_without_a_yes_a_person_is_asked_and_nobody_else(tmp_path: Path) -> None:
    data = await diary(tmp_path / "hub.db", 3)
    done = verb(data, "delete-user", "ada")
    assert done.exit_code == 2
    assert "give --yes" in done.stderr
    for answer, left in ((b"n\n", 2), (b"y\n", 1)):
        assert "Delete ada with" in await asyncio.to_thread(at_a_terminal, data, answer)
        assert len(told(data, "users")) == left


def at_a_terminal(data: Path, answer: bytes) -> str:
    outer, inner = pty.openpty()
    words = [*MAIN, "delete-user", "--data", str(data), "ada"]
    with subprocess.Popen(words, stdin=inner, stdout=subprocess.PIPE, text=True) as asking:
        os.write(outer, answer)
        assert asking.stdout is not None
        shown = asking.stdout.read()
    os.close(inner)
    os.close(outer)
    return shown


# compact


KEEPS = Retention(log_days=1, log_rows=100, held_log_rows=1_000)


async def test_what_would_go_in_time_goes_at_once_and_its_space_with_it(tmp_path: Path) -> None:
    data, clock = tmp_path / "hub.db", FakeClock()
    async with a_store(data, clock, retention=KEEPS) as store:
        for number in range(1, 112):
            await commit(store, push(number, create(f"o{number}", text="x" * 4_000)))
        before = told(data, "objects", "ada")
        store.received("ada", "phone", 111)
    async with a_store(data, clock, retention=KEEPS) as store:
        assert told(data, "log", "ada")[0]["clock"] == 1, "retention lets an eighth more be there"
        size = data.stat().st_size
        assert await store.compact()
        assert told(data, "log", "ada")[0]["clock"] == 12
        clock.advance(2 * DAY)
        assert await store.compact()
        assert told(data, "log", "ada") == []
        assert data.stat().st_size < 0.7 * size
        assert data.with_name("hub.db-wal").stat().st_size == 0
    assert told(data, "objects", "ada") == before


@pytest.mark.parametrize("is_live", [True, False])
async def test_the_verb_says_what_the_file_takes(tmp_path: Path, is_live: bool) -> None:
    data = await diary(tmp_path / "hub.db")
    config = data.with_name("hub.toml")
    config.write_text("[retention]\nlog_days = 1\ndevice_days = 1\n")
    keeps = Retention(log_days=3_650, device_days=3_650)
    if is_live:
        async with serve(dev_settings(tmp_path, retention=keeps)):
            done = await asyncio.to_thread(in_a_process, data, "compact", "--config", str(config))
    else:
        done = in_a_process(data, "compact", "--config", str(config))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["is_wal_cut"]
    assert (len(told(data, "log", "ada")) > 0) == is_live, "the settings of who serves count"
    if not is_live:
        assert said["after"] < said["before"]
