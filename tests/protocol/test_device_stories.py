"""The stories that broke earlier drafts of the protocol, as far as they concern a device.

Each is told with replicas and a hub in memory, frame by frame.
"""

from __future__ import annotations

import pytest

from protocol.errors import InvalidDiff
from protocol.messages import Half, Snapshot
from tests.protocol.device import Device, level, shown_of
from tests.protocol.hub import Hub


def a_hub_with(*names: str) -> tuple[Hub, Device]:
    """A hub, and the desk that has made these tasks on it, a push each."""
    hub, desk = Hub(), Device("desk")
    desk.synchronize(hub)
    for name in names:
        desk.edit("create", name, a=0, b=0)
        desk.synchronize(hub)
    return hub, desk


def test_story_2_pushes_in_the_gap_that_a_slow_device_skips_are_settled_at_ready() -> None:
    """No ack ever comes for them; without `last_push_id` they lay on top for ever."""
    hub, desk = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="mine")
    phone.say(hub)
    desk.edit("update", a="theirs")
    desk.synchronize(hub)
    phone.line.fall_behind(phone.at.clock, phone.at.half, objects=True)
    phone.hear()
    assert (phone.replica.pending, phone.task()) == (0, {"a": "theirs", "b": 0})


def test_story_2_what_such_a_push_lost_is_told_at_ready() -> None:
    hub, desk = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="older")
    hub.now += 1000
    desk.now += 1000
    desk.edit("update", a="newer")
    desk.say(hub)
    phone.say(hub)
    phone.line.fall_behind(phone.at.clock, phone.at.half, objects=True)
    phone.hear()
    assert (phone.told, phone.task()) == ([(1, {"a": 2})], {"a": "newer", "b": 0})


def test_story_3_a_phone_put_back_does_not_reuse_the_ids_of_pushes_that_were_stored() -> None:
    """Given offline, the new edits would be pushes 2 and 3, which the hub takes for stored."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    copy = phone.storage.saved()
    for n in (1, 2):
        phone.edit("update", a=n)
        phone.synchronize(hub)
    phone.drop(hub)
    restored = Device("phone", copy)
    restored.edit("update", b="new")
    restored.edit("create", "t2", c="new")
    restored.synchronize(hub)
    assert [stored.push_id for stored in hub.log if stored.device == "phone"] == [1, 2, 3]
    assert restored.tasks() == shown_of(hub)
    assert restored.task() == {"a": 2, "b": "new"}
    assert restored.task("t2") == {"c": "new"}


def test_story_3_what_the_copy_held_is_sent_again_and_stored_once() -> None:
    """In the copy the push was under way; since then it was stored, and something after it."""
    hub, desk = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="once")
    pushes = phone.pushes()
    phone.edit("update", b="waiting")
    copy = phone.storage.saved()
    for push in pushes:
        hub.push(phone.line, push)
    phone.synchronize(hub)
    desk.edit("update", a="later", b="later")
    desk.synchronize(hub)
    restored = Device("phone", copy)
    restored.synchronize(hub)
    assert (restored.replica.pending, restored.told) == (0, [])
    assert shown_of(hub)["t1"] == {"id": "t1", "a": "later", "b": "later"}
    assert restored.tasks() == shown_of(hub)


def test_a_phone_put_back_loses_no_push_that_was_set_aside_in_its_other_life() -> None:
    """Push 1 was set aside, 2 was stored: in the copy, where 1 is under way, 1 is below 2."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="set aside")
    phone.pushes()
    copy = phone.storage.saved()
    phone.replica.set_aside(1, "bad_message", "No.")
    phone.store()
    phone.edit("update", b="stored")
    phone.synchronize(hub)
    restored = Device("phone", copy)
    restored.synchronize(hub)
    assert shown_of(hub)["t1"] == {"id": "t1", "a": "set aside", "b": "stored"}


def test_a_phone_put_back_loses_no_push_that_a_restored_hub_never_had() -> None:
    """What the hub has stored under its ids since is another history's."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    empty = hub.restored("log-2")
    phone.edit("update", a="in the copy")
    phone.pushes()
    copy = phone.storage.saved()
    phone.synchronize(hub)
    for n in range(2):
        phone.edit("update", b=n)
        phone.synchronize(empty)
    restored = Device("phone", copy)
    restored.synchronize(empty)
    assert shown_of(empty)["t1"] == {"id": "t1", "a": "in the copy", "b": 1}


def test_story_6_pending_edits_have_seen_nothing_of_a_restored_log() -> None:
    """Base 50 of the old history would have "seen" 41 to 50 of the new one."""
    hub, desk = a_hub_with("t1", "t2", "t3")
    backup = hub.restored("log-2", related=False)
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="older")
    phone.pushes()
    phone.edit("update", b="older")
    assert phone.storage.pushes[1].edits[0].diff.logical_clock == 3
    backup.now += 1000
    desk.now += 1000
    for n in range(3):
        desk.edit("update", a=n, b=n)
        desk.synchronize(backup)
    phone.connect(backup)
    phone.hear(1)
    held = [*phone.storage.pushes[1].edits, *phone.storage.edits.values()]
    assert [edit.diff.logical_clock for edit in held] == [0, 0]
    phone.synchronize(backup)
    assert phone.task() == {"a": 2, "b": 2}
    assert phone.told == [(1, {"a": 6}), (2, {"b": 6})]


def test_story_6_pending_edits_have_seen_what_a_restored_log_shares_with_their_own() -> None:
    """And nothing that came after: base 5 would have "seen" the desk's 4, and won over it."""
    hub, desk = a_hub_with("t1", "t2", "t3")
    backup = hub.restored("log-2")
    phone = Device()
    phone.synchronize(hub)
    for n in range(2):  # lost with the hub
        desk.edit("update", "t3", n=n)
        desk.synchronize(hub)
        phone.synchronize(hub)
    phone.edit("update", "t1", a="phone")
    phone.edit("update", "t2", a="phone")
    assert [edit.diff.logical_clock for edit in phone.storage.edits.values()] == [5, 5]
    desk.now += 1000
    desk.edit("update", "t2", a="desk")
    desk.synchronize(backup)
    phone.connect(backup)
    phone.hear(1)
    held = [edit.diff for edit in phone.storage.edits.values() if edit.diff.was is None]
    assert [diff.logical_clock for diff in held] == [3, 3]
    phone.synchronize(backup)
    assert [(phone.task(name) or {}).get("a") for name in ("t1", "t2")] == ["phone", "desk"]


def test_story_10_a_create_and_a_delete_of_what_the_server_state_holds_delete_it() -> None:
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("create", c=1)
    phone.edit("delete")
    phone.synchronize(hub)
    assert (phone.tasks(), shown_of(hub)) == ({}, {})


def test_story_10_half_way_an_object_that_has_come_by_then_is_deleted_too() -> None:
    """The two have the same base, and yet the server state has changed between them."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.connect(hub, objects=True)
    phone.hear(1)
    phone.edit("create", c=1)
    phone.hear(1)
    assert phone.at.half is not None
    phone.edit("delete")
    phone.synchronize(hub)
    assert (phone.tasks(), shown_of(hub)) == ({}, {})


def test_story_12_an_edit_that_would_spoil_its_frame_is_refused_and_the_rest_goes_on() -> None:
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.edit("create", "t2", title="fine")
    for poison in ("\ud800", float("inf"), float("nan"), 10**400):
        with pytest.raises(InvalidDiff):
            phone.edit("create", "t3", title=poison)
    phone.synchronize(hub)
    assert phone.tasks() == shown_of(hub)
    assert set(shown_of(hub)) == {"t1", "t2"}


def test_story_13_an_object_deleted_while_a_newcomer_reads_the_pages_is_no_ghost() -> None:
    hub, desk = a_hub_with("t1", "t2", "t3")
    phone = Device()
    phone.connect(hub, objects=True, page=1)
    phone.hear(2)
    assert phone.task("t1") is not None
    desk.edit("delete", "t1")
    desk.synchronize(hub)
    phone.hear()
    assert phone.tasks() == shown_of(hub)


def test_story_1_half_a_snapshot_then_the_line_drops_and_nothing_stays_stale() -> None:
    """t1.b is set while the device is level; t1.a moves t1 behind the cursor; the line drops."""
    hub, desk = a_hub_with("t1", "t2", "t3")
    phone = Device()
    phone.synchronize(hub)
    phone.drop(hub)
    desk.edit("update", "t1", b="new")
    desk.synchronize(hub)
    for n in (2, 3):
        desk.edit("update", f"t{n}", a=1)
        desk.synchronize(hub)
    phone.connect(hub, objects=True, page=1)
    desk.edit("update", "t1", a="newer")
    desk.synchronize(hub)
    phone.hear(2)
    phone.drop(hub)
    assert (phone.at.half, phone.task("t1")) == (Half(3, 7), {"a": 0, "b": 0})
    phone.synchronize(hub)
    assert phone.task("t1") == {"a": "newer", "b": "new"}


def test_story_14_of_an_edit_made_half_way_the_base_is_the_clock_of_when_it_was_level() -> None:
    """t1.b is new at 3, t1.a at 6 moves t1 behind the cursor: at cursor 4 b was not yet seen."""
    phone = level(2)
    phone.take(Snapshot(4, [], head=6, remaining=1))
    phone.edit("update", b="typed over what was seen")
    phone.restart()
    phone.edit("update", c=1)
    assert [edit.diff.logical_clock for edit in phone.storage.edits.values()] == [2, 2]


def test_story_14_so_it_loses_to_a_newer_value_that_its_user_never_saw() -> None:
    hub, desk = a_hub_with("t1", "t2", "t3")
    phone = Device()
    phone.synchronize(hub)
    phone.drop(hub)
    desk.now += 30_000
    for name in ("t1", "t2", "t3"):
        desk.edit("update", name, b="new")
        desk.synchronize(hub)
    phone.connect(hub, objects=True, page=1)
    desk.edit("update", "t1", a="newer")
    desk.synchronize(hub)
    phone.hear(2)
    assert (phone.at.clock, phone.task("t1")) == (5, {"a": 0, "b": 0})
    phone.edit("update", "t1", b="typed over 0")
    phone.synchronize(hub)
    assert (phone.told, phone.task("t1")) == ([(1, {"b": 4})], {"a": "newer", "b": "new"})


def test_story_15_a_phone_put_back_does_not_overwrite_its_own_newer_edit() -> None:
    """e1 was folded into e2, which was stored; the copy sends e1 again."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="e1")
    copy = phone.storage.saved()
    phone.edit("update", a="e2")
    phone.synchronize(hub)
    restored = Device("phone", copy)
    restored.now += 1000
    restored.synchronize(hub)
    assert shown_of(hub)["t1"]["a"] == restored.tasks()["t1"]["a"] == "e2"
    assert restored.told == [(2, {"a": 2})]


def test_story_15_nor_does_an_edit_made_before_fold_into_one_made_after() -> None:
    """Folded, what is left of e1 would go under its name, which the log has, and be left out."""
    hub, _ = a_hub_with("t1")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="e1", b="e1")
    copy = phone.storage.saved()
    phone.edit("update", b="e2")
    phone.synchronize(hub)
    restored = Device("phone", copy)
    restored.connect(hub)
    restored.hear(1)
    restored.edit("update", a="after")
    restored.synchronize(hub)
    assert shown_of(hub)["t1"] == {"id": "t1", "a": "after", "b": "e2"}
    assert restored.told == []


def test_story_16_an_outcome_that_a_page_passed_is_told_after_the_line_dropped() -> None:
    """The clock of the next hello is beyond the push; that does not count as having heard."""
    hub, desk = a_hub_with("t1", "t2")
    phone = Device()
    phone.synchronize(hub)
    phone.edit("update", a="older")
    hub.now += 1000
    desk.now += 1000
    desk.edit("update", a="newer")
    desk.say(hub)
    phone.say(hub)
    phone.drop(hub)
    phone.connect(hub, objects=True)
    phone.hear(2)
    phone.report(hub)
    phone.drop(hub)
    assert phone.at.clock == hub.ledger.head
    assert (phone.at.half is None, phone.told) == (False, [])
    phone.synchronize(hub)
    assert phone.told == [(1, {"a": 3})]
