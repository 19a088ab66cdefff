"""How the SQLite store lets go: what is its own, beside what contract_retention.py asks of any.

What devices see of it is in tests/hub/test_retention.py.
"""

import asyncio
import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from hub.retention import Retention
from hub.store import retention, retiring, sqlite
from hub.store.errors import StoreFailed
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import create, delete, inline, rules, update
from tests.hub.store.bench import ALL, KEYS, push, without_size
from tests.hub.store.retention_bench import Kept, edits, opened
from tests.hub.store.sqlite_bench import DAY


@pytest.fixture(autouse=True)
def nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "PAUSE_SECONDS", 0.0)


@pytest.fixture
async def kept(tmp_path: Path) -> Any:
    bench = Kept(tmp_path)
    await bench.open()
    yield bench
    await bench.store.close()


# The log


async def test_the_log_keeps_no_more_pushes_of_a_user_than_the_settings_say(
    tmp_path: Path,
) -> None:
    kept = await opened(tmp_path, log_rows=80, held_log_rows=80)
    await kept.write(edits(1, 85))
    await kept.retire()
    assert len(await kept.clocks()) == 85, "it is not cut for a few"
    await kept.write(edits(86, 100))
    await kept.retire()
    assert await kept.clocks() == list(range(21, 101))
    await kept.store.close()


async def test_a_device_holds_back_no_more_pushes_than_the_operator_says(tmp_path: Path) -> None:
    kept = await opened(tmp_path, log_days=0, log_rows=0, held_log_rows=40)
    await kept.write([*edits(1, 1, device="laptop"), *edits(1, 29)])
    kept.says("laptop", 1)
    kept.says("phone", 30)
    await kept.retire()
    assert await kept.clocks() == list(range(2, 31))
    await kept.write(edits(30, 60))
    await kept.retire()
    assert await kept.clocks() == list(range(22, 62))
    await kept.store.close()


async def test_what_is_not_folded_does_not_go(tmp_path: Path) -> None:
    kept = await opened(tmp_path, log_days=0, log_rows=0, held_log_rows=0)
    await kept.write(edits(1, 3))
    for incoming in edits(4, 6):
        await kept.store.commit([incoming])
    await kept.store._retiring.retire()
    assert await kept.clocks() == [4, 5, 6]
    [held] = (await kept.store.objects("ada", KEYS)).values()
    await kept.crash()
    assert await kept.clocks() == [4, 5, 6]
    [after] = (await kept.store.objects("ada", KEYS)).values()
    assert without_size(after) == without_size(held)
    await kept.store.close()


async def test_nobody_is_looked_at_who_has_nothing_to_lose(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    visit = retention._visit

    def watched(connection: Any, user: Any, horizon: Any) -> Any:
        looked.append(user.name)
        return visit(connection, user, horizon)

    monkeypatch.setattr(retention, "_visit", watched)
    for number in range(40):
        await kept.write(edits(1, 3, user=f"user-{number}"))
    kept.clock.advance(5 * DAY)
    await kept.write(edits(1, 3, user="late"))
    await kept.retire()
    assert looked == []
    await kept.later(2.1)
    assert sorted(looked) == sorted(f"user-{number}" for number in range(40))
    looked.clear()
    for _hour in range(24):
        await kept.later(1 / 24)
    assert looked == []
    await kept.later(4)
    assert looked == ["late"]


async def test_many_rows_go_in_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await opened(tmp_path, log_days=0)
    for first in range(1, 1_500, 500):
        await kept.write(edits(first, first + 499))
    sizes: list[int] = []
    drop = retention.drop_rows

    def watched(rows: Any, *rest: Any) -> None:
        sizes.append(len(rows))
        drop(rows, *rest)

    monkeypatch.setattr(retiring, "drop_rows", watched)
    kept.says("phone", 1_500)
    await kept.retire()
    assert await kept.clocks() == []
    assert max(sizes) == retiring.STEP_ROWS
    assert sum(sizes) == 1_500
    await kept.store.close()


async def test_at_every_moment_the_log_is_whole_from_its_first_clock_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiring, "STEP_ROWS", 7)
    monkeypatch.setattr(retiring, "SHARE_OF_BATCH", 10**9)
    kept = await opened(tmp_path, log_days=0)
    await kept.write([push(n, create("a"), user=u) for n in range(1, 101) for u in ("ada", "bob")])
    kept.says("phone", 100)
    kept.says("phone", 90, user="bob")
    await kept.fold()
    retire = asyncio.create_task(kept.retire())
    firsts = set()
    while not retire.done():
        for user, head in (("ada", 100), ("bob", 100)):
            first = await kept.store.first_clock(user)
            clocks = await kept.clocks(user)
            assert clocks[-1:] in ([], [head])
            assert clocks == list(range(head - len(clocks) + 1, head + 1))
            assert len(clocks) <= head - first + 1
            firsts.add(first)
    await retire
    assert len(firsts) > 20
    assert (await kept.clocks("ada"), await kept.clocks("bob")) == ([], list(range(91, 101)))
    await kept.store.close()


async def test_a_hub_that_is_told_to_keep_less_begins_with_what_it_has(tmp_path: Path) -> None:
    """Each user waited for the moment that was set under the old settings, a fortnight away."""
    kept = await opened(tmp_path, log_days=14)
    await kept.write(edits(1, 5))
    kept.says("phone", 5)
    await kept.retire()
    await kept.store.close()
    kept = await opened(tmp_path, log_days=0)
    await kept.retire()
    assert await kept.clocks() == []
    await kept.store.close()


async def test_a_device_that_passes_while_it_is_looked_at_what_it_holds_is_heard(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knew yet what was held, and then nobody looked again for a month."""
    await kept.write([*edits(1, 10), *edits(1, 1, device="laptop")])
    kept.says("phone", 11)
    kept.says("laptop", 4)
    await kept.fold()
    let_go = kept.store._retiring._let_go

    async def interrupted(*rest: Any) -> None:
        kept.says("laptop", 9)
        await kept.fold()
        await let_go(*rest)

    monkeypatch.setattr(kept.store._retiring, "_let_go", interrupted)
    kept.clock.advance(8 * DAY)
    kept.says("phone", 11)
    await kept.retire()
    assert await kept.clocks() == [10, 11]


# Outcomes


async def test_outcomes_go_once_the_device_has_received_them(kept: Kept) -> None:
    await kept.write(
        [push(1, create("a")), *(push(n, update("nothing"), device="laptop") for n in (1, 2, 3))]
    )
    await kept.later(60)
    assert kept.ask("SELECT clock FROM outcomes") == [(2,), (3,), (4,)]
    kept.says("laptop", 3)
    await kept.write(edits(2, 2))
    standing = await kept.store.device("ada", "laptop")
    assert [outcome.push_id for outcome in standing.outcomes] == [3]
    kept.says("phone", 5)
    await kept.later(60)
    assert kept.ask("SELECT clock FROM outcomes") == [(4,)]


async def test_runs_of_clocks_go_with_the_rows_that_they_name(kept: Kept) -> None:
    await kept.write(edits(1, 5))
    kept.says("phone", 5)
    await kept.later(8)
    assert kept.ask("SELECT count(*) FROM log_clocks") == [(0,)]


# Tombstones


async def test_many_tombstones_go_in_steps_and_the_line_rises_with_the_first(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiring, "STEP_ROWS", 3)
    names = [f"o{number}" for number in range(10)]
    await kept.write(
        [push(1, *map(create, names)), push(2, *map(delete, names)), push(3, create("z"))]
    )
    kept.says("phone", 3)
    lines: list[tuple[str, int, list[str]]] = []
    kept.store.on_line(lambda user, line: lines.append((user, line, ["told"])))
    kept.clock.advance(8 * DAY)
    await kept.fold()
    retire = asyncio.create_task(kept.retire())
    left = set()
    while not retire.done():
        line = (await kept.store.user("ada")).line
        count = kept.ask("SELECT count(*) FROM objects WHERE deleted_at IS NOT NULL")[0][0]
        [(stored_line,)] = kept.ask("SELECT line FROM users")
        assert count == 10 or (stored_line == 2 and line == 2 and lines)
        left.add(count)
    await retire
    assert {10, 7, 4, 1, 0} <= left
    assert [line[:2] for line in lines] == [("ada", 2)]


async def test_an_object_created_anew_is_not_taken_for_its_tombstone(kept: Kept) -> None:
    await kept.write([push(1, create("a")), push(2, delete("a")), push(3, create("b"))])
    await kept.store.commit([push(4, create("a", base=3, n=7))])
    kept.clock.advance(8 * DAY)
    kept.says("phone", 3)
    while not kept.store._ledger.has_due:
        await kept.store._retiring._do(kept.store._ledger.rest)
    await kept.store._retiring.retire()
    held = await kept.store.objects("ada", KEYS)
    assert [name for _model, name in held] == ["a", "b"]
    await kept.crash()
    assert await kept.store.objects("ada", KEYS) == held


# Failures, and the file


async def test_retention_may_fail_anywhere_and_is_finished_by_the_next_turn(
    tmp_path: Path,
) -> None:
    failures = 0
    for step in itertools.count():
        folder = tmp_path / str(step)
        folder.mkdir()
        kept = Kept(folder)
        await kept.open()
        await kept.write(
            [
                *edits(1, 20),
                push(21, delete("a")),
                push(1, update("nothing"), device="laptop"),
                push(22, create("b")),
            ]
        )
        kept.says("phone", 23)
        await kept.fold()
        kept.clock.advance(40 * DAY)
        kept.break_at(step)
        with contextlib.suppress(StoreFailed):
            await kept.retire()
        is_over = kept.is_broken()
        failures += not is_over
        if step % 2:
            await kept.crash()
        clocks = await kept.clocks()
        assert clocks == list(range(await kept.store.first_clock("ada"), 24))
        assert ("a" in await kept.tombstones()) == ((await kept.store.user("ada")).line == 0)
        await kept.retire()
        assert (await kept.clocks(), await kept.tombstones()) == ([], [])
        assert len((await kept.store.device("ada", "laptop")).outcomes) == 1
        assert (await kept.store.user("ada")).line == 21
        await kept.store.close()
        if is_over:
            break
    assert failures > 10


async def test_the_space_is_given_back(tmp_path: Path) -> None:
    kept = await opened(tmp_path, log_days=0)
    for first in range(1, 4_000, 500):
        await kept.write(
            [push(n, create(f"o{n % 50}", text="x" * 100)) for n in range(first, first + 500)]
        )
    await kept.store._write(kept.store._ledger.checkpoint)
    full = kept.path.stat().st_size
    kept.says("phone", 4_000)
    await kept.retire()
    await kept.store._write(kept.store._ledger.checkpoint)
    wal = kept.path.with_name("hub.db-wal")
    assert kept.path.stat().st_size < full / 10
    assert wal.stat().st_size < 20 * 2**20
    assert kept.ask("PRAGMA integrity_check") == [("ok",)]
    assert await kept.store.count("ada", 0) == 50
    await kept.store.close()


async def test_it_happens_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 0.01)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 0.01)
    store = SqliteStore(tmp_path / "hub.db", rules(retention=Retention(log_days=0)), inline)
    await store.open()
    await store.commit(edits(1, 5))
    store.received("ada", "phone", 5)
    async with asyncio.timeout(10):
        while await store.first_clock("ada") <= 5:
            await asyncio.sleep(0.01)
    assert await store.log("ada", 0, ALL) == []
    await store.close()
