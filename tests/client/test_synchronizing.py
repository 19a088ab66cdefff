"""`synchronize`: all mine at the hub, all theirs here, or an error that says what is missing."""

import asyncio
from typing import Any

import pytest

from client import Device, DeviceClosed, DeviceStopped, State, SynchronizeTimeout
from client.backoff import CAP
from protocol.messages import Hello, Ping, Pong, Push
from tests.client.fake_hub import FakeHub, Session, present, stored
from tests.client.fake_world import Clock, WatchedStorage

URL = "ws://hub.invalid/sync"
SOON = 0.05


def a_device(hub: FakeHub, clock: Clock, **given: Any) -> Device:
    return Device(URL, token="alice", connect=hub.connect, world=clock.world, **given)


async def answer(session: Session) -> None:
    ping = await session.expect(Ping)
    assert ping.nonce is not None
    session.say(Pong(1, ping.nonce))


async def test_it_waits_until_the_hub_has_all_mine_and_i_have_all_theirs(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        await phone.create("tasks", {"id": "mine"})
        synchronizing = asyncio.create_task(phone.synchronize())
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.changes(1, stored("create", "tasks", id="theirs"))
        session.ready(1)
        push = await session.expect(Push)
        session.changes(2, stored("create", "tasks", id="newer"))
        await answer(session)
        await phone.until(lambda status: status.clock == 2)
        assert not synchronizing.done()

        session.ack(push, 3)
        await synchronizing

        assert {task["id"] for task in await phone.read("tasks")} == {"mine", "theirs", "newer"}


async def test_the_answer_to_the_last_of_several_questions_answers_those_before_it(
    hub: FakeHub, clock: Clock
) -> None:
    """Two parts of an application synchronized at once, on a device that had fallen behind.

    The hub answers the last ping of such a device alone (section 2), and the first waited for ever.
    """
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(lambda status: status.state is State.LIVE)
        both = [asyncio.create_task(phone.synchronize()) for _ in range(2)]
        await session.expect(Ping)
        await answer(session)

        await asyncio.gather(*both)


async def test_a_link_that_breaks_unnoticed_is_asked_once_and_no_more(
    hub: FakeHub, clock: Clock, storage: WatchedStorage
) -> None:
    """The line broke while a page was being stored, and an application that synchronized hung.

    The whole of it: it asked the dead link again and again, and never let the loop go on that was
    to find out that the link was dead.
    """
    async with a_device(hub, clock, storage=storage) as phone:
        session = await hub.ready_session()
        await phone.until(lambda status: status.state is State.LIVE)
        storage.begun.clear()
        storage.gate.clear()
        session.changes(1, stored("create", "tasks", id="t1"))
        await storage.begun.wait()
        session.close(None)
        session.refusals = 3
        synchronizing = asyncio.create_task(phone.synchronize())
        await asyncio.sleep(0)
        storage.gate.set()
        await clock.slept()
        clock.advance(CAP)
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.ready(1)
        await answer(session)

        await synchronizing


async def test_after_a_fresh_token_there_is_hope_again(hub: FakeHub, clock: Clock) -> None:
    """An application gave its device a fresh token, synchronized, and was told that it was stopped.

    So it was, for the moment until it noticed the token.
    """

    async def take_back() -> None:
        await answer(await hub.ready_session())

    async with a_device(hub, clock) as phone:
        session = await hub.session()
        session.close(4401, "unauthorized")
        await phone.until(lambda status: status.state is State.STOPPED)
        taking_back = asyncio.create_task(take_back())
        await phone.refresh("fresh")
        await phone.synchronize()

        await taking_back


async def test_what_the_hub_sent_before_its_answer_is_here(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(lambda status: status.state is State.LIVE)
        session.changes(1, stored("create", "tasks", id="theirs"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer(session))
            await phone.synchronize()

        assert await phone.read("tasks") == [{"id": "theirs"}]


async def test_it_does_not_wait_for_edits_made_later(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        push = await session.expect(Push)
        synchronizing = asyncio.create_task(phone.synchronize())
        await answer(session)
        await phone.create("tasks", {"id": "later"})
        session.ack(push, 1)
        await synchronizing

        assert phone.status.pending == 1


async def test_it_goes_on_over_a_lost_connection(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        synchronizing = asyncio.create_task(phone.synchronize())
        await session.expect(Ping)
        session.close(None)
        await clock.slept()
        clock.advance(30)
        await answer(await hub.ready_session())
        await synchronizing


async def test_a_timeout_says_that_there_is_no_hub_and_why(hub: FakeHub, clock: Clock) -> None:
    hub.away = "no connection to ws://hub.invalid/sync: connection refused"
    async with a_device(hub, clock) as phone:
        await phone.create("tasks", {"id": "t1"})
        await phone.create("tasks", {"id": "t2"})
        with pytest.raises(
            SynchronizeTimeout,
            match=r"not level after 0\.05 s: not connected \(waiting: no connection .* refused\); "
            r"2 edits not yet stored by the hub\. Nothing is lost",
        ):
            await phone.synchronize(SOON)


async def test_a_timeout_says_how_far_the_catch_up_is(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=90)
        session.page(41, present("tasks", 41, id="t1"), head=90, remaining=1_200)
        with pytest.raises(SynchronizeTimeout, match=r"clock 41 of 90, 1200 objects to come"):
            await phone.synchronize(SOON)


async def test_a_timeout_says_how_many_edits_have_no_ack(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.create("tasks", {"id": "t1"})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer(session))
            with pytest.raises(SynchronizeTimeout, match=r"s: 1 edit not yet stored by the hub"):
                await phone.synchronize(SOON)


async def test_a_timeout_says_that_the_hub_does_not_answer(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        await hub.ready_session()
        with pytest.raises(TimeoutError, match="the hub has not answered"):
            await phone.synchronize(SOON)


async def test_a_device_that_was_turned_away_does_not_wait(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        synchronizing = asyncio.create_task(phone.synchronize(None))
        session = await hub.session()
        await session.expect(Hello)
        session.close(4403, "forbidden")

        with pytest.raises(DeviceStopped, match=r"forbidden: .*Edits are still kept"):
            await synchronizing


async def test_a_device_that_is_turned_away_meanwhile_does_not_wait(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        await phone.create("tasks", {"id": "t1"})
        synchronizing = asyncio.create_task(phone.synchronize(None))
        session = await hub.ready_session()
        await answer(session)
        session.close(4403, "forbidden")

        with pytest.raises(DeviceStopped, match="forbidden"):
            await synchronizing


async def test_a_device_that_is_closed_meanwhile_does_not_wait(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        synchronizing = asyncio.create_task(phone.synchronize(None))
        await hub.ready_session()
        await phone.until(lambda status: status.state is State.LIVE)

    with pytest.raises(DeviceClosed):
        await synchronizing
