"""What every storage of a device must keep to; put another one into `STORAGES` to test it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client import MemoryStorage, SqliteStorage, Storage, StorageInUse
from client.storage import Identity, Kept
from protocol.diffs import Diff
from protocol.messages import Half
from protocol.records import (
    CutPush,
    Edit,
    Known,
    LostFields,
    Position,
    RejectedEdit,
    Saved,
    Writes,
)

Again = Callable[[], Storage]
"""Gives the same data in the hands of the next process."""


def in_memory(_folder: Path) -> Again:
    storage = MemoryStorage()
    return lambda: storage


def in_sqlite(folder: Path) -> Again:
    return lambda: SqliteStorage(folder / "device.db")


STORAGES = [in_memory, in_sqlite]


@pytest.fixture(params=STORAGES, ids=lambda make: make.__name__)
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Again:
    made: Again = request.param(tmp_path)
    return made


async def after(again: Again, *all_writes: Writes) -> Kept:
    """Save these one after another, and read what the next process finds."""
    storage = again()
    await storage.open()
    for writes in all_writes:
        await storage.save(writes)
    await storage.close()
    return await read(again)


async def read(again: Again) -> Kept:
    storage = again()
    await storage.open()
    kept = await storage.load()
    await storage.close()
    return kept


def a_diff(name: str = "t1", **fields: object) -> Diff:
    return Diff(f"diff-{name}", 4, 1_790_000_000_123, "update", "tasks", {"id": name, **fields})


EVERYTHING = Writes(
    Position("log-1", 9, Half(4, 12), 3, 2, 7, 2, 1_790_000_000_999, -250),
    objects={
        ("tasks", "t1"): Known(8, {"id": "t1", "title": "Mjölk 🥛", "tags": ["a", {"b": None}]}),
        ("tasks", "t2"): Known(9, None),
        ("notes", "t1"): Known(1, {"id": "t1", "ratio": 0.1, "large": 2**53 - 1, "zero": 0.0}),
    },
    edits={6: Edit(6, -6, a_diff("t6", done=True)), 5: Edit(5, 5, a_diff("t5"), again=True)},
    pushes={
        3: CutPush(3, (Edit(4, 2, a_diff("t4")),), again=True),
        2: CutPush(2, (Edit(1, -1, a_diff("t1")), Edit(3, 2, a_diff("t3")))),
    },
    setbacks={
        2: LostFields(1, a_diff("t9", title="x"), {"title": 7}),
        1: RejectedEdit(1, None, "object_deleted", "delete wins"),
    },
)


async def test_a_new_storage_holds_nothing(again: Again) -> None:
    assert await read(again) == Kept()


async def test_what_is_saved_is_read_back_in_the_order_of_its_numbers(again: Again) -> None:
    kept = await after(again, EVERYTHING)

    assert kept.saved == Saved(
        EVERYTHING.position,
        EVERYTHING.objects,
        (EVERYTHING.edits[5], EVERYTHING.edits[6]),  # type: ignore[arg-type]
        (EVERYTHING.pushes[2], EVERYTHING.pushes[3]),  # type: ignore[arg-type]
        EVERYTHING.setbacks,  # type: ignore[arg-type]
    )
    assert list(kept.saved.setbacks) == [1, 2]


async def test_numbers_keep_their_types(again: Again) -> None:
    kept = await after(again, EVERYTHING)

    fields = kept.saved.objects["notes", "t1"].fields
    assert fields is not None
    assert {name: type(value) for name, value in fields.items()} == {
        "id": str,
        "ratio": float,
        "large": int,
        "zero": float,
    }


async def test_none_removes_a_record_and_removing_what_is_not_there_does_nothing(
    again: Again,
) -> None:
    removal = Writes(Position(), edits={5: None, 77: None}, pushes={2: None}, setbacks={1: None})

    kept = await after(again, EVERYTHING, removal)

    assert [edit.number for edit in kept.saved.edits] == [6]
    assert [push.push_id for push in kept.saved.pushes] == [3]
    assert list(kept.saved.setbacks) == [2]


async def test_a_record_saved_again_replaces_the_one_before(again: Again) -> None:
    newer = Writes(
        Position(clock=10),
        objects={("tasks", "t1"): Known(10, {"id": "t1"})},
        edits={6: Edit(6, -6, a_diff("other"))},
    )

    kept = await after(again, EVERYTHING, newer)

    assert kept.saved.position == Position(clock=10)
    assert kept.saved.objects["tasks", "t1"] == Known(10, {"id": "t1"})
    assert kept.saved.edits[-1] == newer.edits[6]


async def test_to_forget_removes_the_objects_before_it_stores_the_new_ones(again: Again) -> None:
    reset = Writes(Position("log-2"), forget=True, objects={("tasks", "n"): Known(1, {"id": "n"})})

    kept = await after(again, EVERYTHING, reset)

    assert kept.saved.objects == {("tasks", "n"): Known(1, {"id": "n"})}
    assert len(kept.saved.edits) == 2


async def test_it_remembers_whose_data_it_is(again: Again) -> None:
    storage = again()
    await storage.open()
    await storage.sign(Identity("phone"))
    await storage.sign(Identity("phone", "alice"))
    await storage.close()

    assert (await read(again)).identity == Identity("phone", "alice")


async def test_a_second_holder_is_refused_until_the_first_lets_go(again: Again) -> None:
    first, second = again(), again()
    await first.open()

    with pytest.raises(StorageInUse, match="another"):
        await second.open()

    await first.close()
    await second.open()
    await second.close()


async def test_what_was_saved_stays_as_it_was_when_the_next_changes(again: Again) -> None:
    storage = again()
    await storage.open()
    await storage.save(EVERYTHING)
    before = await storage.load()
    await storage.save(Writes(Position(), forget=True, edits={5: None}))

    assert len(before.saved.objects) == 3
    assert len(before.saved.edits) == 2
    await storage.close()


async def test_ten_thousand_records_are_saved_at_once(again: Again) -> None:
    many = {("tasks", f"t{n}"): Known(n, {"id": f"t{n}", "rank": n}) for n in range(10_000)}

    kept = await after(again, Writes(Position(clock=9_999), objects=dict(many)))

    assert kept.saved.objects == many
