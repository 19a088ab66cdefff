"""A device and the histories of its hub (docs/protocol.md, section 6): epochs, and what continues.

The hub's part of it is in tests/hub/test_histories.py.
"""

from __future__ import annotations

import pytest

from protocol.diffs import Place
from protocol.history import MOST_CONTINUED, History
from protocol.messages import MOST_EARLIER, Hello
from tests.protocol.device import Device, changes, level, welcome

CONTINUES = (Place("log-1", 2), Place("log-0", 1))


def hello_of(phone: Device) -> Hello:
    return phone.replica.hello("t", "phone")


def bases(phone: Device) -> list[int]:
    saved = phone.storage.saved()
    cut = [edit for push in saved.pushes for edit in push.edits]
    return [edit.diff.logical_clock for edit in (*cut, *saved.edits)]


def test_a_device_says_in_which_epochs_it_was_level_after_a_restart_too() -> None:
    phone = level(3)
    assert (hello_of(phone).epoch, hello_of(phone).earlier) == (None, ())
    for epoch in ("1-a", "2-b", "2-b", "3-c"):
        phone.take(welcome(logical_clock=3, epoch=epoch))
    phone.restart()
    assert (hello_of(phone).epoch, hello_of(phone).earlier) == ("3-c", ("2-b", "1-a"))


def test_a_device_names_no_more_epochs_than_the_protocol_allows() -> None:
    phone = level(3)
    for number in range(MOST_EARLIER + 5):
        phone.take(welcome(logical_clock=3, epoch=f"{number}"))
    assert hello_of(phone).earlier == ("11", "10", "9", "8", "7", "6", "5", "4")


def test_a_hub_that_names_no_epoch_leaves_none() -> None:
    phone = level(3)
    phone.take(welcome(logical_clock=3, epoch="1-a"))
    phone.take(welcome(logical_clock=3))
    assert (hello_of(phone).epoch, hello_of(phone).earlier) == (None, ("1-a",))


def test_a_reset_ends_the_epochs_of_the_line_that_the_device_leaves() -> None:
    phone = level(3)
    phone.take(welcome(logical_clock=3, epoch="1-a"))
    phone.take(welcome(logical_clock=3, epoch="2-b", log_id="log-2", reset=True))
    phone.restart()
    assert (hello_of(phone).epoch, hello_of(phone).earlier) == ("2-b", ())


def test_story_6_pending_edits_know_of_a_continuing_history_what_both_share() -> None:
    phone = level(1)
    for clock in (2, 3, 4):
        phone.edit("update", f"t{clock}", a=1)
        phone.take(changes(clock))
    assert bases(phone) == [1, 2, 3]
    phone.take(welcome(log_id="log-2", reset=True, continues=CONTINUES))
    phone.store()
    assert bases(phone) == [1, 2, 2]


@pytest.mark.parametrize("continues", [(), (Place("log-0", 4),)])
def test_story_6_pending_edits_know_nothing_of_a_history_that_does_not_continue_theirs(
    continues: tuple[Place, ...],
) -> None:
    phone = level(3)
    phone.edit("update", a=1)
    phone.take(welcome(log_id="log-2", reset=True, continues=continues))
    phone.store()
    assert bases(phone) == [0]


def test_the_same_line_under_a_new_name_is_taken_without_a_reset() -> None:
    phone = level(3)
    phone.edit("update", a=1)
    phone.take(welcome(log_id="log-2", logical_clock=5, epoch="2-b", continues=CONTINUES))
    phone.restart()
    assert (hello_of(phone).log_id, hello_of(phone).logical_clock) == ("log-2", 3)
    assert bases(phone) == [3]


def test_a_history_that_carries_on_knows_up_to_which_clock_it_shares_each_older_one() -> None:
    first = History("L")
    second = first.carried_on("M", 100, now=7)
    third = second.carried_on("N", 120, now=9)
    assert third.continues == (Place("M", 120), Place("L", 100))
    assert (first.opened, second.opened, third.opened) == (0, 7, 9)
    shared = [third.parted_from(name, None) for name in ("M", "L", "K")]
    assert shared == [120, 100, None]


def test_all_who_have_the_name_of_a_history_share_it_to_where_it_branched_off() -> None:
    """Else an older entry would claim more than a newer one, which branched off later."""
    second = History("L").carried_on("M", 100, now=7)
    assert second.carried_on("N", 0, now=9).continues == (Place("M", 100), Place("L", 100))


def test_a_device_that_is_in_the_line_by_an_older_name_shares_all_of_it() -> None:
    """A simulated world: reset because deletions were forgotten, it gave its old objects back."""
    forked = History("L", (), 0).carried_on("M", 3, 1)
    assert forked.as_told_to("L", 18, is_in_line=True) == (Place("L", 18),)
    assert forked.as_told_to("L", 18) == (Place("L", 3),)


def test_a_device_is_told_no_more_of_its_own_history_than_it_shares() -> None:
    third = History("L").carried_on("M", 100, now=7).carried_on("N", 120, now=9)
    assert third.as_told_to("M", 110) == (Place("M", 110), Place("L", 100))
    assert third.as_told_to("M", 500) == third.as_told_to("K", 0) == third.continues


def test_the_histories_that_are_remembered_are_bounded() -> None:
    history = History("0")
    for number in range(1, 40):
        history = history.carried_on(str(number), number, now=number)
    assert [each.log_id for each in history.continues] == [
        str(number) for number in range(38, 38 - MOST_CONTINUED, -1)
    ]
