"""`mobync-hub revoke`, beside a hub that serves and on the file of one that is stopped."""

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hub.cli import main
from hub.revoke import table_of
from hub.revoking import Revocation
from hub.store import copying
from hub.store.lock import FileLock
from hub.store.revocations import read_file
from hub.store.schema import VERSION
from hub.store.sqlite import SqliteStore
from hub.store.upgrade import backup_of
from tests.hub.fakes import START, inline, rules

DEADLINE = 60
FILES = Path(__file__).parent / "store" / "files"
MAIN = [sys.executable, "-c", "from hub.cli import main; main()"]


def revoke(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*MAIN, "revoke", "--data", str(data), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def told(data: Path, *words: str) -> str:
    done = revoke(data, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def serving(data: Path, how: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """A hub in a process of its own; its address."""
    words = [*MAIN, "serve", "--dev", "--data", str(data), "--port", "0", "--http-port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as hub:
        assert hub.stdout is not None
        try:
            yield hub.stdout.readline().split()[1]
        finally:
            hub.send_signal(how)


async def greeted(url: str, user: str) -> ClientConnection:
    socket = await connect(url, subprotocols=[Subprotocol("mobync.v1")], proxy=None)
    hello = {"type": "hello", "token": user, "device": "phone", "logical_clock": 0}
    await socket.send(json.dumps(hello))
    return socket


async def outcome(socket: ClientConnection) -> int | str:
    """`ready`, or the code with which the hub closed."""
    try:
        while (kind := json.loads(await socket.recv())["type"]) != "ready":
            assert kind in {"welcome", "error"}
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0
    return "ready"


async def come(url: str, user: str) -> int | str:
    async with await greeted(url, user) as socket:
        return await outcome(socket)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The file of a hub that is stopped."""
    store = SqliteStore(tmp_path / "hub.db", rules(), inline)
    await store.open()
    await store.close()
    return tmp_path / "hub.db"


async def test_beside_a_hub_that_serves_it_closes_sockets_and_beside_one_that_is_stopped_it_waits(
    data: Path,
) -> None:
    with serving(data) as url:
        async with await greeted(url, "alice") as phone:
            assert await outcome(phone) == "ready"
            said = await asyncio.to_thread(told, data, "user", "alice")
            assert said == "user alice is revoked, and 1 connection of it ended"
            assert await outcome(phone) == 4403
        assert (await come(url, "alice"), await come(url, "bob")) == (4403, "ready")
    assert "the hub is stopped, and will refuse it" in told(data, "user", "bob")
    with serving(data) as url:
        assert (await come(url, "alice"), await come(url, "bob")) == (4403, 4403)
        assert await asyncio.to_thread(told, data, "--undo", "user", "bob") == (
            "user bob is let in again"
        )
        assert await come(url, "bob") == "ready"
    assert told(data, "--undo", "user", "alice") == "user alice is let in again"
    assert told(data, "--undo", "user", "alice") == "user alice is not revoked"
    assert told(data, "--list") == ""


async def test_it_survives_a_hub_that_was_killed(data: Path) -> None:
    with serving(data, signal.SIGKILL):
        assert "0 connections" in await asyncio.to_thread(told, data, "device", "alice", "phone")
    assert "is revoked" in told(data, "user", "bob")
    with serving(data) as url:
        assert (await come(url, "alice"), await come(url, "bob")) == (4403, 4403)


def test_who_is_revoked_is_listed_as_json_in_a_pipe_and_as_a_table_for_people(data: Path) -> None:
    for words in (
        ["user", "alice"],
        ["device", "bob", "tab"],
        ["token", "6f1c", "--expires", "1h"],
    ):
        told(data, *words)
    rows = [json.loads(line) for line in told(data, "--list").splitlines()]
    assert [
        sorted(row.items() - {("at", row["at"]), ("until", row.get("until"))}) for row in rows
    ] == [
        [("kind", "user"), ("user", "alice")],
        [("device", "tab"), ("kind", "device"), ("user", "bob")],
        [("kind", "token"), ("token", "6f1c")],
    ]
    assert rows[2]["until"] - rows[2]["at"] == pytest.approx(3_600_000, abs=30_000)
    console = Console(width=200, record=True)
    console.print(table_of([Revocation("token", token="6f1c", at=START, until=START)]))
    console.print(table_of([Revocation("device", "bob", "tab", at=START)]))
    shown = console.export_text()
    for part in ("6f1c", "bob", "tab", "for ever", "2026-09-21"):
        assert part in shown


def test_a_name_that_looks_like_markup_is_listed_as_it_is_and_moves_no_cursor() -> None:
    """A token of this id ended --list with a traceback, and a device could turn letters around."""
    console = Console(width=200, record=True)
    device = Revocation("device", "[bold]bob", "\u202etab", at=START)
    console.print(table_of([Revocation("token", token="[/red]x", at=START), device]))
    shown = console.export_text()
    for part in ("[/red]x", "[bold]bob", r"\u202etab"):
        assert part in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("is_live", [True, False])
def test_a_program_is_told_in_json_what_became_of_it(data: Path, *, is_live: bool) -> None:
    with serving(data) if is_live else contextlib.nullcontext():
        revoked, undone = (
            json.loads(told(data, "--json", *more, "user", "alice")) for more in ((), ("--undo",))
        )
        assert told(data, "--list", "--json") == ""
    of = {"kind": "user", "user": "alice"}
    closed = 0 if is_live else None
    assert revoked == {**of, "revoked": True, "closed": closed, "changed": True, "known": False}
    assert undone == {**of, "revoked": False, "closed": None, "changed": True, "known": None}


async def test_a_name_that_nobody_ever_had_is_revoked_with_a_word_on_how_it_is_spelled(
    data: Path,
) -> None:
    """Somebody revoked a user whose name they had misspelled, read "is revoked", and went home."""
    with serving(data) as url:
        assert await come(url, "alice") == "ready"
        async with await greeted(url, "bob") as phone:
            assert await outcome(phone) == "ready"
            for words, is_known in {
                ("user", "alice"): True,
                ("user", "alicce"): False,
                ("device", "bob", "phone"): True,
                ("device", "bob", "fone"): False,
                ("token", "6f1c"): True,
            }.items():
                done = await asyncio.to_thread(revoke, data, *words)
                assert (done.returncode, "is revoked" in done.stdout) == (0, True)
                assert ("was ever here: is the name spelled" in done.stderr) is not is_known, words
        assert await come(url, "alicce") == 4403


@pytest.mark.parametrize(
    "words",
    [(), ("alice",), ("user",), ("user", "a", "b"), ("device", "a"), ("device", "", "b"),
     ("token", "a", "b"), ("user", ""), ("users", "a"), ("user", "x" * 129),
     ("token", "a", "--expires", "soon")],
)  # fmt: skip
def test_what_names_nobody_is_explained(data: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["revoke", "--data", str(data), *words])
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert not read_file(data)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for words in (["user", "alice"], ["--list"]):
        done = revoke(tmp_path / "none.db", *words)
        assert done.returncode == 1
        assert "none.db is not there: name the hub's file with --data" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_only_starts_is_said_to_do_so(data: Path) -> None:
    lock = FileLock(data)
    lock.acquire()
    done = revoke(data, "user", "alice")
    lock.release()
    assert done.returncode == 1
    assert "does it start or stop just now? Try again" in done.stderr


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_file_of_an_older_version_is_upgraded_first_with_a_copy(
    tmp_path: Path, version: int
) -> None:
    data = Path(shutil.copy(FILES / f"hub-{version}.sqlite", tmp_path / "hub.db"))
    assert told(data, "--list") == ""
    said = told(data, "user", "ada")
    assert said == "user ada is revoked; the hub is stopped, and will refuse it when it serves"
    assert backup_of(data, version).exists()
    assert [each.user for each in read_file(data)] == ["ada"]


# Copies


async def kept_in(path: Path, *users: str) -> Path:
    """A hub's file in which these users are revoked."""
    store = SqliteStore(path, rules(), inline)
    await store.open()
    for user in users:
        await store.revoke(Revocation("user", user))
    await store.close()
    return path


def restore(copy: Path, data: Path) -> copying.Restored:
    return copying.restore(copy, data, lambda _part, _done, _all: None, lambda: "log", START)


async def test_a_restore_lets_nobody_in_who_was_revoked_since_the_copy_was_made(
    tmp_path: Path,
) -> None:
    data = await kept_in(tmp_path / "hub.db", "mallory")
    copy = await kept_in(tmp_path / "copy.db", "let in again since")
    assert restore(copy, data).is_revoked_as_before
    assert [each.user for each in read_file(data)] == ["mallory"]


async def test_a_restore_without_a_file_that_could_be_read_takes_what_the_copy_knows(
    tmp_path: Path,
) -> None:
    copy, data = await kept_in(tmp_path / "copy.db", "mallory"), tmp_path / "hub.db"
    assert restore(copy, data).is_revoked_as_before
    assert [each.user for each in read_file(data)] == ["mallory"]
    data.write_bytes(b"Dear diary, " * 1000)
    assert not restore(copy, data).is_revoked_as_before
    assert [each.user for each in read_file(data)] == ["mallory"]


async def test_an_old_file_that_knew_of_no_revocations_undoes_none_of_the_copy(
    tmp_path: Path,
) -> None:
    copy = await kept_in(tmp_path / "copy.db", "mallory")
    data = Path(shutil.copy(FILES / "hub-3.sqlite", tmp_path / "hub.db"))
    assert restore(copy, data).is_revoked_as_before
    assert [each.user for each in read_file(data)] == ["mallory"]
    with closing(sqlite3.connect(data)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
