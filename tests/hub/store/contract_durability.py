"""The contract of a store, third part: crashes and failing disks."""

import pytest

from hub.store.errors import StoreFailed
from tests.hub.fakes import START, create, delete, update
from tests.hub.store.bench import ALL, KEYS, Bench, now_and_after, push, stored, whole


class DurabilityContract:
    """What is there afterwards, and what is not."""

    # Durability, and failures

    async def test_everything_is_there_after_a_restart_and_after_a_crash(
        self, bench: Bench
    ) -> None:
        await stored(
            bench,
            push(1, create("a", n=1), create("b", text="x" * 5000)),
            push(1, update("a", base=0, at=START - 9, n=2, m=2), device="laptop"),
            push(2, delete("b"), update("nothing")),
            push(7, create("b", base=3, n=4)),
        )
        before = await whole(bench.store, KEYS)
        assert await whole(await bench.crash(), KEYS) == before
        assert await whole(await bench.reopen(), KEYS) == before
        assert await whole(await bench.crash(), KEYS) == before

    async def test_a_group_is_stored_whole_or_not_at_all_wherever_it_fails(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a", n=1)))
        failures = 0
        for step in range(100):
            before = await whole(bench.store, KEYS)
            group = [
                push(step + 2, update("a", base=1, n=step), create("b")),
                push(step + 1, create("c"), device=f"new-{step}", user=f"new-{step}"),
                push(step + 1, create("d"), device="laptop"),
            ]
            bench.break_at(step)
            try:
                await bench.store.commit(group)
            except StoreFailed:
                failures += 1
                assert await whole(bench.store, KEYS) == before
                assert all(await bench.store.commit(group))
            if bench.is_broken():
                break
            if step % 3 == 0:
                assert await whole(await bench.crash(), KEYS) == await whole(bench.store, KEYS)
        assert failures > 5
        log = await bench.store.log("ada", 0, ALL)
        assert [row.clock for row in log] == list(range(1, len(log) + 1))

    async def test_meanwhile_is_told_once_what_is_about_to_be_stored(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")))
        told: list[object] = []
        group = [push(1, create("a")), push(2, update("a", base=1, n=2))]
        answers = await bench.store.commit(group, told.append)
        assert told == [answers]
        assert answers[0] is None

    async def test_meanwhile_is_told_nothing_of_a_group_that_fails(self, bench: Bench) -> None:
        told: list[object] = []
        bench.break_at(0)
        with pytest.raises(StoreFailed):
            await bench.store.commit([push(1, create("a"))], told.append)
        assert told == []

    async def test_a_device_stands_as_it_did_after_a_read_that_failed(self, bench: Bench) -> None:
        """A read failed half-way and left a user without devices: its pushes were stored twice."""
        await stored(bench, push(7, create("a")))
        failures = 0
        for step in range(6):
            await bench.reopen()
            bench.break_at(step)
            try:
                await bench.store.device("ada", "phone")
            except StoreFailed:
                failures += 1
            bench.is_broken()
            assert (await bench.store.device("ada", "phone")).last_push_id == 7
            assert list(await bench.store.commit([push(7, create("a"))])) == [None]
        assert 1 < failures < 6

    async def test_a_group_whose_end_fails_is_not_stored(self, bench: Bench) -> None:
        """Story 17: nothing of a failed group becomes durable through a later one."""
        await stored(bench, push(1, create("a", n=1)))
        before = await whole(bench.store, KEYS)
        bench.break_commits()
        with pytest.raises(StoreFailed):
            await bench.store.commit([push(2, create("b")), push(1, create("c"), device="laptop")])
        assert await whole(bench.store, KEYS) == before
        await stored(bench, push(3, create("d")))
        async for store in now_and_after(bench):
            held = await store.objects("ada", KEYS)
            assert sorted(name for _model, name in held) == ["a", "d"]
            assert (await store.user("ada")).head == 2
        answers = await bench.store.commit([push(1, create("c"), device="laptop")])
        assert [answer and answer.clock for answer in answers] == [3]

    async def test_writing_behind_the_log_may_fail_anywhere_and_nothing_is_lost(
        self, bench: Bench
    ) -> None:
        failures = 0
        for step in range(100):
            await stored(bench, push(step + 1, create("a", n=step), create("b", n=step)))
            await bench.store.commit(
                [push(step + 1, update("a", base=step, m=step), device="laptop")]
            )
            bench.store.received("ada", "phone", step)
            before = await whole(bench.store, KEYS)
            bench.break_at(step)
            try:
                await bench.fold()
            except StoreFailed:
                failures += 1
            is_over = bench.is_broken()
            after = await whole(bench.store, KEYS)
            assert (after["log"], after["objects"]) == (before["log"], before["objects"])
            if is_over:
                break
        assert failures > 5
        assert await whole(await bench.crash(), KEYS) == after
