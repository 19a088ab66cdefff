"""A hub whose file was restored, or put back to an older copy by hand (protocol.md, section 6).

The device's part of it is in tests/protocol/test_histories.py; the whole with real processes in
tests/crash/test_put_back.py and tests/crash/test_restore.py.
"""

import json
import shutil
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.http.polling import PollRefused, poll
from hub.store.errors import StoreFailed
from hub.store.histories import carry_all_on
from hub.store.interface import Store
from protocol.diffs import Place
from protocol.history import History
from tests.hub.catching_up import comes, kinds, objects_in, stored, writer_of
from tests.hub.fakes import (
    START,
    FakeClock,
    Frame,
    Site,
    a_hub,
    code,
    create,
    in_virtual_time,
    settled,
    update,
)

LATER = FakeClock(START + 1000)
FIRST, SECOND = "1-start-a1", "2-start-b1"
"""The epochs of the hub's two lives in most of these tests."""


class Lives:
    """One file, and the hubs that serve it one after the other: lives a, b, c and so on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hub.db"
        self._copy = folder / "copy.db"

    def live(self, life: str, **options: Any) -> AbstractAsyncContextManager[Site]:
        return a_hub(self.path, life=life, clock=LATER, **options)

    def copy(self) -> None:
        """Copy the file as it lies there, as `cp` does; nobody serves it."""
        shutil.copy(self.path, self._copy)

    def put_back(self) -> None:
        shutil.copy(self._copy, self.path)

    def restore(self) -> None:
        """Put the copy back as `mobync-hub restore` does."""
        self.put_back()
        names = iter(f"restored-{number}" for number in range(1, 99))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as file:
            carry_all_on(file, names.__next__, START + 500)


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path)


async def history(store: Store) -> History:
    return (await store.user("ada")).history


async def two_pushes_copied_and_a_third(lives: Lives) -> None:
    """The life a: clocks 1 and 2, then the copy, then clock 3, which the copy lacks."""
    async with lives.live("a") as site:
        await writer_of(site, [create("one")], [create("two")])
    lives.copy()


async def greeted(site: Site, clock: int, **hello: Any) -> list[Frame]:
    return await comes(site, "phone", clock, **{"log_id": "log-a1", **hello})


# Epochs


@in_virtual_time
async def test_every_welcome_names_the_epoch(lives: Lives) -> None:
    for life, epoch in (("a", FIRST), ("b", SECOND)):
        async with lives.live(life) as site:
            [welcome, *_] = await comes(site, "phone")
            assert welcome["epoch"] == epoch
            assert "continues" not in welcome


KNOWN = [
    ({}, 2),
    ({"epoch": None}, 2),
    ({"epoch": FIRST}, 1),
    ({"epoch": FIRST}, 2),
    ({"epoch": SECOND}, 3),
    ({"epoch": SECOND, "earlier": [FIRST, "0-of-nobody"]}, 2),
]


@pytest.mark.parametrize(("named", "clock"), KNOWN)
@in_virtual_time
async def test_who_has_seen_what_the_hub_has_goes_on(
    lives: Lives, named: Frame, clock: int
) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        writer = await site.live("writer", logical_clock=2, log_id="log-a1", epoch=FIRST)
        await stored(writer, 9, create("three"))
        frames = await greeted(site, clock, **named)
        assert (frames[0]["reset"], frames[0]["log_id"]) == (False, "log-a1")
        assert kinds(frames) == ["welcome", *["changes"] * (3 - clock), "ready"]
        assert (await history(site.store)).continues == ()


LOST = [
    ({"epoch": "2-start-lost"}, 0),
    ({"epoch": "2-start-lost", "earlier": ["0-of-nobody", FIRST]}, 2),
    ({"epoch": FIRST, "earlier": ["0-of-nobody"]}, 2),
]


@pytest.mark.parametrize(("named", "shared"), LOST)
@in_virtual_time
async def test_story_6_who_has_seen_what_a_file_put_back_lacks_begins_again_in_a_new_history(
    lives: Lives, named: Frame, shared: int
) -> None:
    """Though the clock that it is at was meanwhile taken again by another push."""
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        writer = await site.live("writer", logical_clock=2, log_id="log-a1", epoch=FIRST)
        await stored(writer, 9, create("another three"))
        frames = await greeted(site, 3, **named)
        forked = await history(site.store)
        assert forked == History("log-b1", (Place("log-a1", shared),), LATER())
        assert (frames[0]["reset"], frames[0]["log_id"]) == (True, "log-b1")
        assert frames[0]["continues"] == [{"log_id": "log-a1", "logical_clock": shared}]
        assert [each["id"] for each in objects_in(frames)] == ["one", "two", "another three"]
    async with lives.live("c") as site:
        assert await history(site.store) == forked


@in_virtual_time
async def test_half_way_it_is_the_end_of_the_paging_that_the_hub_must_have_seen(
    lives: Lives,
) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        within = await greeted(site, 1, epoch=FIRST, half={"from": 0, "head": 2})
        assert not within[0]["reset"]
        beyond = await greeted(site, 1, epoch=FIRST, half={"from": 0, "head": 3})
        assert beyond[0]["reset"]
        assert beyond[0]["log_id"] == "log-b1"


@pytest.mark.parametrize(
    ("named", "is_reset"), [({"seen": 3}, True), ({"seen": 2}, False), ({}, False)]
)
@in_virtual_time
async def test_half_through_a_push_that_push_is_one_that_the_hub_must_have_seen(
    lives: Lives, named: Frame, is_reset: bool
) -> None:
    """A page ended in the middle of push 3: the device is at 2, and has an object as of 3. The hub
    went back to a copy without push 3, and took the device for one of its line: the object stayed
    on that device alone, for ever. A device that does not say `seen` is not checked for it.
    """
    await two_pushes_copied_and_a_third(lives)
    lives.put_back()
    async with lives.live("b") as site:
        half = {"from": 0, "head": 1, **named}
        frames = await greeted(site, 2, epoch=FIRST, half=half)
        assert frames[0]["reset"] == is_reset


@in_virtual_time
async def test_who_is_in_the_line_takes_its_new_name_and_is_not_reset(lives: Lives) -> None:
    """`welcome.log_id` may differ without `reset`: the same line under a new name."""
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        await greeted(site, 3, epoch="2-start-lost", earlier=[FIRST])
        for named, clock in (({"epoch": FIRST}, 1), ({"epoch": SECOND}, 2)):
            [welcome, *rest] = await comes(site, "desk", clock, log_id="log-a1", **named)
            assert (welcome["reset"], welcome["log_id"]) == (False, "log-b1")
            assert kinds(rest) == [*["changes"] * (2 - clock), "ready"]
        assert (await history(site.store)).log_id == "log-b1"


@in_virtual_time
async def test_a_second_device_of_the_lost_line_forks_nothing_any_more(lives: Lives) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        await greeted(site, 3, epoch="2-start-lost", earlier=[FIRST])
        [welcome, *_] = await comes(
            site, "desk", 3, log_id="log-a1", epoch="2-start-lost", earlier=["1-unheard-of"]
        )
        assert (welcome["reset"], welcome["log_id"]) == (True, "log-b1")
        assert welcome["continues"] == [{"log_id": "log-a1", "logical_clock": 2}]


@in_virtual_time
async def test_who_shares_less_than_others_of_its_history_is_told_so(lives: Lives) -> None:
    async with lives.live("a") as site:
        await writer_of(site, [create("one")])
    async with lives.live("b") as site:
        writer = await site.live("writer", logical_clock=1, log_id="log-a1", epoch=FIRST)
        await stored(writer, 9, create("two"))
    async with lives.live("c") as site:
        await greeted(site, 3, epoch="3-lost", earlier=[SECOND])
        [welcome, *_] = await comes(
            site, "desk", 3, log_id="log-a1", epoch="2-other", earlier=[FIRST]
        )
        assert welcome["continues"] == [{"log_id": "log-a1", "logical_clock": 1}]


@in_virtual_time
async def test_an_unchecked_device_above_the_head_is_reset_within_its_history(
    lives: Lives,
) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        [welcome, *_] = await greeted(site, 3)
        assert (welcome["reset"], welcome["log_id"]) == (True, "log-a1")


@in_virtual_time
async def test_a_device_of_an_epoch_long_ago_is_reset_and_nothing_is_forked(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.epochs.KEPT", 2)
    for life in "abc":
        async with lives.live(life) as site:
            await site.live("writer", epoch=None)
    async with lives.live("d") as site:
        [welcome, *_] = await comes(site, "phone", 0, log_id="log-a1", epoch=FIRST)
        assert (welcome["reset"], welcome["log_id"]) == (True, "log-a1")


@in_virtual_time
async def test_live_devices_stay_through_a_fork_for_they_hold_this_very_line(
    lives: Lives,
) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        desk = await site.live("desk", logical_clock=2, log_id="log-a1", epoch=FIRST)
        await greeted(site, 3, epoch="2-start-lost", earlier=[FIRST])
        desk.push(1, update("one", base=2, n=1))
        assert (await desk.hear_until("ack"))[-1]["logical_clock"] == 3
        desk.vanish()
        await settled()
        [welcome, *_] = await comes(site, "desk", 3, log_id="log-a1", epoch=SECOND)
        assert (welcome["reset"], welcome["log_id"]) == (False, "log-b1")


@in_virtual_time
async def test_a_fork_that_cannot_be_stored_lets_nobody_in(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:

        async def failing(_user: str, _clock: int) -> History:
            raise StoreFailed("the disk is full")

        monkeypatch.setattr(site.store, "fork", failing)
        link = site.connect()
        link.hello("phone", logical_clock=3, log_id="log-a1", epoch="2-start-lost")
        frames = await link.hear_all()
        assert kinds(frames) == ["error"]
        assert code(link) == 1013
        assert (await history(site.store)).log_id == "log-a1"


# Polling clients


@pytest.mark.parametrize("restored", [False, True])
@in_virtual_time
async def test_a_polling_client_above_the_head_is_told_to_start_again(
    lives: Lives, restored: bool
) -> None:
    """It has no epoch and no log id: below the head it cannot be told from others."""
    await two_pushes_copied_and_a_third(lives)
    if restored:
        lives.restore()
    request = {"auth_token": "ada", "logical_clock": 3, "diffs": []}
    async with lives.live("b") as site:
        with pytest.raises(PollRefused, match="above the hub's 2: start again") as refused:
            await poll(site.hub, json.dumps(request).encode())
        assert refused.value.status == HTTPStatus.CONFLICT
        answered = await poll(site.hub, json.dumps({**request, "logical_clock": 2}).encode())
        assert json.loads(answered.body)["logical_clock"] == 2


# Restored by the verb


@in_virtual_time
async def test_story_6_a_restored_hub_says_which_histories_it_continues(lives: Lives) -> None:
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        assert await history(site.store) == History(
            "restored-1", (Place("log-a1", 2),), START + 500
        )
        frames = await greeted(site, 3, epoch=FIRST)
        assert (frames[0]["reset"], frames[0]["log_id"]) == (True, "restored-1")
        assert frames[0]["continues"] == [{"log_id": "log-a1", "logical_clock": 2}]
        assert kinds(frames) == ["welcome", "snapshot", "ready"]


@in_virtual_time
async def test_who_had_seen_no_more_than_the_backup_takes_the_new_name_and_goes_on(
    lives: Lives,
) -> None:
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        [welcome, *rest] = await greeted(site, 1, epoch=FIRST)
        assert (welcome["reset"], welcome["log_id"]) == (False, "restored-1")
        assert kinds(rest) == ["changes", "ready"]


@pytest.mark.parametrize("named", [{}, {"epoch": "2-start-lost"}])
@in_virtual_time
async def test_who_does_not_say_or_cannot_know_how_much_it_shares_is_reset(
    lives: Lives, named: Frame
) -> None:
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        [welcome, *_] = await greeted(site, 1, **named)
        assert welcome["reset"]
        assert welcome["continues"] == [{"log_id": "log-a1", "logical_clock": 2}]


@in_virtual_time
async def test_a_restored_hub_that_is_restored_continues_both_histories(lives: Lives) -> None:
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        writer = await site.live("writer", logical_clock=2, log_id="log-a1", epoch=FIRST)
        await stored(writer, 9, create("three"))
    lives.copy()
    lives.restore()
    async with lives.live("c") as site:
        found = await history(site.store)
        assert found.continues == (Place("restored-1", 3), Place("log-a1", 2))


@in_virtual_time
async def test_a_user_whom_the_copy_lacked_carries_on_whatever_its_devices_name(
    lives: Lives,
) -> None:
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        for lost in ("lost", "older"):
            device = await site.greet(
                f"of {lost}", "bob", logical_clock=9, log_id=lost, epoch="lost", earlier=[]
            )
            device.take()
        again = site.connect()
        again.hello("again", "bob", logical_clock=9, log_id="older", epoch="lost", earlier=[])
        welcome = await again.hear()
        assert welcome["reset"]
        told = [(place["log_id"], place["logical_clock"]) for place in welcome["continues"]]
        assert told == [("lost", 0), ("older", 0)]


@pytest.mark.parametrize("name", ["two words", "", "é", "x" * 65])
@in_virtual_time
async def test_what_is_no_log_id_is_carried_on_by_nobody(lives: Lives, name: str) -> None:
    """The file would hold what the hub does not read again, and the user would be locked out."""
    await two_pushes_copied_and_a_third(lives)
    lives.restore()
    async with lives.live("b") as site:
        device = site.connect()
        device.hello("phone", "bob", logical_clock=9, log_id=name, epoch="lost", earlier=[])
        assert (await device.hear()).get("continues", []) == []
    async with lives.live("c") as site:
        await site.live("phone", "bob")


@in_virtual_time
async def test_before_a_device_of_an_unknown_history_a_history_gets_a_name_to_be_found_by(
    lives: Lives,
) -> None:
    """A copy was put back by hand that knew nothing of the history which carried it on.

    The operator who did so found no word of it in the log.
    """
    await two_pushes_copied_and_a_third(lives)
    with capture_logs() as logs:
        await _two_devices_of_an_unknown_history(lives)
    told = [line for line in logs if "put back to an older copy" in line["event"]]
    assert [(line["device"], line["seen"], line["shared"]) for line in told] == [("one", 7, 2)]


async def _two_devices_of_an_unknown_history(lives: Lives) -> None:
    async with lives.live("b") as site:
        for name in ("one", "another"):
            device = site.connect()
            device.hello(name, logical_clock=7, log_id="between", epoch="lost", earlier=[])
            welcome = await device.hear()
            assert welcome["reset"]
            assert welcome["continues"] == [{"log_id": "log-a1", "logical_clock": 2}]
        assert len((await history(site.store)).continues) == 1


@in_virtual_time
async def test_a_device_that_names_no_epoch_opens_no_history(lives: Lives) -> None:
    await two_pushes_copied_and_a_third(lives)
    async with lives.live("b") as site:
        device = site.connect()
        device.hello("one", logical_clock=7, log_id="between")
        welcome = await device.hear()
        assert (welcome["reset"], welcome["log_id"]) == (True, "log-a1")
