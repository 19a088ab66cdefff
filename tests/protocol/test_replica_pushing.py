"""Section 5 of docs/protocol.md as a device keeps it: pushes, their outcomes, setting aside."""

from __future__ import annotations

import cProfile
from typing import Any

import pytest

from protocol.diffs import Place
from protocol.messages import (
    Ack,
    Half,
    Lost,
    PushOutcome,
    Ready,
    Rejected,
    Snapshot,
    encode,
)
from protocol.records import LostFields, RejectedEdit
from protocol.replica import WINDOW
from tests.protocol.device import Device, level, stored, welcome
from tests.protocol.ledger import NOW, T1, edit

# Pushing


def test_a_push_is_cut_only_when_ready() -> None:
    phone = Device()
    phone.edit("create", a=1)
    assert phone.pushes() == []
    phone.take(welcome())
    assert phone.pushes() == []
    phone.take(Ready(0, 0))
    assert [(push.push_id, len(push.diffs)) for push in phone.pushes()] == [(1, 1)]


def test_after_a_hello_nothing_is_pushed_until_ready_comes_again() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=1))
    assert phone.pushes() == []


def test_push_and_counter_are_stored_before_anything_is_sent() -> None:
    phone = level()
    phone.edit("update", a=1)
    push = phone.replica.next_push()
    assert push is not None
    writes = phone.replica.take_writes()
    assert (writes.position.counter, writes.edits, list(writes.pushes)) == (1, {1: None}, [1])


def test_a_few_pushes_are_under_way_at_once_and_what_is_edited_meanwhile_folds() -> None:
    phone = level()
    sent = []
    for n in range(WINDOW + 3):
        phone.edit("update", a=n)
        sent += [push.push_id for push in phone.pushes()]
    assert sent == list(range(1, WINDOW + 1))
    phone.take(Ack(1, 2))
    (push,) = phone.pushes()
    assert [diff.json_data["a"] for diff in push.diffs] == [WINDOW + 2]


def test_a_push_has_no_more_diffs_than_the_hub_says() -> None:
    phone = Device()
    phone.take(welcome(limits={"max_diffs": 2, "max_frame_bytes": 2**20}))
    for n in range(5):
        phone.edit("create", f"t{n}")
    phone.take(Ready(0, 0))
    assert [len(push.diffs) for push in phone.pushes()] == [2, 2, 1]


def test_no_frame_is_larger_than_the_hub_says() -> None:
    phone = level()
    phone.take(welcome(logical_clock=1, limits={"max_diffs": 1000, "max_frame_bytes": 2000}))
    for n in range(20):
        phone.edit("update", f"t{n}", a="x" * 150)
    pushes = phone.pushes()
    assert all(len(encode(push)) <= 2000 for push in pushes)
    assert len(pushes) == 4


def test_where_the_hub_names_no_limits_they_are_those_of_the_protocol() -> None:
    phone = level()
    phone.take(welcome(logical_clock=1, limits={}))
    for n in range(1001):
        phone.edit("update", f"t{n}", a=n)
    for n in range(3):
        phone.edit("update", f"big{n}", batch=7, a="x" * 2**19)
    pushes = phone.pushes()
    assert [len(push.diffs) for push in pushes] == [1000, 1, 1, 1]
    assert all(len(encode(push)) <= 2**20 for push in pushes)


def test_an_edit_is_a_batch_of_its_own_unless_one_is_named() -> None:
    phone = level()
    phone.take(welcome(logical_clock=1, limits={"max_diffs": 3, "max_frame_bytes": 2**20}))
    for n in range(4):
        fields = {"id": f"t{n}", "a": n}
        phone.replica.edit("update", "tasks", fields, diff_id=f"e{n}", now=n)
    assert [len(push.diffs) for push in phone.pushes()] == [3, 1]


def test_a_batch_is_pushed_together() -> None:
    phone = level()
    phone.take(welcome(logical_clock=1, limits={"max_diffs": 4, "max_frame_bytes": 2**20}))
    phone.edit("update", "t2", a=1)
    phone.edit("update", "t3", a=1)
    for n in range(3):
        phone.edit("update", f"b{n}", batch=7, a=1)
    assert [len(push.diffs) for push in phone.pushes()] == [2, 3]


def test_after_a_lost_connection_the_rest_is_sent_again_under_the_same_ids_unchanged() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.edit("update", "t2", a=1)
    sent = phone.pushes()
    phone.edit("update", a=2)
    phone.restart()
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=1))
    phone.take(Ready(1, 0))
    again = phone.pushes()
    assert again[: len(sent)] == sent
    assert [push.push_id for push in again] == [1, 2]


def test_a_push_that_was_stored_is_dropped_as_its_ack_comes_in_the_catch_up() -> None:
    phone = level()
    phone.edit("update", a=1)
    phone.pushes()
    phone.restart()
    phone.take(welcome(logical_clock=2, last_push_id=1))
    phone.take(Ack(1, 2, stored(edit("update", {"a": 1}))))
    phone.take(Ready(2, 1))
    assert (phone.replica.pending, phone.pushes(), phone.task()) == (0, [], {"a": 1})


def test_the_oldest_edit_that_is_not_yet_confirmed_is_known() -> None:
    phone = level()
    oldest = [phone.replica.oldest]
    phone.edit("update", a=1)
    phone.pushes()
    phone.edit("update", a=2)
    oldest.append(phone.replica.oldest)
    phone.take(Ack(1, 2))
    oldest.append(phone.replica.oldest)
    assert oldest == [None, 1, 2]


def test_ids_count_on_above_what_the_hub_has() -> None:
    phone = Device()
    phone.take(welcome(last_push_id=7))
    phone.take(Ready(0, 7))
    phone.edit("create")
    assert [push.push_id for push in phone.pushes()] == [8]


# Outcomes


REFUSED = Rejected(0, "e1", "forbidden", "No.")


def pushing(*edits: dict[str, Any]) -> Device:
    phone = level()
    for fields in edits or ({"a": 1},):
        phone.edit("update", **fields)
    phone.pushes()
    return phone


def test_a_rejected_edit_is_kept_with_its_reason_until_the_application_takes_it() -> None:
    phone = pushing()
    phone.take(Ack(1, 2, stored(), rejected=(REFUSED,)))
    phone.restart()
    (setback,) = phone.setbacks
    assert isinstance(setback, RejectedEdit)
    assert (setback.code, setback.message) == ("forbidden", "No.")
    assert setback.diff is not None
    assert setback.diff.json_data == {"id": "t1", "a": 1}
    phone.replica.take_setback(1)
    phone.store()
    phone.restart()
    assert phone.setbacks == []


def test_lost_fields_are_told_with_the_clock_that_won() -> None:
    phone = pushing()
    phone.take(Ack(1, 2, stored(), lost=(Lost(0, "e1", {"a": 1}),)))
    (setback,) = phone.setbacks
    assert isinstance(setback, LostFields)
    assert setback.diff is not None
    assert (setback.fields, setback.diff.json_data["a"]) == ({"a": 1}, 1)


def test_an_outcome_that_is_heard_as_an_ack_and_at_ready_is_told_once() -> None:
    phone = pushing()
    phone.take(Ack(1, 2, stored(), rejected=(REFUSED,)))
    phone.restart()
    phone.take(welcome(logical_clock=2, last_push_id=1))
    phone.take(Ready(2, 1, (PushOutcome(1, rejected=(REFUSED,)),)))
    assert phone.told == [(1, "forbidden")]


def half_way_with_an_ack() -> Device:
    """Its first push lies in the pages that it took, its second in the log behind them."""
    phone = level()
    for n in (1, 2):
        phone.edit("update", a=n)
        phone.pushes()
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=3, last_push_id=2))
    phone.take(Snapshot(2, [], 2, 0))
    phone.take(Ack(2, 3, stored(), rejected=(REFUSED,)))
    return phone


OUTCOMES = (PushOutcome(1, lost=(Lost(0, "e", {"a": 9}),)), PushOutcome(2, rejected=(REFUSED,)))


def test_an_ack_half_way_does_not_hide_what_earlier_pushes_lost() -> None:
    """The ack of push 2 counted as knowing all up to 2: that push 1 had lost was never told."""
    phone = half_way_with_an_ack()
    phone.take(Ready(3, 2, OUTCOMES[:1]))
    assert phone.told == [(2, "forbidden"), (1, {"a": 9})]


def test_an_outcome_heard_half_way_is_told_once_though_the_line_drops_before_ready() -> None:
    phone = half_way_with_an_ack()
    phone.restart()
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=3, last_push_id=2))
    phone.take(Snapshot(3, [], 3, 0))
    phone.take(Ready(3, 2, OUTCOMES))
    assert phone.told == [(2, "forbidden"), (1, {"a": 9})]


@pytest.mark.parametrize("again", ["from its log", "at ready"])
def test_an_outcome_heard_half_way_is_told_once_though_the_hub_is_restored_before_ready(
    again: str,
) -> None:
    """Two simulated worlds: the restored hub tells it anew, and it was shown twice as refused."""
    phone = half_way_with_an_ack()
    phone.replica.hello("t", "phone")
    place = Place(phone.at.log_id or "", 3)
    phone.take(
        welcome(log_id="restored", logical_clock=2, last_push_id=2, reset=True, continues=(place,))
    )
    if again == "from its log":
        phone.take(Ack(1, 1, stored(), lost=OUTCOMES[0].lost))
        phone.take(Ack(2, 2, stored(), rejected=OUTCOMES[1].rejected))
    else:
        phone.take(Snapshot(2, [], 2, 0))
    phone.take(Ready(2, 2, OUTCOMES))
    assert sorted(phone.told, key=str) == [(1, {"a": 9}), (2, "forbidden")]


def test_a_ready_with_more_to_come_tells_its_outcomes_and_no_more() -> None:
    """The device was live, and safe up to the head, with half of its outcomes on their way."""
    phone = half_way_with_an_ack()
    phone.take(Ready(3, 1, OUTCOMES[:1], more=True))
    assert phone.told == [(2, "forbidden"), (1, {"a": 9})]
    assert phone.at.half == Half(1, 2)
    assert (phone.at.settled, phone.replica.ready) == (1, False)
    phone.take(Ready(3, 2, OUTCOMES[1:]))
    assert phone.told == [(2, "forbidden"), (1, {"a": 9})]
    assert phone.storage.position.half is None
    assert (phone.at.settled, phone.replica.ready) == (2, True)


def calls_of_hearing(count: int) -> int:
    """The work of hearing so many outcomes at ready, half-way, as calls of functions."""
    phone = level()
    phone.take(Snapshot(2, [], head=2, remaining=0))
    outcomes = tuple(PushOutcome(number, rejected=(REFUSED,)) for number in range(1, count + 1))
    profile = cProfile.Profile()
    with profile:
        phone.replica.take(Ready(2, count, outcomes), NOW)
    assert len(phone.replica.setbacks) == count
    return sum(entry.callcount for entry in profile.getstats())


def test_an_outcome_costs_the_same_however_many_were_heard_before_it() -> None:
    """A phone with 10,000 refused pushes stood still for 2.6 s at its ready."""
    assert calls_of_hearing(1000) < 5 * calls_of_hearing(250)


def test_an_outcome_heard_half_way_and_taken_is_not_told_again() -> None:
    phone = half_way_with_an_ack()
    for number in list(phone.replica.setbacks):
        phone.replica.take_setback(number)
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=3, last_push_id=2))
    phone.take(Ready(3, 2, OUTCOMES))
    assert [setback.push_id for setback in phone.replica.setbacks.values()] == [1]


def test_outcomes_at_ready_come_in_the_order_of_the_pushes() -> None:
    phone = level()
    for n in (1, 2, 3):
        phone.edit("update", a=n)
        phone.pushes()
    phone.take(Snapshot(4, [], 4, 0))
    outcomes = (PushOutcome(3, rejected=(REFUSED,)), PushOutcome(1, lost=(Lost(0, "e", {"a": 9}),)))
    phone.take(Ready(4, 3, outcomes))
    assert (phone.told, phone.replica.pending) == ([(1, {"a": 9}), (3, "forbidden")], 0)


def test_an_outcome_of_a_push_that_this_copy_never_had_is_told_all_the_same() -> None:
    phone = level()
    phone.take(Ready(1, 4, (PushOutcome(4, rejected=(REFUSED,)),)))
    assert [(s.push_id, s.diff) for s in phone.setbacks] == [(4, None)]


def test_ready_settles_what_it_names_and_no_more() -> None:
    phone = level()
    for n in (1, 2):
        phone.edit("update", a=n)
        phone.pushes()
    phone.take(Ready(1, 1))
    assert list(phone.storage.pushes) == [2]


# Setting aside (section 5)


def two_under_way() -> Device:
    phone = level()
    phone.edit("update", a=1)
    phone.pushes()
    phone.edit("update", "t2", b=1)
    phone.pushes()
    return phone


def come_back(phone: Device) -> list[int]:
    """Connect again; the ids of the pushes that are sent."""
    phone.replica.hello("t", "phone")
    phone.take(welcome(logical_clock=1))
    phone.take(Ready(1, 0))
    return [push.push_id for push in phone.pushes()]


def test_a_push_that_the_hub_names_is_set_aside_and_the_others_go_on() -> None:
    phone = two_under_way()
    assert list(phone.replica.set_aside(1, "bad_message", "No.") or ()) == [T1]
    phone.store()
    phone.restart()
    assert phone.told == [(1, "bad_message")]
    assert (come_back(phone), phone.task()) == ([2], {"a": 0})


def test_without_a_name_pushes_go_one_at_a_time_until_it_happens_again() -> None:
    phone = two_under_way()
    assert phone.replica.set_aside(None, "bad_message", "No.") == ()
    assert (phone.told, come_back(phone)) == ([], [1])
    phone.take(Ack(1, 2))
    assert [push.push_id for push in phone.pushes()] == [2]
    assert list(phone.replica.set_aside(None, "too_big", "No.") or ()) == [("tasks", "t2")]
    assert phone.told == [(2, "too_big")]


def test_after_one_is_set_aside_several_go_at_once_again() -> None:
    phone = two_under_way()
    phone.replica.set_aside(None, "bad_message", "No.")
    come_back(phone)
    phone.replica.set_aside(None, "bad_message", "No.")
    phone.edit("update", "t3", a=1)
    assert come_back(phone) == [2, 3]


def test_once_all_are_settled_several_go_at_once_again() -> None:
    phone = two_under_way()
    phone.replica.set_aside(None, "bad_message", "No.")
    come_back(phone)
    phone.take(Ready(1, 2))
    for n in range(3):
        phone.edit("update", a=n)
        assert len(phone.pushes()) == 1


def test_after_a_restart_nothing_is_under_way() -> None:
    phone = two_under_way()
    phone.restart()
    assert phone.replica.set_aside(1, "bad_message", "No.") is None


def test_a_name_that_is_under_way_no_more_is_as_good_as_none() -> None:
    phone = two_under_way()
    assert phone.replica.set_aside(9, "bad_message", "No.") == ()
    assert (phone.told, come_back(phone)) == ([], [1])


def test_if_nothing_was_under_way_coming_back_is_of_no_use() -> None:
    phone = level()
    phone.edit("update", a=1)
    assert phone.replica.set_aside(None, "bad_message", "No.") is None
    assert (phone.told, phone.replica.pending) == ([], 1)


def test_a_push_not_yet_sent_on_this_connection_is_not_the_one_that_broke_it() -> None:
    phone = two_under_way()
    phone.replica.hello("t", "phone")
    assert phone.replica.set_aside(1, "bad_message", "No.") is None
    assert phone.told == []
