"""Random histories: whatever crashes where, the objects are the fold of the log."""

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from hub.store import folding, sqlite
from hub.store.errors import StoreFailed
from hub.store.interface import Cursor, Incoming
from hub.store.reading import read_objects, user_no
from protocol.diffs import Fields, Held, Key, Object, Tombstone, json_size
from protocol.merge import apply
from protocol.messages import decode_diffs
from tests.folders import IN_MEMORY
from tests.hub.fakes import START, inline
from tests.hub.store.bench import ALL, pages, told, without_size
from tests.hub.store.sqlite_bench import SqliteBench

KEYS: Sequence[Key] = [("tasks", "t1"), ("tasks", "t2"), ("notes", "t1")]
USERS = ("ada", "bob")
VALUES: Sequence[dict[str, Any]] = (
    {},
    {"n": 1},
    {"n": None, "text": "naïve 💧"},
    {"m": [1, {"in": 0.5}]},
    {"n": 2, "m": 2},
)


class Step(NamedTuple):
    """What happens next: pushes are committed as one group, then perhaps something else."""

    pushes: Sequence[tuple[str, str, Sequence[Any], bool]]
    then: str


def diff(kind: str, key: Key, values: Fields, base: int, at: int, number: int) -> Any:
    return {
        "id": f"e{number}",
        "logical_clock": base,
        "utc_timestamp": START + at,
        "type": kind,
        "model": key[0],
        "json_data": {"id": key[1], **values},
    }


DIFFS = st.builds(
    diff,
    st.sampled_from(("create", "create", "update", "update", "update", "delete")),
    st.sampled_from(KEYS),
    st.sampled_from(VALUES),
    st.integers(0, 12),
    st.integers(-2, 2),
    st.integers(1, 60),
)
PUSHES = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(("phone", "laptop", "tab")),
    st.lists(DIFFS | st.just("no diff"), min_size=1, max_size=3),
    st.sampled_from((False, False, False, True)),
)
STEPS = st.builds(
    Step,
    st.lists(PUSHES, max_size=3),
    st.sampled_from(("", "fold", "step", "step", "crash", "reopen", "fail", "received")),
)


def incoming(pushes: Sequence[tuple[str, str, Sequence[Any], bool]], ids: dict[Any, int]) -> Any:
    """The pushes of a group, each with the next id of its device."""
    for user, device, diffs, again in pushes:
        ids[user, device] = ids.get((user, device), 0) + 1
        yield Incoming(user, device, ids[user, device], diffs, again)


async def live_through(bench: SqliteBench, history: Sequence[Step]) -> None:
    ids: dict[Any, int] = {}
    for step in history:
        group = list(incoming(step.pushes, ids))
        if step.then == "fail":
            bench.break_commits()
            with pytest.raises(StoreFailed):
                await bench.store.commit(group)
        answers = await bench.store.commit(group)
        assert all(answers)
        match step.then:
            case "fold":
                await bench.fold()
            case "step":
                await fold_one_user(bench)
                await check_reading(bench)
            case "crash":
                await bench.crash()
            case "reopen":
                await bench.reopen()
            case "received":
                bench.store.received("ada", "phone", 1)


async def fold_one_user(bench: SqliteBench) -> None:
    """One step of a fold, made as small as it can be."""
    await bench.store._write(partial(bench.store._ledger.fold, ALL))


async def check_reading(bench: SqliteBench) -> None:
    for user in USERS:
        expected = await folded_log(bench, user)
        await check_what_a_newcomer_is_sent(bench, user, expected)
        assert await as_answered(bench, user) == expected


async def check(bench: SqliteBench) -> None:
    await check_reading(bench)
    for user in USERS:
        expected = await folded_log(bench, user)
        assert as_decided_by(bench, user) == expected
        await bench.fold()
        assert await as_answered(bench, user) == expected
        assert await as_written(bench, user) == expected
        await check_pages(bench, user, expected)


def less_sizes(objects: dict[Key, Held]) -> dict[Key, Any]:
    for held in objects.values():
        assert not isinstance(held, Object) or held.size >= json_size(held.fields)
    return {key: without_size(held) for key, held in objects.items()}


async def folded_log(bench: SqliteBench, user: str) -> dict[Key, Any]:
    """The objects by the log alone."""
    objects: dict[Key, Held] = {}
    log = await bench.store.log(user, 0, ALL)
    assert [row.clock for row in log] == list(range(1, len(log) + 1))
    assert len(log) == (await bench.store.user(user)).head
    for row in log:
        for diff in decode_diffs(Raw(row.diffs)):
            objects[diff.key] = apply(objects.get(diff.key), diff, row.clock, row.device)
    return less_sizes(objects)


async def as_answered(bench: SqliteBench, user: str) -> dict[Key, Any]:
    return less_sizes(dict(await bench.store.objects(user, KEYS)))


def as_decided_by(bench: SqliteBench, user: str) -> dict[Key, Any]:
    """What the writer would decide the next push against."""
    memory = bench.store._ledger._memory
    assert memory is not None
    owner = memory.known_user(user)
    if owner is None:
        return {}
    held = {key: memory.held(owner, key) for key in KEYS}
    return less_sizes({key: value for key, value in held.items() if value is not None})


async def as_written(bench: SqliteBench, user: str) -> dict[Key, Any]:
    """What the table of objects says, to a connection that knows nothing else."""
    return await bench.store._reader.run(
        lambda connection: less_sizes(
            dict(read_objects(connection, user_no(connection, user), KEYS))
        )
    )


async def check_what_a_newcomer_is_sent(
    bench: SqliteBench, user: str, expected: dict[Key, Any]
) -> None:
    """Pages as far as the user is folded, true of that clock, and then the log."""
    page = await bench.store.page(user, Cursor(0), 0, ALL)
    assert page.clock == page.head
    assert all(entry.logical_clock <= page.head for entry in page.objects)
    state: dict[Key, Any] = {}
    for entry in page.objects:
        fields = told(entry)
        is_deleted = isinstance(fields, str)
        state[entry.model, fields if is_deleted else fields["id"]] = None if is_deleted else fields
    for row in await bench.store.log(user, page.clock, ALL):
        for diff in decode_diffs(Raw(row.diffs)):
            before = state.get(diff.key) if diff.type == "update" else None
            state[diff.key] = (
                None if diff.type == "delete" else {**(before or {}), **diff.json_data}
            )
    assert state == {
        key: None if isinstance(held, Tombstone) else held[2] for key, held in expected.items()
    }


async def check_pages(bench: SqliteBench, user: str, expected: dict[Key, Any]) -> None:
    if user != "ada":
        return
    for max_bytes in (1, ALL):
        entries = [e for page in await pages(bench.store, 0, 0, max_bytes) for e in page.objects]
        clocks = [entry.logical_clock for entry in entries]
        assert clocks == sorted(clocks)
        shown = {}
        for entry in entries:
            fields = told(entry)
            name = fields if isinstance(fields, str) else fields["id"]
            shown[entry.model, name] = None if isinstance(fields, str) else fields
        assert len(entries) == len(shown)
        assert shown == {
            key: None if isinstance(held, Tombstone) else held[2] for key, held in expected.items()
        }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=st.lists(STEPS, min_size=1, max_size=8))
def test_the_objects_are_the_fold_of_the_log_whatever_crashes_where(
    history: Sequence[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(folding, "STEP_ROWS", 1)

    async def live() -> None:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            bench = SqliteBench(Path(folder), inline, folds=False)
            await bench.open()
            await live_through(bench, history)
            await check(bench)
            await bench.crash()
            await check(bench)
            await bench.store.close()

    asyncio.run(live())
