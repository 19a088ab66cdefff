"""A hub's file for the verbs to work on, and how they are called."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner, Result

from hub.cli import main
from hub.store.interface import Incoming
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import FakeClock, inline, rules

ODD: Final = ("o'clock", 'say "hi"', "a/b", "nul\0inside", "\u202eright to left", "[bold]x[/bold]")
"""Names that a terminal, a shell, SQL or JSON could take for something else."""
MAIN: Final = [sys.executable, "-c", "from hub.cli import main; main()"]
SECONDS: Final = 60


@asynccontextmanager
async def a_store(
    data: Path, clock: FakeClock | None = None, **more: Any
) -> AsyncIterator[SqliteStore]:
    """The store in a file, in good order before and after."""
    store = SqliteStore(data, rules(clock, **more), inline)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def commit(store: SqliteStore, *pushes: Incoming) -> None:
    for incoming in pushes:
        await store.commit([incoming])


def verb(data: Path, *words: str | Path) -> Result:
    """What a verb says, called in this process; a bug in it fails the test."""
    name, *rest = map(str, words)
    given = [name, "--data", str(data), *rest]
    with ThreadPoolExecutor(1) as aside:  # a verb has a loop of its own, and so may its caller
        return aside.submit(CliRunner().invoke, main, given, catch_exceptions=False).result()


def told(data: Path, *words: str | Path) -> list[Any]:
    """The lines of JSON that a verb printed."""
    done = verb(data, *words)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_a_process(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command: Sequence[str] = [*MAIN, words[0], "--data", str(data), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def edited(data: Path, script: str) -> None:
    """Change a file of which nobody is serving, as time would have."""
    with closing(sqlite3.connect(data)) as file:
        file.executescript(script)
