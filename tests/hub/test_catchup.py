"""Bringing a device level: from the log, from the objects, half-way, and from too far away."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hub import catchup
from hub.limits import Limits
from hub.states import State
from hub.store.interface import Cursor
from tests.hub.catching_up import SMALL, clocks, comes, kinds, objects_in, writer_of
from tests.hub.fakes import (
    START,
    Frame,
    a_hub,
    create,
    delete,
    in_virtual_time,
    settled,
    update,
)

# The log or the objects


@in_virtual_time
async def test_a_device_that_missed_little_hears_of_each_push(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_log_pushes=3)) as site:
        await writer_of(site, *([create(f"o{n}")] for n in range(5)))
        frames = await comes(site, "phone", 2)
        assert kinds(frames) == ["welcome", "changes", "changes", "changes", "ready"]
        assert clocks(frames) == [3, 4, 5]
        assert frames[-1] == {"type": "ready", "logical_clock": 5, "last_push_id": 0}


@in_virtual_time
async def test_a_device_that_missed_much_gets_each_object_once_and_whole(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_log_pushes=3)) as site:
        await writer_of(
            site,
            [create("a", n=1), create("b", n=1)],
            *([update("b", base=9, n=n)] for n in range(2, 6)),
            [update("b", base=9, m=1)],
        )
        frames = await comes(site, "phone", 1)
        assert kinds(frames) == ["welcome", "snapshot", "ready"]
        assert objects_in(frames) == [{"id": "b", "n": 5, "m": 1}]
        page = frames[1]
        assert (page["logical_clock"], page["head"], page["remaining"]) == (6, 6, 0)
        assert page["objects"][0]["logical_clock"] == 6


@in_virtual_time
async def test_a_device_that_is_level_hears_only_that_it_is(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await writer_of(site, [create("a")], [create("b")])
        assert kinds(await comes(site, "phone", 2)) == ["welcome", "ready"]


@in_virtual_time
async def test_a_newcomer_gets_the_objects_and_no_tombstone_from_before_it_came(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        await writer_of(site, [create("a")], [create("b")], [delete("a")])
        frames = await comes(site, "phone")
        assert objects_in(frames) == [{"id": "b"}]
        assert frames[-1]["logical_clock"] == 3


@in_virtual_time
async def test_a_device_from_long_ago_gets_tombstones_too(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        await writer_of(
            site, [create("a")], [delete("a")], *([create(f"o{n}")] for n in range(3, 7))
        )
        frames = await comes(site, "phone", 1)
        assert objects_in(frames) == ["a", *({"id": f"o{n}"} for n in range(3, 7))]


@in_virtual_time
async def test_what_is_not_yet_folded_comes_from_the_log_behind_the_objects(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        writer = await writer_of(site, [create("a", n=1)], [create("b", n=1)])
        writer.push(3, update("a", base=2, n=2))
        await writer.hear_until("ack")
        frames = await comes(site, "phone")
        assert kinds(frames) == ["welcome", "snapshot", "changes", "ready"]
        assert objects_in(frames) == [{"id": "a", "n": 1}, {"id": "b", "n": 1}]
        assert clocks(frames) == [3]


@in_virtual_time
async def test_a_newcomer_to_whom_nothing_is_folded_yet_gets_the_log(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        writer = await site.live("writer")
        writer.push(1, create("a"))
        await writer.hear_until("ack")
        frames = await comes(site, "phone")
        assert clocks(frames) == [1]
        assert frames[-1]["logical_clock"] == 1


@in_virtual_time
async def test_a_devices_own_pushes_come_as_acks_that_carry_diffs(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.push(1, create("a", n=1))
        await phone.hear_until("ack")
        writer = await writer_of(site, [update("a", base=1, n=2)])
        phone.push(2, update("a", base=0, at=START - 5, n=3, m=3))
        await writer.hear_until("changes")
        frames = await comes(site, "phone", 1)
        assert kinds(frames) == ["welcome", "changes", "ack", "ready"]
        ack = frames[2]
        assert (ack["push_id"], ack["logical_clock"]) == (2, 3)
        assert [diff["json_data"] for diff in ack["diffs"]] == [{"id": "a", "m": 3}]
        assert ack["lost"][0]["fields"] == {"n": 2}
        assert "outcomes" not in frames[-1]


# Pages


@in_virtual_time
async def test_pages_wait_for_the_device_and_finish_their_clock(
    tmp_path: Path, small_pages: None
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        await writer_of(
            site, [create("a"), create("b"), create("c")], *([create(f"o{n}")] for n in range(5))
        )
        link = await site.greet("phone")
        pages = []
        while (frame := await link.take_one())["type"] == "snapshot":
            pages.append(frame)
            await settled()
            assert link.buffered < 500
        assert frame == {"type": "ready", "logical_clock": 6, "last_push_id": 0}
        assert [len(page["objects"]) for page in pages] == [4, 3, 1]
        assert [page["logical_clock"] for page in pages] == [2, 5, 6]
        assert [page["remaining"] for page in pages] == [4, 1, 0]
        assert {page["head"] for page in pages} == {6}


@in_virtual_time
async def test_objects_of_one_push_may_lie_on_two_pages_and_its_clock_is_finished_by_the_last(
    tmp_path: Path, small_pages: None
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        many = [create(f"object-number-{n}") for n in range(12)]
        await writer_of(site, [create("first")], many)
        frames = await comes(site, "phone")
        pages = [frame for frame in frames if frame["type"] == "snapshot"]
        assert len(pages) > 2
        assert [page["logical_clock"] for page in pages] == [1] * (len(pages) - 1) + [2]
        names = [fields["id"] for fields in objects_in(frames)]
        assert names == ["first", *(edit["json_data"]["id"] for edit in many)]


@in_virtual_time
async def test_a_page_that_is_cut_off_inside_a_push_is_begun_again_with_that_push(
    tmp_path: Path, small_pages: None
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        many = [create(f"object-number-{n}") for n in range(12)]
        await writer_of(site, [create("first")], many)
        link = await site.greet("phone")
        page = await link.take_one()
        link.vanish()
        half = {"from": 0, "head": page["head"]}
        frames = await comes(site, "phone", page["logical_clock"], half=half)
        names = [fields["id"] for fields in objects_in(frames)]
        assert names == [edit["json_data"]["id"] for edit in many]


# Resets


RESETS = [
    # clock, log id, half, line: reset?
    (0, None, None, 0, False),
    (0, None, None, 3, True),
    (0, "log-1", None, 0, False),
    (0, "another", None, 0, True),
    (3, "log-1", None, 0, False),
    (3, "log-1", None, 3, False),
    (3, "log-1", None, 4, True),
    (3, None, None, 0, True),
    (3, "another", None, 0, True),
    (6, "log-1", None, 0, False),
    (7, "log-1", None, 0, True),
    (3, "log-1", (0, 5), 5, False),
    (3, "log-1", (0, 5), 6, True),
    (3, "log-1", (2, 5), 3, False),
    (3, "log-1", (2, 5), 4, True),
    (3, "log-1", (0, 7), 0, True),
    (0, None, (0, 5), 0, True),
    (0, "log-1", (0, 5), 5, False),
]


@pytest.mark.parametrize(("clock", "log_id", "half", "line", "reset"), RESETS)
@in_virtual_time
async def test_a_device_is_reset_when_its_history_is_not_this_one(
    tmp_path: Path,
    clock: int,
    log_id: str | None,
    half: tuple[int, int] | None,
    line: int,
    reset: bool,
) -> None:
    """The cases of section 6; the head is 6."""
    async with a_hub(tmp_path / "hub.db") as site:
        await writer_of(site, *([create(f"o{n}")] for n in range(1, 7)))
    with sqlite3.connect(tmp_path / "hub.db") as file:
        file.execute("UPDATE users SET line = ?", (line,))
    file.close()
    async with a_hub(tmp_path / "hub.db") as site:
        asked = half and {"from": half[0], "head": half[1]}
        link = site.connect()
        link.hello("phone", logical_clock=clock, log_id=log_id, half=asked)
        frames = await link.hear_until("ready")
        assert frames[0]["reset"] is reset
        assert frames[0]["log_id"] == "log-1"
        began = 0 if reset else clock
        if reset or half or not clock:
            assert [f["id"] for f in objects_in(frames)] == [f"o{n}" for n in range(began + 1, 7)]
        else:
            assert clocks(frames) == list(range(began + 1, 7))
        assert frames[-1]["logical_clock"] == 6


# What it costs


@in_virtual_time
async def test_a_slow_device_costs_no_more_than_a_fixed_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a catch-up was bounded in pushes, not in bytes.

    Sixty-four pushes of a megabyte lay in the buffer of each device that read slowly.
    """
    monkeypatch.setattr(catchup, "PAGE_BYTES", 20_000)
    limits = Limits(send_buffer_bytes=10_000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone, slow = await site.live("phone"), await site.live("slow")
        slow.stall()
        heard: list[Frame] = []
        for push_id in range(1, 61):
            phone.push(push_id, create(f"o{push_id}", text="x" * 19_000))
            await phone.hear_until("ack")
            slow.take(1)
            heard += await slow.heard_by_now()
        # A page ends with the frame that fills it, and the next frame tells that it is too much.
        frame = 19_500
        assert slow.most_buffered <= limits.send_buffer_bytes + catchup.PAGE_BYTES + 2 * frame
        slow.take()
        heard += await slow.heard_by_now()
        assert clocks(heard) == list(range(1, 61))


@in_virtual_time
async def test_catching_up_holds_nobody_up(tmp_path: Path, small_pages: None) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        writer = await writer_of(site, *([create(f"object-number-{n}")] for n in range(20)))
        stalled = await site.greet("phone")
        await settled()
        assert site.session(stalled).state is State.CATCHING_UP
        for push_id in range(21, 31):
            writer.push(push_id, create("a"))
        acks = [await writer.hear() for _ in range(10)]
        assert clocks(acks) == list(range(21, 31))


@in_virtual_time
async def test_a_device_that_leaves_while_it_is_paged_is_paged_no_further(
    tmp_path: Path, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        await writer_of(site, *([create(f"object-number-{n}")] for n in range(50)))
        pages = 0
        page = site.store.page

        async def counted(user: str, cursor: Cursor, skip: int, most: int) -> Any:
            nonlocal pages
            pages += 1
            return await page(user, cursor, skip, most)

        monkeypatch.setattr(site.store, "page", counted)
        link = await site.greet("phone")
        await settled()
        link.vanish()
        await site.gone(link)
        assert 0 < pages < 5
