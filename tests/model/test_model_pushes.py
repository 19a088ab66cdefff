"""The model of section 5: pushes once and again, refused parts, and what is too large."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.model import strategies
from tests.model.scenes import NOW, T1, Hub, codes, edit, hub_with, hub_without, lost, types

# Well formed or not, too large, and the rest of the push


def test_a_refused_diff_never_stops_the_rest_of_the_push() -> None:
    hub = Hub()
    stored = hub.send("phone", 7, edit("update"), edit("create", {"title": "Milk"}))
    assert [(r["index"], r["code"]) for r in stored["rejected"]] == [
        (0, "invalid_diff"),
        (1, "no_such_object"),
    ]
    assert hub.task() == {"title": "Milk"}


def test_a_push_of_which_nothing_is_left_takes_its_clock() -> None:
    hub = Hub()
    assert hub.send("phone", None)["diffs"] == []
    assert hub.send("phone", edit("create"))["logical_clock"] == 2


def test_a_malformed_diff_is_named_by_its_id_only_if_that_is_one() -> None:
    no_type = edit("create", name="e1")
    del no_type["type"]
    stored = Hub().send("phone", no_type, {**no_type, "id": "x" * 65}, "e1")
    assert [rejection["id"] for rejection in stored["rejected"]] == ["e1", None, None]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for table in (strategies.ILL, strategies.UNSPEAKABLE)
        for field, values in table.items()
        for value in values
    ]
    + [("utc_timestamp", value) for value in strategies.MAYBE_COUNTS],
    ids=lambda value: repr(value)[:30],
)
def test_a_diff_with_an_ill_value_is_not_well_formed(field: str, value: Any) -> None:
    stored = Hub().send("phone", {**edit("create"), field: value})
    assert codes(stored) == ["invalid_diff"]


@pytest.mark.parametrize("field", sorted(strategies.ILL))
def test_a_diff_that_lacks_a_field_is_not_well_formed(field: str) -> None:
    diff = edit("create")
    del diff[field]
    assert codes(Hub().send("phone", diff)) == ["invalid_diff"]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in strategies.LONGEST.items() for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_a_diff_at_the_edge_of_what_is_allowed_is_well_formed(field: str, value: Any) -> None:
    assert codes(Hub().send("phone", {**edit("create"), field: value})) == []


def test_what_a_delete_carries_beside_its_id_must_be_i_json_though_it_is_ignored() -> None:
    assert codes(Hub().send("phone", edit("delete", {"rank": 2**53}))) == ["invalid_diff"]


def test_an_object_may_be_exactly_as_large_as_allowed() -> None:
    largest = {"id": "t1", "title": "é" * 10}
    size = len(json.dumps(largest, separators=(",", ":"), ensure_ascii=False).encode())
    hub = Hub(max_object_bytes=size)
    assert codes(hub.send("phone", edit("create", {"title": "é" * 10 + "e"}))) == ["too_large"]
    assert hub.objects() == {}
    assert codes(hub.send("phone", edit("create", {"title": "é" * 10}))) == []


def test_an_update_that_would_make_its_object_too_large_is_rejected_as_a_whole() -> None:
    hub = Hub(max_object_bytes=50)
    hub.send("phone", edit("create", {"title": "x" * 20}))
    grown = edit("update", {"title": "", "note": "x" * 50}, base=1)
    assert codes(hub.send("laptop", grown)) == ["too_large"]
    assert hub.task() == {"title": "x" * 20}


def test_the_size_of_an_object_counts_all_its_fields() -> None:
    hub = Hub(max_object_bytes=50)
    hub.send("phone", edit("create", {"title": "x" * 20}))
    assert codes(hub.send("laptop", edit("update", {"note": "y" * 20}))) == ["too_large"]


def test_a_value_that_loses_cannot_make_its_object_too_large() -> None:
    hub = Hub(max_object_bytes=50)
    hub.send("phone", edit("create", {"title": "x" * 20}))
    stored = hub.send("laptop", edit("update", {"title": "y" * 90}, at=0))
    assert (codes(stored), lost(stored)) == ([], [{"title": 1}])


# Section 5: once, and again


def test_a_push_is_stored_once_however_often_it_is_sent() -> None:
    hub = Hub()
    assert hub.push("phone", 4, [edit("create")], now=NOW) is not None
    for push_id in (4, 3, 1):
        assert hub.push("phone", push_id, [edit("delete")], now=NOW) is None
    assert (hub.head, len(hub.log), hub.last_push_id("phone")) == (1, 1, 4)
    assert hub.push("laptop", 1, [edit("delete")], now=NOW) is not None
    assert hub.last_push_id("tab") == 0


def test_polled_pushes_have_no_counter() -> None:
    hub = Hub()
    for clock in (1, 2):
        stored = hub.push("mobync", 1, [edit("delete")], now=NOW, polled=True)
        assert stored is not None
        assert stored["logical_clock"] == clock
    assert hub.last_push_id("mobync") == 0


def test_a_push_sent_again_leaves_out_what_the_log_holds_with_effect_or_not() -> None:
    hub = Hub()
    created = edit("create", {"title": "Milk"}, name="e1")
    no_effect = edit("delete", name="e2") | {"model": "notes"}
    refused = edit("update", name="e3") | {"model": "notes"}
    malformed = {"id": "e4"}
    hub.send("phone", created, no_effect, refused, malformed)
    new = edit("update", {"done": True}, name="e5")
    stored = hub.send("phone", created, no_effect, refused, malformed, new, again=True)
    assert [diff["id"] for diff in stored["diffs"]] == ["e5"]
    assert (stored["lost"], stored["rejected"], stored["differs"]) == ([], [], True)


def test_a_push_not_sent_again_is_not_searched_for_known_diffs() -> None:
    hub = hub_with(title="Milk")
    hub.send("phone", edit("delete", base=1, name="e1"))
    hub.send("phone", edit("create", base=2))
    assert types(hub.send("phone", edit("delete", base=3, name="e1"))) == ["delete"]


def test_a_push_sent_again_is_too_old_where_its_base_lies_before_the_log() -> None:
    hub = Hub()
    for _ in range(5):
        hub.send("laptop", edit("create"))
    hub.forget_log(through=3)
    old = edit("update", {"done": 1}, base=2, name="e1")
    old_enough = edit("update", {"done": 2}, base=3)
    stored = hub.send("phone", old, old_enough, again=True)
    assert stored["rejected"] == [{"index": 0, "id": "e1", "code": "too_old"}]
    assert hub.task() == {"done": 2}


def test_a_push_sent_again_is_too_old_below_the_head_where_the_log_is_empty() -> None:
    hub = hub_with(title="Milk")
    hub.send("phone", edit("update", {"title": "Bread"}, base=1))
    hub.forget_log(through=2)
    diffs = [edit("update", {"title": "Soup"}, base=base) for base in (1, 2)]
    assert codes(hub.send("phone", *diffs, again=True)) == ["too_old"]
    assert hub.task() == {"title": "Soup"}


def test_only_a_push_sent_again_can_be_too_old() -> None:
    hub = hub_with(title="Milk")
    hub.forget_log(through=1)
    assert codes(hub.send("phone", edit("update", {"title": "Bread"}))) == []


def test_the_log_forgets_the_ids_of_its_diffs_with_their_pushes() -> None:
    hub = Hub()
    hub.send("phone", edit("create", name="e1"))
    hub.forget_log(through=1)
    stored = hub.send("phone", edit("update", {"done": 1}, base=1, name="e1"), again=True)
    assert types(stored) == ["update"]


def test_an_object_whose_tombstone_is_forgotten_is_unknown() -> None:
    hub = hub_without()
    hub.forget_tombstones(through=1)
    assert T1 in hub.tombstones()
    hub.forget_tombstones(through=2)
    assert codes(hub.send("laptop", edit("update"))) == ["no_such_object"]
    assert types(hub.send("laptop", edit("create", at=0))) == ["create"]
