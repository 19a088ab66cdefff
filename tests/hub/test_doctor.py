"""`mobync-hub doctor` finds what it is there to find, and leaves everything as it was."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import pty
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from hub import logs
from hub.cli import main
from hub.doctor import examination, files, inside, machine, report
from hub.doctor.findings import Finding, exit_code
from hub.http import control
from hub.server import now
from hub.store.errors import StoreFailed
from hub.store.examining import Examined, examine
from hub.store.lock import FileLock, holder_of
from hub.store.schema import VERSION
from tests.certificates import make_pair
from tests.hub.http.served import dev_settings, serve
from tests.hub.test_cli import read_all

FREE = 10**6


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The niceness of the test, its settings, its logging, and who may read its files."""
    monkeypatch.setattr(os, "nice", lambda _more: 0)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    for name in [name for name in os.environ if name.startswith("MOBYNC_")]:
        monkeypatch.delenv(name)
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The file of a hub that has stopped."""
    async with used(tmp_path) as path:
        pass
    return path


@asynccontextmanager
async def used(folder: Path) -> AsyncIterator[Path]:
    """A hub that serves, and that a device has pushed something to."""
    async with serve(dev_settings(folder)) as hub, hub.live_device("ada") as phone:
        edit = {"id": "e", "logical_clock": 0, "utc_timestamp": 1, "type": "create"}
        diff = {**edit, "model": "tasks", "json_data": {"id": "t1", "text": "x" * 4000}}
        await phone.say(type="push", push_id=1, diffs=[diff])
        await phone.hear()
        yield folder / "hub.db"


def look(data: Path, **flags: object) -> dict[str, Finding]:
    """What was found, by the name of the check; what is wrong before what is well."""
    found = list(
        examination.examination({"dev": "true", "data": str(data), **flags}, {}, thoroughly=True)
    )
    order = {"well": 0, "note": 1, "wrong": 2}
    return {each.check: each for each in sorted(found, key=lambda one: order[one.verdict])}


def doctor(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, words)])


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder, with what is in it; SQLite may write into an index of the WAL."""
    return {
        path.name: "" if path.suffix == ".db-shm" else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


# All well, and no trace


async def test_a_stopped_hub_is_well_and_left_as_it_was(data: Path) -> None:
    before = state(data.parent)
    result = await asyncio.to_thread(doctor, "--dev", "--data", data)
    assert result.exit_code == 0, result.output
    assert state(data.parent) == before
    assert not data.with_name("hub.db-wal").exists()
    told = result.output.splitlines()
    assert f"well  format: {VERSION}, which is this version's own." in told
    assert "well  integrity: each page and row is what it should be." in told
    assert "note  hub: none serves this file now." in told


async def test_a_hub_that_serves_is_well_and_goes_on(tmp_path: Path) -> None:
    async with used(tmp_path) as data:
        before = state(tmp_path).keys()
        found = await asyncio.to_thread(look, data)
        assert {each.verdict for each in found.values()} <= {"well", "note"}
        assert found["hub"].found == f"process {os.getpid()} serves the file, and answers"
        assert found["integrity"].verdict == "well"
        assert "the hub may open" in found["limits"].found
        assert state(tmp_path).keys() == before
        assert holder_of(data) == str(os.getpid())


async def test_where_there_is_no_file_none_is_made(tmp_path: Path) -> None:
    result = await asyncio.to_thread(doctor, "--dev", "--data", tmp_path / "hub.db")
    assert (result.exit_code, list(tmp_path.iterdir())) == (0, [])
    assert "is not there; a hub makes it" in result.output


async def test_what_a_killed_hub_left_is_told_read_and_left(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    async with used(tmp_path) as data:
        for path in tmp_path.glob("hub.db*"):
            if path.is_file():
                shutil.copy(path, killed)
    before = state(killed)
    assert before["hub.db-wal"]
    found = await asyncio.to_thread(look, killed / "hub.db")
    assert state(killed) == before
    assert (found["wal"].verdict, found["integrity"].verdict) == ("note", "well")
    assert "left by a hub that was killed" in found["wal"].found
    (killed / "hub.db-shm").unlink()
    found = await asyncio.to_thread(look, killed / "hub.db")
    assert "hub.db-shm" not in state(killed)
    assert found["format"].verdict == "note"
    assert "was not looked into" in found["format"].found
    assert data.exists()


def test_who_only_asks_keeps_no_hub_from_starting(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "hub.db")
    assert holder_of(tmp_path / "hub.db") is None
    assert list(tmp_path.iterdir()) == []
    lock.acquire()
    assert holder_of(tmp_path / "hub.db") == str(os.getpid())
    lock.release()
    assert holder_of(tmp_path / "hub.db") is None
    lock.acquire()
    lock.release()


# The file


@pytest.mark.parametrize("lost", [1, 20], ids=["of an object", "of the tables themselves"])
async def test_a_page_that_is_not_what_it_was_is_found(data: Path, lost: int) -> None:
    pages = data.stat().st_size // 2048
    assert pages > 25
    with data.open("r+b") as file:
        file.seek((pages - lost) * 2048)
        file.write(b"\xff" * 2048 * lost)
    result = await asyncio.to_thread(doctor, "--dev", "--data", data)
    assert result.exit_code == 1
    assert "wrong integrity: " in result.output
    assert "restore a backup" in result.output
    skipped = await asyncio.to_thread(doctor, "--dev", "--data", data, "--skip-integrity")
    assert ("note  integrity: not looked at." in skipped.output.splitlines()) is (lost == 1)


@pytest.mark.parametrize(("version", "verdict"), [(VERSION + 1, "wrong"), (VERSION - 1, "note")])
async def test_a_file_of_another_format_is_told_from_one_of_this(
    data: Path, version: int, verdict: str
) -> None:
    connection = sqlite3.connect(data)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert (await asyncio.to_thread(look, data))["format"].verdict == verdict


def test_what_is_no_hub_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE songs (name)")
    text = tmp_path / "text.db"
    text.write_text("no database at all, though it is long enough to be read as one" * 10)
    for path in (other, text):
        found = look(path)["format"]
        assert found.verdict == "wrong"
        assert "--data" in found.remedy
    assert look(tmp_path)["file"].verdict == "wrong"


async def test_a_file_that_others_can_read_is_told(data: Path) -> None:
    assert (await asyncio.to_thread(look, data))["permissions"].verdict == "well"
    data.chmod(0o644)
    found = (await asyncio.to_thread(look, data))["permissions"]
    assert (found.verdict, found.remedy) == ("wrong", f"chmod o-rwx {data}")


async def test_a_file_that_cannot_be_written_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = (await asyncio.to_thread(look, data))["permissions"]
    assert found.verdict == "wrong"
    assert f"run the hub, and doctor, as {files.owner(data)}" in found.remedy


def test_a_wal_without_its_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "hub.db-wal").write_bytes(b"x")
    assert look(tmp_path / "hub.db")["file"].verdict == "wrong"


@pytest.mark.parametrize(
    ("megabytes", "litestream", "verdict"),
    [(2, False, "well"), (65, False, "note"), (65, True, "well"), (601, True, "wrong")],
)
def test_a_wal_that_grows_is_told(
    tmp_path: Path, megabytes: int, litestream: bool, verdict: str
) -> None:
    with (tmp_path / "hub.db-wal").open("wb") as wal:
        wal.truncate(megabytes * 2**20)
    found = files.look_at_wal(tmp_path / "hub.db", is_served=True, litestream=litestream)
    assert [each.verdict for each in found] == [verdict]


async def test_what_was_left_beside_the_file_is_listed(data: Path) -> None:
    assert "left-overs" not in await asyncio.to_thread(look, data)
    for suffix in (".v3-backup", ".before-restore-20260101T000000Z", ".part"):
        data.with_name(data.name + suffix).write_bytes(b"x" * 2000)
    found = list(files.look_for_leftovers(data))
    assert [each.verdict for each in found] == ["note", "note"]
    assert "rm " in found[0].remedy
    assert "hub.db.before-restore-20260101T000000Z, hub.db.v3-backup: 4 KB" in found[1].found


# The hub


async def test_a_hub_that_does_not_answer_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.2)
    lock = FileLock(data)
    lock.acquire()
    try:
        with socket.socket(socket.AF_UNIX) as silent:
            with control.short_name(control.socket_of(data)) as name:
                silent.bind(name)
            silent.listen()
            found = (await asyncio.to_thread(look, data))["hub"]
        control.socket_of(data).unlink()
        unasked = (await asyncio.to_thread(look, data))["hub"]
    finally:
        lock.release()
    assert (found.verdict, unasked.verdict) == ("wrong", "note")
    assert f"process {os.getpid()} holds the file, and it did not answer" in found.found


async def test_what_looks_wrong_while_a_hub_begins_to_serve_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a WAL the file is read as one that nobody changes."""
    holders = iter([None, "17"])

    def torn(data: Path, *, is_served: bool, thoroughly: bool) -> Examined:
        looks.append(is_served)
        if not is_served:
            raise StoreFailed("the database disk image is malformed")
        return examine(data, is_served=is_served, thoroughly=thoroughly)

    looks: list[bool] = []
    monkeypatch.setattr(inside, "examine", torn)
    monkeypatch.setattr(inside, "holder_of", lambda _data: next(holders))
    async with used(tmp_path) as data:
        _, found = await asyncio.to_thread(inside.look_inside, data, thoroughly=True)
    assert looks == [False, True]
    assert [each.verdict for each in found] == ["well", "well"]


# The machine


@pytest.mark.parametrize(("free", "verdict"), [(1, "wrong"), (150, "note"), (10**4, "well")])
async def test_a_disk_that_fills_up_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    with data.with_name("hub.db-wal").open("wb") as wal:
        wal.truncate(200 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free * 2**20))
    assert files.look_at_disk(data).verdict == verdict


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert look(tmp_path / "none" / "hub.db")["disk"].verdict == "wrong"


async def test_a_clock_that_was_put_back_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = now()
    for behind, verdict in ((0, "well"), (3600_000, "wrong"), (real, "wrong")):
        moment = real + 1000 - behind
        monkeypatch.setattr(examination, "now", lambda moment=moment: moment)
        assert (await asyncio.to_thread(look, data))["clock"].verdict == verdict


def test_too_few_open_files_are_told_of_the_hub_that_serves_and_of_one_that_may() -> None:
    assert machine.look_at_limits(10, None).verdict == "well"
    assert machine.look_at_limits(10, str(os.getpid())).verdict == "well"
    of_hub = machine.look_at_limits(10**9, str(os.getpid()))
    assert of_hub.verdict == "wrong"
    assert "LimitNOFILE=1000000100" in of_hub.remedy
    assert machine.look_at_limits(10**9, "no process").verdict in ("note", "well")


def test_an_old_sqlite_matters_beside_litestream(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_sound, litestream, verdict in (
        (True, True, "well"),
        (False, False, "well"),
        (False, True, "note"),
    ):
        monkeypatch.setattr(machine, "is_sound_here", lambda is_sound=is_sound: is_sound)
        assert machine.look_at_sqlite(litestream=litestream).verdict == verdict


# The settings


def secret(folder: Path, text: str = "x" * 32, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_settings_that_do_not_say_whose_tokens_count_are_no_fault(tmp_path: Path) -> None:
    result = doctor("--data", tmp_path / "hub.db")
    assert result.exit_code == 0
    assert "give doctor the settings that serve is given" in result.output


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("dev = true\nmax_difs = 1", "max_difs"),
        ("dev = true\nport = 'x'", "port is 'x'"),
        ("token_secret_file = 'nowhere'", "cannot be read"),
        ("dev = true\npolicy = 'no_such_module:rules'", "no module no_such_module"),
        ("dev = true\n[tokens]\nadmin_token_file = 'secret'", "could be guessed"),
        ("dev = true\n[metrics]\nmetrics_token_file = 'secret'", "could be guessed"),
        ("dev = true\n[edge]\ntls_cert_file = 'secret'\ntls_key_file = 'secret'", "secret"),
        ("no toml", "is not TOML"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_exit_code_two(
    tmp_path: Path, toml: str, told: str
) -> None:
    secret(tmp_path, "short")
    (tmp_path / "hub.toml").write_text(toml)
    result = doctor("--config", tmp_path / "hub.toml", "--data", tmp_path / "hub.db")
    assert result.exit_code == 2, result.output
    (line, *_) = [line for line in result.output.splitlines() if line.startswith("wrong")]
    assert told in line
    assert "To do: " in line
    assert "hub.toml" in line
    assert "wrong file" not in result.output


def test_a_secret_that_others_can_read_is_told_and_never_shown(tmp_path: Path) -> None:
    path = secret(tmp_path, "nobody's business, and long enough", 0o644)
    flags = ("--token-secret-file", path, "--data", tmp_path / "hub.db")
    open_to_all = doctor(*flags)
    path.chmod(0o640)
    closed = doctor(*flags)
    assert (open_to_all.exit_code, closed.exit_code) == (1, 0)
    assert f"chmod o-rwx {path}" in open_to_all.output
    assert "1 file, which only owner and group can read" in closed.output
    assert "nobody's business" not in open_to_all.output + closed.output


@pytest.mark.parametrize(("days", "verdict"), [(3, "wrong"), (60, "well")])
def test_a_certificate_that_soon_ends_is_told(tmp_path: Path, days: int, verdict: str) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_pair(cert, key, ends=timedelta(days=days))
    found = look(tmp_path / "hub.db", tls_cert_file=str(cert), tls_key_file=str(key))
    assert found["certificate"].verdict == verdict


# How it is told


FINDINGS = [
    Finding("file", "well", "hub.db, 1 KB"),
    Finding("disk", "note", "little\x1b[2J", "make room"),
    Finding("clock", "wrong", "[bold]late", "set it"),
]


def test_a_program_gets_a_line_of_json_for_each(tmp_path: Path) -> None:
    result = doctor("--dev", "--json", "--data", tmp_path / "hub.db")
    found = [json.loads(line) for line in result.output.splitlines()]
    assert {"file", "disk", "clock", "limits", "sqlite"} <= {each["check"] for each in found}
    assert all({"check", "verdict", "found"} <= each.keys() for each in found)


def test_a_person_gets_a_table_and_nothing_in_it_moves_the_cursor() -> None:
    page = io.StringIO()
    Console(file=page, width=80).print(report.table_of(FINDINGS))
    assert "[bold]late" in page.getvalue()
    assert "set it" in page.getvalue()
    assert "\x1b" not in page.getvalue()


def test_a_terminal_gets_colours(tmp_path: Path) -> None:
    outer, inner = pty.openpty()
    code = "from hub.cli import main; main()"
    words = [sys.executable, "-c", code, "doctor", "--dev", "--data", str(tmp_path / "hub.db")]
    process = subprocess.Popen(
        words, stdout=inner, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    os.close(inner)
    shown = read_all(outer)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(20) == 0
    assert "\x1b[32mwell" in shown


def verdicts(*of: str) -> Iterator[Any]:
    for verdict in of:
        yield next(each for each in FINDINGS if each.verdict == verdict)


def test_the_exit_code_is_that_of_the_worst() -> None:
    setting = Finding("settings", "wrong", "", "", ("port",))
    assert exit_code([]) == exit_code(list(verdicts("well", "note"))) == 0
    assert exit_code(list(verdicts("wrong", "well"))) == 1
    assert exit_code([*verdicts("wrong", "well"), setting]) == 2
