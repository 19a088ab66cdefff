"""A watcher is told what the user sees, as it now is."""

import asyncio
from typing import Any

import pytest

from client import Change, Device, StorageFailed, Watch
from protocol.messages import Push
from tests.client.fake_hub import FakeHub, present, stored
from tests.client.fake_world import Clock, WatchedStorage

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, clock: Clock, **given: Any) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, **given)


async def told(watch: Watch, count: int) -> list[Change]:
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


async def has_more(watch: Watch) -> bool:
    """Whether a change waits; looks without waiting for one to come."""
    looking = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    done = looking.done()
    looking.cancel()
    await asyncio.wait([looking])
    return done


async def test_a_watcher_is_told_of_edits_made_here(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        await phone.create("notes", {"id": "n1"})
        assert await told(watch, 1) == [Change("tasks", "t1", {"id": "t1", "title": "Milk"})]
        await phone.delete("tasks", "t1")
        assert await told(watch, 1) == [Change("tasks", "t1", None)]
        assert not await has_more(watch)


async def test_a_watcher_is_told_of_what_others_did(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        session = await hub.ready_session()
        session.changes(1, stored("create", "tasks", id="t1", title="Milk"))
        assert await told(watch, 1) == [Change("tasks", "t1", {"id": "t1", "title": "Milk"})]
        session.changes(2, stored("delete", "tasks", id="t1"))
        assert await told(watch, 1) == [Change("tasks", "t1", None)]


async def test_what_was_there_before_is_not_told(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        await phone.create("tasks", {"id": "t1"})
        watch = phone.watch("tasks")
        assert not await has_more(watch)
        await phone.delete("tasks", "t1")
        assert await told(watch, 1) == [Change("tasks", "t1", None)]


async def test_a_slow_watcher_gets_the_newest_state_of_each_object_once(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        for count in range(100):
            await phone.create("tasks", {"id": "t1", "count": count})
            await phone.create("tasks", {"id": "t2", "count": count})

        assert await told(watch, 2) == [
            Change("tasks", "t1", {"id": "t1", "count": 99}),
            Change("tasks", "t2", {"id": "t2", "count": 99}),
        ]
        assert not await has_more(watch)


async def test_what_looks_as_before_is_not_told(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        watch = phone.watch("tasks")
        await phone.create("tasks", {"id": "t1", "title": "mine"})
        await told(watch, 1)
        push = await session.expect(Push)
        session.changes(1, stored("create", "tasks", id="t1", title="theirs"))
        session.ack(push, 2, diffs=[stored("update", "tasks", id="t1", title="mine")])
        await phone.until(lambda status: status.clock == 2)
        await phone.create("tasks", {"id": "brief"})
        await phone.delete("tasks", "brief")

        assert not await has_more(watch)


async def test_an_edit_that_is_rejected_is_taken_back_before_the_watchers_eyes(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        push = await session.expect(Push)
        watch = phone.watch("tasks")
        session.ack(push, 1, diffs=[])
        assert await told(watch, 1) == [Change("tasks", "t1", None)]


async def test_a_reset_tells_only_what_is_different_afterwards(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=2)
        session.changes(1, stored("create", "tasks", id="same"))
        session.changes(2, stored("create", "tasks", id="gone"))
        session.ready(2)
        await phone.until(lambda status: status.clock == 2)
        watch = phone.watch("tasks")
        session.close(1012)
        await clock.slept()
        clock.advance(30)
        session = await hub.session()
        await session.greet(log_id="log-2", logical_clock=9, reset=True)
        session.page(9, present("tasks", 9, id="same"))
        session.ready(9)
        await phone.until(lambda status: status.clock == 9)

        assert await told(watch, 1) == [Change("tasks", "gone", None)]
        assert not await has_more(watch)


async def test_a_watcher_is_told_of_a_number_that_becomes_true(hub: FakeHub, clock: Clock) -> None:
    """A page showed `done: 1` long after a phone had made it true: in Python they are equal."""
    before = {"id": "t1", "done": 1, "of": [0, {"x": 1}]}
    after = {"id": "t1", "done": True, "of": [False, {"x": 1}]}
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        await phone.create("tasks", before)
        await told(watch, 1)
        await phone.update("tasks", after)

        assert repr(await told(watch, 1)) == repr([Change("tasks", "t1", after)])


async def test_what_a_watcher_does_with_a_change_is_his_own_affair(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        await phone.create("tasks", {"id": "t1", "tags": []})
        (change,) = await told(watch, 1)
        assert change.fields is not None
        change.fields["tags"].append("changed")

        assert await phone.get("tasks", "t1") == {"id": "t1", "tags": []}


async def test_watching_ends_when_the_device_is_closed(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        await phone.create("tasks", {"id": "t1"})

        async def collect() -> list[Change]:
            return [change async for change in watch]

        collecting = asyncio.create_task(collect())

    assert await collecting == [Change("tasks", "t1", {"id": "t1"})]


async def test_a_watcher_is_told_if_the_storage_failed(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    """The disk was full, and a program that only watched waited for ever, its block still open."""
    async with a_device(hub, clock, storage=storage) as phone:
        watch = phone.watch("tasks")
        storage.broken = True
        with pytest.raises(StorageFailed):
            await phone.create("tasks", {"id": "t1"})
        await told(watch, 1)

        with pytest.raises(StorageFailed, match="disk is full"):
            await told(watch, 1)


async def test_a_watcher_that_went_away_is_forgotten(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        watch = phone.watch("tasks")
        del watch
        await phone.create("tasks", {"id": "t1"})
        parts = phone._parts
        assert parts is not None
        assert len(parts.local._watches) == 0
