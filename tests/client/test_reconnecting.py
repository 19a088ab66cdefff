"""What a device does when a connection ends, code by code (docs/protocol.md, section 8)."""

import asyncio
from random import Random
from typing import Any

import pytest

from client import Device, MemoryStorage, State, Status, connection, conversation
from client.backoff import BASE, CAP, Backoff
from client.link import Link
from client.states import NEXT, Event
from protocol.messages import Hello
from tests.client.fake_hub import FakeHub
from tests.client.fake_world import Clock

URL = "ws://hub.invalid/sync"


def a_device(hub: FakeHub, clock: Clock, **given: Any) -> Device:
    return Device(URL, **{"token": "alice", "connect": hub.connect, "world": clock.world, **given})


def is_(state: State) -> Any:
    return lambda status: status.state is state


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 1012, 1013, 4408, 4429, 4499])
async def test_a_device_comes_back_by_itself(hub: FakeHub, clock: Clock, code: int | None) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(is_(State.LIVE))
        session.close(code)
        await clock.slept()
        assert phone.status.state is State.WAITING
        assert hub.attempts == 1

        clock.advance(CAP)
        await hub.ready_session()
        status = await phone.until(is_(State.LIVE))

    assert status.error is None


@pytest.mark.parametrize(("code", "error"), [(4403, "forbidden"), (4400, "bad_message")])
async def test_a_device_that_is_turned_away_stops_says_why_and_keeps_its_edits(
    hub: FakeHub, clock: Clock, code: int, error: str
) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.expect(Hello)
        session.close(code, error)
        status = await phone.until(is_(State.STOPPED))
        clock.advance(10 * CAP)
        await phone.create("tasks", {"id": "t1"})

        assert status.error == f"{error}: so says the test"
        assert await phone.read("tasks") == [{"id": "t1"}]
        assert phone.status.state is State.STOPPED
        assert hub.attempts == 1


async def test_a_text_as_token_is_not_shown_twice(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.expect(Hello)
        session.close(4401, "unauthorized")
        await phone.until(is_(State.STOPPED))
        clock.advance(10 * CAP)
        assert hub.attempts == 1

        await phone.refresh("another token")
        assert (await (await hub.session()).expect(Hello)).token == "another token"


async def test_a_function_is_asked_for_another_token(hub: FakeHub, clock: Clock) -> None:
    tokens = iter(["old", "new"])

    async def token() -> str:
        return next(tokens)

    async with a_device(hub, clock, token=token):
        session = await hub.session()
        assert (await session.expect(Hello)).token == "old"
        session.close(4401, "unauthorized")
        await clock.slept()
        clock.advance(CAP)

        assert (await (await hub.session()).expect(Hello)).token == "new"


async def test_a_replaced_device_comes_back_much_later(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(is_(State.LIVE))
        session.close(4409, "replaced")
        await clock.slept()
        clock.advance(CAP / 2 - 0.001)
        assert phone.status.state is State.WAITING

        clock.advance(CAP / 2 + 0.001)
        await hub.ready_session()
        await phone.until(is_(State.LIVE))


async def waited(clock: Clock, times: int) -> list[float]:
    """The waits of a device that cannot reach its hub, each of them passed."""
    waits = []
    for _ in range(times):
        waits.append(await clock.slept())
        clock.advance(waits[-1])
    return waits


async def test_waits_grow_with_jitter_up_to_a_cap(hub: FakeHub, clock: Clock) -> None:
    hub.away = "the cable is cut"
    async with a_device(hub, clock):
        waits = await waited(clock, times=200)

    bounds = [min(CAP, BASE * 2**n) for n in range(200)]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    steady = waits[20:]
    assert max(steady) > 0.9 * CAP
    assert min(steady) < 0.1 * CAP


async def test_a_restart_of_the_hub_makes_the_wait_short_again(hub: FakeHub, clock: Clock) -> None:
    hub.away = "the cable is cut"
    async with a_device(hub, clock) as phone:
        await waited(clock, times=20)
        await clock.slept()
        hub.away = None
        clock.advance(CAP)
        session = await hub.ready_session()
        await phone.until(is_(State.LIVE))
        session.close(1012, "shutting_down")
        assert await clock.slept() <= BASE

        clock.advance(BASE)
        await hub.ready_session()
        await phone.until(is_(State.LIVE))


async def test_a_hub_that_always_restarts_is_asked_later_and_later(
    hub: FakeHub, clock: Clock
) -> None:
    waits = []
    async with a_device(hub, clock):
        for _ in range(60):
            session = await hub.session()
            session.close(1012, "shutting_down")
            waits.append(await clock.slept())
            clock.advance(waits[-1])

    assert max(waits) > CAP / 2


async def test_a_busy_hub_is_asked_later_and_later_though_it_gets_ready_each_time(
    hub: FakeHub, clock: Clock
) -> None:
    waits = []
    async with a_device(hub, clock) as phone:
        for _ in range(40):
            session = await hub.ready_session()
            await phone.until(is_(State.LIVE))
            session.close(1013, "server_busy")
            waits.append(await clock.slept())
            clock.advance(waits[-1])

    assert max(waits) > CAP / 2


async def test_a_hub_that_breaks_the_protocol_is_left_and_tried_again(
    hub: FakeHub, clock: Clock
) -> None:
    async with a_device(hub, clock) as phone:
        for nonsense in (b"no JSON", b'{"type":"party"}', b'{"type":"pong"}', b"\xff"):
            session = await hub.ready_session()
            await phone.until(is_(State.LIVE))
            session.say_bytes(nonsense)
            await clock.slept()
            assert phone.status.error
            assert session.left.is_set()
            clock.advance(CAP)


async def test_a_welcome_out_of_turn_is_the_hubs_fault(hub: FakeHub, clock: Clock) -> None:
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        session.ready()
        await clock.slept()
        assert "not with a welcome" in str(phone.status.error)
        await session.expect(Hello)
        clock.advance(CAP)

        session = await hub.session()
        hello = await session.greet()
        session.say_bytes(
            b'{"type":"welcome","user":"alice","device":"%s","log_id":"log-1","logical_clock":0,'
            b'"last_push_id":0,"reset":true,"server_time":1,"expires":null,"limits":{}}'
            % hello.device.encode()
        )
        await clock.slept()
        assert "the hub sent welcome to a device that is catching up" in str(phone.status.error)


async def test_after_being_live_for_a_while_the_wait_is_short_again(
    hub: FakeHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STEADY", -1.0)
    async with a_device(hub, clock) as phone:
        for _ in range(20):
            session = await hub.ready_session()
            await phone.until(is_(State.LIVE))
            session.close(1013, "server_busy")
            wait = await clock.slept()
            assert wait <= BASE
            clock.advance(wait)


async def test_a_hub_that_does_not_welcome_is_left(
    hub: FakeHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GREETING_TIMEOUT", 0.02)
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await clock.slept()
        assert session.left.is_set()
        assert "no welcome" in str(phone.status.error)


async def test_a_hub_that_falls_silent_before_it_is_ready_is_left(
    hub: FakeHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "SILENCE_TIMEOUT", 0.02)
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet()
        await clock.slept()
        assert session.left.is_set()
        assert "nothing from the hub" in str(phone.status.error)


async def test_a_hub_that_takes_nothing_is_left(
    hub: FakeHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "SEND_TIMEOUT", 0.02)
    async with a_device(hub, clock) as phone:
        session = await hub.ready_session()
        await phone.until(is_(State.LIVE))
        session.taking.clear()
        await phone.create("tasks", {"id": "t1"})
        await clock.slept()
        assert session.left.is_set()


async def test_a_link_that_does_not_open_is_given_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OPEN_TIMEOUT", 0.02)

    async def never() -> Link:
        await asyncio.Event().wait()
        raise AssertionError

    async with Device(URL, token="alice", connect=never, world=clock.world) as phone:
        await clock.slept()
        assert "no connection within" in str(phone.status.error)


async def test_a_hub_that_takes_nothing_does_not_keep_the_device_from_leaving(
    hub: FakeHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "LEAVE_TIMEOUT", 0.02)
    async with a_device(hub, clock) as phone:
        session = await hub.session()
        await session.greet(logical_clock=1)
        session.taking.clear()
        session.changes(1)
        session.ready(1)
        await phone.until(is_(State.LIVE))

    assert session.left.is_set()


async def test_the_token_of_another_user_is_refused_and_sees_nothing(
    hub: FakeHub, clock: Clock
) -> None:
    storage = MemoryStorage()
    async with a_device(hub, clock, storage=storage) as phone:
        await hub.ready_session(user="alice")
        await phone.until(is_(State.LIVE))
        await phone.create("tasks", {"id": "secret"})

    async with a_device(hub, clock, storage=storage, token="bob's") as phone:
        session = await hub.session()
        await session.greet(user="bob")
        status = await phone.until(is_(State.STOPPED))

    assert "holds the data of alice, and the token is bob's" in str(status.error)
    assert session.unheard() == []


async def test_a_fault_of_this_program_ends_the_block_with_its_cause(clock: Clock) -> None:
    async def faulty() -> Link:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with Device(URL, token="alice", connect=faulty, world=clock.world):
            await asyncio.Event().wait()

    assert caught.group_contains(ZeroDivisionError)


def test_every_state_knows_what_ends_it() -> None:
    for state, events in NEXT.items():
        assert events[Event.LEFT] is State.OFFLINE, state
        assert events[Event.FAILED] is State.STOPPED, state


def test_a_backoff_begins_anew_after_a_reset() -> None:
    backoff = Backoff(Random(1))
    for _ in range(20):
        backoff.delay()
    backoff.reset()

    assert backoff.delay() <= BASE


@pytest.mark.parametrize(
    ("state", "pending", "clock", "remaining", "missing"),
    [
        (
            State.CATCHING_UP,
            3,
            4,
            100,
            "catching up (clock 4 of 9, 100 objects to come); 3 edits not yet stored by the hub",
        ),
        (State.CATCHING_UP, 0, 4, 0, "catching up (clock 4 of 9)"),
        (State.LIVE, 0, 4, 0, "clock 4 of 9"),
        (State.LIVE, 0, 9, 0, "the hub has not answered"),
        (State.WAITING, 1, 9, 0, "not connected (waiting: why); 1 edit not yet stored by the hub"),
    ],
)
def test_a_status_says_what_is_missing(
    state: State, pending: int, clock: int, remaining: int, missing: str
) -> None:
    status = Status(
        state=state,
        pending=pending,
        clock=clock,
        head=9,
        remaining=remaining,
        setbacks=0,
        skew=0,
        error="why" if state is State.WAITING else None,
    )

    assert status.missing == missing


@pytest.mark.parametrize("turns", range(12))
async def test_a_device_is_closed_in_the_moment_in_which_its_line_breaks(
    hub: FakeHub, clock: Clock, turns: int
) -> None:
    """Its hub was killed while it left: the end of the line swallowed that it was leaving.

    A TaskGroup that is cancelled while one of its tasks fails raises the failure and forgets the
    cancellation (Python 3.11 and 3.12); so the device went on, and its closing hung, or raised.
    """
    async with asyncio.timeout(10):
        async with a_device(hub, clock) as phone:
            session = await hub.ready_session()
            await phone.until(is_(State.LIVE))
            session.close(None)
            for _ in range(turns):
                await asyncio.sleep(0)
    assert hub.attempts == 1
