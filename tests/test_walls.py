"""The architecture as walls: who may import whom, and how large a file may grow (docs/design.md).

Every import of the product is read from its source, those inside functions and for type checking
among them: an import that is only for a type lets the reader through the wall all the same.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocol", "hub", "client")
LONGEST = 500
"""Lines of a file that a reader still takes in as one thing."""
SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


class Wall(NamedTuple):
    """In files whose path begins with one of `rooms`, none of `barred` is imported.

    Unless the path begins with one of `doors`.
    """

    name: str
    rooms: tuple[str, ...]
    barred: frozenset[str]
    doors: tuple[str, ...]
    why: str


WALLS = [
    Wall(
        "protocol stands alone",
        ("protocol/",),
        frozenset({"hub", "client"}),
        (),
        "it is what both sides agree on, and what another language repeats",
    ),
    Wall(
        "protocol is pure",
        ("protocol/",),
        frozenset(
            {
                *("asyncio", "uvloop", "concurrent", "threading", "multiprocessing", "subprocess"),
                *("socket", "socketserver", "ssl", "select", "selectors", "http", "urllib"),
                *("websockets", "aiohttp", "aiosqlite", "sqlite3", "structlog", "logging"),
                *("time", "datetime", "random", "secrets", "uuid"),
                *("os", "io", "pathlib", "tempfile", "shutil", "signal", "contextvars"),
            }
        ),
        (),
        "without I/O, clock and randomness its every run can be repeated and tested exactly",
    ),
    Wall(
        "the hub does not know the client",
        ("hub/",),
        frozenset({"client"}),
        (),
        "they meet on the wire and nowhere else: what both need is in protocol",
    ),
    Wall(
        "the client does not know the hub",
        ("client/",),
        frozenset({"hub"}),
        (),
        "they meet on the wire and nowhere else: what both need is in protocol",
    ),
    Wall(
        "SQL stays in the stores",
        ("protocol/", "hub/", "client/"),
        frozenset({"sqlite3", "aiosqlite"}),
        ("hub/store/", "client/storage/"),
        "another store or storage can then take its place under the same contract",
    ),
    Wall(
        "Prometheus stays in the metrics",
        ("protocol/", "hub/", "client/"),
        frozenset({"prometheus_client"}),
        ("hub/metrics/",),
        "what counts then pays for nothing that it does not need, and knows nobody who reads it",
    ),
    Wall(
        "WebSockets stay at the edge",
        ("protocol/", "hub/", "client/"),
        frozenset({"websockets"}),
        (
            "hub/websocket/",
            "client/link.py",
        ),
        "all else can then be run over a fake link, deterministically",
    ),
]


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """The line and the top-level name of each import; a relative one is of its own package."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield node.lineno, module.partition(".")[0]
            case ast.ImportFrom():
                yield node.lineno, package
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
                named = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
                yield from ((node.lineno, str(name).partition(".")[0]) for name in named)


def holes(wall: Wall, path: str, source: str) -> list[str]:
    """The imports of a file that go through a wall."""
    if not path.startswith(wall.rooms) or path.startswith(wall.doors):
        return []
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(ast.parse(source), path.partition("/")[0])
        if name in wall.barred
    ]


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.name)
def test_nothing_is_imported_through_the_wall(wall: Wall) -> None:
    found = [
        hole
        for path in sources()
        for hole in holes(wall, path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not found, f"{wall.name}, for {wall.why}. But:\n" + "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_there_is_something_behind_the_walls(package: str) -> None:
    """A test of no files would pass for ever."""
    assert [path for path in sources() if path.is_relative_to(ROOT / package)]


@pytest.mark.parametrize(
    ("wall", "path", "source"),
    [
        (WALLS[0], "protocol/x.py", "from hub.store import sqlite"),
        (WALLS[0], "protocol/x.py", "if TYPE_CHECKING:\n    import client.device"),
        (WALLS[1], "protocol/x.py", "def f():\n    import os.path"),
        (WALLS[1], "protocol/x.py", "importlib.import_module('time')"),
        (WALLS[1], "protocol/x.py", "__import__('random')"),
        (WALLS[2], "hub/http/x.py", "from client import Device"),
        (WALLS[3], "client/storage/x.py", "import hub"),
        (WALLS[4], "hub/user.py", "import sqlite3 as s"),
        (WALLS[5], "hub/counts.py", "from prometheus_client import Counter"),
        (WALLS[6], "client/device.py", "from websockets.asyncio.client import connect"),
        (WALLS[6], "hub/session.py", "import websockets"),
    ],
)
def test_a_hole_is_found(wall: Wall, path: str, source: str) -> None:
    assert len(holes(wall, path, source)) == 1


@pytest.mark.parametrize(
    ("wall", "path", "source"),
    [
        (WALLS[0], "hub/x.py", "import hub"),
        (WALLS[1], "protocol/x.py", "from . import time"),
        (WALLS[4], "hub/store/sqlite.py", "import sqlite3"),
        (WALLS[4], "client/storage/sqlite.py", "import sqlite3"),
        (WALLS[5], "hub/metrics/families.py", "import prometheus_client.core"),
        (WALLS[6], "hub/websocket/handshake.py", "import websockets"),
    ],
)
def test_a_door_is_open(wall: Wall, path: str, source: str) -> None:
    assert holes(wall, path, source) == []


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in sources()}
    long = [f"{path.relative_to(ROOT)}: {n}" for path, n in lengths.items() if n >= LONGEST]
    assert not long, f"A file stays under {LONGEST} lines: split by concern\n" + "\n".join(long)


def test_no_file_has_a_name_that_says_nothing() -> None:
    paths = [path.relative_to(ROOT) for path in sources()]
    vague = [str(path) for path in paths if {path.stem, *path.parts} & SAY_NOTHING]
    assert not vague, "A name says what is in it; this could be anything:\n" + "\n".join(vague)
