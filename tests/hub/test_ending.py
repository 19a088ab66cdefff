"""How connections end: too many, stalled, a failing store, and a hub that stops."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.hub import SWEEP_SECONDS
from hub.limits import Limits
from hub.session import CLOSE_SECONDS
from hub.store.errors import StoreFailed
from tests.hub.catching_up import stored
from tests.hub.fakes import (
    FakeLink,
    a_hub,
    code,
    create,
    in_virtual_time,
    settled,
)


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
        for _second in range(65):
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


@pytest.mark.parametrize(
    ("method", "clock"), [("count", 0), ("page", 0), ("first_clock", 1), ("log", 1)]
)
@in_virtual_time
async def test_a_store_that_fails_while_a_device_catches_up_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, clock: int
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        writer = await site.live("writer")
        for push_id in (1, 2):
            writer.push(push_id, create(f"o{push_id}"))
            await writer.hear_until("ack")
        await asyncio.sleep(1)  # The objects are written behind the log, and now have been.
        with monkeypatch.context() as patch:
            patch.setattr(site.store, method, failing)
            link = site.connect()
            link.hello("phone", logical_clock=clock, log_id="log-1")
            frames = await link.hear_all()
            assert [frame["type"] for frame in frames] == ["welcome", "error"]
            assert (frames[-1]["code"], code(link)) == ("server_busy", 1013)
        await site.live("phone", logical_clock=clock, log_id="log-1")
        writer.push(3, create("o3"))
        assert (await writer.hear())["type"] == "ack"


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


@in_virtual_time
async def test_a_bug_in_a_catch_up_ends_that_connection_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device would have waited for its pages for as long as its patience went."""

    async def divide(*_: object) -> None:
        raise ZeroDivisionError

    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        await stored(phone, 1, create("one"))
        monkeypatch.setattr("hub.catchup._send_objects", divide)
        tab = site.connect()
        tab.hello("tab")
        with capture_logs() as logs:
            assert [frame["type"] for frame in await tab.hear_all()] == ["welcome", "error"]
        assert code(tab) == 1013
        assert "catch-up failed" in {line["event"] for line in logs}
        await stored(phone, 2, create("two"))
