"""How edits reach the hub: stored before sent, sent again under the same id, settled once."""

import asyncio
from typing import Any

from client import Device, MemoryStorage, World
from protocol.messages import Hello, Push
from tests.client.fake_hub import FakeHub, Session, stored
from tests.client.fake_world import WatchedStorage, impatient

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, storage: MemoryStorage | None = None, **given: Any) -> Device:
    world: World = given.pop("world", impatient())
    return Device(
        URL, token="alice", connect=hub.connect, storage=storage, world=world, name="phone", **given
    )


async def settled(phone: Device) -> None:
    await phone.until(lambda status: status.pending == 0)


async def test_a_push_is_stored_with_its_id_before_it_is_sent(
    hub: FakeHub, storage: WatchedStorage
) -> None:
    async with a_device(hub, storage) as phone:
        session = await hub.ready_session()
        await phone.until(lambda status: status.state.value == "live")
        storage.begun.clear()
        storage.gate.clear()
        editing = asyncio.create_task(phone.create("tasks", {"id": "t1"}))
        await storage.begun.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not [said for said in session.unheard() if isinstance(said, Push)]

        storage.gate.set()
        push = await session.expect(Push)
        await editing

    pushed = [writes for writes in storage.saves if push.push_id in writes.pushes]
    assert pushed[0].position.counter == push.push_id == 1


async def test_nothing_is_pushed_before_the_hub_is_ready(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        await phone.create("tasks", {"id": "t1"})
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.changes(1, stored("create", "tasks", id="t9"))
        await phone.until(lambda status: status.clock == 1)
        assert not [said for said in session.unheard() if isinstance(said, Push)]

        session.ready(1)
        assert (await session.expect(Push)).push_id == 1


async def test_an_acked_push_is_part_of_the_state(hub: FakeHub, storage: WatchedStorage) -> None:
    async with a_device(hub, storage) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        session.ack(await session.expect(Push), 1)
        await settled(phone)
        assert phone.status.clock == 1

    kept = (await storage.load()).saved
    assert kept.objects["tasks", "t1"].fields == {"id": "t1", "title": "Milk"}
    assert (kept.pushes, kept.edits) == ((), ())


async def test_a_push_without_an_ack_is_sent_again_as_it_was(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        first = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        sent = await first.expect(Push)
        first.close(None)

        second = await hub.ready_session()
        assert await second.expect(Push) == sent


async def test_a_push_is_sent_again_as_it_was_after_the_device_was_closed(hub: FakeHub) -> None:
    storage = MemoryStorage()
    async with a_device(hub, storage) as phone:
        first = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        sent = await first.expect(Push)

    async with a_device(hub, storage):
        second = await hub.ready_session()
        assert await second.expect(Push) == sent


async def test_a_push_whose_ack_was_lost_is_settled_by_the_catch_up(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        first = await hub.ready_session()
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        push = await first.expect(Push)
        first.close(None)

        second = await hub.session()
        await second.greet(logical_clock=1, last_push_id=1)
        second.ack(push, 1, diffs=[stored("create", "tasks", id="t1", title="Milk")])
        second.ready(1, 1)
        await settled(phone)
        await phone.update("tasks", {"id": "t1", "done": True})

        assert (await second.expect(Push)).push_id == 2
        assert await phone.read("tasks") == [{"id": "t1", "title": "Milk", "done": True}]


async def test_a_push_that_the_snapshot_holds_is_settled_at_ready(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        first = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        await first.expect(Push)
        first.close(None)

        second = await hub.session()
        await second.greet(logical_clock=1, last_push_id=1)
        second.page(1)
        second.ready(1, 1)
        await settled(phone)


async def test_no_more_than_a_window_is_under_way_and_the_rest_goes_as_one(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        session = await hub.ready_session()
        pushes = []
        for number in range(4):
            await phone.create("tasks", {"id": f"t{number}"})
            pushes.append(await session.expect(Push))
        for number in range(20):
            await phone.create("tasks", {"id": f"more-{number}"})
            await phone.create("tasks", {"id": "gone"})
            await phone.delete("tasks", "gone")
        assert session.unheard() == []

        session.ack(pushes[0], 1)
        fifth = await session.expect(Push)

    assert [diff["json_data"]["id"] for diff in fifth.diffs] == [f"more-{n}" for n in range(20)]


async def test_an_old_link_is_left_before_the_next_hello(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        first = await hub.ready_session()
        await phone.until(lambda status: status.connected)
        first.changes(7, stored("create", "tasks", id="t9"))  # a hole: the device hangs up

        second = await hub.session()
        assert first.left.is_set()
        first.changes(1, stored("create", "tasks", id="late"))
        hello = await second.greet()
        second.ready()
        await phone.until(lambda status: status.state.value == "live")

        assert hello.logical_clock == 0
        assert await phone.read("tasks") == []


async def test_a_device_put_back_to_an_older_copy_marks_what_it_held(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        await phone.create("tasks", {"id": "t1"})
        session = await hub.session()
        await session.greet(logical_clock=3, last_push_id=7)
        for clock in range(1, 4):
            session.changes(clock)
        session.ready(3, 7)
        push = await session.expect(Push)

    assert (push.push_id, push.again) == (8, True)


async def test_a_push_that_the_hub_hangs_up_over_is_set_aside(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        first = await hub.ready_session()
        await phone.create("tasks", {"id": "good"})
        good = await first.expect(Push)
        await phone.create("tasks", {"id": "bad"})
        bad = await first.expect(Push)
        first.close(4400, "bad_message", push_id=bad.push_id)

        second = await hub.ready_session()
        assert await second.expect(Push) == good
        (setback,) = phone.setbacks.values()

    assert (setback.push_id, setback.diff.json_data) == (2, {"id": "bad"})  # type: ignore[union-attr]


async def test_pushes_go_one_by_one_until_the_one_that_breaks_the_line_is_found(
    hub: FakeHub,
) -> None:
    async with a_device(hub) as phone:
        session = await hub.ready_session()
        for name in ("good", "bad"):
            await phone.create("tasks", {"id": name})
            await session.expect(Push)
        session.close(1009)

        session = await hub.ready_session()
        good = await session.expect(Push)
        session.ack(good, 1)
        bad = await session.expect(Push)
        session.close(1009)

        session = await hub.ready_session(logical_clock=1, last_push_id=1)
        await phone.until(lambda status: status.setbacks == 1 and status.pending == 0)
        (setback,) = phone.setbacks.values()

    assert [push.diffs[0]["json_data"]["id"] for push in (good, bad)] == ["good", "bad"]
    assert setback.push_id == bad.push_id


async def test_a_hub_that_hangs_up_over_no_push_is_not_asked_again(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        session = await hub.session()
        await session.expect(Hello)
        session.close(4400, "bad_message")
        status = await phone.until(lambda status: status.state.value == "stopped")

    assert status.error is not None
    assert "bad_message" in status.error
    assert hub.attempts == 1


async def play(session: Session, acks: int) -> list[Push]:
    """Store so many pushes, one after another."""
    pushes = []
    for clock in range(1, acks + 1):
        pushes.append(await session.expect(Push))
        session.ack(pushes[-1], clock)
    return pushes


async def test_ten_thousand_edits_go_in_ten_pushes(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        for start in range(0, 10_000, 1000):
            async with phone.batch() as edits:
                for number in range(start, start + 1000):
                    edits.create("tasks", {"id": f"t{number}"})
        session = await hub.ready_session()
        pushes = await play(session, acks=10)
        await settled(phone)

    names = [diff["json_data"]["id"] for push in pushes for diff in push.diffs]
    assert names == [f"t{number}" for number in range(10_000)]
    assert [push.push_id for push in pushes] == list(range(1, 11))
