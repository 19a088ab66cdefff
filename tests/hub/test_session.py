"""One connection from its first frame to its last, over a link without sockets."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.auth import Grant
from hub.errors import Unauthorized
from hub.hub import SWEEP_SECONDS
from hub.limits import Limits
from hub.session import CLOSE_SECONDS
from hub.states import TRANSITIONS, Event, State
from hub.store.errors import StoreFailed
from tests.hub.fakes import (
    START,
    FakeClock,
    FakeLink,
    Site,
    a_hub,
    create,
    delete,
    in_virtual_time,
    settled,
    update,
)


class Tokens:
    """Tokens by what they give; any other is worth nothing."""

    def __init__(self, clock: FakeClock, grants: Mapping[str, Grant]) -> None:
        self._clock = clock
        self._grants = grants

    def check(self, token: object) -> Grant:
        grant = self._grants.get(str(token))
        if grant is None:
            raise Unauthorized("the token is worth nothing")
        if grant.expires is not None and grant.expires <= self._clock():
            raise Unauthorized("the token has run out")
        return grant


def code(link: FakeLink) -> int | None:
    return link.closed and link.closed[0]


async def refused(site: Site, frame: str | bytes) -> FakeLink:
    """A connection whose only frame is this one, closed by the hub."""
    link = site.connect()
    link.say_raw(frame)
    await site.gone(link)
    return link


# The states


def test_the_table_of_states_is_that_of_the_picture_above_it() -> None:
    moves = {(before, event): TRANSITIONS[before][event] for before in State for event in Event
             if event in TRANSITIONS[before]}  # fmt: skip
    assert moves == {
        (State.GREETING, Event.WELCOMED): State.CATCHING_UP,
        (State.CATCHING_UP, Event.LEVEL): State.LIVE,
        (State.LIVE, Event.FELL_BEHIND): State.CATCHING_UP,
        **{(state, Event.CLOSED): State.CLOSED for state in State},
    }


# Hello


@in_virtual_time
async def test_a_device_is_welcomed_and_told_ready(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = site.connect()
        phone.hello("phone")
        welcome, ready = await phone.hear(), await phone.hear()
        limits = welcome.pop("limits")
        assert welcome == {
            "type": "welcome",
            "user": "ada",
            "device": "phone",
            "log_id": "log-1",
            "logical_clock": 0,
            "last_push_id": 0,
            "reset": False,
            "server_time": START,
            "expires": None,
        }
        assert (limits["max_diffs"], limits["max_frame_bytes"]) == (1000, 2**20)
        assert ready == {"type": "ready", "logical_clock": 0, "last_push_id": 0}
        assert await phone.heard_by_now() == []


@pytest.mark.parametrize(
    ("frame", "closed_with"),
    [
        ("", 4400),
        ("no JSON", 4400),
        ("[]", 4400),
        ("{}", 4400),
        ('{"type": "greeting"}', 4400),
        ('{"type": "ping"}', 4400),
        ('{"type": "push", "push_id": 1, "diffs": [1]}', 4400),
        ('{"type": "hello", "token": "ada", "device": "phone"}', 4400),
        ('{"type": "hello", "token": "ada", "device": "", "logical_clock": 0}', 4400),
        ('{"type": "hello", "token": "ada", "device": "phone", "logical_clock": -1}', 4400),
        ('{"type": "hello", "token": "ada", "device": "\\ud800", "logical_clock": 0}', 4400),
        (b'{"type": "hello", "token": "ada", "device": "phone", "logical_clock": 0}', 4400),
        ('{"type": "hello", "token": "", "device": "phone", "logical_clock": 0}', 4401),
        ('{"type": "hello", "token": "\\u0000", "device": "phone", "logical_clock": 0}', 4401),
        ('{"type": "hello", "token": "ada", "device": "mobync", "logical_clock": 0}', 4403),
    ],
)
@in_virtual_time
async def test_a_first_frame_that_is_no_good_hello_is_told_why(
    tmp_path: Path, frame: str | bytes, closed_with: int
) -> None:
    names = {4400: "bad_message", 4401: "unauthorized", 4403: "forbidden"}
    async with a_hub(tmp_path / "hub.db") as site:
        link = await refused(site, frame)
        frames = await link.hear_all()
        assert [(told["type"], told["code"]) for told in frames] == [("error", names[closed_with])]
        assert frames[0]["message"]
        assert code(link) == closed_with
        assert not site.hub.sessions


@in_virtual_time
async def test_whoever_says_nothing_is_told_that_the_time_is_over(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(hello_seconds=10)) as site:
        link = site.connect()
        began = asyncio.get_running_loop().time()
        assert [frame["code"] for frame in await link.hear_all()] == ["timeout"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(10)
        assert code(link) == 4408


@in_virtual_time
async def test_whoever_leaves_before_hello_leaves_nothing_behind(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        link = site.connect()
        await settled()
        assert len(site.hub.sessions) == 1
        link.vanish()
        await site.gone(link)
        assert not site.hub.sessions


@in_virtual_time
async def test_a_second_hello_ends_the_connection(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.hello("phone")
        assert [frame["code"] for frame in await phone.hear_all()] == ["bad_message"]
        assert code(phone) == 4400


@in_virtual_time
async def test_a_token_for_one_device_opens_no_other(tmp_path: Path) -> None:
    clock = FakeClock()
    tokens = Tokens(clock, {"t": Grant("ada", device="phone")})
    async with a_hub(tmp_path / "hub.db", authority=tokens, clock=clock) as site:
        laptop = site.connect()
        laptop.hello("laptop", "t")
        assert [frame["code"] for frame in await laptop.hear_all()] == ["forbidden"]
        assert code(laptop) == 4403
        await site.live("phone", "t")


# What a greeted device may say


@pytest.mark.parametrize(
    ("frame", "push_id"),
    [
        ("no JSON", None),
        ('{"type": "welcome"}', None),
        ('{"type": "push", "push_id": 7}', 7),
        ('{"type": "push", "push_id": 7, "diffs": []}', 7),
        ('{"type": "push", "push_id": 7, "diffs": {}}', 7),
        ('{"type": "push", "push_id": 0, "diffs": [1]}', None),
        ('{"type": "received", "logical_clock": "1"}', None),
        ('{"type": "received", "logical_clock": 9007199254740992}', None),
        (b'{"type": "ping"}', None),
    ],
)
@in_virtual_time
async def test_a_frame_that_is_no_message_is_answered_by_an_error_that_names_its_push(
    tmp_path: Path, frame: str | bytes, push_id: int | None
) -> None:
    """The error was never sent: the session counted as ended before it could be told why.

    Every 4400 and 4401 of a greeted device came out as five seconds of silence and a cut line, so
    that no device ever set a broken push aside: it came back with it for ever.
    """
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.say_raw(frame)
        [error] = await phone.hear_all()
        assert (error["type"], error["code"]) == ("error", "bad_message")
        assert error.get("push_id") == push_id
        assert code(phone) == 4400


@in_virtual_time
async def test_a_push_of_too_many_diffs_is_named_and_those_before_it_are_stored(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_diffs=2)) as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        phone.push(1, create("a"), create("b"))
        phone.push(2, create("c"), create("d"), create("e"))
        phone.push(3, create("f"))
        frames = await phone.hear_all()
        assert frames[-1]["type"] == "error"
        assert (frames[-1]["code"], frames[-1]["push_id"]) == ("bad_message", 2)
        assert code(phone) == 4400
        assert [frame["logical_clock"] for frame in await laptop.heard_by_now()] == [1]
        assert (await site.store.device("ada", "phone")).last_push_id == 1


@in_virtual_time
async def test_what_another_user_does_wrong_is_nobody_elses_business(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, bad = await site.live("phone"), await site.live("phone", "bob")
        bad.say_raw("no JSON")
        await site.gone(bad)
        phone.push(1, create("a"))
        assert [frame["type"] for frame in await phone.heard_by_now()] == ["ack"]


@in_virtual_time
async def test_a_diff_that_is_no_i_json_spoils_nothing_but_itself(tmp_path: Path) -> None:
    """Story 12: half of a surrogate pair, or a number beyond all doubles, in one edit."""
    async with a_hub(tmp_path / "hub.db") as site:
        phone, bob = await site.live("phone"), await site.live("phone", "bob")
        good = '{"id": "g", "logical_clock": 0, "utc_timestamp": 1, "type": "create", "model": "m",'
        bad = [
            '"\\ud800"',
            "1e400",
            f"{'9' * 5000}",
            f"{'[' * 900}{']' * 900}",
            good + '"json_data": {"id": "o", "text": "\\udfff"}}',
            good + '"json_data": {"id": "o", "number": -1e999}}',
            good + '"json_data": {"id": "\\ud800"}}',
            good.replace('"g"', '"\\ud800"') + '"json_data": {"id": "o"}}',
            good.replace('"m"', '"\\udc00"') + '"json_data": {"id": "o"}}',
        ]
        for push_id, diff in enumerate(bad, 1):
            fine = good + f'"json_data": {{"id": "good-{push_id}"}}}}'
            phone.say_raw(f'{{"type": "push", "push_id": {push_id}, "diffs": [{diff}, {fine}]}}')
            bob.push(push_id, create(f"o{push_id}"))
            ack = await phone.hear()
            assert (ack["type"], ack["push_id"]) == ("ack", push_id)
            assert [(r["index"], r["code"]) for r in ack["rejected"]] == [(0, "invalid_diff")]
            assert [d["json_data"]["id"] for d in ack["diffs"]] == [f"good-{push_id}"]
            assert (await bob.hear())["push_id"] == push_id
        await asyncio.sleep(1)  # The objects are written behind the log, and now have been.
        again = site.connect()
        again.hello("phone")
        ready = (await again.hear_until("ready"))[-1]
        assert [told["push_id"] for told in ready["outcomes"]] == list(range(1, len(bad) + 1))


@in_virtual_time
async def test_a_ping_is_answered_with_its_nonce_and_the_time(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        phone.say("ping")
        phone.say("ping", nonce="n")
        site.clock.advance(1)
        assert await phone.hear() == {"type": "pong", "server_time": START + 1000}
        assert await phone.hear() == {"type": "pong", "server_time": START + 1000, "nonce": "n"}


@in_virtual_time
async def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone", colour="blue")
        phone.push(1, {**create("a"), "colour": "blue"}, colour="blue")
        assert await phone.hear() == {"type": "ack", "push_id": 1, "logical_clock": 1}


# Tokens


@in_virtual_time
async def test_a_token_that_runs_out_ends_the_connection(tmp_path: Path) -> None:
    clock = FakeClock()
    tokens = Tokens(clock, {"t": Grant("ada", expires=START + 60_000)})
    async with a_hub(tmp_path / "hub.db", authority=tokens, clock=clock) as site:
        phone = site.connect()
        phone.hello("phone", "t")
        assert (await phone.hear())["expires"] == START + 60_000
        await phone.hear_until("ready")
        clock.advance(59.9)
        await asyncio.sleep(2 * SWEEP_SECONDS)
        assert await phone.heard_by_now() == []
        clock.advance(0.1)
        assert [frame["code"] for frame in await phone.hear_all()] == ["unauthorized"]
        assert code(phone) == 4401


@in_virtual_time
async def test_a_fresh_token_keeps_the_connection(tmp_path: Path) -> None:
    clock = FakeClock()
    grants = {
        "old": Grant("ada", expires=START + 60_000),
        "new": Grant("ada", expires=START + 120_000),
        "for ever": Grant("ada"),
    }
    async with a_hub(tmp_path / "h", authority=Tokens(clock, grants), clock=clock) as site:
        phone = await site.live("phone", "old")
        phone.say("auth", token="new")
        assert await phone.hear() == {"type": "authenticated", "expires": START + 120_000}
        clock.advance(60)
        await asyncio.sleep(2 * SWEEP_SECONDS)
        phone.say("auth", token="for ever")
        assert await phone.hear() == {"type": "authenticated", "expires": None}
        clock.advance(10**6)
        await asyncio.sleep(2 * SWEEP_SECONDS)
        assert phone.closed is None


@pytest.mark.parametrize(
    ("token", "closed_with"),
    [("nobody's", 4401), ("run out", 4401), ("bob's", 4403), ("laptop's", 4403)],
)
@in_virtual_time
async def test_a_token_that_does_not_renew_ends_the_connection(
    tmp_path: Path, token: str, closed_with: int
) -> None:
    clock = FakeClock()
    grants = {
        "ada's": Grant("ada"),
        "bob's": Grant("bob"),
        "laptop's": Grant("ada", device="laptop"),
        "run out": Grant("ada", expires=START),
    }
    async with a_hub(tmp_path / "h", authority=Tokens(clock, grants), clock=clock) as site:
        phone = await site.live("phone", "ada's")
        phone.say("auth", token=token)
        assert [frame["type"] for frame in await phone.hear_all()] == ["error"]
        assert code(phone) == closed_with


@in_virtual_time
async def test_a_token_that_may_only_read_reads(tmp_path: Path) -> None:
    clock = FakeClock()
    tokens = Tokens(clock, {"reader": Grant("ada", read_only=True), "writer": Grant("ada")})
    async with a_hub(tmp_path / "h", authority=tokens, clock=clock) as site:
        writer, reader = await site.live("phone", "writer"), await site.live("tab", "reader")
        writer.push(1, create("a"))
        assert (await reader.hear())["type"] == "changes"
        reader.push(1, update("a", base=1, title="Milk"))
        ack = await reader.hear()
        assert ack["diffs"] == []
        assert [rejected["code"] for rejected in ack["rejected"]] == ["forbidden"]
        reader.say("auth", token="writer")
        await reader.hear_until("authenticated")
        reader.push(2, update("a", base=1, title="Milk"))
        assert "rejected" not in await reader.hear()


# Pushes


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


# Bounds on connections, and the end


@in_virtual_time
async def test_one_connection_too_many_is_told_to_come_back_later(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_connections=2)) as site:
        first = await site.live("phone")
        await site.live("laptop")
        third = site.connect()
        assert [frame["code"] for frame in await third.hear_all()] == ["server_busy"]
        assert code(third) == 1013
        first.vanish()
        await site.gone(first)
        await site.gone(third)
        await site.live("tab")


@in_virtual_time
async def test_those_who_have_not_said_hello_are_bounded_on_their_own(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db", limits=Limits(max_ungreeted=2)) as site:
        silent = [site.connect() for _ in range(2)]
        await settled()
        third = site.connect()
        assert [frame["code"] for frame in await third.hear_all()] == ["server_busy"]
        silent[0].hello("phone")
        await silent[0].hear_until("ready")
        await site.live("laptop")


@in_virtual_time
async def test_a_peer_that_does_not_answer_the_close_is_cut_off(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        link = site.connect(answers_close=False)
        link.say_raw("no JSON")
        await site.gone(link)
        assert link.aborted
        assert asyncio.get_running_loop().time() < CLOSE_SECONDS + 3 * SWEEP_SECONDS


@pytest.mark.parametrize("frames_of_welcome", [0, 1])
@in_virtual_time
async def test_a_device_that_takes_nothing_is_cut_off_and_one_that_takes_little_is_not(
    tmp_path: Path, frames_of_welcome: int
) -> None:
    limits = Limits(stall_seconds=60)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        phone = await site.live("phone")
        stalled, slow = site.connect(), site.connect()
        for name, link in (("stalled", stalled), ("slow", slow)):
            link.stall()
            link.hello(name)
        await settled()
        stalled.take(frames_of_welcome)
        phone.push(1, *(create(f"o{n}", text="x" * 1000) for n in range(300)))
        for push_id in range(2, 80):
            phone.push(push_id, create("a", text="x" * 1000))
        for _second in range(62):
            await asyncio.sleep(1)
            slow.take(1)
        assert stalled.aborted
        assert not slow.aborted
        assert not phone.aborted


@in_virtual_time
async def test_a_device_with_nothing_to_take_is_never_cut_off(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        await asyncio.sleep(3600)
        phone.say("ping")
        assert (await phone.hear())["type"] == "pong"


@in_virtual_time
async def test_a_failing_store_sends_devices_away_to_come_back_later(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = await site.live("phone"), await site.live("laptop")
        site.store.failures = 1
        phone.push(1, create("a"))
        assert [frame["code"] for frame in await phone.hear_all()] == ["server_busy"]
        assert code(phone) == 1013
        assert await laptop.heard_by_now() == []
        assert laptop.closed is None
        phone = await site.live("phone")
        phone.push(1, create("a"))
        assert (await phone.hear())["logical_clock"] == 1


@in_virtual_time
async def test_a_store_that_fails_while_greeting_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        for method in ("user", "device"):
            with monkeypatch.context() as patch:
                patch.setattr(site.store, method, failing)
                link = site.connect()
                link.hello("phone", f"user of {method}")
                assert [frame["code"] for frame in await link.hear_all()] == ["server_busy"]
                assert code(link) == 1013
            await site.live("phone", f"user of {method}")


async def failing(*_args: Any) -> Any:
    raise StoreFailed("the disk is failing")


@in_virtual_time
async def test_a_stop_lets_pushes_under_way_finish_and_tells_everybody(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        pushers = [await site.live(f"phone-{n}") for n in range(3)]
        greeting, reader = site.connect(), await site.live("reader", "bob")
        site.store.hold()
        for push_id in range(1, 11):
            for pusher in pushers:
                pusher.push(push_id, create(f"o{push_id}"))
        await settled()
        stopping = asyncio.create_task(site.hub.stop())
        await settled()
        site.store.let_go()
        await stopping
        for pusher in pushers:
            frames = await pusher.hear_all()
            assert [f["push_id"] for f in frames if f["type"] == "ack"] == list(range(1, 11))
            assert frames[-1]["code"] == "shutting_down"
        for other in (greeting, reader):
            assert [frame["code"] for frame in await other.hear_all()] == ["shutting_down"]
        assert {code(link) for link in (*pushers, greeting, reader)} == {1012}
        late = site.connect()
        assert [frame["type"] for frame in await late.hear_all()] == ["error"]


@in_virtual_time
async def test_a_stop_comes_to_an_end_though_devices_go_on_pushing(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        pushers = [await site.live("phone", f"user-{n}") for n in range(20)]

        async def push_on(link: FakeLink) -> int:
            for push_id in range(1, 10_000):
                link.push(push_id, create("a"))
                if (await link.hear())["type"] == "error":
                    return push_id
            return 0

        pushing = [asyncio.create_task(push_on(link)) for link in pushers]
        await settled()
        async with asyncio.timeout(1):
            await site.hub.stop()
        assert all(await asyncio.gather(*pushing))
        assert {code(link) for link in pushers} == {1012}
