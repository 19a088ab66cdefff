"""Nothing that the user typed disappears in silence."""

from typing import Any

import pytest

from client import Device, LostFields, MemoryStorage, RejectedEdit, UnknownSetback
from protocol.messages import Lost, Push, Rejected
from tests.client.fake_hub import FakeHub, Session, stored
from tests.client.fake_world import Clock

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, clock: Clock, storage: MemoryStorage) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, storage=storage)


@pytest.fixture
def kept() -> MemoryStorage:
    return MemoryStorage()


async def reject_next(session: Session, clock: int) -> None:
    push = await session.expect(Push)
    rejected = Rejected(0, push.diffs[0]["id"], "object_deleted", "delete wins")
    session.ack(push, clock, diffs=[], rejected=(rejected,))


async def test_a_rejected_edit_is_kept_with_its_reason_until_it_is_taken(
    hub: FakeHub, clock: Clock, kept: MemoryStorage
) -> None:
    async with a_device(hub, clock, kept) as phone:
        session = await hub.ready_session()
        await phone.update("tasks", {"id": "t1", "title": "lost work"})
        await reject_next(session, 1)
        await phone.until(lambda status: status.setbacks == 1)

    async with a_device(hub, clock, kept) as phone:
        ((number, setback),) = phone.setbacks.items()
        assert isinstance(setback, RejectedEdit)
        assert (setback.code, setback.message) == ("object_deleted", "delete wins")
        assert setback.diff is not None
        assert setback.diff.json_data == {"id": "t1", "title": "lost work"}
        assert await phone.take_setback(number) == setback
        assert phone.status.setbacks == 0

    async with a_device(hub, clock, kept) as phone:
        assert dict(phone.setbacks) == {}


async def test_lost_fields_are_kept_with_the_clock_that_won(
    hub: FakeHub, clock: Clock, kept: MemoryStorage
) -> None:
    async with a_device(hub, clock, kept) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "t1", "title": "mine", "done": True})
        push = await session.expect(Push)
        session.changes(1, stored("create", "tasks", id="t1", title="theirs"))
        session.ack(
            push,
            2,
            diffs=[stored("update", "tasks", id="t1", done=True)],
            lost=(Lost(0, push.diffs[0]["id"], {"title": 1}),),
        )
        await phone.until(lambda status: status.setbacks == 1)
        (setback,) = phone.setbacks.values()

        assert await phone.get("tasks", "t1") == {"id": "t1", "title": "theirs", "done": True}

    assert isinstance(setback, LostFields)
    assert setback.fields == {"title": 1}
    assert setback.diff is not None
    assert setback.diff.json_data["title"] == "mine"


async def test_setbacks_can_be_waited_for(hub: FakeHub, clock: Clock, kept: MemoryStorage) -> None:
    async with a_device(hub, clock, kept) as phone:
        session = await hub.ready_session()
        told: Any = phone.watch_setbacks()
        for number in (1, 2, 3):
            await phone.update("tasks", {"id": f"t{number}", "done": True})
            await reject_next(session, number)
            assert (await anext(told))[0] == number

    assert [number async for number, _ in told] == []


async def test_a_setback_that_is_not_there_cannot_be_taken(
    hub: FakeHub, clock: Clock, kept: MemoryStorage
) -> None:
    async with a_device(hub, clock, kept) as phone:
        with pytest.raises(UnknownSetback, match="no setback 7"):
            await phone.take_setback(7)


async def test_setbacks_cannot_be_changed_by_the_way(
    hub: FakeHub, clock: Clock, kept: MemoryStorage
) -> None:
    async with a_device(hub, clock, kept) as phone:
        with pytest.raises(TypeError):
            phone.setbacks[1] = "mine"  # type: ignore[index]
