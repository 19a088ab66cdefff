"""The store counts what each user has, over folds and restarts, and holds it to the cap."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.store.interface import Incoming, Store
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import FakeClock, create, delete, inline, rules, update

COUNTED = "SELECT objects, bytes FROM users WHERE name = 'ada'"
THERE = """
SELECT count(*), coalesce(sum(length(CAST(fields AS BLOB))), 0) FROM objects JOIN users
USING (user_no) WHERE users.name = 'ada' AND fields IS NOT NULL
"""


@asynccontextmanager
async def a_store(path: Path, **chosen: Any) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, rules(FakeClock(), **chosen), inline)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def asked(path: Path, query: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()


async def push(store: Store, push_id: int, *diffs: Any, user: str = "ada") -> list[str]:
    """The codes of what was rejected."""
    (stored,) = await store.commit([Incoming(user, "phone", push_id, diffs)])
    assert stored is not None
    return [rejection.code for rejection in stored.rejected]


def some_edit(chance: Random) -> Any:
    name = f"t{chance.randint(1, 9)}"
    title = "é" * chance.randint(0, 50)
    edits = create(name, title=title), update(name, title=title), delete(name)
    return chance.choices(edits, (1, 3, 1))[0]


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_counted_is_what_is_there(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    path = tmp_path / "hub.db"
    push_id = 0
    for _life in range(3):
        async with a_store(path) as store:
            for _turn in range(chance.randint(1, 30)):
                push_id += 1
                await push(store, push_id, *(some_edit(chance) for _ in range(3)))
                if chance.random() < 0.3:
                    await store._fold()
        assert asked(path, COUNTED) == asked(path, THERE)


async def test_a_user_may_have_so_many_objects_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    for life in range(2):
        async with a_store(path, max_objects=10) as store:
            codes = await push(store, life + 1, *(create(f"{life}-{n}") for n in range(7)))
            assert codes == ["over_quota"] * (4 * life)
            others = await push(store, life + 1, create(f"{life}"), user="bob")
            assert others == []
    assert asked(path, COUNTED)[0] == 10


async def test_a_user_may_have_so_many_bytes_and_what_is_edited_often_counts_once(
    tmp_path: Path,
) -> None:
    async with a_store(tmp_path / "hub.db", max_bytes=2_000) as store:
        assert await push(store, 1, create("t1", title="x" * 1_000)) == []
        for push_id in range(2, 40):
            assert await push(store, push_id, update("t1", title="y" * 1_000)) == []
        assert await push(store, 40, create("t2", title="x" * 1_000)) == ["over_quota"]
        assert await push(store, 41, delete("t1", base=39), create("t2", title="x" * 1_000)) == []
