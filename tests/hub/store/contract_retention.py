"""The contract of a store, fourth part: what it lets go as time passes, and what it keeps."""

import contextlib
import itertools

import orjson

from hub.store.errors import StoreFailed
from hub.store.interface import Incoming
from tests.hub.fakes import create, delete, update
from tests.hub.store.bench import (
    ALL,
    KEEPS,
    KEYS,
    Bench,
    now_and_after,
    pages,
    push,
    stored,
    told,
    whole,
    without_size,
)


def edits(first: int, last: int, name: str = "a", **who: str) -> list[Incoming]:
    """Pushes with these ids, each a create of one and the same object."""
    return [push(number, create(name, n=number), **who) for number in range(first, last + 1)]


async def clocks(bench: Bench, user: str = "ada") -> list[int]:
    """What the log holds; it has no hole, and begins where the store says."""
    found = [row.clock for row in await bench.store.log(user, 0, ALL)]
    head = (await bench.store.user(user)).head
    assert found == list(range(await bench.store.first_clock(user), head + 1))
    return found


async def tombstones(bench: Bench) -> list[str]:
    found = [entry for page in await pages(bench.store, 0, 0, ALL) for entry in page.objects]
    return [told(entry) for entry in found if entry.deleted]


async def line(bench: Bench, user: str = "ada") -> int:
    return (await bench.store.user(user)).line


class RetentionContract:
    """A week of log, a month for devices, a season for tombstones: `KEEPS` has the bounds."""

    # The log

    async def test_the_log_keeps_a_push_for_as_long_as_the_settings_say(self, bench: Bench) -> None:
        await stored(bench, *edits(1, 3))
        bench.store.received("ada", "phone", 3)
        await bench.later(3)
        await stored(bench, *edits(4, 5))
        bench.store.received("ada", "phone", 5)
        await bench.later(KEEPS.log_days - 3.1)
        assert await clocks(bench) == [1, 2, 3, 4, 5]
        await bench.later(0.2)
        assert await clocks(bench) == [4, 5]
        await bench.later(3)
        assert await clocks(bench) == []
        assert await bench.store.first_clock("ada") == 6

    async def test_the_log_keeps_no_more_pushes_of_a_user_than_the_settings_say(
        self, bench: Bench
    ) -> None:
        much = KEEPS.log_rows * 2
        await stored(bench, *edits(1, much), *edits(1, 3, user="bob"))
        await bench.later(0)
        left = await clocks(bench)
        assert KEEPS.log_rows <= len(left) <= KEEPS.log_rows * 9 // 8
        assert left[-1] == much
        assert await clocks(bench, "bob") == [1, 2, 3]

    async def test_the_log_is_kept_for_a_device_seen_lately_until_it_has_received(
        self, bench: Bench
    ) -> None:
        await stored(bench, *edits(1, 10), *edits(1, 1, device="laptop"))
        bench.store.received("ada", "phone", 11)
        bench.store.received("ada", "laptop", 4)
        await bench.later(KEEPS.log_days + 1)
        assert await clocks(bench) == [5, 6, 7, 8, 9, 10, 11]
        bench.store.received("ada", "laptop", 9)
        await bench.later(0)
        assert await clocks(bench) == [10, 11]

    async def test_a_device_holds_back_no_more_pushes_than_the_settings_say(
        self, bench: Bench
    ) -> None:
        much = KEEPS.held_log_rows * 2
        await stored(bench, *edits(1, 1, device="laptop"), *edits(2, much))
        bench.store.received("ada", "laptop", 1)
        bench.store.received("ada", "phone", much)
        await bench.later(0)
        left = len(await clocks(bench))
        assert KEEPS.held_log_rows <= left <= KEEPS.held_log_rows * 9 // 8

    async def test_a_device_not_seen_for_long_holds_nothing_back(self, bench: Bench) -> None:
        await stored(bench, *edits(1, 4), *edits(1, 1, device="laptop"))
        bench.store.received("ada", "phone", 5)
        bench.store.received("ada", "laptop", 2)
        await bench.later(KEEPS.device_days - 1)
        assert await clocks(bench) == [3, 4, 5]
        await bench.later(1.1)
        assert await clocks(bench) == []

    async def test_a_device_that_stays_connected_is_seen(self, bench: Bench) -> None:
        await stored(bench, *edits(1, 4), *edits(1, 1, device="laptop"))
        bench.store.received("ada", "phone", 5)
        bench.store.received("ada", "laptop", 2)
        for _week in range(9):
            await bench.later(7)
            bench.store.received("ada", "laptop", 0)
        assert await clocks(bench) == [3, 4, 5]

    async def test_a_newcomer_that_has_received_nothing_needs_nothing_of_the_log(
        self, bench: Bench
    ) -> None:
        await stored(bench, *edits(1, 4))
        bench.store.received("ada", "phone", 4)
        await bench.later(KEEPS.log_days + 0.1)
        bench.store.received("ada", "tablet", 0)
        await bench.later(1)
        assert await clocks(bench) == []

    async def test_the_log_goes_when_devices_have_passed_it_whoever_else_never_says_so(
        self, bench: Bench
    ) -> None:
        """A client that polls was waited for, and all of a month went by before anybody looked."""
        await stored(bench, *edits(1, 10), push(11, delete("a")))
        bench.store.received("ada", "phone", 11)
        bench.store.received("ada", "laptop", 4)
        bench.store.received("ada", "mobync", 0)
        await bench.later(KEEPS.log_days + 1)
        assert await clocks(bench) == [5, 6, 7, 8, 9, 10, 11]
        bench.store.received("ada", "laptop", 9)
        await bench.later(0)
        assert await clocks(bench) == [10, 11]

    async def test_the_log_goes_while_a_deletion_is_still_kept_for_somebody(
        self, bench: Bench
    ) -> None:
        """It grew for a month, or to what is kept for a slow device, where a client polls."""
        await stored(bench, push(1, create("b")), push(2, delete("b")))
        bench.store.received("ada", "phone", 2)
        bench.store.received("ada", "mobync", 0)
        await bench.later(KEEPS.log_days + 1)
        assert (await clocks(bench), await tombstones(bench)) == ([], ["b"])
        await stored(bench, *edits(3, 5))
        bench.store.received("ada", "phone", 5)
        bench.store.received("ada", "mobync", 0)
        await bench.later(KEEPS.log_days + 1)
        assert (await clocks(bench), await tombstones(bench)) == ([], ["b"])
        much = KEEPS.log_rows * 3 // 2
        await stored(bench, *edits(6, 5 + much))
        bench.store.received("ada", "phone", 5 + much)
        await bench.later(0)
        assert len(await clocks(bench)) <= KEEPS.log_rows * 9 // 8

    async def test_a_log_that_no_longer_goes_back_so_far_is_read_from_its_first_clock_on(
        self, bench: Bench
    ) -> None:
        await stored(bench, *edits(1, 3))
        bench.store.received("ada", "phone", 3)
        await bench.later(4)
        await stored(bench, *edits(4, 6))
        bench.store.received("ada", "phone", 6)
        await bench.later(4)
        for after in range(5):
            rows = await bench.store.log("ada", after, ALL)
            assert [row.clock for row in rows] == list(range(max(4, after + 1), 7))

    async def test_users_lose_each_their_own(self, bench: Bench) -> None:
        names = [f"user-{number}" for number in range(12)]
        for number in range(1, 9):
            await stored(bench, *(push(number, create("a", n=number), user=n) for n in names))
            await bench.later(1)
        lagging = names[::3]
        for name in names:
            bench.store.received(name, "phone", 2 if name in lagging else 8)
        await bench.later(3)
        for name in names:
            assert await clocks(bench, name) == (
                [3, 4, 5, 6, 7, 8] if name in lagging else [6, 7, 8]
            )

    async def test_objects_and_counters_stay_when_all_of_the_log_is_gone(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a", n=1), create("b")), push(7, update("a", m=2)))
        before = await bench.store.objects("ada", KEYS)
        bench.store.received("ada", "phone", 2)
        await bench.later(400)
        assert await clocks(bench) == []
        async for store in now_and_after(bench):
            assert (await store.device("ada", "phone"))[:2] == (7, 2)
            assert (await store.user("ada")).head == 2
            after = await store.objects("ada", KEYS)
            assert {key: without_size(held) for key, held in after.items()} == {
                key: without_size(held) for key, held in before.items()
            }

    async def test_a_push_is_not_stored_again_though_its_row_is_gone(self, bench: Bench) -> None:
        [first] = edits(1, 1)
        await stored(bench, first, push(2, delete("a")))
        bench.store.received("ada", "phone", 2)
        await bench.later(400)
        assert await clocks(bench) == []
        assert await bench.store.commit([first]) == [None]
        assert await bench.store.objects("ada", KEYS) == {}

    async def test_an_edit_sent_again_from_before_the_log_is_too_old(self, bench: Bench) -> None:
        """A device that was put back: the log can no longer say whether it had this edit."""
        first = create("a", n=1)
        await stored(bench, push(1, first), push(2, update("a", base=1, n=2)))
        bench.store.received("ada", "phone", 2)
        await bench.later(KEEPS.log_days + 1)
        [answer] = await stored(bench, push(3, first, create("b", base=2), again=True))
        assert [part.code for part in answer.rejected] == ["too_old"]
        assert [diff["json_data"]["id"] for diff in orjson.loads(answer.diffs)] == ["b"]

    # Outcomes

    async def test_a_device_is_told_what_became_of_a_push_whose_row_is_gone(
        self, bench: Bench
    ) -> None:
        await stored(
            bench,
            push(1, create("a", n=1)),
            push(1, update("nothing"), device="laptop"),
            push(2, update("a", base=0, at=1, n=2), update("nowhere"), device="laptop"),
            push(2, update("a", base=3, n=3)),
        )
        before = await bench.store.device("ada", "laptop")
        assert len(before.outcomes) == 2
        await bench.later(200)
        assert await clocks(bench) == []
        async for store in now_and_after(bench):
            assert await store.device("ada", "laptop") == before

    async def test_outcomes_go_once_the_device_has_received_them(self, bench: Bench) -> None:
        refused = (push(number, update("nothing"), device="laptop") for number in (1, 2, 3))
        await stored(bench, push(1, create("a")), *refused)
        await bench.later(60)
        bench.store.received("ada", "laptop", 3)
        await bench.later(1)
        async for store in now_and_after(bench):
            standing = await store.device("ada", "laptop")
            assert [outcome.push_id for outcome in standing.outcomes] == [3]
        bench.store.received("ada", "laptop", 4)
        await bench.later(1)
        async for store in now_and_after(bench):
            assert (await store.device("ada", "laptop")).outcomes == []

    async def test_outcomes_in_the_log_and_kept_ones_are_told_in_order(self, bench: Bench) -> None:
        await stored(bench, push(1, update("nothing")), push(2, update("nothing")))
        await bench.later(50)
        await stored(bench, push(3, update("nothing")))
        standing = await bench.store.device("ada", "phone")
        assert [outcome.push_id for outcome in standing.outcomes] == [1, 2, 3]

    # Tombstones

    async def test_a_tombstone_goes_once_all_devices_seen_lately_have_passed_it(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a"), create("b")), push(2, delete("a")))
        bench.store.received("ada", "phone", 2)
        bench.store.received("ada", "laptop", 1)
        await bench.later(KEEPS.log_days + 1)
        assert (await tombstones(bench), await line(bench)) == (["a"], 0)
        bench.store.received("ada", "laptop", 2)
        await bench.later(0)
        assert (await tombstones(bench), await line(bench)) == ([], 2)
        async for store in now_and_after(bench):
            assert list(await store.objects("ada", KEYS)) == [("tasks", "b")]
            assert (await store.user("ada")).line == 2

    async def test_a_tombstone_goes_when_its_age_is_up_whoever_has_not_passed_it(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a")), push(2, delete("a")))
        bench.store.received("ada", "laptop", 1)
        for _week in range(int(KEEPS.tombstone_days) // 7 - 1):
            bench.store.received("ada", "laptop", 0)
            await bench.later(7)
        assert await tombstones(bench) == ["a"]
        bench.store.received("ada", "laptop", 0)
        await bench.later(7)
        assert (await tombstones(bench), await line(bench)) == ([], 2)

    async def test_whoever_asked_is_told_of_the_line_before_a_tombstone_goes(
        self, bench: Bench
    ) -> None:
        told_lines: list[tuple[str, int]] = []
        await stored(bench, push(1, create("a"), create("b")), push(2, delete("a")))
        await stored(bench, push(3, delete("b")), *edits(1, 1, user="bob"))
        bench.store.on_line(lambda user, clock: told_lines.append((user, clock)))
        bench.store.received("ada", "phone", 2)
        await bench.later(KEEPS.log_days + 1)
        assert told_lines == [("ada", 2)]
        bench.store.received("ada", "phone", 3)
        await bench.later(1)
        assert told_lines == [("ada", 2), ("ada", 3)]

    async def test_an_object_created_anew_is_not_taken_for_its_tombstone(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a")), push(2, delete("a")), push(3, create("b")))
        bench.store.received("ada", "phone", 3)
        await stored(bench, push(4, create("a", base=3, n=7)))
        await bench.later(KEEPS.log_days + 1)
        async for store in now_and_after(bench):
            assert sorted(await store.objects("ada", KEYS)) == [("tasks", "a"), ("tasks", "b")]

    async def test_a_deleted_object_does_not_come_back_by_an_update(self, bench: Bench) -> None:
        """It stayed in the writer's memory, and a crash changed what it decided."""
        await stored(bench, push(1, create("a")), push(2, delete("a")))
        bench.store.received("ada", "phone", 2)
        await bench.later(KEEPS.log_days + 1)
        [answer] = await stored(bench, push(3, update("a", base=1, n=1)))
        assert [part.code for part in answer.rejected] == ["no_such_object"]
        async for store in now_and_after(bench):
            assert await store.objects("ada", KEYS) == {}

    # Failures, and space

    async def test_retention_may_fail_anywhere_and_is_finished_by_the_next_turn(
        self, bench: Bench
    ) -> None:
        for number in itertools.count():
            user = f"user-{number}"
            await stored(
                bench,
                *edits(1, 5, user=user),
                push(6, delete("a"), user=user),
                push(1, update("nothing"), user=user, device="laptop"),
                push(7, create("b"), user=user),
            )
            bench.store.received(user, "phone", 8)
            await bench.fold()
            bench.break_at_after(number, KEEPS.device_days + 10)
            with contextlib.suppress(StoreFailed):
                await bench.later(0)
            is_over = bench.is_broken()
            if number % 2:
                await bench.crash()
            await clocks(bench, user)
            await bench.later(0)
            assert (await clocks(bench, user), await line(bench, user)) == ([], 6)
            assert list(await bench.store.objects(user, KEYS)) == [("tasks", "b")]
            assert len((await bench.store.device(user, "laptop")).outcomes) == 1
            if is_over:
                break
        assert number > 5, "it hardly failed"

    async def test_the_space_is_given_back(self, bench: Bench) -> None:
        for first in range(1, 1_000, 250):
            texts = (
                push(n, create(f"o{n % 20}", text="x" * 400)) for n in range(first, first + 250)
            )
            await bench.store.commit(list(texts))
            await bench.fold()
        full = await bench.space()
        bench.store.received("ada", "phone", 1_000)
        await bench.later(KEEPS.log_days + 1)
        assert await bench.space() < full / 5
        assert await bench.store.count("ada", 0) == 20

    async def test_what_was_let_go_stays_so_after_a_crash_and_a_restart(self, bench: Bench) -> None:
        await stored(
            bench,
            *edits(1, 5),
            push(6, create("b"), update("nothing")),
            push(1, update("b", base=6, n=1), device="laptop"),
            push(7, delete("a")),
        )
        bench.store.received("ada", "laptop", 6)
        bench.store.received("ada", "phone", 8)
        await bench.later(KEEPS.log_days + 1)
        before = await whole(bench.store, KEYS)
        assert before["first"] == 7
        async for store in now_and_after(bench):
            assert await whole(store, KEYS) == before
