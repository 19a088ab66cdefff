"""One connection from its first frame to its last, over a link without sockets."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from hub.auth import Grant
from hub.errors import Unauthorized
from hub.hub import SWEEP_SECONDS
from hub.limits import Limits
from hub.states import TRANSITIONS, Event, State
from tests.hub.fakes import (
    START,
    FakeClock,
    FakeLink,
    Site,
    a_hub,
    code,
    create,
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
            "epoch": "1-start-1",
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
        ('{"type": "hello", "token": "ada", "device": "mobync-hub", "logical_clock": 0}', 4403),
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
async def test_a_slow_handshake_takes_of_the_time_to_say_hello(tmp_path: Path) -> None:
    """It had its own ten seconds: so a byte now and then kept a socket for thirty."""
    async with a_hub(tmp_path / "hub.db", limits=Limits(hello_seconds=10)) as site:
        link = site.connect()
        link.came -= 4
        began = asyncio.get_running_loop().time()
        assert [frame["code"] for frame in await link.hear_all()] == ["timeout"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(6)


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
