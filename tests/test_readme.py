"""README as a newcomer follows it: every command that it shows is run here."""

import asyncio
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from scripts.benching.catalogue import MEASURES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
LIST_PAGE = (
    "from importlib.resources import files\n"
    'print(*sorted(each.name for each in files("hub.page").joinpath("static").iterdir()))'
)
"""What an installation has of the live page, by name."""
TRY_IT, PRODUCTION, MEASURE, WORK = "Try it", "The hub in production", "Measure it", "Work on it"


def section(title: str) -> str:
    match = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL
    )
    assert match, f"README has no section {title}"
    return match[1]


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def charts(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\((docs/charts/[^)]+\.svg)\)", text)


def run(command: str, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running(command: str, cwd: Path, **environment: str) -> Iterator[str]:
    """A server that is started so, its `ready` line, and that it stops in good order."""
    process = subprocess.Popen(
        shlex.split(command),
        cwd=cwd,
        env={**os.environ, "MOBYNC_PORT": "0", "MOBYNC_HTTP_PORT": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield next((line for line in process.stdout if line.startswith("ready ")), "")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        assert process.wait(30) == 0


def test_every_command_of_readme_is_run_by_a_test() -> None:
    tested = [*commands(section(TRY_IT)), *commands(section(PRODUCTION))]
    tested += [*commands(section(MEASURE)), *commands(section(WORK))]
    assert commands(README) == tested


def test_one_command_gives_a_hub_and_the_device_of_readme_talks_to_it(tmp_path: Path) -> None:
    first, _second = commands(section(TRY_IT))
    assert first == "scripts/run"
    match = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert match
    with running(str(ROOT / first), ROOT, MOBYNC_DATA=str(tmp_path / "hub.db")) as ready:
        url = ready.split()[1]
        program = match[1].replace("ws://127.0.0.1:8765/sync", url)
        assert program != match[1]
        out = run(shlex.join([sys.executable, "-c", program]), tmp_path, PYTHONPATH=str(ROOT))
    assert "'done': True" in out
    hub = sqlite3.connect(tmp_path / "hub.db")
    (fields,) = hub.execute("SELECT fields FROM objects").fetchone()
    hub.close()
    assert json.loads(fields) == {"id": "t1", "title": "Milk", "rank": 5, "done": True}


def test_another_command_shows_two_devices_that_agree() -> None:
    _first, second = commands(section(TRY_IT))
    assert second == "scripts/demo"
    assert "Both devices agree." in run(f"{second} --seconds 0")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_hub_in_production_is_installed_and_takes_the_tokens_it_prints(tmp_path: Path) -> None:
    *preparing, serving, token = commands(section(PRODUCTION))
    for command in preparing:
        run(command.replace("install .", f"install --quiet {ROOT}"), tmp_path)
    assert run(f"venv/bin/python -c '{LIST_PAGE}'", tmp_path).split() == sorted(
        path.name for path in (ROOT / "hub" / "page" / "static").iterdir()
    )
    jwt = run(token, tmp_path).strip().splitlines()[-1]
    with running(serving, tmp_path) as ready:
        user = asyncio.run(_user_of(ready.split()[1], jwt))
    assert user == "alice"
    assert (tmp_path / "hub.db").exists()


async def _user_of(url: str, token: str) -> str:
    async with connect(url, subprotocols=[Subprotocol("mobync.v1")], proxy=None) as socket:
        hello = {"type": "hello", "token": token, "device": "phone", "logical_clock": 0}
        await socket.send(json.dumps(hello))
        return str(json.loads(await socket.recv())["user"])


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_bench_of_readme_measures_everything_and_draws_its_charts(tmp_path: Path) -> None:
    """All of its measures, at sizes that take seconds."""
    bench, _load, _replay = commands(section(MEASURE))
    small = "--rounds 1 --seconds 0.2 --share 0.001"
    out = run(f"{bench} {small} --json {tmp_path}/bench.json --charts {tmp_path}")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {each["name"] for each in found["outcomes"]} == {each.name for each in MEASURES}
    lines = [line for each in found["outcomes"] for line in each["lines"]]
    assert all(line["medians"].get("hub") for line in lines)
    assert all(line["what"] in out for line in lines)
    assert {Path(name).name for name in charts(section(MEASURE))} == {
        path.name for path in tmp_path.glob("*.svg")
    }


def test_the_charts_that_readme_shows_are_there() -> None:
    shown = charts(section(MEASURE))
    assert len(shown) == 4
    for name in shown:
        assert "</svg>" in (ROOT / name).read_text()


@pytest.mark.long
def test_the_load_of_readme_prints_the_ratio_to_a_relay() -> None:
    _bench, load, _replay = commands(section(MEASURE))
    assert "relay" in run(load)


def test_the_history_of_readme_is_replayed_and_all_devices_equal_it(tmp_path: Path) -> None:
    _bench, _load, replay = commands(section(MEASURE))
    with running(str(ROOT / "scripts/run"), ROOT, MOBYNC_DATA=str(tmp_path / "hub.db")) as ready:
        out = run(f"{replay} --json --url {ready.split()[1]}")
    assert json.loads(out)["equal"] is True


def test_ci_runs_the_tests_as_readme_says() -> None:
    (command,) = commands(section(WORK))
    assert command in (ROOT / ".ci" / "run").read_text()
