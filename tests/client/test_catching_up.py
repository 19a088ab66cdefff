"""How a device takes what it missed, what it stores of it, and what it says is safe."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from client import Device, MemoryStorage, State, Status
from client.inbox import MAX_FRAMES
from protocol.messages import Hello, Pong, Push, PushOutcome, Ready, Received, Rejected
from protocol.records import RejectedEdit
from tests.client.fake_hub import FakeHub, deleted, present, stored
from tests.client.fake_world import Clock, WatchedStorage

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, clock: Clock, **given: Any) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, **given)


REFUSED = Rejected(0, "x", "object_deleted", "delete wins")


def live(status: Any) -> bool:
    return bool(status.state is State.LIVE)


def at(clock: int) -> Callable[[Status], bool]:
    return lambda status: status.clock == clock


async def test_a_device_takes_the_log(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=3)
        session.changes(1, stored("create", "tasks", id="t1"), stored("create", "tasks", id="t2"))
        session.changes(2, stored("update", "tasks", id="t1", done=True))
        session.changes(3, stored("delete", "tasks", id="t2"))
        session.ready(3)
        status = await phone.until(live)

        assert (status.clock, status.head) == (3, 3)
        assert await phone.read("tasks") == [{"id": "t1", "done": True}]


async def test_a_device_takes_pages_and_shows_how_much_is_left(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=40)
        session.page(20, present("tasks", 20, id="t1"), head=40, remaining=7)
        status = await phone.until(lambda status: status.clock == 20)
        assert (status.state, status.head, status.remaining) == (State.CATCHING_UP, 40, 7)

        session.page(40, present("tasks", 40, id="t2"), deleted("tasks", 39, "t1"), head=40)
        session.ready(40)
        status = await phone.until(live)

        assert status.remaining == 0
        assert await phone.read("tasks") == [{"id": "t2"}]


async def test_a_device_whose_line_drops_half_way_says_where_it_is(
    hub: FakeHub, clock: Clock
) -> None:
    storage = MemoryStorage()
    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.session()
        await session.greet(logical_clock=40)
        session.page(20, present("tasks", 20, id="t1"), head=40, remaining=7)
        await phone.until(lambda status: status.clock == 20)

    async with a_device(hub, clock, storage=storage) as phone:
        hello = await (await hub.session()).expect(Hello)
        assert await phone.read("tasks") == [{"id": "t1"}]

    assert (hello.logical_clock, hello.log_id) == (20, "log-1")
    assert hello.half is not None
    assert (hello.half.from_, hello.half.head) == (0, 40)


async def test_a_slow_device_goes_back_to_the_pages_and_is_live_again(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(live)
        await phone.create("tasks", {"id": "mine"})
        push = await session.expect(Push)
        session.page(50, present("tasks", 49, id="mine"), present("tasks", 50, id="t1"), head=50)
        await phone.until(lambda status: status.state is State.CATCHING_UP)
        session.ready(50, push.push_id)
        status = await phone.until(live)

        assert (status.clock, status.pending) == (50, 0)
        assert {task["id"] for task in await phone.read("tasks")} == {"mine", "t1"}


async def test_a_reset_forgets_what_came_from_the_hub_and_no_edit(
    hub: FakeHub, clock: Clock
) -> None:
    storage = MemoryStorage()
    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.changes(1, stored("create", "tasks", id="old"))
        session.ready(1)
        await phone.until(live)
        await phone.create("tasks", {"id": "mine"})
        await session.expect(Push)

    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.session()
        await session.greet(log_id="log-2", logical_clock=2, reset=True)
        session.page(2, present("tasks", 2, id="new"))
        session.ready(2)
        await phone.until(live)
        push = await session.expect(Push)

        assert {task["id"] for task in await phone.read("tasks")} == {"mine", "new"}
        assert push.diffs[0]["logical_clock"] == 0

    assert set((await storage.load()).saved.objects) == {("tasks", "new")}


async def test_frames_that_wait_are_stored_in_few_transactions(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    many = 5 * MAX_FRAMES
    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.session()
        await session.greet(logical_clock=many)
        for number in range(1, many + 1):
            session.changes(number, stored("create", "tasks", id=f"t{number}"))
        session.ready(many)
        await phone.until(live)
        assert len(await phone.read("tasks")) == many

    assert len(storage.saves) < 12
    assert sum(len(writes.objects) for writes in storage.saves) == many


async def test_no_more_is_read_than_can_be_stored(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    async with a_device(hub, clock, storage=storage):
        session = await hub.session()
        await session.greet()
        storage.gate.clear()
        session.changes(1)
        await storage.begun.wait()
        for number in range(2, 5 * MAX_FRAMES):
            session.changes(number)
        for _ in range(100):
            await asyncio.sleep(0)
        left = session.to_device.qsize()
        storage.gate.set()

    assert left >= 3 * MAX_FRAMES


async def test_what_is_safe_is_said_after_it_is_stored_and_not_too_often(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.changes(1)
        session.ready(1)
        assert (await session.expect(Received)).logical_clock == 1
        assert storage.saves[-1].position.clock == 1

        for number in range(2, 12):
            session.changes(number)
            await phone.until(at(number))
        assert session.unheard() == []

        clock.advance(1)
        assert (await session.expect(Received)).logical_clock == 11


async def test_what_is_safe_is_said_once_more_before_the_device_leaves(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=2)
        session.changes(1)
        session.ready(1)
        await session.expect(Received)
        session.changes(2)
        await phone.until(lambda status: status.clock == 2)

    assert session.unheard() == [Received(2)]
    assert session.left.is_set()


async def test_nothing_is_said_to_be_safe_while_outcomes_are_still_to_come(
    hub: FakeHub, clock: Clock
) -> None:
    """The hub forgot the outcomes of the second `ready`, for the device had said that it had all.

    It had, of the log; then the line dropped, and what its last push lost was never told.
    """
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=1, last_push_id=2)
        session.changes(1)
        session.say(Ready(1, 1, (PushOutcome(1, rejected=(REFUSED,)),), more=True))
        status = await phone.until(lambda status: status.setbacks == 1)
        assert (status.clock, status.state) == (1, State.CATCHING_UP)

    assert session.unheard() == []


async def test_nothing_is_said_to_be_safe_half_way(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=40)
        session.page(20, present("tasks", 20, id="t1"), head=40, remaining=7)
        await phone.until(lambda status: status.clock == 20)

    assert session.unheard() == []


async def test_an_outcome_told_at_ready_is_kept_as_a_setback_once(
    hub: FakeHub, clock: Clock
) -> None:
    outcome = PushOutcome(1, rejected=(REFUSED,))
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.update("tasks", {"id": "t1", "done": True})
        await session.expect(Push)
        session.page(5, head=5)
        session.ready(5, 1, (outcome,))
        session.ready(5, 1, (outcome,))
        session.say(Pong(1, "end"))
        await phone.until(lambda status: status.setbacks > 0)
        (setback,) = phone.setbacks.values()

    assert isinstance(setback, RejectedEdit)
    assert setback.code == "object_deleted"
    assert setback.diff is not None
    assert setback.diff.json_data == {"id": "t1", "done": True}


async def test_times_follow_the_hubs_clock(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=clock.ms + 5_000)
        status = await phone.until(live)
        await phone.create("tasks", {"id": "t1"})
        push = await session.expect(Push)

    assert status.skew == 5_000
    assert push.diffs[0]["utc_timestamp"] == clock.ms + 5_000


@pytest.mark.parametrize("clock_of_ready", [0, 2])
async def test_a_hole_in_the_history_ends_the_connection(
    hub: FakeHub, clock: Clock, clock_of_ready: int
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.changes(1, stored("create", "tasks", id="t1"))
        session.ready(clock_of_ready)
        await clock.slept()
        assert session.left.is_set()
        assert "but here is 1" in str(phone.status.error)
