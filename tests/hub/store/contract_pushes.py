"""The contract of a store, first part: what it does with pushes."""

from collections.abc import Iterator
from typing import Any

import orjson

from protocol.diffs import Object
from tests.hub.fakes import START, create, delete, update
from tests.hub.store.bench import ALL, KEYS, Bench, names, now_and_after, push, stored
from tests.model import strategies


class PushContract:
    """Users, devices and their pushes."""

    # Users and devices

    async def test_a_user_seen_for_the_first_time_gets_a_log_id_for_good(
        self, bench: Bench
    ) -> None:
        first, other = await bench.store.user("ada"), await bench.store.user("bob")
        assert (first.head, first.line) == (0, 0)
        assert first.history.log_id != other.history.log_id
        await bench.pause()
        assert (await bench.store.user("ada"))[:3] == first[:3]
        assert (await (await bench.crash()).user("ada"))[:3] == first[:3]
        assert (await (await bench.reopen()).user("ada"))[:3] == first[:3]

    async def test_a_device_never_seen_has_all_zeros(self, bench: Bench) -> None:
        assert tuple(await bench.store.device("nobody", "phone")) == (0, 0, (), 0)
        await stored(bench, push(1, create("a")))
        standing = await bench.store.device("ada", "laptop")
        assert (standing.last_push_id, standing.received, list(standing.outcomes)) == (0, 0, [])
        assert standing.others == 1

    async def test_users_never_see_each_others_data(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a", n=1)), push(1, create("a", n=2), user="bob"))
        for user, n in (("ada", 1), ("bob", 2)):
            held = (await bench.store.objects(user, KEYS))["tasks", "a"]
            assert isinstance(held, Object)
            assert held.fields == {"id": "a", "n": n}
            assert len(await bench.store.log(user, 0, ALL)) == 1
            assert await bench.store.count(user, 0) in ((1,) if bench.folds else (0, 1))
        assert await bench.store.log("cyd", 0, ALL) == []
        assert await bench.store.objects("cyd", KEYS) == {}

    # Pushes

    async def test_a_push_takes_the_next_clock_of_its_user(self, bench: Bench) -> None:
        answers = await bench.store.commit(
            [
                push(1, create("a")),
                push(1, create("b"), user="bob"),
                push(1, create("c"), device="laptop"),
                push(2, create("d")),
                push(2, create("e"), user="bob"),
            ]
        )
        assert [answer and answer.clock for answer in answers] == [1, 1, 2, 3, 2]
        assert [answer and answer.device for answer in answers] == [
            "phone", "phone", "laptop", "phone", "phone",
        ]  # fmt: skip
        await bench.pause()
        assert (await bench.store.user("ada")).head == 3
        assert (await bench.store.user("bob")).head == 2
        assert (await bench.store.device("ada", "phone")).last_push_id == 2

    async def test_clocks_have_no_hole_over_crashes_and_users(self, bench: Bench) -> None:
        for round_ in range(1, 6):
            await stored(bench, push(round_, create("a")), push(round_, create("a"), user="bob"))
            await bench.crash()
            await stored(bench, push(round_, create("b"), device="laptop"))
        ada = await bench.store.log("ada", 0, ALL)
        assert [row.clock for row in ada] == list(range(1, 11))
        assert [row.clock for row in await bench.store.log("bob", 0, ALL)] == list(range(1, 6))

    async def test_a_push_is_stored_once_however_often_it_is_sent(self, bench: Bench) -> None:
        edit = create("a")
        await stored(bench, push(5, edit))
        assert await bench.store.commit([push(5, edit), push(4, create("b"))]) == [None, None]
        answers = await bench.store.commit([push(6, create("c")), push(6, create("c"))])
        assert [answer and answer.clock for answer in answers] == [2, None]
        await bench.crash()
        assert await bench.store.commit([push(6, create("c")), push(5, edit)]) == [None, None]
        assert [row.push_id for row in await bench.store.log("ada", 0, ALL)] == [5, 6]

    async def test_the_same_push_id_of_another_device_or_user_is_another_push(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(5, create("a")))
        answers = await bench.store.commit(
            [push(5, create("b"), device="laptop"), push(5, create("b"), user="bob")]
        )
        assert [answer and answer.clock for answer in answers] == [2, 1]

    async def test_each_push_is_decided_against_those_before_it_in_the_group(
        self, bench: Bench
    ) -> None:
        answers = await bench.store.commit(
            [
                push(1, create("a", n=1)),
                push(1, update("a", at=START - 1, n=2), device="laptop"),
                push(2, delete("a")),
                push(2, update("a", base=9, n=3), device="laptop"),
            ]
        )
        assert all(answers)
        kept, late, gone, dead = [answer for answer in answers if answer is not None]
        assert (kept.differs, gone.differs) == (False, False)
        assert [lost.fields for lost in late.lost] == [{"n": 1}]
        assert late.diffs == dead.diffs == b"[]"
        assert [rejected.code for rejected in dead.rejected] == ["object_deleted"]

    async def test_what_comes_back_is_what_the_log_holds(self, bench: Bench) -> None:
        answers = await stored(
            bench,
            push(1, create("a", text="naïve 💧", n=[1, {"x": None}])),
            push(2, create("a", m=2)),
            push(3, update("nothing"), "no diff at all"),
        )
        log = await bench.store.log("ada", 0, ALL)
        for answer, row in zip(answers, log, strict=True):
            assert row.differs
            assert bytes(row.diffs) == bytes(answer.diffs)
            assert (row.clock, row.device, row.push_id) == (
                answer.clock, answer.device, answer.push_id,
            )  # fmt: skip
            assert list(row.lost) == list(answer.lost)
            assert list(row.rejected) == list(answer.rejected)
        assert [answer.differs for answer in answers] == [False, True, True]

    async def test_an_empty_group_is_no_trouble(self, bench: Bench) -> None:
        assert list(await bench.store.commit([])) == []

    async def test_a_read_only_push_is_stored_and_changes_nothing(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")))
        [answer] = await stored(bench, push(2, update("a", base=1, n=1), read_only=True))
        assert (answer.clock, answer.diffs) == (2, b"[]")
        assert [rejected.code for rejected in answer.rejected] == ["forbidden"]

    async def test_timestamps_ahead_of_the_hubs_clock_are_clipped(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a", at=START + 10**9, n=1)))
        [row] = await bench.store.log("ada", 0, ALL)
        assert orjson.loads(row.diffs)[0]["utc_timestamp"] == START + 60_000

    # Again, and polled

    async def test_a_push_again_leaves_out_what_the_log_holds(self, bench: Bench) -> None:
        """Story 15, on the hub's side: also what had no effect counts as stored."""
        effective, refused, idle = create("a", n=1), update("nothing"), delete("never")
        await stored(bench, push(1, effective, refused, idle), push(2, update("a", base=1, n=2)))
        [answer] = await stored(bench, push(3, effective, refused, idle, create("b"), again=True))
        assert names(answer.diffs) == ["b"]
        assert list(answer.rejected) == []
        assert answer.differs
        held = (await bench.store.objects("ada", KEYS))["tasks", "a"]
        assert isinstance(held, Object)
        assert held.fields["n"] == 2

    async def test_a_push_again_finds_ids_in_its_own_group_too(self, bench: Bench) -> None:
        edit = create("a")
        _first, again = await bench.store.commit([push(1, edit), push(2, edit, again=True)])
        assert again is not None
        assert again.diffs == b"[]"

    async def test_a_polled_push_leaves_out_what_is_stored_and_is_not_stored_if_all_is(
        self, bench: Bench
    ) -> None:
        first, second = create("a"), create("b")
        [answer] = await stored(bench, push(0, first, device="mobync", polled=True))
        assert answer.clock == 1
        again = push(0, first, device="mobync", polled=True)
        assert await bench.store.commit([again]) == [None]
        [answer] = await stored(bench, push(0, first, second, device="mobync", polled=True))
        assert (answer.clock, names(answer.diffs)) == (2, ["b"])
        assert (await bench.store.device("ada", "mobync")).last_push_id == 0

    async def test_whatever_json_a_diff_is_it_is_kept_and_told(self, bench: Bench) -> None:
        """No device can make the transaction fail in which others' pushes are stored, too."""
        diffs = list(any_json())
        for push_id, diff in enumerate(diffs, 1):
            other = push(push_id, create("a"), user="bob")
            assert all(await bench.store.commit([push(push_id, diff), other])), diff
        async for store in now_and_after(bench):
            assert len(await store.log("ada", 0, ALL)) == len(diffs)
            assert len((await store.device("ada", "phone")).outcomes) > len(diffs) // 2


def any_json() -> Iterator[Any]:
    """Diffs that are none, and some that just are, in every way that JSON allows."""
    good = create("o")
    yield from strategies.NOT_DIFFS
    for name, values in (*strategies.ILL.items(), *strategies.LONGEST.items()):
        yield from ({**good, name: value} for value in values)
        yield {field: value for field, value in good.items() if field != name}
    for odd in ("\ud800", "a\udfff", float("inf"), -(10**18), 10**400, 10**4000):
        yield from (odd, [odd], {"id": odd}, {**good, "json_data": {"id": "o", "x": odd}})
        yield from ({**good, name: odd} for name in (*good, "extra"))
    for depth in (*range(60, 70), 200, 255, 256, 300, 340, 700, 980):
        nested: Any = None
        for _level in range(depth):
            nested = [nested]
        yield from (nested, {**good, "json_data": {"id": "o", "deep": nested}})
