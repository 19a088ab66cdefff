"""What an operator looks at is read a page at a time, and no page costs more than another."""

import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from hub.store.beside import looking
from hub.store.looking import FIRST, objects
from hub.store.past import objects_at
from protocol.diffs import Key
from tests.hub.fakes import create, update
from tests.hub.store.bench import push
from tests.hub.verbs.files import a_store, commit

MANY = 2_000
A_PAGE = 10


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A file in which ada has many objects."""
    data = tmp_path / "hub.db"
    async with a_store(data) as store:
        names = [f"{number:05}" for number in range(MANY)]
        await commit(store, push(1, *map(create, names)))
        await commit(store, push(2, update("00003", 1, n=2)))
    return data


def read_by(file: sqlite3.Connection, page: Iterator[object]) -> int:
    """How many steps of SQLite's machine a page takes."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    file.set_progress_handler(step, 1)
    taken = list(islice(page, A_PAGE))
    file.set_progress_handler(None, 0)
    assert taken
    return steps


@pytest.mark.parametrize("model", [None, "tasks"])
def test_the_last_page_of_many_objects_costs_what_the_first_does(
    data: Path, model: str | None
) -> None:
    """Each page was read from the first object on: the last of 2,000 took 30,000 steps, not 500."""
    with looking(data) as file:
        first = read_by(file, objects(file, "ada", model))
        last = read_by(file, objects(file, "ada", model, ("tasks", f"{MANY - A_PAGE:05}")))
    assert last <= first


@pytest.mark.parametrize(
    ("behind", "model", "expected"),
    [
        (FIRST, None, ["00000", "00001"]),
        (("tasks", "00002"), None, ["00003", "00004"]),
        (("tasks", "00002"), "tasks", ["00003", "00004"]),
        (("notes", "00002"), "tasks", ["00000", "00001"]),
        (("zebras", ""), "tasks", []),
        (("tasks", f"{MANY - 1:05}"), None, []),
    ],
)
@pytest.mark.parametrize("at", [None, 1])
def test_objects_are_read_on_behind_any_key_now_and_as_they_were(
    data: Path, behind: Key, model: str | None, expected: list[str], at: int | None
) -> None:
    with looking(data) as file:
        rows = (
            objects(file, "ada", model, behind)
            if at is None
            else objects_at(file, "ada", model, at, behind)
        )
        assert [row.id for row in islice(rows, 2)] == expected
