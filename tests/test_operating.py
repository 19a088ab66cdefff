"""docs/operating.md as an operator follows it: every command that it shows is run here."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from client import Device
from tests.page.needs import need_a_browser
from tests.test_readme import ROOT, commands, run, running

PAGE: Final = (ROOT / "docs" / "operating.md").read_text()
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
SECONDS: Final = 60.0
PICTURES: Final = ROOT / "docs" / "page"
MOST_PICTURES: Final = 6
MOST_PICTURE_BYTES: Final = 150_000

BACKUP, RESTORE, REFILLS, SERVE, REPLICATE, FROM_REPLICA, RESTORE_THAT, RESET, AGAIN = range(9)
USERS, DEVICES, OBJECTS, LOG, WHY, LOST, AS_IT_WAS = range(9, 16)
EXPORT, IMPORT, DELETE, COMPACT, BUNDLE, REPLAY = range(16, 22)
SERVE_KEYS, REVOKE, REVOKE_DEVICE, REVOKE_TOKEN, REVOKED, REINSTATE = range(22, 28)
EXPORT_OVER_HTTP, IMPORT_OVER_HTTP = 28, 29
DRY_RUN, INSTALL, DRILL = range(30, 33)
SCREENSHOTS = 38
METRICS_TOKEN, PRIVATE, SERVE_METRICS, CURL, ONE_CONNECTION, ONE_USER = range(39, 45)
DOCTOR, DOCTOR_JSON = 45, 46


def command(number: int) -> str:
    return commands(PAGE)[number]


def replica_in(folder: Path, number: int) -> str:
    """A command of the page, with its replicas in a folder of the test's own."""
    assert " file:///srv/" in command(number)
    return command(number).replace("file:///srv/", f"file://{folder}/")


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    words = [line.split()[:2] for line in commands(PAGE)]
    assert words == [
        ["mobync-hub", "backup"],
        ["mobync-hub", "restore"],
        ["mobync-hub", "refills"],
        ["mobync-hub", "serve"],
        ["litestream", "replicate"],
        ["litestream", "restore"],
        ["mobync-hub", "restore"],
        ["litestream", "reset"],
        ["litestream", "replicate"],
        *[["mobync-hub", verb] for verb in ("users", "devices", "objects", "log", "why")],
        *[["mobync-hub", verb] for verb in ("restore", "objects", "export", "import")],
        *[["mobync-hub", verb] for verb in ("delete-user", "compact", "bundle")],
        ["scripts/replay-bundle", "for-support.jsonl"],
        ["mobync-hub", "serve"],
        *[["mobync-hub", "revoke"]] * 5,
        *[["curl", "--fail"]] * 2,
        ["scripts/systemd/install", "--dry-run"],
        ["sudo", "scripts/systemd/install"],
        ["scripts/upgrade-drill"],
        ["sudo", "scripts/systemd/trial"],
        ["podman", "build"],
        ["podman", "secret"],
        ["podman", "run"],
        ["podman", "exec"],
        ["scripts/screenshots"],
        ["python3", "-c"],
        ["chmod", "600"],
        ["mobync-hub", "serve"],
        ["curl", "--silent"],
        *[["jq", "-c"]] * 2,
        *[["mobync-hub", "doctor"]] * 2,
    ]


def push(ready: str, *names: str, path: Path | None = None) -> None:
    """Store a record of each name through the hub that is ready; be level with it."""

    async def store() -> None:
        async with Device(ready.split()[1], token="alice", name="phone", path=path) as device:
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
    serve = command(SERVE).replace(" --checkpoints litestream", "")
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "kept", path=tmp_path / "phone.db")
        run(command(BACKUP), tmp_path, PATH=PATH)
        push(up, "later", path=tmp_path / "phone.db")
    assert records(tmp_path / "hub.db") == {"kept", "later"}
    out = run(command(RESTORE), tmp_path, PATH=PATH)
    assert "hub.db: restored from backup.db; each of 1 users has a new history" in out
    assert records(tmp_path / "hub.db") == {"kept"}
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, path=tmp_path / "phone.db")
        (refill,) = map(json.loads, run(command(REFILLS), tmp_path, PATH=PATH).splitlines())
    assert (refill["user"], refill["device"], refill["objects"]) == ("alice", "phone", 1)
    assert records(tmp_path / "hub.db") == {"kept", "later"}


def rows(number: int, folder: Path) -> list[Any]:
    """What a verb of the page shows in a pipe."""
    return [json.loads(line) for line in run(command(number), folder, PATH=PATH).splitlines()]


def test_users_devices_objects_and_the_log_are_shown_beside_a_hub_that_serves(
    tmp_path: Path,
) -> None:
    serve = command(SERVE).replace(" --checkpoints litestream", "")
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "one", "two", path=tmp_path / "phone.db")
        push(up, "three", path=tmp_path / "phone.db")
        assert [(each["user"], each["objects"]) for each in rows(USERS, tmp_path)] == [("alice", 3)]
        assert [each["device"] for each in rows(DEVICES, tmp_path)] == ["phone"]
        assert {each["id"] for each in rows(OBJECTS, tmp_path)} == {"one", "two", "three"}
        ids = [diff["json_data"]["id"] for each in rows(LOG, tmp_path) for diff in each["diffs"]]
    assert ids[-1] == "three"


def test_why_a_value_is_there_is_told_beside_a_hub_that_serves(tmp_path: Path) -> None:
    serve = command(SERVE).replace(" --checkpoints litestream", "")
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "t1", path=tmp_path / "phone.db")
        push(up, "t2", path=tmp_path / "phone.db")
        [why] = rows(WHY, tmp_path)
        assert [each["id"] for each in rows(AS_IT_WAS, tmp_path)] == ["t1"]
    assert [(each["device"], each["became"]) for each in why["edits"]] == [("phone", "stored")]


def test_a_lost_value_is_brought_back_beside_a_hub_that_serves(tmp_path: Path) -> None:
    serve = command(SERVE).replace(" --checkpoints litestream", "")

    async def quarrel(url: str) -> None:
        async with Device(url, token="alice", name="phone") as device:
            await device.create("tasks", {"id": "t1", "title": "Milk"})
            await device.synchronize(SECONDS)
            await device.update("tasks", {"id": "t1", "title": "Oats"})
            await device.synchronize(SECONDS)

    with running(serve, tmp_path, PATH=PATH) as up:
        asyncio.run(quarrel(up.split()[1]))
        assert rows(LOST, tmp_path) == [{"clock": 3, "value": "Milk"}]
        assert rows(OBJECTS, tmp_path)[0]["fields"]["title"] == "Milk"


@pytest.mark.parametrize("is_live", [True, False])
def test_a_user_is_exported_imported_and_deleted_and_the_file_compacted(
    tmp_path: Path, *, is_live: bool
) -> None:
    serve = command(SERVE).replace(" --checkpoints litestream", "")
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "kept", path=tmp_path / "phone.db")
        run(command(EXPORT), tmp_path, PATH=PATH)
        push(up, "later", path=tmp_path / "phone.db")
        if is_live:
            move_and_delete(tmp_path)
    if not is_live:
        move_and_delete(tmp_path)


def test_a_bundle_is_written_beside_a_hub_that_serves_and_replayed_anywhere(
    tmp_path: Path,
) -> None:
    serve = command(SERVE).replace(" --checkpoints litestream", "")
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "my diary", path=tmp_path / "phone.db")
        run(command(BUNDLE), tmp_path, PATH=PATH)
    assert "my diary" not in (tmp_path / "for-support.jsonl").read_text()
    replay = command(REPLAY).replace("scripts", str(ROOT / "scripts"))
    assert "1 pushes, 1 objects: all as on the hub" in run(replay, tmp_path, PATH=PATH)


def move_and_delete(folder: Path) -> None:
    [brought] = rows(IMPORT, folder)
    assert (brought["user"], brought["objects"]) == ("alice", 1)
    assert [each["id"] for each in rows(OBJECTS, folder)] == ["kept"]
    assert [each["is_wal_cut"] for each in rows(DELETE, folder)] == [True]
    assert rows(USERS, folder) == []
    [compacted] = rows(COMPACT, folder)
    assert compacted["after"] <= compacted["before"]


def test_a_user_a_device_and_a_token_are_turned_away_and_the_user_is_let_in_again(
    tmp_path: Path,
) -> None:
    """By the keys of an issuer that is a file, and beside a hub that serves."""
    key = Ed25519PrivateKey.generate()
    published = {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "1"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [published]}))

    def come(ready: str, user: str, device: str, token_id: str) -> str:
        claims = {"sub": user, "jti": token_id, "iss": "https://id.example"}
        token = jwt.encode(claims, key, "EdDSA", {"kid": "1"})
        return asyncio.run(_answer_to_hello(ready.split()[1], token, device))

    comers = (("alice", "tab", "1"), ("alice", "phone", "2"), ("bob", "pad", "6f1c-77"))
    with running(command(SERVE_KEYS), tmp_path, PATH=PATH) as up:
        assert [come(up, *each) for each in comers] == ["welcome"] * 3
        for number in (REVOKE, REVOKE_DEVICE, REVOKE_TOKEN):
            assert "is revoked, and 0 connections" in run(command(number), tmp_path, PATH=PATH)
        refused = ["forbidden", "forbidden", "unauthorized"]
        assert [come(up, *each) for each in comers] == refused
    listed = [json.loads(line) for line in run(command(REVOKED), tmp_path, PATH=PATH).splitlines()]
    assert [each["kind"] for each in listed] == ["user", "device", "token"]
    assert "alice is let in again" in run(command(REINSTATE), tmp_path, PATH=PATH)
    with running(command(SERVE_KEYS), tmp_path, PATH=PATH) as up:
        assert [come(up, *each) for each in comers] == ["welcome", *refused[1:]]


def test_a_user_is_exported_and_brought_in_over_http(tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("x" * 32 + "\n")
    (tmp_path / "admin.token").chmod(0o600)
    serve = "mobync-hub serve --dev --admin-token-file admin.token --data hub.db"
    with running(serve, tmp_path, PATH=PATH) as up:
        push(up, "kept", path=tmp_path / "phone.db")
        for number in (EXPORT_OVER_HTTP, IMPORT_OVER_HTTP):
            here = command(number).replace("http://127.0.0.1:8766", up.split()[2])
            out = run(here, tmp_path, PATH=PATH)
            push(up, f"later {number}", path=tmp_path / "phone.db")
    assert '"kind":"end"' in (tmp_path / "alice.jsonl").read_text()
    assert json.loads(out)["objects"] == 1
    assert {each["id"] for each in rows(OBJECTS, tmp_path)} == {"kept", f"later {IMPORT_OVER_HTTP}"}


def test_the_pictures_that_the_page_shows_are_there_and_small() -> None:
    shown = set(re.findall(r"page/(\w+\.png)", PAGE))
    there = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert shown == there.keys()
    assert 0 < len(there) <= MOST_PICTURES
    assert max(there.values()) < MOST_PICTURE_BYTES


@pytest.mark.long
def test_the_pictures_are_made_anew_by_the_command_of_the_page(tmp_path: Path) -> None:
    need_a_browser()
    run(f"{command(SCREENSHOTS)} --seconds 1 --to {tmp_path}", ROOT)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in PICTURES.iterdir()}


def test_the_metrics_are_read_with_their_token_and_by_the_socket(tmp_path: Path) -> None:
    for number in (METRICS_TOKEN, PRIVATE):
        run(command(number), tmp_path, PATH=PATH)
    token = (tmp_path / "metrics.token").read_text().strip()
    with running(command(SERVE_METRICS), tmp_path, PATH=PATH) as up:
        push(up, "kept")
        by_socket = run(command(CURL), tmp_path, PATH=PATH)
        assert 'mobync_pushes_total{outcome="stored"} 1.0' in by_socket.splitlines()
        url = f"{up.split()[2]}/metrics"
        assert "unauthorized" in run(f"curl --silent {url}", tmp_path)
        shown = run(f"curl --silent --header 'Authorization: Bearer {token}' {url}", tmp_path)
        assert names_in(shown) == names_in(by_socket)


def test_the_log_tells_of_one_connection_and_of_one_user(tmp_path: Path) -> None:
    serve = "exec mobync-hub serve --dev --data hub.db 2> hub.log"
    with running(shlex.join(["bash", "-c", serve]), tmp_path, PATH=PATH) as up:
        push(up, "kept")
        push(up, "kept too")
    assert "== 17" in command(ONE_CONNECTION)
    of_it = run(command(ONE_CONNECTION).replace("== 17", "== 2"), tmp_path, PATH=PATH)
    told = {line["event"]: line for line in map(json.loads, of_it.splitlines())}
    shown = re.findall(r'^{"connection".*}$', PAGE, re.MULTILINE)
    assert len(shown) == 2
    for line in map(json.loads, shown):
        assert told[line["event"]].keys() == line.keys()
    rows = [json.loads(row) for row in run(command(ONE_USER), tmp_path, PATH=PATH).splitlines()]
    assert [row[1:3] for row in rows] == [["phone", event] for event in ("hello", "gone")] * 2


def test_the_doctor_is_asked_beside_a_hub_and_when_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("dev = true\nport = 0\nhttp_port = 0\n")

    def checks() -> dict[str, str]:
        lines = run(command(DOCTOR_JSON), tmp_path, PATH=PATH).splitlines()
        return {each["check"]: each["verdict"] for each in map(json.loads, lines)}

    with running("mobync-hub serve --config hub.toml", tmp_path, PATH=PATH) as up:
        push(up, "kept")
        assert "serves the file, and answers" in run(command(DOCTOR), tmp_path, PATH=PATH)
        assert checks()["hub"] == "well"
    assert checks()["hub"] == "note"
    assert "wrong" not in checks().values()
    table = PAGE.partition("## Is all well?")[2]
    told = set(
        re.findall(r"`([a-z- ]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    )
    assert checks().keys() <= told


def names_in(metrics: str) -> list[str]:
    return [line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")]


async def _answer_to_hello(url: str, token: str, device: str) -> str:
    """The type of the hub's first frame, or the code of an error."""
    async with connect(url, subprotocols=[Subprotocol("mobync.v1")], proxy=None) as socket:
        hello = {"type": "hello", "token": token, "device": device, "logical_clock": 0}
        await socket.send(json.dumps(hello))
        first = json.loads(await socket.recv())
    return str(first.get("code", first["type"]))


@contextmanager
def replicating(number: int, folder: Path) -> Iterator[None]:
    """Litestream at work, as long as this lasts."""
    words = replica_in(folder, number).split()
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
        wait_until_replicated(tmp_path, f"file://{tmp_path}/replica", "kept")
    run(replica_in(tmp_path, FROM_REPLICA), tmp_path, PATH=PATH)
    out = run(command(RESTORE_THAT), tmp_path, PATH=PATH)
    assert "hub.db: restored from restored.db; each of 1 users has a new history" in out
    run(command(RESET), tmp_path, PATH=PATH)
    with replicating_hub(tmp_path, AGAIN) as up:
        push(up, "new")
        wait_until_replicated(tmp_path, f"file://{tmp_path}/replica-2", "kept", "new")


@contextmanager
def replicating_hub(folder: Path, number: int) -> Iterator[str]:
    """A hub that leaves the checkpoints to Litestream, and Litestream; its `ready` line."""
    with running(command(SERVE), folder, PATH=PATH) as up, replicating(number, folder):
        yield up


# As a service: tests/service has the whole installation, and the image's recipe


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed"
)
def test_a_dry_run_of_the_installation_says_what_the_page_says(tmp_path: Path) -> None:
    assert command(INSTALL) == f"sudo {command(DRY_RUN).removesuffix(' --dry-run')}"
    out = run(f"{command(DRY_RUN)} --root {tmp_path}", ROOT)
    table = PAGE.partition("## Installing it")[2].partition("\n\nand starts them")[0]
    places = re.findall(r"^\|.*\|(.*)\|$", table, re.MULTILINE)
    names = [name for place in places for name in re.findall(r"`([^`]+)`", place)]
    assert len(names) == 9
    assert [name for name in names if name.removesuffix("/hub.db") not in out] == []


@pytest.mark.long
def test_the_restart_under_load_of_the_page_in_its_short_form() -> None:
    out = run(f"{command(DRILL)} --users 5 --seconds 0.2 --json", ROOT)
    found = json.loads(out)
    assert (found["devices"], found["lost"], found["refused"]) == (10, 0, 0)
