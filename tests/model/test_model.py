"""The model against the text it was written from: the tables of section 4, row by row.

These tests keep the model honest; the product is tested against the model elsewhere.
"""

from __future__ import annotations

import pytest

from tests.model.scenes import MINUTE, NOW, T1, Hub, codes, edit, hub_with, hub_without, lost, types

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
