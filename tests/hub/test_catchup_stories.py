"""How drafts of catching up broke, and what a device is told of its own pushes afterwards."""

from pathlib import Path

import pytest

from hub import catchup
from hub.limits import Limits
from hub.states import State
from tests.hub.catching_up import SMALL, clocks, comes, folded, kinds, objects_in, stored, writer_of
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
        assert [ready.get("more", False) for ready in readies] == [True] * (len(readies) - 1) + [
            False
        ]
