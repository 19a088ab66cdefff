"""Where a commit waits for the disk: on the loop's thread while that is short, else on its own."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.store import holdups
from hub.store.errors import StoreFailed
from hub.store.executor import on_thread
from hub.store.holdups import MOST_DIFFS, PAID_BACK, SHORT_SECONDS, TRIAL_SECONDS, HoldUps
from hub.store.interface import Incoming
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import create, rules, update
from tests.hub.store.bench import push


class Disk:
    """Time as a commit sees it: what it computes, and what its disk makes it wait."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.computed = 0.0

    def work(self, computes: float = 0.0, waits: float = 0.0) -> Callable[[], str]:
        def work() -> str:
            self.now += computes + waits
            self.computed += computes
            return "done"

        return work


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(holdups, "monotonic", lambda: disk.now)
    monkeypatch.setattr(holdups, "thread_time", lambda: disk.computed)
    return disk


def test_nothing_is_known_of_a_disk_when_a_store_opens(disk: Disk) -> None:
    hold_ups = HoldUps()
    assert not hold_ups.may_wait
    disk.now += TRIAL_SECONDS
    assert hold_ups.may_wait


def test_a_swift_disk_is_waited_for_again_at_once(disk: Disk) -> None:
    hold_ups = HoldUps(trial=0.0)
    for _commit in range(100):
        assert hold_ups.may_wait
        assert hold_ups.run(disk.work(waits=SHORT_SECONDS)) == "done"


def test_what_the_disk_took_beyond_that_is_paid_back(disk: Disk) -> None:
    """A sync of half a second: for ten seconds the sockets wait for none."""
    hold_ups = HoldUps(trial=0.0)
    hold_ups.run(disk.work(waits=0.5 + SHORT_SECONDS))
    disk.now += 0.5 * PAID_BACK - 0.001
    assert not hold_ups.may_wait
    disk.now += 0.002
    assert hold_ups.may_wait


def test_what_a_commit_computes_is_no_hold_up(disk: Disk) -> None:
    hold_ups = HoldUps(trial=0.0)
    hold_ups.run(disk.work(computes=0.1))
    assert hold_ups.may_wait


def test_a_commit_that_fails_late_is_paid_back_all_the_same(disk: Disk) -> None:
    hold_ups = HoldUps(trial=0.0)

    def fail() -> None:
        disk.work(waits=1.0)()
        raise StoreFailed("nothing was stored")

    with pytest.raises(StoreFailed):
        hold_ups.run(fail)
    assert not hold_ups.may_wait


# In the store


class Where:
    """On which thread each commit ended."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def note(self, statement: str) -> None:
        if statement == "COMMIT":
            self.threads.append(threading.get_ident())

    @property
    def on_loop(self) -> list[bool]:
        return [thread == threading.get_ident() for thread in self.threads]


async def opened(path: Path, where: Where, **changes: Any) -> SqliteStore:
    async def connecting(connect: Callable[[], Any]) -> Any:
        executor = await on_thread(connect)
        await executor.run(lambda connection: connection.set_trace_callback(where.note))
        return executor

    hold_ups = HoldUps(trial=0.0, paid_back=0.0)
    store = SqliteStore(path / "hub.db", rules(**changes), connecting, hold_ups=hold_ups)
    await store.open()
    where.threads.clear()
    return store


@pytest.fixture
def where() -> Where:
    return Where()


async def test_a_short_group_is_committed_on_the_loops_thread(tmp_path: Path, where: Where) -> None:
    store = await opened(tmp_path, where)
    await store.commit([push(1, create("a"))])
    assert where.on_loop == [True]
    await store.close()


def long_group() -> Sequence[Incoming]:
    return [push(1, *[create(f"o{number}") for number in range(MOST_DIFFS + 1)])]


@pytest.mark.parametrize(
    "group",
    [long_group(), [push(1, create("a"), again=True)], [push(0, create("a"), polled=True)]],
    ids=["long", "sent again", "polled"],
)
async def test_a_group_that_may_take_long_goes_to_the_thread(
    tmp_path: Path, where: Where, group: Sequence[Incoming]
) -> None:
    store = await opened(tmp_path, where)
    await store.commit(group)
    assert where.on_loop == [False]
    await store.close()


@pytest.mark.parametrize(
    "changes",
    [{"policy": lambda _user, _diff, _current: None}, {"checkpoints": False}],
    ids=["an application's rules", "Litestream"],
)
async def test_the_loop_waits_for_nobody_elses_program(
    tmp_path: Path, where: Where, changes: dict[str, Any]
) -> None:
    """A rule may ask another service; a program that checkpoints may hold the file for long."""
    store = await opened(tmp_path, where, **changes)
    await store.commit([push(1, create("a"))])
    assert where.on_loop == [False]
    await store.close()


async def test_a_commit_waits_for_its_turn_behind_what_the_thread_is_at(
    tmp_path: Path, where: Where
) -> None:
    """Two units of work never share the connection, and none overtakes another."""
    store = await opened(tmp_path, where)
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def long_work(_connection: object) -> None:
        begun.set()
        assert go_on.wait(10)
        order.append("long work")

    working = asyncio.create_task(store._write(long_work))
    await asyncio.to_thread(begun.wait, 10)
    committing = asyncio.create_task(store.commit([push(1, create("a"))]))
    await asyncio.sleep(0)
    go_on.set()
    await committing
    order.append("commit")
    await working
    assert order == ["long work", "commit"]
    assert where.on_loop == [False]
    await store.close()


async def test_a_unit_that_nobody_awaits_any_more_still_has_the_connection(
    tmp_path: Path, where: Where
) -> None:
    """A task that was cancelled had given the thread a fold: a commit on the loop would have begun
    in the middle of its transaction."""
    store = await opened(tmp_path, where)
    begun, go_on = threading.Event(), threading.Event()

    def fold(connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE")
        begun.set()
        assert go_on.wait(10)
        connection.execute("ROLLBACK")

    folding = asyncio.create_task(store._write(fold))
    await asyncio.to_thread(begun.wait, 10)
    folding.cancel()
    await asyncio.wait([folding])
    assert not store._writer.is_idle
    committing = asyncio.create_task(store.commit([push(1, create("a"))]))
    await asyncio.sleep(0)
    go_on.set()
    [stored] = await committing
    assert stored is not None
    await store.close()


async def test_a_fold_lets_the_loop_turn_between_its_steps(tmp_path: Path, where: Where) -> None:
    """On the loop's own thread a step waits for nobody; all of a long fold would be one halt."""
    store = await opened(tmp_path, where)
    for number in range(8):
        pushes = [create(f"o{place}") for place in range(60)]
        await store.commit([push(1, *pushes, user=f"user-{number}")])
    where.threads.clear()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await store._fold()
    assert len(where.threads) >= 4, "it was a long fold"
    assert turns >= len(where.threads)
    turning.cancel()
    await store.close()


async def test_what_is_committed_on_the_loop_is_there_after_a_crash(
    tmp_path: Path, where: Where
) -> None:
    store = await opened(tmp_path, where)
    await store.commit([push(1, create("a", n=1))])
    await store.commit([push(2, update("a", base=1, n=2))])
    assert where.on_loop == [True, True]
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("hub.db", "hub.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    again = await opened(copy, Where())
    assert [stored.clock for stored in await again.log("ada", 0, 10**6)] == [1, 2]
    await again.close()
    await store.close()
