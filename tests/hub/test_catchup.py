"""Bringing a device level: from the log, from the objects, half-way, and from too far away."""

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hub import catchup
from hub.limits import Limits
from hub.states import State
from hub.store.interface import Cursor
from tests.hub.fakes import (
    START,
    FakeLink,
    Frame,
    Site,
    a_hub,
    create,
    delete,
    in_virtual_time,
    settled,
    update,
)

SMALL = Limits(max_log_pushes=3, send_buffer_bytes=100)
"""A device that misses four pushes is served from the objects, and each page waits to be taken."""


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three small objects fill a page."""
    monkeypatch.setattr(catchup, "PAGE_BYTES", 50)


async def writer_of(site: Site, *pushes: list[Frame]) -> FakeLink:
    """A live device that has stored these pushes, all of them folded."""
    writer = await site.live("writer")
    for push_id, diffs in enumerate(pushes, 1):
        writer.push(push_id, *diffs)
        await writer.hear_until("ack")
    await folded()
    return writer


async def folded() -> None:
    """Let the objects be written behind the log."""
    await asyncio.sleep(1)


async def stored(writer: FakeLink, push_id: int, *diffs: Frame) -> int:
    writer.push(push_id, *diffs)
    clock = (await writer.hear_until("ack"))[-1]["logical_clock"]
    await folded()
    return int(clock)


def clocks(frames: Iterable[Frame]) -> list[int]:
    """Which clocks were heard of, one by one."""
    return [f["logical_clock"] for f in frames if f["type"] in ("changes", "ack")]


def kinds(frames: Iterable[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


def objects_in(frames: Iterable[Frame]) -> list[Any]:
    """What the pages held, in their order: fields, or the id of one that is deleted."""
    pages = [frame["objects"] for frame in frames if frame["type"] == "snapshot"]
    return [entry.get("json_data") or entry["id"] for page in pages for entry in page]


async def comes(site: Site, device: str, clock: int = 0, **hello: Any) -> list[Frame]:
    """All that a device hears from its hello to its `ready`."""
    link = site.connect()
    known = {"log_id": "log-1"} if clock or hello else {}
    link.hello(device, **{"logical_clock": clock, **known, **hello})
    return await link.hear_until("ready")


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


# The stories


async def half_way(site: Site, writer: FakeLink, level: int) -> tuple[FakeLink, Frame]:
    """A phone that was level, and has taken pages up to 5 when the object x moves behind them."""
    link = await site.greet("phone", logical_clock=level, log_id="log-1" if level else None)
    page: Frame = {"logical_clock": 0}
    while page["logical_clock"] < 5:
        page = await link.take_one()
    assert page["logical_clock"] == 5
    assert await stored(writer, 9, update("x", base=8, a=9)) == 9
    return link, page


HISTORY = [
    [create("x", a=1, b=1)],
    [create("y")],
    [create("padding-to-fill-a-page-3")],
    [create("padding-to-fill-a-page-4")],
    [create("padding-to-fill-a-page-5")],
    [update("x", base=5, b=6)],
    [create("padding-to-fill-a-page-7")],
    [create("padding-to-fill-a-page-8")],
]


@pytest.mark.parametrize("level", [0, 2])
@in_virtual_time
async def test_half_a_snapshot_is_never_followed_by_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """Story 1: x.b was set at 6, and x moved to 9 behind the cursor, with x.b at 6 unsent.

    From clock 8 on little is missing; but the log's 9 holds x.a alone.
    """
    monkeypatch.setattr(catchup, "PAGE_BYTES", 20)
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        writer = await writer_of(site, *HISTORY)
        link, page = await half_way(site, writer, level)
        while page["logical_clock"] < 8:
            page = await link.take_one()
            assert page["type"] == "snapshot"
        link.vanish()
        assert page["logical_clock"] == 8
        frames = await comes(site, "phone", 8, half={"from": level, "head": page["head"]})
        assert frames[0]["reset"] is False
        assert kinds(frames) == ["welcome", "snapshot", "ready"]
        assert objects_in(frames) == [{"id": "x", "a": 9, "b": 6}]


@in_virtual_time
async def test_an_object_that_moves_behind_the_cursor_comes_again_as_it_then_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "PAGE_BYTES", 20)
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        writer = await writer_of(site, *HISTORY)
        link, _page = await half_way(site, writer, 2)
        link.take()
        frames = await link.hear_until("ready")
        assert objects_in(frames)[-1] == {"id": "x", "a": 9, "b": 6}
        assert clocks(frames) == []
        assert frames[-1]["logical_clock"] == 9


@in_virtual_time
async def test_a_device_that_falls_behind_hears_of_every_clock_once_and_in_order(
    tmp_path: Path,
) -> None:
    limits = Limits(send_buffer_bytes=2000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone, slow = await site.live("phone"), await site.live("slow")
        slow.stall()
        for push_id in range(1, 201):
            phone.push(push_id, create(f"o{push_id}", text="x" * 100))
            if push_id % 50 == 0:
                slow.push(push_id, create(f"mine{push_id}"))
        await folded()
        assert site.session(slow).state is State.CATCHING_UP
        slow.take()
        frames = [await slow.hear() for _ in range(205)]
        while not {1, 2} <= {kinds(frames).count("ready"), 2}:
            frames.append(await slow.hear())
        frames += await slow.heard_by_now()
        assert clocks(frames) == list(range(1, 205))
        acks = {frame["push_id"]: frame for frame in frames if frame["type"] == "ack"}
        assert list(acks) == [50, 100, 150, 200]
        before_ready = frames[: kinds(frames).index("ready")]
        assert all("diffs" in frame for frame in before_ready if frame["type"] == "ack")
        assert site.session(slow).state is State.LIVE
        heard = await phone.heard_by_now()
        assert clocks(heard) == list(range(1, 205))


@in_virtual_time
async def test_pushes_in_the_gap_that_a_slow_device_skips_are_settled_at_ready(
    tmp_path: Path,
) -> None:
    """Story 2: no ack comes for them; `ready` says that they are stored, and what became of them.

    They would lie on top of the device's state for ever.
    """
    limits = Limits(max_log_pushes=5, send_buffer_bytes=1000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone, slow = await site.live("phone"), await site.live("slow")
        phone.push(1, create("a", n=1))
        await slow.hear_until("changes")
        slow.stall()
        site.store.hold()
        slow.push(1, create("mine"))
        slow.push(2, update("a", at=START - 5, n=2))
        await site.store.reached()
        site.store.let_go()
        for push_id in range(2, 100):
            phone.push(push_id, create(f"o{push_id}", text="x" * 100))
        await folded()
        slow.take()
        frames = await slow.hear_until("ready")
        assert "snapshot" in kinds(frames)
        ready = frames[-1]
        assert (ready["logical_clock"], ready["last_push_id"]) == (101, 2)
        told = {f["push_id"] for f in frames if f["type"] == "ack" and f.get("lost")}
        told |= {outcome["push_id"] for outcome in ready.get("outcomes", ())}
        assert told == {2}


@in_virtual_time
async def test_pushes_of_a_device_that_is_catching_up_wait_in_bounded_number(
    tmp_path: Path,
) -> None:
    limits = Limits(send_buffer_bytes=1000, max_pushes_under_way=4)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone, slow = await site.live("phone"), await site.live("slow")
        slow.stall()
        for push_id in range(1, 51):
            phone.push(push_id, create(f"o{push_id}", text="x" * 100))
        await phone.hear_until("ack")
        await settled()
        assert site.session(slow).state is State.CATCHING_UP
        for push_id in range(1, 21):
            slow.push(push_id, create(f"mine{push_id}"))
        await settled()
        assert slow.unread == 16
        assert (await site.store.user("ada")).head == 50
        slow.take()
        frames: list[Frame] = []
        while kinds(frames).count("ack") < 20:
            frames.append(await slow.hear())
        assert clocks(frames) == list(range(1, 71))


@in_virtual_time
async def test_an_object_deleted_while_a_newcomers_pages_are_sent_is_no_ghost(
    tmp_path: Path, small_pages: None
) -> None:
    """Story 13: it began with nothing, but it got the object on its first page."""
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        writer = await writer_of(site, *([create(f"object-number-{n}")] for n in range(12)))
        link = await site.greet("phone")
        first = await link.take_one()
        gone = first["objects"][0]["json_data"]["id"]
        await stored(writer, 13, delete(gone))
        link.take()
        frames = await link.hear_until("ready")
        assert objects_in(frames)[-1] == gone
        assert frames[-1]["logical_clock"] == 13


@in_virtual_time
async def test_an_outcome_that_a_page_passed_by_is_told_after_the_line_dropped(
    tmp_path: Path, small_pages: None
) -> None:
    """Story 16: the next hello names a later clock, but nobody had told the device."""
    async with a_hub(tmp_path / "hub.db", limits=SMALL) as site:
        phone = await site.live("phone")
        writer = await writer_of(site, [create("a", n=1)], [update("a", base=1, n=2)])
        await phone.hear_until("changes")
        site.store.hold()
        phone.push(1, update("a", base=1, at=START - 5, n=3))
        await site.store.reached()
        phone.vanish()
        site.store.let_go()
        await writer.hear_until("changes")
        for push_id in range(3, 15):
            await stored(writer, push_id, create(f"object-number-{push_id}"))
        link = await site.greet("phone", logical_clock=1, log_id="log-1")
        page = {"logical_clock": 0}
        while page["logical_clock"] < 4:
            page = await link.take_one()
        link.vanish()
        half = {"from": 1, "head": 15}
        frames = await comes(site, "phone", page["logical_clock"], half=half)
        [outcome] = frames[-1]["outcomes"]
        assert outcome["push_id"] == 1
        assert outcome["lost"][0]["fields"] == {"n": 2}


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


# Outcomes


@in_virtual_time
async def test_outcomes_are_told_at_ready_until_they_were_received(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        for push_id in (1, 2, 3):
            phone.push(push_id, update(f"nothing-{push_id}"))
            await phone.hear_until("ack")
        phone.say("received", logical_clock=2)
        await folded()
        ready = (await comes(site, "phone", 3))[-1]
        assert [outcome["push_id"] for outcome in ready["outcomes"]] == [3]
        assert ready["outcomes"][0]["rejected"][0]["code"] == "no_such_object"

        again = await site.live("phone", logical_clock=3, log_id="log-1")
        again.say("received", logical_clock=3)
        again.say("received", logical_clock=1)
        await folded()
        assert "outcomes" not in (await comes(site, "phone", 3))[-1]


@in_virtual_time
async def test_a_received_above_the_head_does_not_hide_what_comes_later(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.say("received", logical_clock=2**53 - 1)
        await folded()
        phone.push(1, update("nothing"))
        await phone.hear_until("ack")
        ready = (await comes(site, "phone", 1))[-1]
        assert [outcome["push_id"] for outcome in ready["outcomes"]] == [1]


@in_virtual_time
async def test_outcomes_outlive_the_hub(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.push(1, update("nothing"))
        await phone.hear_until("ack")
        phone.push(2, update("nothing"))
        await phone.hear_until("ack")
        phone.say("received", logical_clock=1)
        await settled()
    async with a_hub(tmp_path / "hub.db") as site:
        ready = (await comes(site, "phone", 2))[-1]
        assert [outcome["push_id"] for outcome in ready["outcomes"]] == [2]


@in_virtual_time
async def test_a_ready_never_settles_a_push_before_its_outcome_is_told(
    tmp_path: Path, small_pages: None
) -> None:
    """Many outcomes took several `ready`, and the first of them settled all pushes.

    It named the device's last push, so that the device took every push in flight for stored
    without a loss; what the next `ready` told of them was old news by then, and the edit was gone
    in silence.
    """
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        for push_id in range(1, 8):
            phone.push(push_id, update("nothing"))
            await phone.hear_until("ack")
        phone.push(8, create("fine"))
        await phone.hear_until("ack")
        link = site.connect()
        link.hello("phone", logical_clock=8, log_id="log-1")
        readies = [frame for frame in await link.heard_by_now() if frame["type"] == "ready"]
        assert len(readies) > 1
        told: set[int] = set()
        for ready in readies:
            told |= {outcome["push_id"] for outcome in ready["outcomes"]}
            assert told >= set(range(1, min(ready["last_push_id"], 7) + 1))
        assert told == set(range(1, 8))
        assert [ready["last_push_id"] for ready in readies][-1] == 8
        assert {ready["logical_clock"] for ready in readies} == {8}


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
