"""Devices whose clocks are wrong, or are set while they run: what the hub's time makes of that."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from client import Device, State, Status, World
from client.link import Connect, Link, websocket
from hub.server import serving
from hub.settings import Settings
from protocol.messages import Hello, Ping, Pong, Push
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock, WatchedStorage
from tests.crash.processes import a_device as a_plain_device

URL = "ws://hub.invalid/sync"
NOW = 1_790_000_000_000
SECOND = 1_000
DAY = 86_400_000
TO_2099 = 2_300_000_000_000
TO_1999 = -860_000_000_000


def a_device(hub: FakeHub, clock: Clock, **given: Any) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, **given)


def live(status: Status) -> bool:
    return status.state is State.LIVE


def times(push: Push) -> list[int]:
    return [diff["utc_timestamp"] for diff in push.diffs]


# How the skew is measured


async def test_half_the_way_there_and_back_is_counted(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        hello = await session.expect(Hello)
        session.passed_over.append(hello)
        read_by_the_hub = clock.ms + 2 * SECOND + DAY
        clock.advance(4)
        await session.greet(server_time=read_by_the_hub)
        session.ready()
        status = await phone.until(live)

    assert status.skew == DAY


async def test_a_pong_tells_the_time_too(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=clock.ms)
        await phone.until(live)
        synchronizing = asyncio.create_task(phone.synchronize())
        ping = await session.expect(Ping)
        clock.advance(2)
        session.say(Pong(clock.ms + DAY - SECOND, ping.nonce or ""))
        await synchronizing

        assert phone.status.skew == DAY


async def test_a_pong_that_nobody_asked_for_tells_nothing(hub: FakeHub, clock: Clock) -> None:
    """Nobody knows how long it was under way."""
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=clock.ms)
        session.say(Pong(clock.ms + DAY, "whose?"))
        session.changes(1)
        await phone.until(lambda status: status.clock == 1)

        assert phone.status.skew == 0


@pytest.mark.parametrize("absurd", [2**53 - 1, -1])
async def test_an_absurd_time_is_not_followed_and_is_said(
    hub: FakeHub, clock: Clock, absurd: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=absurd)
        await phone.create("tasks", {"id": "t1"})

        assert times(await session.expect(Push)) == [clock.ms]
    assert f"its time is {absurd} ms; not followed" in caplog.text


# What is reported


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (DAY, "this device's clock is 1 day ahead of the hub's"),
        (TO_2099, "this device's clock is 26,620 days ahead of the hub's"),
        (TO_1999, "this device's clock is 9,954 days behind the hub's"),
        (-61 * SECOND, "this device's clock is 1 minute behind the hub's"),
        (-3 * 3_600 * SECOND, "this device's clock is 3 hours behind the hub's"),
    ],
)
async def test_a_large_skew_is_named(
    hub: FakeHub, ahead: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_device(hub, Clock(NOW + ahead), name="phone") as phone:
        await hub.ready_session(server_time=NOW)
        status = await phone.until(live)

    assert (status.skew, status.wrong_clock) == (-ahead, words)
    assert f"phone: {words}" in caplog.text
    assert "Set the clock" in caplog.text


async def test_a_clock_within_a_minute_is_nobodys_trouble(
    hub: FakeHub, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_device(hub, clock) as phone:
        await hub.ready_session(server_time=clock.ms + 60 * SECOND)
        status = await phone.until(live)

    assert (status.skew, status.wrong_clock) == (60 * SECOND, None)
    assert "clock" not in caplog.text


async def test_it_is_said_once_and_again_when_the_clock_is_right(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mobync.client")
    clock = Clock(NOW + DAY)
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=NOW)
        await phone.until(live)
        for set_by in (0, -DAY, -DAY):
            clock.set_by = set_by
            synchronizing = asyncio.create_task(phone.synchronize())
            ping = await session.expect(Ping)
            session.say(Pong(NOW, ping.nonce or ""))
            await synchronizing

        assert phone.status.wrong_clock is None
    assert caplog.text.count("ahead of the hub's") == 1
    assert caplog.text.count("agrees with the hub's again") == 1


# Clocks that are set while the device runs


@pytest.mark.parametrize("by", [-3 * DAY, 3 * DAY, TO_2099, TO_1999])
async def test_a_clock_that_is_set_between_two_edits_does_not_move_the_second(
    hub: FakeHub, by: int
) -> None:
    clock = Clock(NOW)
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session(server_time=NOW)
        await phone.create("tasks", {"id": "before"})
        before = await session.expect(Push)
        clock.set_by = by
        clock.ms += 5 * SECOND
        await phone.create("tasks", {"id": "after"})
        after = await session.expect(Push)

        assert times(before) + times(after) == [NOW, NOW + 5 * SECOND]
        assert phone.status.skew == -by


@pytest.mark.parametrize("by", [-3 * DAY, 3 * DAY, TO_2099, TO_1999])
async def test_nor_without_a_hub_nor_over_a_restart(
    hub: FakeHub, storage: WatchedStorage, by: int
) -> None:
    clock = Clock(NOW)
    async with a_device(hub, clock, storage=storage) as phone:
        await hub.ready_session(server_time=NOW + DAY)
        await phone.until(live)
    hub.away = "no hub"
    async with a_device(hub, clock, storage=storage) as phone:
        clock.set_by = by
    async with a_device(hub, clock, storage=storage) as phone:
        clock.ms += 5 * SECOND
        await phone.create("tasks", {"id": "t1"})

        assert phone.status.skew == DAY - by
    (edit,) = (await storage.load()).saved.edits
    assert edit.diff.utc_timestamp == NOW + DAY + 5 * SECOND


async def test_edits_of_one_moment_rise_over_restarts_and_clocks_put_back(
    hub: FakeHub, storage: WatchedStorage
) -> None:
    hub.away = "no hub"
    for back in range(3):
        async with a_device(hub, Clock(NOW - back * DAY), storage=storage) as phone:
            for number in range(2):
                await phone.create("tasks", {"id": f"t{back}-{number}"})

    edits = (await storage.load()).saved.edits
    assert [edit.diff.utc_timestamp for edit in edits] == [NOW + n for n in range(6)]


# With a real hub


class Time:
    """The true time, which the hub's clock shows; every device's own is wrong in its own way."""

    def __init__(self) -> None:
        self.now = NOW

    def shown(self, ahead: int) -> World:
        return World(
            now=lambda: self.now + ahead, steady=lambda: self.now, sleep=_soon, chance=Random(1)
        )


async def _soon(_seconds: float) -> None:
    await asyncio.sleep(0.001)


class Site:
    """A hub, the time, and a gate before it for each device."""

    def __init__(self, url: str, time: Time, folder: Path) -> None:
        self.url = url
        self.time = time
        self._folder = folder

    def device(self, name: str, ahead: int = 0, gate: asyncio.Event | None = None) -> Device:
        return Device(
            self.url,
            token="ada",
            name=name,
            path=self._folder / f"{name}.db",
            world=self.time.shown(ahead),
            connect=_behind(gate, websocket(self.url)) if gate else None,
        )

    async def visit(self, name: str, ahead: int = 0) -> str:
        """Come, be level, go; the title that is then seen."""
        async with self.device(name, ahead) as device:
            await device.synchronize()
            task = await device.get("tasks", "t1")
            return str(task and task["title"])

    async def edit_away(self, name: str, ahead: int, title: str) -> None:
        """Set the title without a hub, and end."""
        async with self.device(name, ahead, asyncio.Event()) as device:
            await device.update("tasks", {"id": "t1", "title": title})


def _behind(gate: asyncio.Event, connect: Connect) -> Connect:
    async def wait_and_connect() -> Link:
        await gate.wait()
        return await connect()

    return wait_and_connect


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    time = Time()
    monkeypatch.setattr("hub.server.now", lambda: time.now)
    settings = Settings(dev=True, port=0, http_port=0, data=tmp_path / "hub.db")
    async with serving(settings) as (url, _http):
        yield Site(url, time, tmp_path)


async def two_that_know_the_task(site: Site, ahead: int) -> None:
    """`wrong`, whose clock is, and `right`; both have heard the hub's time."""
    async with site.device("right") as right:
        await right.create("tasks", {"id": "t1", "title": "first"})
        await right.synchronize()
    assert await site.visit("wrong", ahead) == "first"


@pytest.mark.parametrize("ahead", [TO_2099, TO_1999])
@pytest.mark.parametrize("wrong_comes_first", [True, False])
async def test_the_later_edit_wins_whichever_device_made_it_and_whichever_comes_first(
    site: Site, ahead: int, wrong_comes_first: bool
) -> None:
    await two_that_know_the_task(site, ahead)
    order = [("wrong", ahead), ("right", 0)]
    for winner in ("wrong", "right"):
        for name, shown in sorted(order, key=lambda each: each[0] == winner):
            site.time.now += 2 * SECOND
            await site.edit_away(name, shown, f"by {name}")
        for name, shown in sorted(order, key=lambda each: each[0] == "wrong", reverse=True)[
            :: 1 if wrong_comes_first else -1
        ]:
            await site.visit(name, shown)

        assert {await site.visit(*each) for each in order} == {f"by {winner}"}


@pytest.mark.parametrize("ahead", [TO_2099, TO_1999])
@pytest.mark.parametrize("winner", ["wrong", "right"])
@pytest.mark.parametrize("restarted", [True, False])
async def test_so_it_is_with_edits_made_before_the_hub_was_ever_heard_of(
    site: Site, ahead: int, winner: str, restarted: bool
) -> None:
    async with site.device("right") as right:
        await right.create("tasks", {"id": "t1", "title": "first"})
        await right.synchronize()
    loser = "right" if winner == "wrong" else "wrong"
    gate = asyncio.Event()
    wrong = site.device("wrong", ahead, gate)
    await wrong.__aenter__()
    for name in (loser, winner):
        site.time.now += 2 * SECOND
        if name == "wrong":
            await wrong.create("tasks", {"id": "t1", "title": "by wrong"})
        else:
            await site.edit_away("right", 0, "by right")
    site.time.now += 2 * SECOND
    if restarted:
        await wrong.__aexit__(None, None, None)
        wrong = site.device("wrong", ahead, gate)
        await wrong.__aenter__()
    gate.set()
    await wrong.synchronize()
    await wrong.__aexit__(None, None, None)

    assert await site.visit("right") == f"by {winner}"
    assert await site.visit("wrong", ahead) == f"by {winner}"


@pytest.mark.parametrize(("later", "winner"), [(59, "liar"), (61, "right")])
async def test_a_device_that_stamps_2099_all_the_same_is_a_minute_ahead_and_no_more(
    site: Site, later: int, winner: str
) -> None:
    async with site.device("right") as right:
        await right.create("tasks", {"id": "t1", "title": "first"})
        await right.synchronize()
    async with a_plain_device(site.url, "liar") as liar:
        await liar.hear_until("ready")
        fields = {"id": "t1", "title": "by liar"}
        diff = {"id": "d1", "logical_clock": 0, "utc_timestamp": NOW + TO_2099, "type": "update"}
        await liar.push(1, {**diff, "model": "tasks", "json_data": fields})
        await liar.hear_until("ack")
    site.time.now += later * SECOND
    await site.edit_away("right", 0, "by right")

    assert await site.visit("right") == f"by {winner}"


async def test_the_hub_keeps_the_true_time_of_each_edit(site: Site) -> None:
    stamps = await _heard_by_a_listener(site, [("2099", TO_2099), ("1999", TO_1999), ("now", 0)])

    assert stamps == [NOW + SECOND, NOW + 2 * SECOND, NOW + 3 * SECOND]


async def _heard_by_a_listener(site: Site, devices: list[tuple[str, int]]) -> list[int]:
    for name, ahead in devices:
        site.time.now += SECOND
        async with site.device(name, ahead, asyncio.Event()) as device:
            await device.create("tasks", {"id": name, "title": "made"})
    site.time.now += 3_600 * SECOND
    stamps = []
    async with a_plain_device(site.url, "listener") as listener:
        await listener.hear_until("ready")
        for name, ahead in devices:
            async with site.device(name, ahead) as device:
                await device.synchronize()
            frames = await listener.hear_until("changes")
            stamps.append(frames[-1]["diffs"][0]["utc_timestamp"])
    return stamps
