"""`mobync-hub refills`: what devices gave back, as a table for people and as JSON in a pipe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hub.refills import table_of
from hub.store.refills import Refill, read_refills
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import START, create, delete, inline, rules
from tests.hub.store.bench import push
from tests.hub.store.contract_refill import offer


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The file of a hub whose ada was refilled by her phone and her laptop."""
    path = tmp_path / "hub.db"
    store = SqliteStore(path, rules(), inline)
    await store.open()
    await store.commit([push(1, create("a"), create("b"))])
    old = (await store.user("ada")).history.log_id
    await store.fork("ada", 1)
    given = offer(create("a", n=5), old, 7, 1), offer(delete("b"), old, 8, 1)
    await store.commit([push(2, *given), push(1, offer(create("c"), old, 9, 9), device="laptop")])
    await store.commit([push(3, create("d", was="a field of that name"))])
    await store.close()
    return path


def refills(data: Path) -> "subprocess.CompletedProcess[str]":
    code = "from hub.cli import main; main()"
    words = [sys.executable, "-c", code, "refills", "--data", str(data)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_a_pipe_gets_a_line_of_json_for_each_device(data: Path) -> None:
    lines = [json.loads(line) for line in refills(data).stdout.splitlines()]
    common = {"user": "ada", "log_id": "log-1", "first": START, "last": START}
    assert lines == [
        {**common, "device": "laptop", "objects": 1, "deletions": 0, "clock": 9},
        {**common, "device": "phone", "objects": 1, "deletions": 1, "clock": 8},
    ]


def test_a_person_gets_a_table(data: Path) -> None:
    console = Console(width=200, record=True)
    console.print(table_of(read_refills(data)))
    shown = console.export_text()
    for part in ("User", "ada", "phone", "laptop", "log-1", "Up to clock"):
        assert part in shown


def test_a_table_shows_names_as_they_are_and_lets_none_of_them_move_the_cursor() -> None:
    """A device may call itself as it likes, and an operator's terminal does what it is told."""
    names = ("[bold red]ada[/]", "\x1b[2J\u202ephone\0")
    refill = Refill(*names, "log-1", START, START, objects=1, deletions=0, clock=1)
    console = Console(width=200, record=True)
    console.print(table_of([refill]))
    shown = console.export_text()
    assert "[bold red]ada[/]" in shown
    assert r"\x1b[2J\u202ephone\x00" in shown
    assert "\x1b" not in shown


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    answer = refills(tmp_path / "none.db")
    assert answer.returncode == 1
    assert "none.db is not there: name the hub's file with --data" in answer.stderr
