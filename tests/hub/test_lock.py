"""The lock of one user: fair, handed on without a gap, and never in the writer's way."""

import asyncio

import pytest

from hub.lock import UserLock
from tests.hub.fakes import in_virtual_time, settled


class Freed:
    """Counts how often a lock was left free."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def visit(lock: UserLock, name: str, order: list[str], stay: asyncio.Event) -> None:
    async with lock:
        order.append(name)
        await stay.wait()


def test_a_lock_that_is_free_is_taken_once() -> None:
    lock = UserLock(Freed())
    assert [lock.is_held, lock.try_acquire()] == [False, True]
    assert [lock.is_held, lock.try_acquire()] == [True, False]
    lock.release()
    assert [lock.is_held, lock.try_acquire()] == [False, True]


@in_virtual_time
async def test_those_who_wait_get_the_lock_in_the_order_in_which_they_came() -> None:
    lock, order, stay = UserLock(Freed()), list[str](), asyncio.Event()
    stay.set()
    assert lock.try_acquire()
    visits = [asyncio.create_task(visit(lock, name, order, stay)) for name in "abc"]
    await settled()
    assert order == []
    lock.release()
    await asyncio.gather(*visits)
    assert order == ["a", "b", "c"]


@in_virtual_time
async def test_the_lock_never_lies_free_between_one_who_leaves_and_one_who_waits() -> None:
    freed = Freed()
    lock, order, stay = UserLock(freed), list[str](), asyncio.Event()
    assert lock.try_acquire()
    waiting = asyncio.create_task(visit(lock, "a", order, stay))
    await settled()
    lock.release()
    assert not lock.try_acquire()
    assert freed.times == 0
    stay.set()
    await waiting
    assert freed.times == 1
    assert not lock.is_held


@in_virtual_time
async def test_one_who_gives_up_waiting_is_passed_over() -> None:
    lock, order, stay = UserLock(Freed()), list[str](), asyncio.Event()
    stay.set()
    assert lock.try_acquire()
    first, second = (asyncio.create_task(visit(lock, name, order, stay)) for name in "ab")
    await settled()
    first.cancel()
    lock.release()
    await second
    assert order == ["b"]
    assert not lock.is_held
    assert first.cancelled()


@in_virtual_time
async def test_one_who_gives_up_in_the_moment_of_being_given_the_lock_hands_it_on() -> None:
    freed = Freed()
    lock, order, stay = UserLock(freed), list[str](), asyncio.Event()
    stay.set()
    assert lock.try_acquire()
    first, second = (asyncio.create_task(visit(lock, name, order, stay)) for name in "ab")
    await settled()
    lock.release()
    first.cancel()
    await second
    assert order == ["b"]
    assert freed.times == 1


@in_virtual_time
async def test_the_last_one_who_gives_up_in_that_moment_leaves_the_lock_free() -> None:
    freed = Freed()
    lock, order, stay = UserLock(freed), list[str](), asyncio.Event()
    assert lock.try_acquire()
    only = asyncio.create_task(visit(lock, "a", order, stay))
    await settled()
    lock.release()
    only.cancel()
    await settled()
    assert order == []
    assert freed.times == 1
    assert lock.try_acquire()


@in_virtual_time
async def test_an_error_inside_still_lets_go_of_the_lock() -> None:
    lock = UserLock(Freed())
    with pytest.raises(ZeroDivisionError):
        async with lock:
            raise ZeroDivisionError
    assert not lock.is_held
