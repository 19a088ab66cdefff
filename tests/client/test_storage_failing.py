"""A storage that fails: said at once, nothing more is done, and nothing is half stored."""

import asyncio
from typing import Any

import pytest

from client import Device, State, StorageFailed
from client.storage import Identity
from protocol.messages import Push
from tests.client.fake_hub import FakeHub, stored
from tests.client.fake_world import Clock, WatchedStorage

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, clock: Clock, storage: WatchedStorage) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, storage=storage)


def live(status: Any) -> bool:
    return bool(status.state is State.LIVE)


async def test_an_edit_that_could_not_be_stored_raises_and_is_not_sent(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    async with a_device(hub, clock, storage) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "kept"})
        await session.expect(Push)
        storage.broken = True
        with pytest.raises(StorageFailed, match="disk is full"):
            await phone.create("tasks", {"id": "not kept"})

        status = phone.status
        assert (status.state, status.error) == (State.STOPPED, "the disk is full")
        await session.left.wait()
        assert not [said for said in session.unheard() if isinstance(said, Push)]
        for use in (phone.read("tasks"), phone.delete("tasks", "kept"), phone.synchronize()):
            with pytest.raises(StorageFailed, match="disk is full"):
                await use

    storage.broken = False
    async with a_device(hub, clock, storage) as phone:
        assert await phone.read("tasks") == [{"id": "kept"}]


async def test_what_came_from_the_hub_and_could_not_be_stored_is_not_said_to_be_safe(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    async with a_device(hub, clock, storage) as phone:
        session = await hub.ready_session()
        await phone.until(live)
        storage.broken = True
        session.changes(1, stored("create", "tasks", id="t1"))
        await session.left.wait()

        assert session.unheard() == []
        with pytest.raises(StorageFailed):
            await phone.get("tasks", "t1")


async def test_all_who_wait_for_a_save_are_told(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    async with a_device(hub, clock, storage) as phone:
        synchronizing = asyncio.create_task(phone.synchronize(None))
        waiting = asyncio.create_task(phone.until(lambda status: status.pending == 77))
        storage.gate.clear()
        editing = [
            asyncio.create_task(phone.create("tasks", {"id": f"t{number}"})) for number in range(5)
        ]
        await storage.begun.wait()
        storage.broken = True
        storage.gate.set()
        outcomes = await asyncio.gather(*editing, synchronizing, waiting, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StorageFailed] * 7


async def test_a_storage_that_raises_anything_else_has_failed_too(
    hub: FakeHub, clock: Clock, storage: WatchedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def save(_writes: object) -> None:
        raise ValueError("I am a teapot")

    async with a_device(hub, clock, storage) as phone:
        monkeypatch.setattr(storage, "save", save)
        with pytest.raises(StorageFailed, match="ValueError: I am a teapot"):
            await phone.create("tasks", {"id": "t1"})


async def test_a_storage_that_fails_at_the_start_opens_no_device(
    hub: FakeHub, clock: Clock, storage: WatchedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sign(_identity: object) -> None:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(storage, "sign", sign)
    with pytest.raises(StorageFailed, match="disk is full"):
        async with a_device(hub, clock, storage):
            pass

    monkeypatch.undo()
    async with a_device(hub, clock, storage):
        pass


class KilledAtSigning(WatchedStorage):
    """A storage whose process dies when it is to note the user."""

    async def sign(self, identity: Identity) -> None:
        if identity.user is not None:
            raise StorageFailed("killed")
        await super().sign(identity)


async def test_nothing_of_a_user_is_stored_before_it_is_noted_whose_it_is(
    hub: FakeHub, clock: Clock
) -> None:
    """A phone was killed between storing alice's first page and noting that it was hers.

    The next token was bob's; nothing stood against it, and what alice had edited became his.
    """
    storage = KilledAtSigning()
    async with a_device(hub, clock, storage) as phone:
        session = await hub.session()
        await session.greet(user="alice", log_id="log-1", logical_clock=1)
        session.changes(1, stored("create", "tasks", id="t1"))
        session.ready(1)
        await phone.until(lambda status: status.state is State.STOPPED)

    saved = (await storage.load()).saved
    assert (saved.position.log_id, saved.objects) == (None, {})
