"""Edits and reads of one device, with no hub in sight."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from client import (
    BatchTooLarge,
    Device,
    DeviceClosed,
    FilterType,
    InvalidDiff,
    MemoryStorage,
    ReadFilter,
    State,
    StorageForeign,
    StorageInUse,
)
from protocol.messages import Push
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock, WatchedStorage

URL = "ws://hub.invalid/sync"


@pytest.fixture
def away(hub: FakeHub) -> FakeHub:
    """A hub that cannot be reached."""
    hub.away = "the cable is cut"
    return hub


def a_device(hub: FakeHub, **given: Any) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=Clock().world, **given)


async def test_edits_made_offline_are_seen_at_once(away: FakeHub) -> None:
    async with a_device(away) as phone:
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        await phone.update("tasks", {"id": "t1", "done": True})
        await phone.create("tasks", {"id": "t2", "title": "Bread"})
        await phone.delete("tasks", "t2")

        assert await phone.read("tasks") == [{"id": "t1", "title": "Milk", "done": True}]
        assert await phone.get("tasks", "t2") is None
        assert await phone.read("notes") == []


async def test_edits_made_offline_are_there_when_the_device_is_opened_again(
    away: FakeHub, tmp_path: Path
) -> None:
    async with a_device(away, path=tmp_path / "phone.db") as phone:
        await phone.create("tasks", {"id": "t1", "title": "Milk"})
        name = phone.name

    async with a_device(away, path=tmp_path / "phone.db") as phone:
        assert await phone.read("tasks") == [{"id": "t1", "title": "Milk"}]
        assert phone.status.pending == 1
        assert phone.name == name


async def test_the_same_device_can_be_opened_again(away: FakeHub) -> None:
    phone = a_device(away, storage=MemoryStorage())
    async with phone:
        await phone.create("tasks", {"id": "t1"})
    async with phone:
        assert await phone.read("tasks") == [{"id": "t1"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "no id"},
        {"id": 7},
        {"id": ""},
        {"id": "t1", "ratio": float("nan")},
        {"id": "t1", "large": 2**53},
        {"id": "t1", "half": "\ud800"},
        {"id": "t1", "pair": (1, 2)},
        {"id": "t1", 3: "three"},
        [("id", "t1")],
    ],
)
async def test_an_edit_that_is_not_well_formed_raises_and_changes_nothing(
    away: FakeHub, fields: Any
) -> None:
    async with a_device(away) as phone:
        with pytest.raises(InvalidDiff):
            await phone.create("tasks", fields)

        assert await phone.read("tasks") == []
        assert phone.status.pending == 0


async def test_an_edit_nested_without_end_raises(away: FakeHub) -> None:
    endless: list[Any] = []
    endless.append(endless)
    async with a_device(away) as phone:
        with pytest.raises(InvalidDiff, match="nested"):
            await phone.create("tasks", {"id": "t1", "endless": endless})


async def test_what_the_application_holds_is_a_copy(away: FakeHub) -> None:
    async with a_device(away) as phone:
        fields: dict[str, Any] = {"id": "t1", "tags": ["a"], "more": {"b": [1]}}
        await phone.create("tasks", fields)
        fields["tags"].append("changed")
        fields["more"]["b"].append("changed")
        (read,) = await phone.read("tasks")
        read["tags"].append("changed")
        got = await phone.get("tasks", "t1")
        assert got is not None
        got["more"]["b"].append("changed")

        assert await phone.get("tasks", "t1") == {"id": "t1", "tags": ["a"], "more": {"b": [1]}}


async def test_reading_takes_the_objects_that_fulfil_all_filters(away: FakeHub) -> None:
    async with a_device(away) as phone:
        for rank in range(6):
            await phone.create("tasks", {"id": f"t{rank}", "rank": rank, "odd": rank % 2 == 1})

        found = await phone.read(
            "tasks",
            [ReadFilter("rank", FilterType.major, 1), ReadFilter("odd", FilterType.equal, True)],
        )

    assert [task["rank"] for task in found] == [3, 5]


# Batches


async def test_a_batch_appears_at_once_when_the_block_ends(away: FakeHub) -> None:
    async with a_device(away) as phone:
        async with phone.batch() as edits:
            edits.create("tasks", {"id": "t1"})
            edits.update("tasks", {"id": "t1", "done": True})
            edits.create("tasks", {"id": "t2"})
            edits.delete("tasks", "t2")
            assert await phone.read("tasks") == []

        assert await phone.read("tasks") == [{"id": "t1", "done": True}]


async def test_a_batch_is_stored_in_one_save_and_pushed_in_one_push(
    hub: FakeHub, storage: WatchedStorage
) -> None:
    async with a_device(hub, storage=storage) as phone:
        session = await hub.ready_session()
        async with phone.batch() as edits:
            for number in range(50):
                edits.create("tasks", {"id": f"t{number}"})
        push = await session.expect(Push)

    assert len(push.diffs) == 50
    assert {len(writes.edits) for writes in storage.saves if writes.edits} == {50}


async def create_together(phone: Device, *objects: dict[str, Any]) -> None:
    async with phone.batch() as edits:
        for fields in objects:
            edits.create("tasks", fields)


async def create_and_fail(phone: Device) -> None:
    async with phone.batch() as edits:
        edits.create("tasks", {"id": "t1"})
        raise ZeroDivisionError


async def test_nothing_of_a_batch_is_made_if_its_block_raises(away: FakeHub) -> None:
    async with a_device(away) as phone:
        with pytest.raises(ZeroDivisionError):
            await create_and_fail(phone)

        assert await phone.read("tasks") == []
        assert phone.status.pending == 0


async def test_an_invalid_edit_in_a_batch_raises_where_it_is_written(away: FakeHub) -> None:
    async with a_device(away) as phone:
        with pytest.raises(InvalidDiff):
            await create_together(phone, {"id": "t1"}, {"id": "t2", "bad": {1, 2}})

        assert phone.status.pending == 0


async def test_a_batch_that_no_push_can_hold_is_refused_whole(away: FakeHub) -> None:
    async with a_device(away) as phone:
        with pytest.raises(BatchTooLarge, match=r"1001 edits.*takes 1000.*several batches"):
            await create_together(phone, *({"id": f"t{n}"} for n in range(1001)))
        with pytest.raises(BatchTooLarge, match=r"bytes.*several batches"):
            await create_together(phone, *({"id": f"t{n}", "x": "x" * 230_000} for n in range(5)))

        assert phone.status.pending == 0


async def test_the_limit_of_a_batch_is_the_one_the_hub_told(hub: FakeHub) -> None:
    async with a_device(hub) as phone:
        session = await hub.session()
        await session.greet(limits={"max_diffs": 2, "max_frame_bytes": 2**20})
        await phone.until(lambda status: status.connected)

        with pytest.raises(BatchTooLarge, match="takes 2"):
            await create_together(phone, *({"id": f"t{n}"} for n in range(3)))


async def test_an_empty_batch_is_nothing(away: FakeHub, storage: WatchedStorage) -> None:
    async with a_device(away, storage=storage) as phone:
        async with phone.batch():
            pass

        assert storage.saves == []


# Names and lives


async def test_a_name_is_chosen_once_and_kept(away: FakeHub) -> None:
    storage = MemoryStorage()
    async with a_device(away, storage=storage, name="phone") as phone:
        assert phone.name == "phone"
    async with a_device(away, storage=storage) as phone:
        assert phone.name == "phone"


async def test_the_data_of_one_device_is_not_taken_by_another(away: FakeHub) -> None:
    storage = MemoryStorage()
    async with a_device(away, storage=storage, name="phone"):
        pass

    with pytest.raises(StorageForeign, match="the data of device phone, not of laptop"):
        async with a_device(away, storage=storage, name="laptop"):
            pass

    async with a_device(away, storage=storage):
        pass


@pytest.mark.parametrize("name", ["", "x" * 65, "mobync"])
def test_a_name_that_the_hub_would_refuse_is_refused_at_once(name: str, hub: FakeHub) -> None:
    with pytest.raises(ValueError, match="cannot be a device's name"):
        a_device(hub, name=name)


def test_a_path_and_a_storage_at_once_are_refused(hub: FakeHub) -> None:
    with pytest.raises(ValueError, match="either a path or a storage"):
        a_device(hub, path="phone.db", storage=MemoryStorage())


async def test_a_second_device_on_the_same_file_is_refused(away: FakeHub, tmp_path: Path) -> None:
    async with a_device(away, path=tmp_path / "phone.db") as phone:
        with pytest.raises(StorageInUse, match="another process or another Device"):
            async with a_device(away, path=tmp_path / "phone.db"):
                pass

        await phone.create("tasks", {"id": "t1"})


async def test_a_closed_device_says_so(away: FakeHub) -> None:
    phone = a_device(away)
    async with phone:
        pass

    with pytest.raises(DeviceClosed, match="async with"):
        await phone.create("tasks", {"id": "t1"})
    with pytest.raises(DeviceClosed):
        await phone.read("tasks")
    with pytest.raises(DeviceClosed):
        _ = phone.status


async def test_an_error_in_the_block_comes_out_as_it_is(away: FakeHub) -> None:
    with pytest.raises(ZeroDivisionError):
        async with a_device(away):
            raise ZeroDivisionError


async def test_a_block_that_is_cancelled_is_left_in_order(hub: FakeHub) -> None:
    opened = asyncio.Event()
    phone = a_device(hub)

    async def live() -> None:
        async with phone:
            opened.set()
            await asyncio.Event().wait()

    life = asyncio.create_task(live())
    await opened.wait()
    session = await hub.ready_session()
    life.cancel()
    await asyncio.wait([life])

    assert life.cancelled()
    assert session.left.is_set()


async def test_an_edit_whose_caller_gives_up_is_made_all_the_same(
    away: FakeHub, storage: WatchedStorage
) -> None:
    async with a_device(away, storage=storage) as phone:
        storage.gate.clear()
        editing = asyncio.create_task(phone.create("tasks", {"id": "t1"}))
        await storage.begun.wait()
        editing.cancel()
        await asyncio.wait([editing])
        storage.gate.set()

    async with a_device(away, storage=storage) as phone:
        assert await phone.read("tasks") == [{"id": "t1"}]


async def test_edits_that_wait_are_stored_together(away: FakeHub, storage: WatchedStorage) -> None:
    async with a_device(away, storage=storage) as phone:
        storage.gate.clear()
        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                tasks.create_task(phone.create("tasks", {"id": f"t{number}"}))
            await storage.begun.wait()
            storage.gate.set()

    assert len(storage.saves) <= 2
    assert sum(len(writes.edits) for writes in storage.saves) == 100


async def test_who_waits_for_a_status_hears_of_what_is_done_here(
    away: FakeHub, storage: WatchedStorage
) -> None:
    """A user deleted what he had just made, and who waited for nothing pending never woke."""
    async with a_device(away, storage=storage) as phone:
        await phone.until(lambda status: status.state is State.WAITING)
        making = asyncio.create_task(phone.until(lambda status: status.pending == 1))
        await asyncio.sleep(0)
        await phone.create("tasks", {"id": "t1"})
        async with asyncio.timeout(1):
            await making
        clearing = asyncio.create_task(phone.until(lambda status: status.pending == 0))
        await asyncio.sleep(0)
        await phone.delete("tasks", "t1")

        async with asyncio.timeout(1):
            await clearing


async def test_the_hub_being_away_is_said(away: FakeHub) -> None:
    async with a_device(away) as phone:
        status = await phone.until(lambda status: status.state is State.WAITING)

    assert status.error == "the cable is cut"
    assert not status.connected
