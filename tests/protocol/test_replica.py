"""Sections 5 to 7 of docs/protocol.md as a device keeps them, a rule a test."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from protocol.errors import BadMessage, HistoryGap, InvalidDiff
from protocol.messages import (
    Ack,
    Authenticated,
    Changes,
    Error,
    FromHub,
    Half,
    Hello,
    Lost,
    Pong,
    Ready,
    Snapshot,
    SnapshotObject,
)
from protocol.records import Saved, Writes
from protocol.replica import Replica
from tests.protocol.device import Device, changes, level, shown_of, stored, welcome
from tests.protocol.hub import Hub
from tests.protocol.ledger import MINUTE, NOW, T1, edit


def there(clock: int, **fields: Any) -> SnapshotObject:
    return SnapshotObject("tasks", clock, Raw(msgspec.json.encode({"id": "t1", **fields})))


# Editing


def test_a_timestamp_is_the_hubs_time_by_the_devices_clock() -> None:
    phone = Device()
    phone.take(welcome(server_time=NOW + MINUTE))
    phone.now += 5
    phone.edit("create")
    assert phone.at.timestamp == NOW + MINUTE + 5


def test_timestamps_rise_strictly_whatever_the_clock_does_and_over_restarts() -> None:
    phone = Device()
    timestamps = []
    for jump in (0, 0, -MINUTE, 1, -NOW * 2):
        phone.now += jump
        phone.edit("update", a=1)
        timestamps.append(phone.at.timestamp)
        phone.restart()
    assert timestamps == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4]


def test_an_edit_before_1970_is_made_in_its_first_moment() -> None:
    phone = Device()
    phone.now = -5
    phone.edit("create")
    assert phone.storage.edits[1].diff.utc_timestamp == 1


def test_the_base_of_an_edit_is_the_clock_that_the_device_had_applied() -> None:
    phone = level(3)
    phone.edit("update", a=1)
    assert phone.storage.edits[1].diff.logical_clock == 3


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("tasks", {"id": "t1", "title": "\ud800"}),
        ("tasks", {"id": "t1", "n": float("inf")}),
        ("tasks", {"id": "t1", "n": 2**53}),
        ("tasks", {"title": "no id"}),
        ("ta\ud800sks", {"id": "t1"}),
        ("", {"id": "t1"}),
    ],
    ids=["half a pair", "infinite", "too great", "no id", "model with half a pair", "no model"],
)
def test_story_12_an_edit_that_no_frame_can_carry_is_refused_when_it_is_made(
    model: str, fields: dict[str, Any]
) -> None:
    """Else it would make the whole frame no JSON: 4400, reconnect, again, for ever."""
    phone = level()
    with pytest.raises(InvalidDiff):
        phone.replica.edit("update", model, fields, diff_id="e1", now=NOW)
    before = phone.at
    phone.store()
    assert (phone.at, phone.replica.pending) == (before, 0)
    assert phone.pushes() == []


def test_of_a_delete_only_the_id_is_kept() -> None:
    phone = level()
    phone.edit("delete", a=1)
    assert phone.pushes()[0].diffs[0].json_data == {"id": "t1"}


# Showing


def test_the_user_sees_the_pending_edits_over_the_server_state() -> None:
    phone = level()
    phone.edit("update", b=1)
    phone.edit("create", "t2", c=1)
    assert phone.tasks() == {"t1": {"id": "t1", "a": 0, "b": 1}, "t2": {"id": "t2", "c": 1}}
    phone.edit("delete")
    assert phone.tasks() == {"t2": {"id": "t2", "c": 1}}
    assert list(phone.replica.shown("notes")) == []


def test_a_restarted_device_shows_what_it_showed() -> None:
    phone = level()
    phone.edit("update", b="in a push")
    phone.pushes()
    phone.edit("update", c="waiting")
    phone.restart()
    assert phone.task() == {"a": 0, "b": "in a push", "c": "waiting"}
    assert phone.replica.pending == 2


def test_a_pending_create_merges_and_after_a_pending_delete_it_replaces() -> None:
    phone = level()
    phone.edit("create", b=1)
    assert phone.task() == {"a": 0, "b": 1}
    phone.edit("delete")
    phone.edit("create", b=2)
    assert phone.task() == {"b": 2}


def test_a_pending_update_over_nothing_shows_nothing() -> None:
    phone = Device()
    phone.edit("update", a=1)
    assert (phone.task(), phone.tasks(), phone.replica.pending) == (None, {}, 1)


def test_a_remote_change_waits_underneath_and_shows_if_the_edit_loses() -> None:
    phone = level()
    phone.edit("update", a="mine", b="mine")
    phone.pushes()
    phone.take(changes(2, edit("update", {"a": "theirs"})))
    assert phone.task() == {"a": "mine", "b": "mine"}
    rest = stored(edit("update", {"b": "mine"}))
    phone.take(Ack(1, 3, rest, lost=(Lost(0, "e", {"a": 2}),)))
    assert phone.task() == {"a": "theirs", "b": "mine"}


def test_an_object_that_was_updated_and_is_then_deleted_elsewhere_is_gone() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.take(changes(2, edit("delete")))
    assert phone.task() is None
    assert phone.storage.objects[T1].clock == 2


# What the hub sends


def test_a_create_replaces_an_update_sets_a_delete_removes() -> None:
    phone = level()
    phone.take(changes(2, edit("update", {"b": 1})))
    assert phone.task() == {"a": 0, "b": 1}
    phone.take(changes(3, edit("delete"), edit("create", {"c": 1})))
    assert phone.task() == {"c": 1}
    phone.take(changes(4, edit("delete")))
    assert phone.task() is None


def test_diffs_of_one_push_are_taken_in_order_each_on_those_before_it() -> None:
    phone = level()
    again = [edit("update", {"b": 1}), edit("update", {"a": 2}), edit("update", {"b": 3})]
    phone.take(changes(2, *again))
    assert phone.task() == {"a": 2, "b": 3}
    phone.take(changes(3, edit("delete"), edit("create", {"c": 1}), edit("update", {"d": 1})))
    assert phone.task() == {"c": 1, "d": 1}
    phone.take(changes(4, edit("update", {"a": 5}), edit("delete")))
    assert (phone.task(), phone.storage.objects[T1].clock) == (None, 4)


def test_what_was_shown_before_a_frame_stays_as_it_was() -> None:
    """A storage may be writing it, and a watcher compares it with what comes next."""
    phone = level()
    phone.edit("create", "t2", a=1)
    (push,) = phone.pushes()
    shown = [phone.replica.show(("tasks", name)) for name in ("t1", "t2")]
    phone.take(changes(2, edit("update", {"a": 1}), edit("update", {"b": 1})))
    phone.take(Ack(1, 3))
    phone.take(changes(4, edit("update", {"id": "t2", "a": 2}), edit("update", {"id": "t2"})))
    assert shown == [{"id": "t1", "a": 0}, {"id": "t2", "a": 1}]
    assert push.diffs[0].json_data == {"id": "t2", "a": 1}


def test_an_ack_without_diffs_applies_the_push_as_it_was_sent() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.pushes()
    phone.take(Ack(1, 2))
    assert phone.storage.objects[T1] == msgspec.structs.replace(
        phone.storage.objects[T1], clock=2, fields={"id": "t1", "a": 1}
    )
    assert (phone.replica.pending, phone.storage.pushes, phone.task()) == (0, {}, {"a": 1})


def test_an_ack_with_diffs_applies_those_instead() -> None:
    phone = level()
    phone.edit("update", a=1, b=1)
    phone.pushes()
    phone.take(Ack(1, 2, stored(edit("update", {"b": 1}))))
    assert phone.task() == {"a": 0, "b": 1}


def test_before_ready_an_ack_of_a_push_that_is_not_known_is_applied() -> None:
    phone = Device()
    phone.take(welcome(logical_clock=1, last_push_id=5))
    phone.take(Ack(5, 1, stored(edit("create", {"a": 1}))))
    assert phone.task() == {"a": 1}


def test_the_keys_that_a_frame_touches_are_told() -> None:
    phone = level()
    replica = phone.replica
    phone.edit("update", "t2", a=1)
    phone.pushes()
    assert list(replica.take(changes(2, edit("update", {"b": 1})), NOW)) == [T1]
    assert set(replica.take(Ack(1, 3, stored()), NOW)) == {("tasks", "t2")}
    phone.edit("update", "t3", a=1)
    phone.pushes()
    assert set(replica.take(Ready(3, 2), NOW)) == {("tasks", "t3")}
    assert set(replica.take(Snapshot(4, [there(4)], 4, 0), NOW)) == {T1}
    assert set(replica.take(welcome(reset=True, log_id="other"), NOW)) == {T1}


@pytest.mark.parametrize(
    "message",
    [Pong(NOW, "n"), Authenticated(None), Error("forbidden", "No.")],
    ids=lambda message: type(message).__name__,
)
def test_what_is_about_the_connection_touches_nothing(message: Any) -> None:
    phone = level()
    before = phone.at
    assert list(phone.replica.take(message, NOW)) == []
    assert phone.at == before


OUT_OF_ORDER: dict[str, FromHub] = {
    "a clock left out": changes(4),
    "a clock heard twice": changes(2),
    "an old clock": changes(1),
    "an ack that leaves a clock out": Ack(1, 4, stored()),
    "an ack without diffs of a push that is not known": Ack(7, 3),
    "ready above": Ready(3, 0),
    "ready below": Ready(1, 0),
    "a page of before": Snapshot(1, [], 9, 0),
}


@pytest.mark.parametrize("what", OUT_OF_ORDER)
def test_a_device_hears_of_every_clock_once_and_in_order_or_connects_again(what: str) -> None:
    assert_refused(OUT_OF_ORDER[what], HistoryGap)


MALFORMED: dict[str, FromHub] = {
    "changes that are no diffs": Changes(3, "desk", Raw(b'[{"id":"e"}]')),
    "changes of nothing": Changes(3, "desk", Raw(b"{}")),
    "a diff of an object without an id": Changes(
        3, "desk", stored({**edit("create"), "json_data": {}})
    ),
    "an ack with diffs that are none": Ack(1, 3, Raw(b"[1]")),
    "an object without an id": Snapshot(
        3, [there(3), SnapshotObject("tasks", 3, Raw(b"{}"))], 3, 0
    ),
    "an object that is a list": Snapshot(3, [SnapshotObject("tasks", 3, Raw(b"[]"))], 3, 0),
    "an object that neither stands nor is deleted": Snapshot(3, [SnapshotObject("tasks", 3)], 3, 0),
    "a deleted object without an id": Snapshot(3, [SnapshotObject("tasks", 3, deleted=True)], 3, 0),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_the_hub_says_wrongly_changes_nothing(what: str) -> None:
    """Half a page taken, and its clock stored, would be objects lost for good."""
    assert_refused(MALFORMED[what], BadMessage)


def assert_refused(message: FromHub, error: type[Exception]) -> None:
    """A device with a push under way does not take it, and stores what it had."""
    phone = level(2)
    phone.edit("update", a=1)
    phone.pushes()
    before = phone.storage.saved()
    with pytest.raises(error):
        phone.take(message)
    phone.store()
    assert phone.storage.saved() == before


# Hello, welcome, reset


def test_a_new_device_says_0_and_null() -> None:
    new = Replica(Saved())
    hello = Hello(token="t", device="phone", logical_clock=0, log_id=None, half=None)
    assert new.hello("t", "phone") == hello
    assert (new.ready, new.head, new.remaining, new.pending) == (False, 0, 0, 0)


def test_a_device_says_how_far_it_is_and_in_which_history() -> None:
    phone = level(3)
    phone.restart()
    hello = phone.replica.hello("t", "phone")
    assert (hello.logical_clock, hello.log_id, hello.half) == (3, "log-1", None)


def test_half_way_a_device_says_so_in_its_next_hello() -> None:
    phone = level(3)
    phone.take(Snapshot(7, [there(7, a=1)], head=9, remaining=4))
    phone.restart()
    hello = phone.replica.hello("t", "phone")
    assert (hello.logical_clock, hello.half) == (7, Half(3, 9, seen=9))


def test_half_through_a_clock_a_device_says_what_it_has_of_it() -> None:
    """A page may end in the middle of a push: it is then of a clock that it does not finish."""
    phone = level(3)
    phone.take(Snapshot(9, [there(10, a=1)], head=9, remaining=4))
    phone.restart()
    hello = phone.replica.hello("t", "phone")
    assert (hello.logical_clock, hello.half) == (9, Half(3, 9, seen=10))
    phone.take(welcome(logical_clock=12))
    phone.take(Snapshot(11, [], head=9, remaining=1))
    assert phone.replica.hello("t", "phone").half == Half(3, 9, seen=11)


def test_resumed_paging_keeps_the_clock_at_which_the_device_was_last_level() -> None:
    phone = level(3)
    phone.take(Snapshot(7, [], head=9, remaining=4))
    phone.take(welcome(logical_clock=12))
    phone.take(Snapshot(11, [], head=9, remaining=1))
    assert (phone.at.clock, phone.at.half) == (11, Half(3, 9))
    phone.take(Ready(12, 0))
    assert (phone.at.clock, phone.at.half) == (12, None)


def test_the_head_is_the_newest_clock_that_was_heard_of() -> None:
    phone = level()
    heads = [phone.replica.head]
    phone.take(changes(2))
    heads.append(phone.replica.head)
    phone.restart()
    heads.append(phone.replica.head)
    phone.take(welcome(logical_clock=9))
    heads.append(phone.replica.head)
    phone.take(changes(3))
    heads.append(phone.replica.head)
    phone.take(Snapshot(11, [], 9, 0))
    heads.append(phone.replica.head)
    phone.take(welcome(logical_clock=4, reset=True))
    heads.append(phone.replica.head)
    assert heads == [1, 2, 2, 9, 9, 11, 4]
    assert phone.replica.remaining == 0


def test_a_snapshot_tells_how_much_is_still_to_come() -> None:
    phone = level(1)
    phone.take(Snapshot(7, [], head=9, remaining=4))
    assert (phone.replica.remaining, phone.replica.head) == (4, 9)
    phone.take(Ready(10, 0))
    assert (phone.replica.remaining, phone.replica.head) == (0, 10)


def test_a_reset_forgets_what_came_from_the_hub_and_never_a_pending_edit() -> None:
    phone = level(3)
    phone.edit("update", b=1)
    phone.edit("create", "t2", c=1)
    phone.take(welcome(reset=True, log_id="log-1"))
    assert (phone.at.clock, phone.at.half, phone.at.log_id) == (0, None, "log-1")
    assert (phone.tasks(), phone.storage.objects) == ({"t2": {"id": "t2", "c": 1}}, {})
    phone.take(Snapshot(3, [there(3, a=5)], 3, 0))
    phone.take(Ready(3, 0))
    assert phone.task() == {"a": 5, "b": 1}


def test_what_was_handed_over_to_be_stored_is_not_handed_over_again() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.pushes()
    phone.take(Ack(1, 2, stored()))
    writes = phone.replica.take_writes()
    assert writes == Writes(phone.at)


def test_what_was_heard_and_forgotten_before_it_was_stored_is_not_stored() -> None:
    """Messages that wait may share a transaction."""
    phone = level()
    phone.replica.take(changes(2, edit("update", {"a": 1})), NOW)
    phone.replica.take(welcome(reset=True, log_id="log-1"), NOW)
    phone.store()
    assert phone.storage.objects == {}


def test_a_reset_within_the_same_history_leaves_bases_as_they_are() -> None:
    phone = level(3)
    phone.edit("update", b=1)
    phone.take(welcome(reset=True, log_id="log-1"))
    assert phone.storage.edits[1].diff.logical_clock == 3


def test_edits_after_a_reset_have_base_0_until_the_device_is_level() -> None:
    phone = level(3)
    phone.take(welcome(reset=True, log_id="log-1", logical_clock=9))
    phone.edit("update", a=1)
    phone.take(Snapshot(7, [], 9, 1))
    phone.edit("update", b=1)
    phone.take(Ready(9, 0))
    phone.edit("update", c=1)
    assert [e.diff.logical_clock for e in phone.storage.edits.values()] == [0, 0, 9]


# Together with a hub


def test_two_devices_are_level_after_each_has_said_and_heard_all() -> None:
    hub, phone, desk = Hub(), Device("phone"), Device("desk")
    phone.edit("create", title="Milk")
    for device in (phone, desk, phone):
        device.synchronize(hub)
    desk.edit("update", done=True)
    for device in (desk, phone):
        device.synchronize(hub)
    assert phone.tasks() == desk.tasks() == shown_of(hub)
    assert shown_of(hub) == {"t1": {"id": "t1", "title": "Milk", "done": True}}
