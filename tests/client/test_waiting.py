"""Waiting for what happens."""

import asyncio

from client.waiting import Bell


async def test_a_bell_forgets_who_no_longer_waits() -> None:
    """A program asked an idle device every second for news, and grew by a listener each time."""
    bell = Bell()
    for _ in range(3):
        waiting = asyncio.create_task(bell.heard())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    assert len(bell._listeners) == 0


async def test_a_bell_wakes_all_who_wait_and_nobody_who_comes_later() -> None:
    bell = Bell()
    waiting = [asyncio.create_task(bell.heard()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(bell._listeners) == 3

    bell.ring()
    later = asyncio.create_task(bell.heard())
    await asyncio.wait(waiting)
    assert not later.done()

    bell.ring()
    await later
    assert len(bell._listeners) == 0
