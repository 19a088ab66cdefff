"""`mobync-hub bundle` tells no secrets, and `scripts/replay-bundle` decides as the hub did."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub import redaction
from hub.exports import read_line
from hub.redaction import Redaction
from hub.verbs import bundling
from scripts.bundling.replaying import Verdict, read_bundle, replay
from tests.hub.fakes import START, create, update
from tests.hub.http.served import dev_settings, serve
from tests.hub.store.bench import push
from tests.hub.verbs.files import SECONDS, a_store, commit, verb
from tests.hub.verbs.test_moving import lives
from tests.hub.verbs.test_past import forget, life

ROOT = Path(__file__).parents[3]
SECRET = "dear diary"


def bundled(data: Path, *more: str) -> Path:
    target = data.with_name("bundle.jsonl")
    done = verb(data, "bundle", target, "--user", "ada", *more)
    assert done.exit_code == 0, done.output
    return target


def replayed(bundle: Path) -> Verdict:
    lines = bundle.read_bytes().splitlines()
    return replay(read_bundle(read_line(text, n) for n, text in enumerate(lines, 1)))


async def secrets(data: Path) -> Path:
    """Every name and value of hers says so, those of edits that were no edits, too."""
    odd: Any = {
        "id": f"{SECRET} 9",
        "type": SECRET,
        "utc_timestamp": SECRET,
        "was": {SECRET: SECRET},
    }
    device = f"{SECRET} phone"
    async with a_store(data) as store:
        note = {**create(f"{SECRET} 1", 0), "model": f"{SECRET} notes", "id": f"{SECRET} 2"}
        note["json_data"] |= {f"{SECRET} field": [SECRET, {SECRET: SECRET}], "n": 5, "f": 0.5}
        lost = {**note, "type": "update", "utc_timestamp": 5, "id": f"{SECRET} 3"}
        await commit(store, push(1, note, device=device))
        await commit(store, push(1, lost, update(f"{SECRET} 7"), odd, device=f"{SECRET} pad"))
        await commit(store, push(2, {**odd, "n": 2**70}, SECRET, [SECRET], device=device))
        await commit(store, push(1, create("of bob"), user="bob"))
    return data


async def test_nothing_of_what_a_user_wrote_or_is_called_is_in_a_bundle(tmp_path: Path) -> None:
    data = await secrets(tmp_path / "hub.db")
    config = tmp_path / "hub.toml"
    config.write_text(
        'token_secret_file = "/home/somebody/secret"\nhost = "hub.example"\n'
        "[limits]\nmax_diffs = 77\n"
    )
    target = bundled(data, "--config", str(config))
    text = target.read_text()
    for secret in (
        SECRET,
        "diary",
        '"ada"',
        '"bob"',
        "somebody",
        "example",
        "log-1",
        str(tmp_path),
    ):
        assert secret not in text.replace('"log_id":"log-1"', ""), secret
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    head = json.loads(text.splitlines()[1])
    assert head["settings"] == {
        "config": "set", "data": "set", "host": "set", "token_secret_file": "set",
        "max_diffs": "77",
    }  # fmt: skip
    assert {"mobync-hub", "python", "sqlite"} <= head["versions"].keys()


async def test_a_bundle_has_what_a_hub_that_serves_counts_and_nothing_of_whom_it_serves(
    tmp_path: Path,
) -> None:
    data = await secrets(tmp_path / "hub.db")
    async with (
        serve(dev_settings(tmp_path)) as hub,
        hub.live_device("ada", f"{SECRET} pad") as phone,
    ):
        await phone.say(type="push", push_id=9, diffs=[create(f"{SECRET} 11")])
        assert (await phone.hear())["type"] == "ack"
        target = await asyncio.to_thread(bundled, data)
    text = target.read_text()
    for secret in (SECRET, "diary", '"ada"', '"bob"', str(tmp_path), hub.url, "127.0.0.1"):
        assert secret not in text, secret
    head = json.loads(text.splitlines()[1])
    assert head["hub"] == "serves"
    assert 'mobync_pushes_total{outcome="stored"} 1.0' in head["metrics"]
    assert 'mobync_connections{state="live"} 1.0' in head["metrics"]
    assert replayed(target).differences == []


async def test_a_long_log_takes_no_memory_by_its_names_and_merges_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle of a million pushes took 330 MB: each edit's name was remembered to the end."""
    monkeypatch.setattr(redaction, "NUMBERED", 2)
    data = await lives(tmp_path / "hub.db")
    assert replayed(bundled(data)).differences == []
    names = Redaction(b"key")
    called = [names.name("edit", f"{SECRET} {n}") for n in range(500)]
    assert called == [names.name("edit", f"{SECRET} {n}") for n in range(500)]
    assert len(set(called)) == 500
    assert called[:2] == ["edit-1", "edit-2"]
    assert len(names._names) == 2
    assert SECRET not in str(called)
    assert names.name("id", f"{SECRET} 9") not in called


async def test_a_bundle_of_a_stopped_hub_says_that_it_has_no_metrics(tmp_path: Path) -> None:
    data = await lives(tmp_path / "hub.db")
    done = verb(data, "bundle", tmp_path / "bundle", "--user", "ada")
    assert "It has no metrics, for the hub is stopped." in done.stdout
    head = json.loads((tmp_path / "bundle").read_text().splitlines()[1])
    assert (head["hub"], head["metrics"]) == ("is stopped", [])


async def test_a_bundle_of_a_hub_that_does_not_answer_says_so(tmp_path: Path) -> None:
    data = await lives(tmp_path / "hub.db")
    async with a_store(data):
        done = verb(data, "bundle", tmp_path / "bundle", "--user", "ada")
    assert "It has no metrics, for the hub does not answer." in done.stdout


async def test_a_bundle_that_could_not_be_finished_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one stayed, and the next try said that it was there already."""
    data = await lives(tmp_path / "hub.db")

    def stopped(_line: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundling, "encode_line", stopped)
    assert verb(data, "bundle", tmp_path / "bundle", "--user", "ada").exit_code == 1
    assert not (tmp_path / "bundle").exists()


async def test_a_bundle_is_decided_here_as_it_was_on_the_hub(tmp_path: Path) -> None:
    data = await lives(tmp_path / "hub.db")
    async with a_store(data) as store:
        edits = update("a", 0, START - 9, n=1, k=2), create("a", 0, START - 9, n=8, q=1)
        await commit(store, push(20, *edits, device="tablet"))
    verdict = replayed(bundled(data))
    assert (verdict.pushes, verdict.differences) == (11, [])
    assert verdict.objects > 5


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happened_it_is_decided_alike_as_far_as_the_log_goes(
    tmp_path: Path, seed: int
) -> None:
    data = tmp_path / "hub.db"
    await life(data, seed)
    for dropped in (0, 5, 17):
        forget(data, dropped)
        bundle = bundled(data)
        verdict = replayed(bundle)
        bundle.unlink()
        assert verdict.differences == [], dropped
        assert verdict.pushes == 29 - dropped


async def test_what_came_out_otherwise_is_shown_by_the_command(tmp_path: Path) -> None:
    bundle = bundled(await lives(tmp_path / "hub.db"))
    alike = command(bundle)
    assert (alike.returncode, "all as on the hub" in alike.stdout) == (0, True), alike.stderr
    lines = [json.loads(line) for line in bundle.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "object" and line["stamps"]:
            line["fields"][line["stamps"][0][3][0]] = "another"
            break
    for line in lines:
        if line["kind"] == "push" and line["refused"] and line["refused"]["lost"]:
            line["refused"]["lost"][0]["fields"] = {"field-1": 3}
    bundle.write_text("".join(json.dumps(line) + "\n" for line in lines))
    other = command(bundle, "--json")
    wheres = [each["where"] for each in json.loads(other.stdout)["differences"]]
    assert other.returncode == 1
    assert [where.split()[0] for where in wheres] == ["push", "object"]
    assert "2 differences" in command(bundle).stdout


def command(bundle: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(ROOT / "scripts/replay-bundle"), str(bundle), *more]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
    )


async def test_a_bundle_replaces_no_file_and_brings_nobody_back(tmp_path: Path) -> None:
    data = await lives(tmp_path / "hub.db")
    target = bundled(data)
    again = verb(data, "bundle", target, "--user", "ada")
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
    nobody = verb(data, "bundle", tmp_path / "eve", "--user", "eve")
    assert (nobody.exit_code, "no user 'eve'" in nobody.stderr) == (1, True)
    assert not (tmp_path / "eve").exists()
    assert "nobody can be brought back" in verb(data, "import", target).stderr


@pytest.mark.parametrize(
    "value",
    ["", "a", SECRET, "\0", "💧", 0, 7, -7, 2**53 - 1, -(2**53 - 1), 10, True, None, [1, "a"], {}],
)
def test_a_value_becomes_another_of_its_kind_and_size_and_always_the_same(value: Any) -> None:
    redaction, other = Redaction(b"k"), Redaction(b"another")
    made = redaction.value(value)
    assert type(made) is type(value)
    assert len(orjson.dumps(made)) == len(orjson.dumps(value))
    assert made == redaction.value(value)
    if value == SECRET:
        assert len({made, value, other.value(value)}) == 3
