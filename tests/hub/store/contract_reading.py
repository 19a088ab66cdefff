"""The contract of a store, second part: what can be read of it."""

from collections.abc import Mapping
from typing import Any

import orjson

from hub.store.interface import Cursor
from protocol.diffs import Key, Object, Stamp, Tombstone, json_size
from tests.hub.fakes import START, create, delete, update
from tests.hub.store.bench import (
    ALL,
    KEYS,
    Bench,
    now_and_after,
    pages,
    push,
    stored,
    told,
    without_size,
)


class ReadingContract:
    """The log, the devices, the objects and their pages."""

    # The log

    async def test_the_log_is_read_from_a_clock_on_in_order(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("abcdef"[n - 1])) for n in range(1, 7)))
        for after in range(8):
            rows = await bench.store.log("ada", after, ALL)
            assert [row.clock for row in rows] == list(range(after + 1, 7))

    async def test_the_log_is_read_in_pieces_of_at_least_one_push(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("a", text="x" * 100)) for n in range(1, 7)))
        assert [row.clock for row in await bench.store.log("ada", 2, 1)] == [3]
        size = len((await bench.store.log("ada", 0, 1))[0].diffs)
        assert [row.clock for row in await bench.store.log("ada", 0, size)] == [1]
        assert [row.clock for row in await bench.store.log("ada", 0, size + 1)] == [1, 2]

    async def test_the_log_half_written_behind_reads_as_one(self, bench: Bench) -> None:
        for n in range(1, 4):
            await bench.store.commit([push(n, create("a")), push(n, create("a"), user="bob")])
        await bench.fold()
        for n in range(4, 7):
            await bench.store.commit([push(n, create("a")), push(n, create("a"), user="bob")])
        for after in range(7):
            rows = await bench.store.log("ada", after, ALL)
            assert [row.clock for row in rows] == list(range(after + 1, 7))

    async def test_the_first_clock_is_one_above_the_head_while_there_is_no_log(
        self, bench: Bench
    ) -> None:
        assert await bench.store.first_clock("nobody") == 1
        await bench.store.user("ada")
        assert await bench.store.first_clock("ada") == 1
        await stored(bench, push(1, create("a")), push(2, create("b")))
        assert await bench.store.first_clock("ada") == 1

    # Devices

    async def test_outcomes_are_kept_until_they_are_received(self, bench: Bench) -> None:
        await stored(
            bench,
            push(1, update("nothing")),
            push(2, create("a")),
            push(3, delete("never")),
            push(4, update("a", n=1), update("nothing")),
            push(1, update("nothing"), device="laptop"),
        )
        outcomes = (await bench.store.device("ada", "phone")).outcomes
        assert [outcome.push_id for outcome in outcomes] == [1, 4]
        assert [rejected.index for rejected in outcomes[1].rejected] == [1]
        bench.store.received("ada", "phone", 3)
        bench.store.received("ada", "phone", 1)
        await bench.fold()
        standing = await bench.store.device("ada", "phone")
        assert standing.received == 3
        assert [outcome.push_id for outcome in standing.outcomes] == [4]
        await bench.crash()
        assert await bench.store.device("ada", "phone") == standing
        await bench.reopen()
        assert await bench.store.device("ada", "phone") == standing

    async def test_a_device_that_never_pushed_may_have_received(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")))
        bench.store.received("ada", "reader", 1)
        await bench.fold()
        await bench.reopen()
        assert tuple(await bench.store.device("ada", "reader"))[:2] == (0, 1)

    # Objects

    async def test_objects_stand_as_the_log_says_with_their_stamps(self, bench: Bench) -> None:
        await stored(
            bench,
            push(1, create("a", at=START + 1, n=1, m=1), create("b", n=1)),
            push(1, update("a", base=1, at=START + 5, n=2), device="laptop"),
            push(2, delete("b", base=2, at=START + 7)),
            push(3, update("a", base=3, at=START, m=3)),
        )
        expected: Mapping[Key, Any] = {
            ("tasks", "a"): (
                1,
                4,
                {"id": "a", "n": 2, "m": 3},
                {"n": Stamp(2, START + 5, "laptop"), "m": Stamp(4, START + 1, "phone")},
            ),
            ("tasks", "b"): Tombstone(3, START + 7, "phone"),
        }
        async for store in now_and_after(bench):
            held = await store.objects("ada", KEYS)
            assert {key: without_size(value) for key, value in held.items()} == expected

    async def test_only_the_objects_asked_for_come(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a"), create("b")))
        assert list(await bench.store.objects("ada", [("tasks", "b")])) == [("tasks", "b")]
        assert await bench.store.objects("ada", [("notes", "b"), ("tasks", "B")]) == {}
        assert await bench.store.objects("ada", []) == {}

    async def test_an_object_of_nothing_but_its_id_stays_one(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")), push(2, update("a", base=1)))
        async for store in now_and_after(bench):
            held = (await store.objects("ada", KEYS))["tasks", "a"]
            assert without_size(held) == (1, 1, {"id": "a"}, {})

    async def test_an_object_grows_no_larger_than_allowed_in_bytes_not_in_characters(
        self, bench: Bench
    ) -> None:
        """Once folded, an object was measured in characters, and could grow threefold beyond."""
        water = "水" * 20_000
        await stored(bench, push(1, create("a", f0=water, f1=water, f2=water, f3=water)))
        [answer] = await stored(bench, push(2, update("a", base=1, more=water)))
        assert [rejected.code for rejected in answer.rejected] == ["too_large"]
        held = (await bench.store.objects("ada", KEYS))["tasks", "a"]
        assert isinstance(held, Object)
        assert held.size >= json_size(held.fields) > 240_000

    # Pages

    async def test_pages_hold_each_object_once_in_the_order_of_its_last_change(
        self, bench: Bench
    ) -> None:
        await stored(
            bench,
            push(1, create("a", n=1), create("b", n=1)),
            push(2, create("c", n=1)),
            push(3, update("a", base=2, n=2)),
            push(4, delete("c")),
        )
        await bench.fold()
        [page] = await pages(bench.store, 0, 0, ALL)
        assert [told(entry) for entry in page.objects] == [
            {"id": "b", "n": 1}, {"id": "a", "n": 2}, "c",
        ]  # fmt: skip
        assert [entry.logical_clock for entry in page.objects] == [1, 3, 4]
        assert (page.clock, page.head, page.cursor) == (4, 4, None)

    async def test_a_page_ends_when_it_is_full_and_the_next_goes_on_from_there(
        self, bench: Bench
    ) -> None:
        many = [create(f"object-{n}") for n in range(5)]
        await stored(bench, push(1, create("a")), push(2, *many), push(3, create("z")))
        await bench.fold()
        found = await pages(bench.store, 0, 0, 1)
        assert [len(page.objects) for page in found] == [1] * 7
        assert [page.clock for page in found] == [1, 1, 1, 1, 1, 2, 3]
        assert len({told(entry)["id"] for page in found for entry in page.objects}) == 7
        assert [page.clock for page in await pages(bench.store, 2, 0, 1)] == [3]
        assert [len(page.objects) for page in await pages(bench.store, 1, 0, ALL)] == [6]

    async def test_a_page_leaves_out_deletions_only_up_to_a_clock(self, bench: Bench) -> None:
        await stored(
            bench, push(1, create("a"), create("b")), push(2, delete("a")), push(3, delete("b"))
        )
        await bench.fold()
        for skip, expected in ((0, ["a", "b"]), (1, ["a", "b"]), (2, ["b"]), (3, [])):
            [page] = await pages(bench.store, 0, skip, ALL)
            assert [told(entry) for entry in page.objects] == expected
            assert page.clock == 3

    async def test_an_object_that_moves_behind_the_cursor_comes_again(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("abcd"[n - 1])) for n in range(1, 5)))
        await bench.fold()
        first = await bench.store.page("ada", Cursor(0), 0, 1)
        assert [told(entry)["id"] for entry in first.objects] == ["a"]
        assert first.cursor is not None
        await stored(bench, push(5, update("a", base=4, n=5)), push(6, update("c", base=4, n=6)))
        await bench.fold()
        second = await bench.store.page("ada", first.cursor, 0, ALL)
        assert [told(entry)["id"] for entry in second.objects] == ["b", "d", "a", "c"]
        assert (second.clock, second.head, second.cursor) == (6, 6, None)

    async def test_an_object_that_moves_away_finishes_no_clock_too_early(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a"), create("b"), create("c")), push(2, create("d")))
        await bench.fold()
        first = await bench.store.page("ada", Cursor(0), 0, 1)
        assert (first.clock, first.cursor is not None) == (0, True)
        assert first.cursor is not None
        await stored(bench, push(3, update("b", base=2, n=3), update("c", base=2, n=3)))
        await bench.fold()
        second = await bench.store.page("ada", first.cursor, 0, 1)
        assert [told(entry)["id"] for entry in second.objects] == ["d"]
        assert second.clock == 2

    async def test_pages_and_the_log_behind_them_are_everything(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("abcdefgh"[n - 1], n=n)) for n in range(1, 6)))
        await bench.fold()
        await stored(bench, push(6, update("a", base=5, n=6)), push(7, create("f", n=7)))
        found = await pages(bench.store, 0, 0, ALL)
        clock = found[-1].clock
        state = {entry["id"]: entry for page in found for entry in map(told, page.objects)}
        for row in await bench.store.log("ada", clock, ALL):
            for diff in orjson.loads(row.diffs):
                fields = diff["json_data"]
                state[fields["id"]] = {**state.get(fields["id"], {}), **fields}
        assert {name: fields["n"] for name, fields in state.items()} == {
            "a": 6, "b": 2, "c": 3, "d": 4, "e": 5, "f": 7,
        }  # fmt: skip

    async def test_a_user_without_objects_has_one_empty_page(self, bench: Bench) -> None:
        page = await bench.store.page("nobody", Cursor(0), 0, ALL)
        assert (list(page.objects), page.clock, page.head, page.cursor) == ([], 0, 0, None)

    async def test_counting_tells_how_much_is_behind_a_clock(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("abcd"[n - 1])) for n in range(1, 5)))
        await bench.fold()
        assert [await bench.store.count("ada", after) for after in range(6)] == [4, 3, 2, 1, 0, 0]

    async def test_the_line_is_told(self, bench: Bench) -> None:
        await stored(bench, *(push(n, create("a")) for n in range(1, 4)))
        store = await bench.move_line("ada", 2)
        assert (await store.user("ada")).line == 2
