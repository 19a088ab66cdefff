"""Refills that are known to be hard, one by one: each name tells what happens to a user.

In all of them the copy holds t1 as {a: 0}, at clock 1; only devices know what came behind it.
"""

from __future__ import annotations

from typing import Any

import pytest

from protocol.diffs import Diff, Object, Place, Stamp, Tombstone, Was
from protocol.history import History
from protocol.refill import settle
from tests.protocol.device import Device, shown_of
from tests.protocol.hub import Hub
from tests.protocol.ledger import NOW, T1, edit

SECOND = 1000


class Fire:
    """A hub, a copy of it, and three devices that are level with the copy."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.phone, self.desk, self.tab = (Device(name) for name in ("phone", "desk", "tab"))
        self.phone.edit("create", a=0)
        self.sync(self.phone, self.desk, self.tab)
        self.copy = self.hub.copied()

    def sync(self, *devices: Device) -> None:
        for device in devices:
            self.wait(SECOND)
            device.synchronize(self.hub)

    def wait(self, ms: int) -> None:
        self.hub.now += ms
        for device in (self.phone, self.desk, self.tab):
            device.now += ms

    def vanish(self, device: Device) -> None:
        """What a device has to say is stored, and it never hears of it."""
        device.synchronize(self.hub) if device.session is None else device.hear()
        device.say(self.hub)
        device.drop(self.hub)

    def burn(self, log_id: str = "log-2") -> None:
        self.copy.now = self.hub.now
        self.hub = self.copy.restored(log_id)
        for device in (self.phone, self.desk, self.tab):
            device.session = None

    def task(self) -> dict[str, Any] | None:
        """What t1 is, on the hub and on all devices that are level."""
        fields = shown_of(self.hub).get("t1")
        if fields is None:
            return None
        return {name: value for name, value in fields.items() if name != "id"}


def test_one_level_device_brings_back_the_edits_of_all() -> None:
    fire = Fire()
    fire.phone.edit("update", b=1)
    fire.desk.edit("create", "t2", c=2)
    fire.sync(fire.phone, fire.desk, fire.tab)
    fire.burn()
    fire.sync(fire.tab, fire.phone, fire.desk)
    assert fire.tab.tasks() == fire.phone.tasks() == shown_of(fire.hub)
    assert shown_of(fire.hub) == {"t1": {"id": "t1", "a": 0, "b": 1}, "t2": {"id": "t2", "c": 2}}


def test_the_user_sees_what_was_refilled_from_the_first_frame_on() -> None:
    fire = Fire()
    fire.phone.edit("update", b=1)
    fire.sync(fire.phone)
    fire.burn()
    fire.phone.connect(fire.hub)
    fire.phone.hear(1)
    assert fire.phone.task() == {"a": 0, "b": 1}


@pytest.mark.parametrize("first", ["phone", "tab"])
def test_of_two_versions_the_later_stands_whoever_comes_first(first: str) -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk, fire.phone)
    fire.phone.drop(fire.hub)
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.desk.edit("create", c=2)
    fire.sync(fire.desk, fire.tab)
    fire.burn()
    order = [fire.phone, fire.tab] if first == "phone" else [fire.tab, fire.phone]
    fire.sync(*order)
    assert fire.task() == {"c": 2}


def test_what_was_deleted_stays_deleted_though_a_device_had_not_heard_of_it() -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk, fire.phone)
    fire.phone.drop(fire.hub)
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.phone, fire.desk, fire.phone)
    assert (fire.task(), fire.phone.task()) == (None, None)


def test_an_edit_made_before_the_fire_does_not_beat_what_was_newer() -> None:
    """The phone was offline when it made it; it comes to a hub that has been refilled."""
    fire = Fire()
    fire.phone.drop(fire.hub)
    fire.phone.edit("update", a="older")
    fire.wait(SECOND)
    fire.desk.edit("update", a="newer")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.desk, fire.phone)
    assert fire.task() == {"a": "newer"}
    assert [told[1] for told in fire.phone.told] == [{"a": 2}]


def test_nor_does_it_if_it_comes_before_what_was_newer() -> None:
    fire = Fire()
    fire.phone.drop(fire.hub)
    fire.phone.edit("update", a="older")
    fire.wait(SECOND)
    fire.desk.edit("update", a="newer")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.phone, fire.desk)
    assert fire.task() == {"a": "newer"}


def test_an_edit_made_since_stays_on_top_whatever_a_clock_had_shown() -> None:
    """The desk ran 50 s ahead when it made the edit that is given back."""
    fire = Fire()
    fire.hub.store("desk", 1, [edit("update", {"a": "ahead"}, base=1, at=fire.hub.now + 50_000)])
    fire.sync(fire.phone)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("update", a="since")
    fire.sync(fire.tab, fire.phone)
    assert fire.task() == {"a": "since"}


def test_a_pending_edit_had_seen_what_another_device_refilled() -> None:
    """By the clocks of the new history it had not, and its timestamp is the older."""
    fire = Fire()
    fire.hub.store("desk", 1, [edit("update", {"a": "seen"}, base=1, at=fire.hub.now + 50_000)])
    fire.sync(fire.phone, fire.tab)
    fire.phone.drop(fire.hub)
    fire.phone.edit("update", a="on top")
    fire.burn()
    fire.sync(fire.tab, fire.phone)
    assert (fire.task(), fire.phone.told) == ({"a": "on top"}, [])


def test_a_push_that_was_stored_and_never_acked_does_not_count_twice() -> None:
    """Its value was overwritten by the desk, who had seen it; the same moment by their clocks."""
    fire = Fire()
    fire.phone.edit("update", a="once", b="kept")
    fire.vanish(fire.phone)
    stamp = fire.hub.ledger.held[T1]
    assert isinstance(stamp, Object)
    again = edit("update", {"a": "over it"}, base=2, at=stamp.stamps["a"].timestamp)
    fire.hub.store("tab", 9, [again])
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.desk, fire.phone)
    assert fire.task() == {"a": "over it", "b": "kept"}
    assert [told[1] for told in fire.phone.told] == [{"a": 2}]


def test_a_create_that_was_stored_and_never_acked_does_not_undo_its_deletion() -> None:
    fire = Fire()
    fire.phone.edit("create", "t2", a=1)
    fire.vanish(fire.phone)
    fire.sync(fire.desk)
    fire.desk.edit("delete", "t2")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.desk, fire.phone)
    assert "t2" not in shown_of(fire.hub)
    fire.burn("log-3")
    fire.sync(fire.phone, fire.desk)
    assert "t2" not in shown_of(fire.hub)


def test_a_create_that_comes_first_is_undone_by_the_deletion_it_had_not_seen() -> None:
    """Even if the clock of the device that made it ran ahead of the deletion."""
    fire = Fire()
    fire.phone.now += 30 * SECOND
    fire.phone.edit("create", "t2", a=1)
    fire.phone.now -= 30 * SECOND
    fire.vanish(fire.phone)
    fire.sync(fire.desk)
    fire.desk.edit("delete", "t2")
    fire.sync(fire.desk)
    fire.wait(60 * SECOND)
    fire.burn()
    fire.sync(fire.phone, fire.desk)
    assert "t2" not in shown_of(fire.hub)


@pytest.mark.parametrize("first", ["phone", "desk"])
def test_a_delete_that_was_stored_and_never_acked_does_not_end_a_later_life(first: str) -> None:
    fire = Fire()
    fire.phone.edit("delete")
    fire.vanish(fire.phone)
    fire.sync(fire.desk)
    fire.desk.edit("create", b="anew")
    fire.sync(fire.desk)
    fire.burn()
    order = [fire.phone, fire.desk] if first == "phone" else [fire.desk, fire.phone]
    fire.sync(*order)
    assert fire.task() == {"b": "anew"}


def test_an_older_life_does_not_come_back_between_two_deletions() -> None:
    """The phone's own delete meets the hub first, then the last deletion, then a life between."""
    fire = Fire()
    fire.phone.edit("delete")
    fire.vanish(fire.phone)
    fire.sync(fire.desk)
    fire.desk.edit("create", b="between")
    fire.sync(fire.desk, fire.tab)
    fire.tab.drop(fire.hub)
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.phone, fire.desk, fire.tab)
    assert fire.task() is None


def test_delete_wins_over_an_edit_since() -> None:
    fire = Fire()
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("update", b="since")
    fire.sync(fire.tab, fire.desk, fire.tab)
    assert (fire.task(), fire.tab.task()) == (None, None)


def test_a_deletion_does_not_end_what_was_made_anew_since() -> None:
    fire = Fire()
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("delete")
    fire.tab.edit("create", b="anew")
    fire.sync(fire.tab, fire.desk, fire.tab)
    assert fire.task() == {"b": "anew"}


def test_what_was_deleted_since_is_not_brought_back() -> None:
    fire = Fire()
    fire.desk.edit("update", b="lost")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("delete")
    fire.sync(fire.tab, fire.desk, fire.tab)
    assert (fire.task(), fire.desk.task()) == (None, None)


def test_fields_added_since_stay_and_older_values_are_kept_beside_the_log() -> None:
    fire = Fire()
    fire.desk.edit("update", a="old", b="old")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("update", b="since", c="since")
    fire.sync(fire.tab, fire.desk, fire.tab)
    assert fire.task() == fire.tab.task() == {"a": "old", "b": "since", "c": "since"}
    assert fire.desk.told == []


def test_a_device_that_is_killed_goes_on_with_what_it_has_not_yet_offered() -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.desk.edit("create", "t2", c=2)
    fire.sync(fire.desk)
    fire.burn()
    fire.desk.connect(fire.hub)
    fire.desk.hear(1)
    fire.desk.drop(fire.hub)
    fire.desk.restart()
    assert fire.desk.replica.pending == 2
    fire.sync(fire.desk)
    assert shown_of(fire.hub) == fire.desk.tasks()
    assert fire.task() == {"a": 0, "b": 1}


def test_offers_go_before_pushes_that_were_cut_before_the_fire() -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk)
    fire.desk.edit("update", b=2)
    fire.desk.pushes()
    fire.burn()
    fire.sync(fire.desk)
    assert fire.task() == {"a": 0, "b": 2}
    assert fire.desk.told == []


def test_a_delete_after_a_second_fire_knows_the_life_that_was_refilled() -> None:
    """A refilled object is no younger than it was: its user deletes it, and it goes."""
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk, fire.phone)
    fire.burn()
    fire.sync(fire.tab)
    fire.tab.edit("create", "t3")
    fire.sync(fire.tab, fire.desk)
    fire.copy = fire.hub.copied()
    held = fire.hub.ledger.held[T1]
    assert isinstance(held, Object)
    assert held.created == 1


def test_a_hub_restored_twice_from_one_copy_is_refilled_with_what_came_in_between() -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk)
    fire.burn("log-2")
    fire.sync(fire.desk)
    fire.desk.edit("update", c=2)
    fire.sync(fire.desk)
    fire.burn("log-3")
    fire.sync(fire.desk, fire.tab)
    assert fire.task() == fire.tab.task() == {"a": 0, "b": 1, "c": 2}


def test_a_device_that_missed_the_first_fire_has_the_later_version() -> None:
    """The desk was in both histories, the phone only in the first: t1 is the phone's."""
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk)
    fire.desk.drop(fire.hub)
    fire.phone.edit("update", c=2)
    fire.sync(fire.phone)
    fire.burn("log-2")
    fire.sync(fire.desk)
    fire.copy = fire.hub.copied()
    fire.burn("log-3")
    fire.sync(fire.phone, fire.desk)
    assert fire.task() == fire.desk.task() == {"a": 0, "b": 1, "c": 2}


def test_nothing_is_offered_to_a_hub_that_carries_no_history_on() -> None:
    """A user who was deleted and begun again stays deleted."""
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk)
    fire.burn("log-2")
    fire.desk.connect(fire.hub)
    fire.desk.hear(1)
    assert fire.desk.replica.pending == 1
    fire.hub = Hub().restored("log-3", related=False)
    fire.desk.session = None
    fire.sync(fire.desk)
    assert (shown_of(fire.hub), fire.desk.replica.pending) == ({}, 0)


def test_an_operator_can_turn_it_off() -> None:
    fire = Fire()
    fire.desk.edit("update", b=1)
    fire.sync(fire.desk)
    fire.burn("log-2")
    fire.hub.refill = fire.hub.ledger.terms["refill"] = False
    fire.sync(fire.desk)
    assert (fire.task(), fire.desk.setbacks) == ({"a": 0}, [])


def test_an_offer_that_the_hub_cannot_take_is_rejected_by_its_reason() -> None:
    fire = Fire()
    fire.burn("log-2")
    offer = edit("create", {"a": 5}, base=1)
    was = {"log_id": "log-1", "logical_clock": 7, "created": 1}
    codes = {
        "invalid_diff": [
            {**offer, "type": "update", "was": was},
            {**offer, "was": {**was, "log_id": "\ud800"}},
            {**offer, "was": 7},
        ],
        "unknown_history": [{**offer, "was": {**was, "log_id": "log-9"}}],
        "too_large": [{**offer, "json_data": {"id": "t1", "a": "x" * 300_000}, "was": was}],
    }
    for code, diffs in codes.items():
        outcome = fire.hub.ledger.send("desk", *diffs)
        assert [refused.code for refused in outcome.rejected] == [code] * len(diffs)
    assert fire.task() == {"a": 0}


def test_a_tombstone_that_was_offered_is_one_like_any_other() -> None:
    fire = Fire()
    fire.desk.edit("delete")
    fire.sync(fire.desk)
    fire.burn()
    fire.sync(fire.desk)
    grave = fire.hub.ledger.held[T1]
    assert isinstance(grave, Tombstone)
    assert grave.clock == fire.hub.ledger.head
    assert grave.timestamp <= NOW + 60 * SECOND


@pytest.mark.parametrize("order", ["cab", "abc"])
def test_what_stays_on_top_is_named_in_one_order_whether_it_comes_from_memory_or_the_file(
    order: str,
) -> None:
    """Two simulated worlds: a hub that had been started again stored the same offer otherwise."""
    since = Stamp(3, NOW + 1, "tab")
    held = Object(2, 3, {"id": "t1", **dict.fromkeys(order, 1)}, dict.fromkeys(order, since), 30)
    was = Was("lost", 5)
    offer = Diff("d", 1, NOW, "create", "tasks", {"id": "t1", "a": 0}, was=was)
    stored = settle(offer, was, held, History("new", (Place("lost", 1),), NOW), 4)
    assert stored is not None
    assert stored.was is not None
    assert stored.was.kept == ("a", "b", "c")
