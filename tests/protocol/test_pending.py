"""Section 7 of docs/protocol.md: how edits fold, wait and go, a sentence a test."""

from __future__ import annotations

import cProfile
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.diffs import DiffType, Fields, Object, Stamp, read_diff
from protocol.messages import Push, encode
from protocol.pending import Pending, laid_over
from protocol.records import CutPush, Edit, Position, Writes
from protocol.replica import FRAME_ROOM
from tests.protocol.ledger import T1, Ledger
from tests.protocol.ledger import edit as raw_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PLENTY = 2**20

_numbers = itertools.count(1)


def edit(kind: DiffType, base: int = 0, batch: int = 0, **fields: Any) -> Edit:
    """The next edit of t1: its number is its timestamp and, behind an e, its id."""
    number = next(_numbers)
    value = raw_edit(kind, fields, base=base, at=number, name=f"e{number}")
    return Edit(number, batch or -number, read_diff(value))


def of_another_object(made: Edit) -> Edit:
    diff = msgspec.structs.replace(made.diff, json_data={**made.diff.json_data, "id": "t2"})
    return msgspec.structs.replace(made, diff=diff)


def pending(*edits: Edit, known: bool = False) -> Pending:
    """Edits one after the other; `known`: the server state has the object."""
    held = Pending((), (), Writes(Position()))
    for made in edits:
        held.add(made, known=known)
    return held


def waits(held: Pending) -> list[Edit]:
    return list(held.waiting.values())


def said(edits: Iterable[Edit]) -> list[tuple[str, dict[str, Any]]]:
    """What edits do, in words short enough for a test."""
    return [
        (e.diff.type, {n: value for n, value in e.diff.json_data.items() if n != "id"})
        for e in edits
    ]


def cut(held: Pending, push_id: int = 1, max_diffs: int = 1000, max_bytes: int = PLENTY) -> CutPush:
    push = held.cut(push_id, max_diffs, max_bytes)
    assert push is not None
    return push


# Folding


def test_a_field_set_again_leaves_the_earlier_update_whose_rest_keeps_its_timestamp() -> None:
    first, second = edit("update", a=1, b=1), edit("update", a=2)
    rest, last = waits(pending(first, second))
    assert said([rest, last]) == [("update", {"b": 1}), ("update", {"a": 2})]
    assert (rest.diff.id, rest.diff.utc_timestamp) == (first.diff.id, first.diff.utc_timestamp)
    assert last == second


def test_an_update_all_of_whose_fields_are_set_again_is_gone() -> None:
    first, second = edit("update", a=1), edit("update", a=2, b=2)
    assert waits(pending(first, second)) == [second]


def test_what_folds_keeps_the_id_and_the_timestamp_of_its_last_edit() -> None:
    edits = [edit("update", a=n) for n in range(5)]
    assert waits(pending(*edits)) == [edits[-1]]


def test_a_field_leaves_every_earlier_update_that_sets_it() -> None:
    edits = [edit("update", a=1, b=1), edit("update", c=1), edit("update", a=2, c=2)]
    assert said(waits(pending(*edits))) == [("update", {"b": 1}), ("update", {"a": 2, "c": 2})]


def test_a_field_is_replaced_whole_however_deep_it_is() -> None:
    edits = [edit("update", a={"x": 1, "y": 1}), edit("update", a={"x": 2})]
    assert said(waits(pending(*edits))) == [("update", {"a": {"x": 2}})]


def test_edits_with_different_bases_do_not_fold() -> None:
    edits = [edit("update", 5, a=1), edit("update", 6, a=2)]
    assert waits(pending(*edits)) == edits


def test_nothing_folds_past_an_edit_with_another_base() -> None:
    """After a reset a base can come back that has been there before."""
    edits = [edit("update", 5, a=1), edit("update", 6, a=2), edit("update", 5, a=3)]
    assert waits(pending(*edits)) == edits


def test_updates_do_not_fold_into_a_create_and_go_in_the_same_push() -> None:
    edits = [edit("create", a=1), edit("update", a=2)]
    assert cut(pending(*edits)).edits == tuple(edits)


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_updates_do_not_fold_past_a_create_or_a_delete(kind: DiffType) -> None:
    edits = [edit("update", 0, a=1), edit(kind, 1, a=2), edit("update", 1, a=3)]
    assert waits(pending(*edits, known=True)) == edits


def test_edits_of_other_objects_do_not_fold() -> None:
    edits = [edit("update", a=1), of_another_object(edit("update", a=2)), edit("update", b=3)]
    assert waits(pending(*edits)) == edits


def test_an_edit_that_is_in_a_push_never_folds() -> None:
    """Story 10: folding into a push that was already sent loses the edit."""
    first, second = edit("update", a=1), edit("update", a=2)
    held = pending(first)
    push = cut(held)
    held.add(second, known=True)
    assert held.pushes == {1: push}
    assert (push.edits, waits(held)) == ((first,), [second])


def test_an_edit_that_an_older_copy_held_does_not_fold_into_a_new_one() -> None:
    """Story 15: folded, the older would look newer."""
    held = pending(edit("update", a=1))
    held.mark_again()
    held.add(edit("update", a=2), known=True)
    assert [(e.again, e.diff.json_data["a"]) for e in waits(held)] == [(True, 1), (False, 2)]


def test_two_creates_with_their_delete_fold_into_nothing_together() -> None:
    """The delete folded with the later create alone would leave the earlier one standing."""
    assert waits(pending(edit("create", a=1), edit("create", b=1), edit("delete"))) == []


def test_a_create_and_its_delete_both_go_if_there_is_an_earlier_create_with_another_base() -> None:
    edits = [edit("create", 1, a=1), edit("create", 2, b=1), edit("delete", 2)]
    assert waits(pending(*edits)) == edits


def test_a_create_with_its_delete_folds_into_nothing_if_the_server_state_lacks_it() -> None:
    held = pending(edit("create", a=1), edit("update", a=2), edit("delete"))
    assert (waits(held), len(held), list(held.ids("tasks"))) == ([], 0, [])


def test_a_create_and_its_delete_both_go_if_the_server_state_has_the_object() -> None:
    """Story 10: folded into nothing, the delete would be undone in silence."""
    edits = [edit("create", a=1), edit("delete")]
    assert waits(pending(*edits, known=True)) == edits


def test_a_create_that_is_in_a_push_does_not_fold_with_its_delete() -> None:
    held = pending(edit("create", a=1))
    cut(held)
    delete = edit("delete")
    held.add(delete, known=False)
    assert waits(held) == [delete]


def test_a_second_create_does_not_fold_with_its_delete_while_the_first_is_in_a_push() -> None:
    held = pending(edit("create", a=1))
    cut(held)
    edits = [edit("delete"), edit("create", a=2), edit("delete")]
    for made in edits:
        held.add(made, known=False)
    assert waits(held) == edits


def test_a_create_and_a_delete_with_different_bases_do_not_fold() -> None:
    edits = [edit("create", 1, a=1), edit("delete", 2)]
    assert waits(pending(*edits)) == edits


def test_a_delete_and_a_later_create_do_not_fold() -> None:
    edits = [edit("delete"), edit("create", a=1)]
    assert waits(pending(*edits, known=True)) == edits


def test_a_create_after_a_delete_folds_with_the_next_delete_alone() -> None:
    first = edit("delete")
    assert waits(pending(first, edit("create", a=1), edit("delete"))) == [first]


def test_a_delete_makes_the_updates_before_it_pointless_if_it_is_no_better_informed() -> None:
    old, new, delete = edit("update", 5, a=1), edit("update", 6, b=2), edit("delete", 6)
    assert waits(pending(old, new, delete, known=True)) == [old, delete]


def test_what_folds_away_leaves_the_storage_too() -> None:
    first, second = edit("update", a=1), edit("update", a=2)
    held = pending(first)
    held.writes = Writes(Position())
    held.add(second, known=True)
    assert held.writes.edits == {first.number: None, second.number: second}


# What it costs


def calls_of(made: Callable[[int], list[Edit]], count: int) -> int:
    """The work of making so many edits, cutting them and settling them, as calls of functions."""
    edits = made(count)
    profile = cProfile.Profile()
    with profile:
        held = pending(*edits, known=True)
        pushes = list(iter(lambda: held.cut(len(held.pushes) + 1, 100, PLENTY), None))
        for push in pushes:
            held.settle(push.push_id)
    assert len(held) == 0
    return sum(entry.callcount for entry in profile.getstats())


def of_other_fields(count: int) -> list[Edit]:
    return [edit("update", **{f"field-{n}": n}) for n in range(count)]


def of_the_same_field(count: int) -> list[Edit]:
    return [edit("update", a=n) for n in range(count)]


def of_other_objects(count: int) -> list[Edit]:
    return [edit("create", id=f"t{n}") for n in range(count)]


def of_deletes_and_creates(count: int) -> list[Edit]:
    return [edit("create" if n % 2 else "delete", a=n) for n in range(count)]


@pytest.mark.parametrize(
    "made", [of_other_fields, of_the_same_field, of_other_objects, of_deletes_and_creates]
)
def test_an_edit_costs_the_same_however_many_wait(made: Callable[[int], list[Edit]]) -> None:
    """A phone that was offline for a week made each edit slower than the one before.

    10,000 edits of other fields of one object were made at 300 a second, and 100 at 14,000.
    """
    assert calls_of(made, 1000) < 5 * calls_of(made, 250)


# Cutting


def test_a_push_has_the_edits_in_the_order_in_which_they_were_made() -> None:
    edits = [edit("update", n, a=n) for n in range(7)]
    held = pending(*edits)
    push = cut(held, push_id=9)
    assert push == CutPush(9, tuple(edits))
    assert (waits(held), len(held), held.cut(10, 1, 1)) == ([], 7, None)


def test_a_push_holds_no_more_diffs_than_the_hub_takes() -> None:
    edits = [edit("update", n, a=n) for n in range(7)]
    held = pending(*edits)
    sizes = [len(cut(held, n, max_diffs=3).edits) for n in (1, 2, 3)]
    assert (sizes, waits(held)) == ([3, 3, 1], [])


def test_a_batch_is_not_begun_unless_all_of_it_fits() -> None:
    alone = [edit("update", n, a=n) for n in range(2)]
    batch = [edit("update", n, 7, a=n) for n in range(3)]
    held = pending(*alone, *batch)
    assert cut(held, 1, max_diffs=4).edits == tuple(alone)
    assert cut(held, 2, max_diffs=4).edits == tuple(batch)


def test_a_batch_is_not_begun_unless_its_bytes_fit() -> None:
    alone, *batch = [edit("update", n, n and 7, a="x" * 100) for n in range(3)]
    held = pending(alone, *batch)
    size = sum(len(msgspec.json.encode(e.diff)) + 1 for e in (alone, *batch))
    assert cut(held, 1, max_bytes=size - 1).edits == (alone,)
    assert cut(held, 2, max_bytes=size // 3 * 2).edits == tuple(batch)


def test_a_batch_that_no_push_can_hold_goes_in_several() -> None:
    batch = [edit("update", n, 7, a="x" * 100) for n in range(5)]
    held = pending(*batch)
    assert cut(held, 1, max_diffs=2).edits == tuple(batch[:2])
    size = sum(len(msgspec.json.encode(e.diff)) + 1 for e in batch[2:4])
    assert cut(held, 2, max_bytes=size).edits == tuple(batch[2:4])
    assert cut(held, 3).edits == (batch[4],)


def test_an_edit_larger_than_any_frame_goes_alone_so_that_it_blocks_nothing_for_ever() -> None:
    """The hub closes with 1009, and the push is set aside (section 5)."""
    large, small = edit("update", 1, a="x" * 1000), edit("update", 2, a=1)
    held = pending(large, small)
    assert cut(held, 1, max_bytes=500).edits == (large,)
    assert cut(held, 2, max_bytes=500).edits == (small,)


def test_edits_that_an_older_copy_held_go_in_pushes_of_their_own() -> None:
    held = pending(edit("update", 1, 7, a=1), edit("update", 2, a=2))
    held.mark_again()
    held.add(edit("update", 2, 7, a=3), known=True)
    pushes = [cut(held, 1), cut(held, 2)]
    assert [(push.again, len(push.edits)) for push in pushes] == [(True, 2), (False, 1)]


def test_an_older_copy_takes_its_pushes_back_in_the_order_in_which_they_were_made() -> None:
    """What is stored under their ids need not be what this copy holds."""
    edits = [edit("update", n, 7, a=n) for n in range(4)]
    held = pending(*edits)
    cut(held, 5, max_diffs=2)
    held.writes = Writes(Position())
    held.mark_again()
    taken_back = [msgspec.structs.replace(e, again=True) for e in edits]
    assert (held.pushes, waits(held), list(held.over(T1))) == ({}, taken_back, taken_back)
    assert held.writes.pushes == {5: None}
    assert held.writes.edits == {e.number: e for e in taken_back}
    assert cut(held, 9) == CutPush(9, tuple(taken_back), again=True)


def test_a_push_is_never_changed_but_for_its_bases_at_a_reset() -> None:
    edits = [edit("update", 5, a=1), edit("update", 6, b=1)]
    held = pending(*edits, known=True)
    push = cut(held, 3)
    held.add(edit("update", 7, a=2), known=True)
    assert held.pushes == {3: push}
    held.lower_bases(0)
    bare = [msgspec.structs.replace(e.diff, logical_clock=0) for e in edits]
    assert [e.diff for e in held.pushes[3].edits] == bare
    assert [e.diff.logical_clock for e in waits(held)] == [0]
    assert [e.diff.logical_clock for e in held.over(T1)] == [0, 0, 0]


def test_a_settled_push_lies_on_the_server_state_no_longer() -> None:
    held = pending(edit("update", 1, a=1))
    push = cut(held)
    held.add(edit("update", 2, a=2), known=True)
    assert held.settle(1) == push
    assert (held.settle(1), len(held), len(list(held.over(T1)))) == (None, 1, 1)


def test_the_oldest_edit_is_in_the_oldest_push() -> None:
    first, second = edit("update", 1, a=1), edit("update", 2, a=2)
    held = pending()
    oldest = [held.oldest]
    held.add(first, known=True)
    oldest.append(held.oldest)
    cut(held)
    held.add(second, known=True)
    oldest.append(held.oldest)
    held.settle(1)
    oldest.append(held.oldest)
    assert oldest == [None, first.number, first.number, second.number]


# Laying over


@pytest.mark.parametrize(
    ("there", "made", "shown"),
    [
        (None, edit("create", a=1), {"id": "t1", "a": 1}),
        ({"id": "t1", "b": 2}, edit("create", a=1), {"id": "t1", "a": 1, "b": 2}),
        ({"id": "t1", "a": 2}, edit("update", a=1), {"id": "t1", "a": 1}),
        (None, edit("update", a=1), None),
        ({"id": "t1"}, edit("delete"), None),
        (None, edit("delete"), None),
    ],
    ids=[
        *("create over nothing", "create merges", "update", "update over nothing shows nothing"),
        *("delete", "delete of nothing"),
    ],
)
def test_the_user_sees_an_edit_over_what_is_there(
    there: Fields | None, made: Edit, shown: Fields | None
) -> None:
    before = dict(there) if there else None
    assert laid_over(there, [made]) == shown
    assert there == before


def test_after_a_pending_delete_a_create_replaces() -> None:
    edits = [edit("delete"), edit("create", a=1)]
    assert laid_over({"id": "t1", "b": 2}, edits) == {"id": "t1", "a": 1}


# Whatever is edited


def edits_of_one_object() -> st.SearchStrategy[list[tuple[DiffType, int, dict[str, int]]]]:
    fields = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3)
    kinds: st.SearchStrategy[DiffType] = st.sampled_from(["create", "update", "update", "delete"])
    return st.lists(st.tuples(kinds, st.integers(0, 1), fields), max_size=12)


@given(edits_of_one_object(), st.booleans(), st.sets(st.integers(0, 11)))
def test_folding_and_cutting_change_nothing_that_the_user_sees(
    made: list[tuple[DiffType, int, dict[str, int]]], known: bool, cuts: set[int]
) -> None:
    server: Fields | None = {"id": "t1", "a": -1, "z": -1} if known else None
    held, plain = pending(), list[Edit]()
    for number, (kind, base, fields) in enumerate(made):
        new = edit(kind, base, **fields)
        held.add(new, known=known)
        plain.append(new)
        if number in cuts:
            held.cut(number + 1, 1000, PLENTY)
        assert laid_over(server, held.over(T1)) == laid_over(server, plain)


@given(
    edits_of_one_object(),
    st.sampled_from(["nothing", "update", "delete", "delete and create"]),
    st.integers(-2, 14),
    st.sets(st.integers(0, 11)),
)
def test_a_hub_makes_of_folded_edits_what_it_makes_of_all_of_them(
    made: list[tuple[DiffType, int, dict[str, int]]], meanwhile: str, at: int, cuts: set[int]
) -> None:
    """No old edit looks newer or better informed than it was, whatever another device did."""
    first = next(_numbers)
    plain, folding = Ledger(), Ledger()
    for ledger in (plain, folding):
        ledger.send("desk", raw_edit("create", {"a": -1, "b": -1}, at=first))
        for kind in meanwhile.split(" and ") if meanwhile != "nothing" else ():
            ledger.send("desk", raw_edit(kind, {"a": -2, "c": -2}, base=1, at=max(first + at, 0)))
    held, unfolded = pending(), list[list[Edit]]([[]])
    for number, (kind, base, fields) in enumerate(made):
        new = edit(kind, 1 + base * (plain.head > 1), **fields)
        unfolded[-1].append(new)
        held.add(new, known=True)
        if number in cuts:
            held.cut(number + 1, 1000, PLENTY)
            unfolded.append([])
    held.cut(99, 1000, PLENTY)
    for edits in unfolded:
        plain.send("phone", *[msgspec.to_builtins(e.diff) for e in edits])
    for push in held.pushes.values():
        folding.send("phone", *[msgspec.to_builtins(e.diff) for e in push.edits])
    assert without_clocks(folding) == without_clocks(plain)


def without_clocks(ledger: Ledger) -> Any:
    """The task: its fields, and when and by whom each was set."""
    task = ledger.held[T1]
    if not isinstance(task, Object):
        return None
    stamps = {name: Stamp(0, stamp.timestamp, stamp.device) for name, stamp in task.stamps.items()}
    return task.fields, stamps


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text(max_size=60)), max_size=30),
    st.integers(1, 8),
    st.integers(300, 900),
)
def test_no_push_is_larger_than_its_frame_unless_a_single_edit_is(
    made: list[tuple[int, str]], max_diffs: int, max_frame: int
) -> None:
    held = pending(*[edit("update", n, batch, a=text) for n, (batch, text) in enumerate(made)])
    gone: list[Edit] = []
    for push_id in itertools.count(2**50):
        push = held.cut(push_id, max_diffs, max_frame - FRAME_ROOM)
        if push is None:
            break
        frame = encode(Push(push_id, [e.diff for e in push.edits], again=True))
        assert len(push.edits) <= max_diffs
        assert len(frame) <= max_frame or len(push.edits) == 1
        gone += push.edits
    assert [e.diff.json_data["a"] for e in gone] == [text for _, text in made]
