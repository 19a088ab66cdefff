"""What a device takes for the hub's time, and which timestamps it gives (section 1, timestamp)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.hubtime import LATEST, restamped, skew_of, stamped
from protocol.messages import Pong
from tests.protocol.device import Device, welcome
from tests.protocol.hub import Hub
from tests.protocol.ledger import MINUTE, NOW

DAY = 24 * 60 * MINUTE
TO_2099 = 2_300_000_000_000
TO_1999 = -860_000_000_000


def timestamps(phone: Device) -> list[int]:
    """Of what waits."""
    return [edit.diff.utc_timestamp for _, edit in sorted(phone.storage.edits.items())]


# The skew


@given(
    ahead=st.integers(-10 * DAY, 10 * DAY),
    there=st.integers(0, 5_000),
    back=st.integers(0, 5_000),
)
def test_the_skew_is_wrong_by_half_the_trip_at_most(ahead: int, there: int, back: int) -> None:
    asked = NOW
    answered = asked + there + back

    skew = skew_of(10**9, asked + there + ahead, answered, there + back)

    assert abs(skew - ahead) <= (there + back) // 2 + 1


def test_a_slow_answer_does_not_spoil_what_a_quick_one_told() -> None:
    quick = skew_of(0, NOW + 5_000, NOW + 10, 20)
    assert quick == 5_000

    assert skew_of(quick, NOW + 5_000, NOW + 9_000, 9_100) == quick


def test_a_pong_corrects_the_skew_as_a_welcome_does() -> None:
    phone = Device()
    phone.take(welcome(server_time=NOW + MINUTE))

    phone.replica.take(Pong(NOW + 3 * MINUTE), NOW + 20, trip=40)

    assert phone.at.skew == 3 * MINUTE


@pytest.mark.parametrize("absurd", [-1, LATEST + 1, 2**53 - 1, 2**80])
def test_a_server_time_that_is_no_date_is_not_followed(absurd: int) -> None:
    """A hub's clock was read as the greatest integer, and its devices could make no edit again."""
    phone = Device()
    phone.take(welcome(server_time=NOW + MINUTE))
    phone.take(welcome(server_time=absurd))

    phone.edit("create")

    assert timestamps(phone) == [NOW + MINUTE]


def test_a_device_whose_own_clock_shows_no_date_can_be_edited() -> None:
    phone = Device()
    phone.now = 2**60
    phone.edit("create")
    phone.edit("update", a=1)

    assert timestamps(phone) == [LATEST, LATEST + 1]


def test_a_hub_whose_own_clock_was_wrong_for_a_moment_leaves_nobody_ahead_for_ever() -> None:
    """A hub began in 2099, and was set. Its devices' timestamps, to rise, stayed in 2099.

    The hub let each count as a minute ahead of its clock: they won against all that came later.
    """
    phone = Device()
    phone.take(welcome(server_time=NOW + TO_2099))
    phone.edit("create")
    phone.take(welcome(server_time=NOW))
    phone.edit("update", a=1)

    assert timestamps(phone) == [NOW, NOW + 1]


# Edits made before the hub's time was heard


@pytest.mark.parametrize("ahead", [TO_2099, TO_1999, DAY, -DAY])
def test_edits_made_before_the_first_welcome_are_stamped_by_the_hubs_time_when_it_comes(
    ahead: int,
) -> None:
    phone = Device()
    phone.now = NOW + ahead
    for _ in range(3):
        phone.edit("create", name=f"t{phone.now}")
        phone.now += MINUTE

    phone.take(welcome(server_time=NOW + 3 * MINUTE))

    assert timestamps(phone) == [NOW, NOW + MINUTE, NOW + 2 * MINUTE]


def test_they_stay_so_over_a_restart() -> None:
    phone = Device()
    phone.now = NOW + TO_2099
    phone.edit("create")
    phone.restart()
    phone.now += MINUTE

    phone.take(welcome(server_time=NOW + MINUTE))
    phone.restart()

    assert timestamps(phone) == [NOW]
    assert phone.at.timestamp == phone.at.corrected == NOW


def test_edits_that_folded_away_leave_no_time_behind() -> None:
    """A device in 2099 made an edit and took it back; all that followed was stamped 2099."""
    phone = Device()
    phone.now = NOW + TO_2099
    phone.edit("create")
    phone.edit("delete")

    phone.take(welcome(server_time=NOW))
    phone.edit("create")

    assert timestamps(phone) == [NOW]


def test_no_edit_is_later_than_the_hubs_time_when_it_is_heard() -> None:
    phone = Device()
    phone.take(welcome(server_time=NOW))
    phone.restart()
    phone.now = NOW + 3 * DAY  # somebody set it, while the device did not run
    phone.edit("create", name="a")
    phone.edit("create", name="b")
    phone.restart()
    phone.now = NOW + MINUTE  # and set it back

    phone.take(welcome(server_time=NOW + MINUTE))

    assert timestamps(phone) == [NOW + MINUTE - 1, NOW + MINUTE]


def test_what_was_stamped_by_the_hubs_time_is_not_stamped_again() -> None:
    phone = Device()
    phone.take(welcome(server_time=NOW))
    phone.edit("create", name="a")
    phone.restart()
    phone.now += DAY
    phone.edit("create", name="b")

    phone.take(welcome(server_time=NOW + MINUTE))

    assert timestamps(phone) == [NOW, NOW + MINUTE]


def test_a_push_that_was_cut_is_never_changed() -> None:
    hub, phone = Hub(), Device()
    phone.connect(hub)
    phone.hear()
    phone.edit("create")
    (push,) = phone.pushes()
    phone.drop(hub)

    phone.take(welcome(server_time=phone.now + DAY))

    assert phone.replica._pending.pushes[1].edits[0].diff is push.diffs[0]


def test_edits_that_differ_by_less_than_a_second_are_left_as_they_are() -> None:
    """A hundred thousand edits were written again, for a clock that was three milliseconds off."""
    phone = Device()
    phone.edit("create")
    phone.store()

    phone.replica.take(welcome(server_time=NOW + 999), NOW)

    assert not phone.replica.take_writes().edits


def test_many_edits_of_one_moment_are_no_clock_that_was_put_back() -> None:
    """Two thousand edits made at once ran two seconds ahead of the clock, as they must, to rise.

    After a restart that was taken for a clock put back, and all of them were written again.
    """
    phone = Device()
    for number in range(2_000):
        phone.edit("create", name=f"t{number}")
    phone.restart()
    phone.replica.begin(phone.now)

    phone.replica.take(welcome(server_time=NOW), NOW)

    assert phone.at.skew == 0
    assert not phone.replica.take_writes().edits


# Restarts and clocks that are set


def test_a_clock_that_was_put_back_while_the_device_did_not_run_goes_on_from_the_last_edit() -> (
    None
):
    phone = Device()
    phone.take(welcome(server_time=NOW))
    phone.edit("create", name="a")
    phone.restart()
    phone.now = NOW - 3 * DAY
    phone.replica.begin(phone.now)
    phone.now += MINUTE
    phone.edit("create", name="b")
    assert timestamps(phone) == [NOW, NOW + MINUTE]

    phone.take(welcome(server_time=NOW + 2 * MINUTE))

    assert timestamps(phone) == [NOW, NOW + 2 * MINUTE]


def test_a_clock_that_is_set_while_the_device_runs_changes_nothing() -> None:
    phone = Device()
    phone.take(welcome(server_time=NOW))
    for by in (3 * DAY, -9 * DAY, TO_2099):
        phone.now += by
        phone.replica.clock_set(by)
        phone.now += 1
        phone.edit("create", name=f"t{by}")
        phone.restart()

    assert timestamps(phone) == [NOW + 1, NOW + 2, NOW + 3]


@given(
    st.lists(st.integers(1, 10**13), max_size=30, unique=True).map(sorted),
    st.integers(-(10**13), 10**13),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
)
def test_what_is_stamped_anew_rises_above_the_floor_and_not_beyond_now(
    given_before: list[int], by: int, floor: int, now: int
) -> None:
    after = restamped(given_before, by, floor, now)

    assert all(a < b for a, b in zip([floor, *after], after, strict=False))
    assert after == [] or after[-1] <= max(now, floor + len(after))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["edit", "hear", "restart", "set"]),
            st.integers(-30 * DAY, 30 * DAY) | st.integers(0, 3),
        ),
        max_size=40,
    )
)
def test_pushed_timestamps_rise_whatever_happens_to_the_clock(
    story: list[tuple[str, int]],
) -> None:
    """True time goes on by a second with each event; only the device's clock is tampered with."""
    hub, phone, true = Hub(), Device(), NOW
    pushed: list[int] = []
    for number, (event, by) in enumerate(story):
        true += 1_000
        phone.now += 1_000
        match event:
            case "edit":
                phone.edit("create", name=f"t{number}")
            case "set":
                phone.now += by
                phone.replica.clock_set(by)
            case "restart":
                phone.restart()
                phone.now += by
                phone.replica.begin(phone.now)
            case _:
                hub.now = true
                phone.connect(hub)
                phone.hear()
                for push in phone.pushes():
                    pushed += [diff.utc_timestamp for diff in push.diffs]
                    hub.push(phone.line, push)
                phone.hear()
                phone.drop(hub)
                assert abs(phone.now + phone.at.skew - true) == 0
                assert not pushed or pushed[-1] <= true
    assert pushed == sorted(set(pushed))


def test_stamped_rises_and_stays_a_date() -> None:
    assert stamped(5, 7) == 8
    assert stamped(LATEST + 5, 7) == LATEST
