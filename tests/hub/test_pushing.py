"""Pushes on their way through a session: acked, handed on, fenced and bounded."""

from pathlib import Path

from hub.limits import Limits
from tests.hub.fakes import START, a_hub, code, create, delete, in_virtual_time, settled, update


@in_virtual_time
async def test_a_push_reaches_every_other_live_device_and_is_acked(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop, bob = [
            await site.live(*who) for who in (("phone",), ("laptop",), ("phone", "bob"))
        ]
        phone.push(1, edit := create("a", title="Milk"))
        assert await phone.hear() == {"type": "ack", "push_id": 1, "logical_clock": 1}
        diff = {name: value for name, value in edit.items() if name != "logical_clock"}
        assert await laptop.hear() == {
            "type": "changes", "logical_clock": 1, "device": "phone", "diffs": [diff],
        }  # fmt: skip
        assert await bob.heard_by_now() == []


@in_virtual_time
async def test_an_ack_tells_what_was_lost_and_what_was_refused(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        phone.push(1, create("a", at=START, title="Milk", done=False))
        await laptop.hear()
        laptop.push(
            1,
            late := update("a", at=START - 5, title="Tea", place="shop"),
            lost := update("gone", title="?"),
            delete("never"),
        )
        ack = await laptop.hear()
        assert [diff["json_data"] for diff in ack["diffs"]] == [{"id": "a", "place": "shop"}]
        assert ack["lost"] == [{"index": 0, "id": late["id"], "fields": {"title": 1}}]
        assert [(r["index"], r["id"], r["code"]) for r in ack["rejected"]] == [
            (1, lost["id"], "no_such_object")
        ]
        await phone.hear()
        assert (await phone.hear())["diffs"] == ack["diffs"]


@in_virtual_time
async def test_a_push_sent_twice_is_stored_once_and_acked_once(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        edit = create("a")
        phone.push(5, edit)
        phone.push(5, edit)
        phone.push(3, create("b"))
        phone.push(6, create("c"))
        heard = await phone.heard_by_now()
        assert [(frame["push_id"], frame["logical_clock"]) for frame in heard] == [(5, 1), (6, 2)]
        assert [frame["logical_clock"] for frame in await laptop.heard_by_now()] == [1, 2]


@in_virtual_time
async def test_a_push_of_which_nothing_is_left_takes_its_clock(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        phone.push(1, delete("never"))
        ack = await phone.hear()
        assert (ack["logical_clock"], ack["diffs"]) == (1, [])
        assert (await laptop.hear())["diffs"] == []


@in_virtual_time
async def test_a_pusher_that_vanishes_does_not_keep_its_push_from_the_others(
    tmp_path: Path,
) -> None:
    """Story 8."""
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        site.store.hold()
        phone.push(1, create("a"))
        await site.store.reached()
        phone.vanish()
        await site.gone(phone)
        site.store.let_go()
        assert (await laptop.hear())["logical_clock"] == 1
        phone = site.connect()
        phone.hello("phone")
        assert (await phone.hear())["last_push_id"] == 1


@in_virtual_time
async def test_a_newer_socket_replaces_the_older_and_no_push_slips_in_between(
    tmp_path: Path,
) -> None:
    """Story 9: stored behind the newer socket's back, the push would be a hole in its history."""
    async with a_hub(tmp_path / "hub.db") as site:
        busy, older = await site.live("phone", "busy"), await site.live("phone")
        site.store.hold()
        busy.push(1, create("x"))
        await site.store.reached()
        older.push(1, create("a"))
        await settled()
        newer = site.connect()
        newer.hello("phone")
        welcome = await newer.hear()
        older.push(2, create("b"))
        assert (welcome["logical_clock"], welcome["last_push_id"]) == (0, 0)
        assert [frame["code"] for frame in await older.hear_all()] == ["replaced"]
        assert code(older) == 4409
        site.store.let_go()
        await busy.hear_until("ack")
        assert [frame["type"] for frame in await newer.heard_by_now()] == ["ready"]
        newer.push(1, create("a"))
        assert (await newer.hear())["logical_clock"] == 1


@in_virtual_time
async def test_a_push_that_is_being_stored_when_its_device_comes_back_is_in_its_welcome(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        older = await site.live("phone")
        site.store.hold()
        older.push(1, create("a"))
        await site.store.reached()
        newer = site.connect()
        newer.hello("phone")
        assert await newer.heard_by_now() == []
        site.store.let_go()
        welcome, *_rest = await newer.hear_until("ready")
        assert (welcome["logical_clock"], welcome["last_push_id"]) == (1, 1)


@in_virtual_time
async def test_pushes_under_way_are_bounded_and_reading_goes_on_when_they_are_stored(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_pushes_under_way=3)) as site:
        phone = await site.live("phone")
        site.store.hold()
        for push_id in range(1, 11):
            phone.push(push_id, create(f"o{push_id}"))
        phone.say("ping")
        await settled()
        assert phone.unread == 11 - 3
        site.store.let_go()
        frames = [await phone.hear() for _ in range(11)]
        acked = [frame["push_id"] for frame in frames if frame["type"] == "ack"]
        assert acked == list(range(1, 11))
        assert phone.unread == 0


@in_virtual_time
async def test_bytes_under_way_are_bounded_too(tmp_path: Path) -> None:
    limits = Limits(max_frame_bytes=5000, max_object_bytes=5000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone = await site.live("phone")
        site.store.hold()
        for push_id in range(1, 11):
            phone.push(push_id, create(f"o{push_id}", text="x" * 4000))
        await settled()
        assert 10 - phone.unread == 3
        site.store.let_go()
        for push_id in range(1, 11):
            assert (await phone.hear())["push_id"] == push_id


@in_virtual_time
async def test_a_device_that_is_cut_off_while_its_pushes_wait_is_let_go_of(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_pushes_under_way=1)) as site:
        phone = await site.live("phone")
        site.store.hold()
        phone.push(1, create("a"))
        phone.push(2, create("b"))
        await site.store.reached()
        phone.vanish()
        site.store.let_go()
        await site.gone(phone)
        assert not site.hub.sessions


@in_virtual_time
async def test_what_a_socket_that_is_gone_had_waiting_is_not_stored_behind_the_next_welcome(
    tmp_path: Path,
) -> None:
    """The line broke while push 2 waited behind push 1, and the device was back at once.

    Nobody replaced the old socket, for it had left; so its push 2 was stored behind the welcome
    that said 1. The device sent it again, which the hub took for stored: no ack ever came.
    """
    async with a_hub(tmp_path / "hub.db") as site:
        older = await site.live("phone")
        site.store.hold()
        older.push(1, create("a"))
        await site.store.reached()
        older.push(2, again := create("b"))
        await settled()
        older.vanish()
        await site.gone(older)
        newer = site.connect()
        newer.hello("phone", log_id="log-1")
        await settled()
        site.store.let_go()
        assert (await newer.hear())["last_push_id"] == 1
        await newer.hear_until("ready")
        newer.push(2, again)
        assert await newer.hear() == {"type": "ack", "push_id": 2, "logical_clock": 2}
