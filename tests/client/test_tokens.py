"""A token that runs out is renewed in time; one that cannot be had is asked for again."""

import asyncio
from typing import Any

from client import Device, State
from client.backoff import BASE, CAP
from protocol.messages import Auth, Authenticated, Hello
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock

URL = "ws://hub.invalid/sync"
HOUR = 3_600_000


class Issuer:
    """An application's function that gives tokens, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None

    async def __call__(self) -> str:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return f"token-{self.asked}"


def a_device(hub: FakeHub, clock: Clock, token: Any) -> Device:
    return Device(URL, token=token, connect=hub.connect, world=clock.world)


def live(status: Any) -> bool:
    return bool(status.state is State.LIVE)


async def test_a_fresh_token_is_shown_at_half_the_life_of_the_old_one(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock, Issuer()) as phone:
        session = await hub.ready_session(server_time=clock.ms, expires=clock.ms + HOUR)
        assert await clock.slept() == 1_800
        await phone.until(live)
        clock.advance(1_800)
        assert (await session.expect(Auth)).token == "token-2"

        session.say(Authenticated(clock.ms + 2 * HOUR))
        assert await clock.slept() == 3_600
        clock.advance(3_600)
        assert (await session.expect(Auth)).token == "token-3"


async def test_a_text_given_in_time_is_shown_though_the_old_one_ran_out_on_the_way(
    hub: FakeHub, clock: Clock
) -> None:
    """An application refreshed its token in the last moment: it crossed the hub's 4401 on the line.

    The device stopped for good, with a good token in its hand that no hello had ever shown.
    """
    async with a_device(hub, clock, "old") as phone:
        session = await hub.ready_session()
        await phone.until(live)
        await phone.refresh("new")
        assert (await session.expect(Auth)).token == "new"
        session.close(4401, "unauthorized")
        await clock.slept()
        clock.advance(CAP)

        session = await hub.session()
        assert (await session.expect(Hello)).token == "new"
        session.close(4401, "unauthorized")
        await phone.until(lambda status: status.state is State.STOPPED)


async def test_a_device_whose_token_ran_out_while_all_was_well_comes_back_at_once(
    hub: FakeHub, clock: Clock
) -> None:
    """Each token that ran out made it come back later than the one before, up to half a minute.

    So edits waited for 20 s where the application had a fresh token all the while.
    """
    async with a_device(hub, clock, Issuer()) as phone:
        for _ in range(8):
            session = await hub.ready_session()
            await phone.until(live)
            session.close(4401, "unauthorized")
            waited = await clock.slept()
            assert waited <= BASE
            clock.advance(waited)


async def test_a_device_whose_fresh_tokens_never_count_comes_back_ever_later(
    hub: FakeHub, clock: Clock
) -> None:
    waits = []
    async with a_device(hub, clock, Issuer()):
        for _ in range(12):
            session = await hub.session()
            await session.expect(Hello)
            session.close(4401, "unauthorized")
            waits.append(await clock.slept())
            clock.advance(CAP)
    assert max(waits[:3]) < 4 * BASE
    assert max(waits[-4:]) > CAP / 4


async def test_the_life_of_a_token_is_measured_by_the_hubs_clock(
    hub: FakeHub, clock: Clock
) -> None:
    hub_now = clock.ms + 10 * HOUR
    async with a_device(hub, clock, Issuer()):
        await hub.ready_session(server_time=hub_now, expires=hub_now + HOUR)
        assert await clock.slept() == 1_800


async def test_tokens_that_are_always_out_do_not_make_a_busy_loop(
    hub: FakeHub, clock: Clock
) -> None:
    issuer = Issuer()
    async with a_device(hub, clock, issuer):
        session = await hub.ready_session(server_time=clock.ms, expires=clock.ms - HOUR)
        for _ in range(5):
            assert await clock.slept() >= 1
            clock.advance(1)
            await session.expect(Auth)
            session.say(Authenticated(clock.ms - HOUR))

    assert issuer.asked == 6


async def test_a_renewal_that_fails_is_tried_again_while_the_device_stays_live(
    hub: FakeHub, clock: Clock
) -> None:
    issuer = Issuer()
    async with a_device(hub, clock, issuer) as phone:
        session = await hub.ready_session(server_time=clock.ms, expires=clock.ms + HOUR)
        await phone.until(live)
        issuer.fault = OSError("the login page is down")
        await clock.slept()
        clock.advance(1_800)
        await clock.slept()
        assert phone.status.state is State.LIVE
        assert phone.status.error == "no token: OSError: the login page is down"

        issuer.fault = None
        clock.advance(30)
        await session.expect(Auth)
        assert phone.status.error is None


async def test_without_a_token_edits_are_kept_and_the_function_is_asked_again(
    hub: FakeHub, clock: Clock
) -> None:
    issuer = Issuer()
    issuer.fault = OSError("the login page is down")
    async with a_device(hub, clock, issuer) as phone:
        await clock.slept()
        assert phone.status.error == "no token: OSError: the login page is down"
        await phone.create("tasks", {"id": "t1"})
        assert hub.attempts == 0

        issuer.fault = None
        clock.advance(30)
        assert (await (await hub.session()).expect(Hello)).token == "token-2"


async def test_a_function_that_gives_no_text_is_said(hub: FakeHub, clock: Clock) -> None:
    async def nothing() -> None:
        return None

    async with a_device(hub, clock, nothing) as phone:
        await clock.slept()
        assert phone.status.error == "no token: the function gave NoneType, not a text"


async def test_a_text_as_token_is_not_shown_again(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock, "alice") as phone:
        session = await hub.ready_session(server_time=clock.ms, expires=clock.ms + HOUR)
        await phone.until(live)
        clock.advance(HOUR / 1000)
        for _ in range(20):
            await asyncio.sleep(0)

        assert session.unheard() == []


async def test_a_token_given_by_hand_is_shown_at_once(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock, "alice") as phone:
        session = await hub.ready_session()
        await phone.until(live)
        await phone.refresh("alice-2")
        assert (await session.expect(Auth)).token == "alice-2"
        session.close(None)
        await clock.slept()
        clock.advance(30)

        assert (await (await hub.session()).expect(Hello)).token == "alice-2"
