"""The model against the text it was written from: the tables of section 4, row by row.

These tests keep the model honest; the product is tested against the model elsewhere.
"""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.model import strategies
from tests.model.hub import ModelHub, fold, has_valid_id, is_well_formed

NOW = strategies.START
T1 = ("tasks", "t1")
MINUTE = 60_000

_names = itertools.count(1)


def edit(
    kind: str, fields: dict[str, Any] | None = None, *, base: int = 0, at: int = NOW, name: str = ""
) -> dict[str, Any]:
    """A diff of the task t1."""
    return {
        "id": name or f"edit-{next(_names)}",
        "logical_clock": base,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": {"id": "t1", **(fields or {})},
    }


class Hub(ModelHub):
    """The model with shorter words for what these tests do and look at."""

    def send(self, device: str, *diffs: Any, again: bool = False, now: int = NOW) -> dict[str, Any]:
        """Store the next push of this device; "mobync" polls."""
        polled = device == strategies.POLLER
        push_id = self.last_push_id(device) + 1
        stored = self.push(device, push_id, list(diffs), now=now, again=again, polled=polled)
        assert stored is not None
        return stored

    def task(self) -> dict[str, Any]:
        """The fields of t1 beside its id."""
        fields = self.objects()[T1]["fields"]
        return {name: value for name, value in fields.items() if name != "id"}


def codes(stored: dict[str, Any]) -> list[str]:
    return [rejection["code"] for rejection in stored["rejected"]]


def types(stored: dict[str, Any]) -> list[str]:
    return [diff["type"] for diff in stored["diffs"]]


def lost(stored: dict[str, Any]) -> list[dict[str, int]]:
    return [loss["fields"] for loss in stored["lost"]]


def hub_with(**fields: Any) -> Hub:
    """A hub on which the phone has made t1 at clock 1."""
    hub = Hub()
    hub.send("phone", edit("create", fields))
    return hub


def hub_without(*, at: int = NOW) -> Hub:
    """A hub on which the phone made t1 at clock 1 and deleted it at clock 2."""
    hub = hub_with(title="Milk")
    hub.send("phone", edit("delete", base=1, at=at))
    return hub


# The first table of section 4


def test_a_create_of_an_unknown_object_creates_it() -> None:
    hub = Hub()
    stored = hub.send("phone", edit("create", {"title": "Milk"}, name="e1"))
    assert stored == {
        "logical_clock": 1,
        "device": "phone",
        "push_id": 1,
        "diffs": [
            {
                "id": "e1",
                "utc_timestamp": NOW,
                "type": "create",
                "model": "tasks",
                "json_data": {"id": "t1", "title": "Milk"},
            }
        ],
        "lost": [],
        "rejected": [],
        "differs": False,
    }
    assert hub.objects() == {T1: {"fields": {"id": "t1", "title": "Milk"}, "logical_clock": 1}}


def test_a_create_of_a_deleted_object_creates_it_anew_if_its_base_has_seen_the_delete() -> None:
    hub = hub_without()
    stored = hub.send("laptop", edit("create", {"done": True}, base=2, at=NOW - MINUTE))
    assert types(stored) == ["create"]
    assert hub.task() == {"done": True}
    assert hub.tombstones() == {}


def test_a_create_of_a_deleted_object_creates_it_anew_if_this_device_deleted_it() -> None:
    hub = hub_without()
    assert types(hub.send("phone", edit("create", base=1, at=NOW - MINUTE))) == ["create"]


def test_a_create_sent_again_does_not_know_what_this_device_deleted() -> None:
    hub = hub_without()
    stored = hub.send("phone", edit("create", base=1, at=NOW - MINUTE), again=True)
    assert codes(stored) == ["object_deleted"]


def test_a_polled_create_does_not_know_what_polling_devices_deleted() -> None:
    hub = hub_with(title="Milk")
    hub.send("mobync", edit("delete", base=1))
    assert codes(hub.send("mobync", edit("create", base=1))) == ["object_deleted"]


def test_a_create_of_a_deleted_object_creates_it_anew_if_its_push_deletes_it_with_effect() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("delete"), edit("create", {"done": True}, at=NOW - MINUTE))
    assert types(stored) == ["delete", "create"]
    assert hub.task() == {"done": True}


@pytest.mark.parametrize("device", ["laptop", "mobync"])
def test_a_create_of_a_deleted_object_creates_it_anew_if_its_push_deletes_it_without_effect(
    device: str,
) -> None:
    hub = hub_without()
    stored = hub.send(device, edit("delete"), edit("create", {"done": True}, at=NOW - MINUTE))
    assert types(stored) == ["create"]
    assert hub.task() == {"done": True}


def test_a_delete_later_in_the_push_does_not_help_a_create() -> None:
    hub = hub_without()
    stored = hub.send("laptop", edit("create", at=NOW - 1), edit("delete"))
    assert codes(stored) == ["object_deleted"]
    assert stored["diffs"] == []


def test_a_delete_that_is_refused_does_not_help_a_create() -> None:
    hub = hub_without()
    refused = {**edit("delete"), "utc_timestamp": -1}
    stored = hub.send("laptop", refused, edit("create", at=NOW - 1))
    assert codes(stored) == ["invalid_diff", "object_deleted"]


def test_a_create_of_a_deleted_object_creates_it_anew_if_it_is_newer_than_the_tombstone() -> None:
    hub = hub_without()
    assert types(hub.send("laptop", edit("create", at=NOW + 1))) == ["create"]


@pytest.mark.parametrize("at", [NOW - 1, NOW])
def test_a_create_of_a_deleted_object_is_rejected_else(at: int) -> None:
    hub = hub_without()
    stored = hub.send("laptop", edit("create", base=1, at=at, name="e9"))
    assert stored["rejected"] == [{"index": 0, "id": "e9", "code": "object_deleted"}]
    assert stored["diffs"] == []
    assert stored["differs"]
    assert T1 in hub.tombstones()


def test_a_create_of_an_object_that_is_there_merges_as_an_update() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("create", {"done": True}))
    assert types(stored) == ["update"]
    assert stored["differs"]
    assert hub.task() == {"title": "Milk", "done": True}


def test_a_create_of_an_object_that_is_there_loses_the_fields_that_an_update_would_lose() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("create", {"title": "Bread", "done": True}, at=NOW - 1))
    assert lost(stored) == [{"title": 1}]
    assert hub.task() == {"title": "Milk", "done": True}


def test_a_create_with_no_field_but_id_does_nothing_to_an_object_that_is_there() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("create"))
    assert (stored["diffs"], stored["lost"], stored["rejected"]) == ([], [], [])
    assert hub.objects()[T1]["logical_clock"] == 1


def test_an_update_of_an_object_that_is_there_sets_its_fields() -> None:
    hub = hub_with(title="Milk", done=False)
    stored = hub.send("laptop", edit("update", {"done": True}, base=1))
    assert not stored["differs"]
    assert hub.task() == {"title": "Milk", "done": True}
    assert hub.objects()[T1]["logical_clock"] == 2


def test_an_update_of_a_deleted_object_is_rejected_whatever_it_has_seen() -> None:
    hub = hub_without()
    newer = edit("update", {"done": True}, base=2, at=NOW + 5)
    assert codes(hub.send("phone", newer, edit("update"))) == ["object_deleted"] * 2


def test_an_update_after_a_delete_in_the_same_push_is_rejected() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("phone", edit("delete", base=1), edit("update", {"done": True}, base=1))
    assert codes(stored) == ["object_deleted"]
    assert types(stored) == ["delete"]


def test_an_update_of_an_unknown_object_is_rejected() -> None:
    assert codes(Hub().send("phone", edit("update", {"done": True}))) == ["no_such_object"]


def test_a_delete_of_an_object_that_is_there_deletes_it_whatever_the_timestamps() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("delete", {"title": "Milk"}, at=5))
    assert stored["diffs"][0]["json_data"] == {"id": "t1"}
    assert not stored["differs"]
    assert hub.objects() == {}
    assert hub.tombstones() == {T1: {"logical_clock": 2, "utc_timestamp": 5, "device": "laptop"}}


def test_a_delete_of_a_deleted_object_is_accepted_and_leaves_its_tombstone() -> None:
    hub = hub_without()
    before = hub.tombstones()
    stored = hub.send("laptop", edit("delete", at=NOW + 5))
    assert (stored["diffs"], stored["rejected"], stored["differs"]) == ([], [], True)
    assert hub.tombstones() == before


def test_a_delete_of_an_unknown_object_is_accepted_and_leaves_no_tombstone() -> None:
    hub = Hub()
    stored = hub.send("laptop", edit("delete"))
    assert (stored["diffs"], stored["rejected"], hub.tombstones()) == ([], [], {})


# Field by field


def test_a_value_is_kept_if_the_base_has_seen_the_stored_one_however_old_it_is() -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("update", {"title": "Bread"}, base=1, at=5))
    assert hub.task() == {"title": "Bread"}


def test_a_value_is_kept_if_its_push_has_set_the_field_earlier() -> None:
    hub = hub_with(title="Milk")
    first = edit("update", {"title": "a"}, at=NOW + 9)
    stored = hub.send("laptop", first, edit("update", {"title": "b"}, at=NOW - 9))
    assert not stored["differs"]
    assert hub.task() == {"title": "b"}


@pytest.mark.parametrize(("device", "again"), [("mobync", False), ("phone", True)])
def test_a_push_polled_or_sent_again_knows_what_it_has_set_itself(device: str, again: bool) -> None:
    hub = Hub()
    created = edit("create", {"title": "a"})
    hub.send(device, created, edit("update", {"title": "b"}, at=NOW - 9), again=again)
    assert hub.task() == {"title": "b"}


def test_a_value_is_kept_if_this_device_set_the_stored_one() -> None:
    hub = hub_with(title="Milk")
    hub.send("phone", edit("update", {"title": "Bread"}, at=NOW - 9))
    assert hub.task() == {"title": "Bread"}


def test_a_push_sent_again_does_not_know_what_this_device_set() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("phone", edit("update", {"title": "Bread"}, at=NOW - 9), again=True)
    assert lost(stored) == [{"title": 1}]


def test_a_polled_push_does_not_know_what_polling_devices_set() -> None:
    hub = Hub()
    hub.send("mobync", edit("create", {"title": "Milk"}))
    stored = hub.send("mobync", edit("update", {"title": "Bread"}, at=NOW - 9))
    assert lost(stored) == [{"title": 1}]


@pytest.mark.parametrize("at", [NOW, NOW + 1])
def test_a_value_that_had_not_seen_the_stored_one_is_kept_if_it_is_no_older(at: int) -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("update", {"title": "Bread"}, at=at))
    assert hub.task() == {"title": "Bread"}


def test_an_older_value_that_had_not_seen_the_stored_one_loses() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("update", {"title": "Bread"}, at=NOW - 1, name="e9"))
    assert stored["lost"] == [{"index": 0, "id": "e9", "fields": {"title": 1}}]
    assert (stored["diffs"], stored["rejected"], stored["differs"]) == ([], [], True)
    assert hub.objects()[T1] == {"fields": {"id": "t1", "title": "Milk"}, "logical_clock": 1}


def test_of_one_diff_a_field_may_lose_and_another_be_kept() -> None:
    hub = hub_with(title="Milk", done=False)
    hub.send("phone", edit("update", {"title": "Bread"}, base=1, at=NOW + 5))
    both = edit("update", {"title": "Soup", "done": True}, base=1)
    stored = hub.send("laptop", both)
    assert lost(stored) == [{"title": 2}]
    assert [diff["json_data"] for diff in stored["diffs"]] == [{"id": "t1", "done": True}]
    assert stored["differs"]
    assert hub.task() == {"title": "Bread", "done": True}


def test_a_field_never_set_is_known_to_everybody() -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("update", {"done": True}, at=0))
    assert hub.task() == {"title": "Milk", "done": True}


def test_an_object_created_anew_starts_afresh() -> None:
    hub = hub_with(title="Milk", done=False)
    hub.send("phone", edit("delete", base=1, at=NOW + 1))
    hub.send("phone", edit("create", {"title": "Bread"}, base=2, at=NOW + 2))
    stored = hub.send("laptop", edit("update", {"title": "Old", "done": True}, base=1, at=0))
    assert lost(stored) == [{"title": 3}]
    assert hub.task() == {"title": "Bread", "done": True}


def test_a_kept_value_takes_this_clock_and_the_greater_timestamp_and_goes_out_with_its_own() -> (
    None
):
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("update", {"title": "Bread"}, base=1, at=NOW - 9))
    assert stored["diffs"][0]["utc_timestamp"] == NOW - 9
    loser = hub.send("tab", edit("update", {"title": "Soup"}, base=1, at=NOW - 1))
    assert lost(loser) == [{"title": 2}]


def test_null_is_a_value_like_any_other() -> None:
    hub = hub_with(title="Milk")
    hub.send("phone", edit("update", {"title": None}, base=1))
    assert hub.task() == {"title": None}


def test_the_same_value_set_once_more_is_a_change() -> None:
    hub = hub_with(title="Milk")
    assert not hub.send("laptop", edit("update", {"title": "Milk"}, base=1))["differs"]
    assert hub.objects()[T1]["logical_clock"] == 2


def test_a_timestamp_too_far_ahead_counts_and_goes_out_as_the_latest_allowed() -> None:
    hub = Hub()
    stored = hub.send("phone", edit("create", {"title": "Milk"}, at=NOW + MINUTE + 1))
    assert stored["diffs"][0]["utc_timestamp"] == NOW + MINUTE
    assert not stored["differs"]
    hub.send("laptop", edit("update", {"title": "Bread"}, at=NOW + MINUTE))
    assert hub.task() == {"title": "Bread"}


def test_a_delete_too_far_ahead_leaves_a_tombstone_at_the_latest_allowed() -> None:
    hub = hub_without(at=NOW + 10 * MINUTE)
    assert hub.tombstones()[T1]["utc_timestamp"] == NOW + MINUTE


def test_a_base_above_the_head_counts_as_the_head() -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("update", {"title": "Bread"}, base=99, at=0))
    stored = hub.send("tab", edit("update", {"title": "Soup"}, base=1, at=0))
    assert lost(stored) == [{"title": 2}]


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


# STORIES, as far as the merge is concerned


def test_story_4_the_same_edits_sent_again_change_nothing() -> None:
    """A create would undelete, a delete kill what was made anew, an old value win a tie."""
    hub = Hub()
    edits = [
        edit("create", {"title": "a"}, name="e1"),
        edit("update", {"title": "b"}, at=NOW + 1, name="e2"),
        edit("delete", at=NOW + 2, name="e3"),
    ]
    hub.send("phone", *edits)
    hub.send("laptop", edit("create", {"title": "c"}, base=1, at=NOW + 1))
    before = hub.objects()
    stored = hub.send("phone", *edits, again=True)
    assert (stored["diffs"], hub.objects()) == ([], before)


def test_story_7_a_device_with_a_slow_clock_does_not_lose_to_itself() -> None:
    hub = Hub()
    hub.send("laptop", edit("create", {"title": ""}, at=NOW + 2000))
    hub.send("phone", edit("update", {"title": "x"}, base=1, at=NOW))
    stored = hub.send("phone", edit("update", {"title": "xy"}, base=1, at=NOW + 1))
    assert stored["lost"] == []
    assert hub.task() == {"title": "xy"}


def test_story_7_a_device_with_a_fast_clock_creates_anew_what_it_deleted() -> None:
    hub = hub_with(title="Milk")
    hub.send("laptop", edit("delete", base=1, at=NOW + 2 * MINUTE))
    stored = hub.send("laptop", edit("create", {"done": 1}, base=1, at=NOW + 2 * MINUTE + 1))
    assert types(stored) == ["create"]


def test_story_10_a_create_and_a_delete_in_one_push_undo_nothing() -> None:
    hub = hub_with(title="Milk")
    stored = hub.send("laptop", edit("create", {"title": "Bread"}), edit("delete", at=NOW + 1))
    assert types(stored) == ["update", "delete"]
    assert hub.objects() == {}


def test_story_11_a_poller_creates_what_was_created_and_deleted_unseen() -> None:
    hub = Hub()
    hub.send("phone", edit("create", {"title": "theirs", "done": True}))
    hub.send("phone", edit("delete", base=1, at=NOW + 1))
    stored = hub.send("mobync", edit("create", {"title": "mine"}, at=NOW + 2))
    assert types(stored) == ["create"]
    assert hub.task() == {"title": "mine"}


def test_story_11_a_poller_updates_what_was_deleted_and_made_anew_unseen() -> None:
    hub = hub_with(title="first", note="of the first")
    hub.send("phone", edit("delete", base=1, at=NOW + 1))
    hub.send("phone", edit("create", {"title": "second"}, base=2, at=NOW + 2))
    stored = hub.send("mobync", edit("update", {"title": "polled"}, base=1, at=NOW + 3))
    assert types(stored) == ["update"]
    assert hub.task() == {"title": "polled"}


@pytest.mark.parametrize("poison", ["\ud800", float("inf"), 10**400])
def test_story_12_a_poison_pill_is_refused_by_itself(poison: Any) -> None:
    hub = Hub()
    stored = hub.send("phone", edit("create", {"title": poison}), edit("create", {"done": True}))
    assert codes(stored) == ["invalid_diff"]
    assert hub.task() == {"done": True}


def test_story_15_a_phone_that_was_put_back_does_not_overwrite_its_own_newer_edit() -> None:
    hub = hub_with(title="")
    e1 = edit("update", {"title": "older"}, base=1, at=NOW + 1, name="e1")
    e2 = edit("update", {"title": "newer"}, base=1, at=NOW + 2, name="e2")
    hub.send("phone", e2)  # e1 was folded into e2 and never sent
    stored = hub.send("phone", e1, again=True)
    assert lost(stored) == [{"title": 2}]
    assert hub.task() == {"title": "newer"}


# Whatever devices send


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A history takes up to 0.2 s to make, on a busy machine longer; that is no fault of the model."""


def note_what_happened(stored: list[dict[str, Any]]) -> None:
    """Count, for `--hypothesis-show-statistics`, how many examples met each kind of outcome."""
    for code in sorted({code for push in stored for code in codes(push)}):
        event(f"rejected {code}")
    for what in ("lost", "diffs"):
        if any(push[what] for push in stored):
            event(what)


def replayed(history: list[dict[str, Any]], **limits: int) -> tuple[ModelHub, list[dict[str, Any]]]:
    """A hub after this history, and what it stored."""
    hub = ModelHub(**limits)
    outcomes = [hub.push(**step) for step in history]
    return hub, [stored for stored in outcomes if stored is not None]


@given(strategies.histories())
@unhurried
def test_a_device_that_applies_what_goes_out_holds_the_objects(
    history: list[dict[str, Any]],
) -> None:
    hub, stored = replayed(history, max_object_bytes=400)
    note_what_happened(stored)
    assert fold(stored) == hub.objects()
    assert not hub.objects().keys() & hub.tombstones().keys()


@given(strategies.histories(most_pushes=4))
@unhurried
def test_every_stored_push_takes_the_next_clock(history: list[dict[str, Any]]) -> None:
    hub, stored = replayed(history)
    assert [push["logical_clock"] for push in stored] == list(range(1, hub.head + 1))
    assert hub.log == stored


@given(strategies.histories())
@unhurried
def test_every_field_sent_is_kept_or_lost_and_every_diff_else_refused(
    history: list[dict[str, Any]],
) -> None:
    """No edit disappears in silence (section 5)."""
    hub = ModelHub()
    for number, step in enumerate(history):
        diffs = [named(diff, f"{number}.{at}") for at, diff in enumerate(step["diffs"])]
        stored = hub.push(**{**step, "diffs": diffs, "again": False})
        if stored is None:
            continue
        refused = {rejection["index"] for rejection in stored["rejected"]}
        lost_of = {loss["index"]: set(loss["fields"]) for loss in stored["lost"]}
        kept_of = {diff["id"]: set(diff["json_data"]) - {"id"} for diff in stored["diffs"]}
        for at, diff in enumerate(diffs):
            kept, gone = kept_of.get(f"{number}.{at}", set()), lost_of.get(at, set())
            if at in refused or diff["type"] == "delete":
                assert not kept | gone
            else:
                assert not kept & gone
                assert kept | gone == set(diff["json_data"]) - {"id"}


def named(diff: Any, name: str) -> Any:
    """The same diff under another id, so that what became of it can be told."""
    return {**diff, "id": name} if has_valid_id(diff) else diff


@given(strategies.histories())
@unhurried
def test_an_edit_that_has_seen_everything_never_loses(history: list[dict[str, Any]]) -> None:
    hub = ModelHub()
    for step in history:
        seen = [
            {**diff, "logical_clock": hub.head} if is_well_formed(diff) else diff
            for diff in step["diffs"]
        ]
        stored = hub.push(**{**step, "diffs": seen})
        if stored is not None:
            assert stored["lost"] == []


@given(st.data(), st.sampled_from(("well formed", "edge", "malformed", "unspeakable")))
def test_the_strategies_make_what_they_say(data: st.DataObject, kind: str) -> None:
    strategy = {
        "well formed": strategies.well_formed_diffs(),
        "edge": strategies.edge_diffs(),
        "malformed": strategies.malformed_diffs(),
        "unspeakable": strategies.unspeakable_diffs(),
    }[kind]
    assert is_well_formed(data.draw(strategy)) == (kind in ("well formed", "edge"))


@given(strategies.histories(most_pushes=4))
@unhurried
def test_the_model_leaves_what_it_is_given_as_it_was(history: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(history)
    hub, stored = replayed(history)
    fold(stored)
    hub.objects()
    assert history == before
