"""What any store must do (hub/store/interface.py), as tests.

Put a store under it by a subclass of `StoreContract` whose module has a fixture `bench`. Each test
runs twice: with everything written behind the log, and with nothing of it.
"""

import abc
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import pytest
from msgspec import UnsetType

from hub.store.errors import StoreFailed
from hub.store.interface import Cursor, Incoming, Page, Store, Stored
from protocol.diffs import Held, Key, Object, Stamp, Tombstone, json_size
from protocol.messages import SnapshotObject
from tests.hub.fakes import START, Frame, create, delete, update

ALL = 10**9
"""More bytes than any answer here has."""


class Bench(abc.ABC):
    """One store under test, and what may happen to it."""

    store: Store

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds

    async def pause(self) -> None:
        """Let time pass, if this is a run in which things are written behind the log."""
        if self.folds:
            await self.fold()

    @abc.abstractmethod
    async def reopen(self) -> Store:
        """Close the store in good order and open it again."""

    @abc.abstractmethod
    async def crash(self) -> Store:
        """Open what the store would leave behind if it were killed now."""

    @abc.abstractmethod
    async def fold(self) -> None:
        """Write everything that is written behind the log."""

    @abc.abstractmethod
    def break_at(self, step: int) -> None:
        """Let the write after `step` further ones fail as on a full disk, once."""

    @abc.abstractmethod
    def break_commits(self) -> None:
        """Let the next end of a transaction fail as on a full disk, once."""

    @abc.abstractmethod
    def is_broken(self) -> bool:
        """Whether a failure is still to come."""

    @abc.abstractmethod
    async def move_line(self, user: str, line: int) -> Store:
        """Open the store as it is once tombstones up to `line` have been dropped."""


def push(
    push_id: int, *diffs: Any, user: str = "ada", device: str = "phone", **more: Any
) -> Incoming:
    return Incoming(user, device, push_id, diffs, **more)  # fmt: skip


async def stored(bench: Bench, *pushes: Incoming) -> list[Stored]:
    """Store pushes one by one, with a pause after each."""
    answers = []
    for incoming in pushes:
        [answer] = await bench.store.commit([incoming])
        assert answer is not None
        answers.append(answer)
        await bench.pause()
    return answers


async def now_and_after(bench: Bench) -> AsyncIterator[Store]:
    """The store as it is, after a crash, and after a restart in good order."""
    yield bench.store
    yield await bench.crash()
    yield await bench.reopen()


def names(diffs: bytes) -> list[str]:
    return [diff["json_data"]["id"] for diff in orjson.loads(diffs)]


def told(entry: SnapshotObject) -> Any:
    """An object's fields, or the id of one that is deleted."""
    if isinstance(entry.json_data, UnsetType):
        return entry.id
    return orjson.loads(bytes(entry.json_data))


async def pages(store: Store, clock: int, skip_deleted: int, max_bytes: int) -> list[Page]:
    cursor: Cursor | None = Cursor(clock)
    found = []
    while cursor is not None:
        found.append(await store.page("ada", cursor, skip_deleted, max_bytes))
        cursor = found[-1].cursor
    return found


async def whole(store: Store, keys: Sequence[Key]) -> dict[str, Any]:
    """All that can be asked of a store about one user, less how it holds the bytes of it."""
    head = (await store.user("ada")).head
    objects = await store.objects("ada", keys)
    return {
        "user": await store.user("ada"),
        "devices": [tuple(await store.device("ada", name)) for name in ("phone", "laptop")],
        "log": await store.log("ada", 0, ALL),
        "first": await store.first_clock("ada"),
        "missing": await store.log("ada", head, ALL),
        "objects": {key: without_size(held) for key, held in objects.items()},
    }


def without_size(held: Held) -> Any:
    """An object less its size, which is only an upper bound."""
    return (
        (held.created, held.clock, held.fields, held.stamps) if isinstance(held, Object) else held
    )


KEYS: Sequence[Key] = [("tasks", name) for name in "abcdefgh"]


class StoreContract:
    """The interface's promises, one by one."""

    # Users and devices

    async def test_a_user_seen_for_the_first_time_gets_a_log_id_for_good(
        self, bench: Bench
    ) -> None:
        first, other = await bench.store.user("ada"), await bench.store.user("bob")
        assert (first.head, first.line) == (0, 0)
        assert first.log_id != other.log_id
        await bench.pause()
        assert await bench.store.user("ada") == first
        assert await (await bench.crash()).user("ada") == first
        assert await (await bench.reopen()).user("ada") == first

    async def test_a_device_never_seen_has_all_zeros(self, bench: Bench) -> None:
        assert tuple(await bench.store.device("nobody", "phone")) == (0, 0, ())
        await stored(bench, push(1, create("a")))
        standing = await bench.store.device("ada", "laptop")
        assert (standing.last_push_id, standing.received, list(standing.outcomes)) == (0, 0, [])

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


def sent(frame: Frame) -> Frame:
    """A diff as it goes out: without its base."""
    return {name: value for name, value in frame.items() if name != "logical_clock"}
