"""What a store promises about epochs, and about histories that carry on others."""

import pytest

from hub.store.errors import StoreFailed
from hub.store.interface import Store
from protocol.diffs import Place
from tests.hub.fakes import START, create, update
from tests.hub.store.bench import ALL, Bench, now_and_after, push, stored


async def ends(store: Store, *names: str, user: str = "ada") -> list[int | None]:
    """At which clocks these epochs ended for a user, as far as the store knows."""
    standing = await store.user(user)
    return [standing.epochs.end(name, standing.head) for name in names]


async def running(store: Store) -> str:
    return (await store.user("ada")).epochs.starts.current


class HistoryContract:
    """Epochs and histories."""

    async def test_each_start_is_an_epoch_of_its_own(self, bench: Bench) -> None:
        names = [await running(store) async for store in now_and_after(bench)]
        assert len(set(names)) == 3
        known = (await bench.store.user("ada")).epochs.starts
        assert list(known.numbers) == names
        assert list(known.numbers.values()) == [1, 2, 3]

    async def test_of_each_epoch_it_is_known_at_which_clock_it_ended_for_a_user(
        self, bench: Bench
    ) -> None:
        epochs = []
        for push_id in (1, 2, 3):
            epochs.append(await running(bench.store))
            await stored(bench, push(2 * push_id - 1, create("a")), push(2 * push_id, create("b")))
            await bench.crash()
        assert await ends(bench.store, *epochs, await running(bench.store)) == [2, 4, 6, 6]
        await stored(bench, push(7, create("c")))
        assert await ends(bench.store, *epochs, await running(bench.store)) == [2, 4, 6, 7]
        assert await ends(bench.store, epochs[0], user="bob") == [0]

    async def test_an_epoch_in_which_a_user_did_not_push_ended_where_it_began(
        self, bench: Bench
    ) -> None:
        first = await running(bench.store)
        await stored(bench, push(1, create("a")))
        quiet = await running(await bench.reopen())
        last = await running(await bench.reopen())
        assert await ends(bench.store, first, quiet, last) == [1, 1, 1]
        await stored(bench, push(2, create("b")))
        assert await ends(bench.store, first, quiet, last) == [1, 1, 2]

    async def test_an_epoch_that_the_file_never_had_has_no_end(self, bench: Bench) -> None:
        assert await ends(bench.store, "2-other", "", "1") == [None, None, None]

    async def test_a_fork_carries_on_a_history_under_a_new_name_for_good(
        self, bench: Bench
    ) -> None:
        await stored(
            bench, push(1, create("a")), push(2, create("b")), push(1, create("c"), user="bob")
        )
        old, bob = (await bench.store.user("ada")).history, await bench.store.user("bob")
        forked = await bench.store.fork("ada", 1)
        assert forked.continues == (Place(old.log_id, 1),)
        assert forked.opened == START
        await stored(bench, push(3, update("a", base=2)))
        async for store in now_and_after(bench):
            assert (await store.user("ada"))[:3] == (forked, 3, 0)
            assert [row.clock for row in await store.log("ada", 0, ALL)] == [1, 2, 3]
            assert (await store.user("bob"))[:3] == bob[:3]

    async def test_a_user_new_to_a_file_that_was_forked_may_be_one_whom_it_lost(
        self, bench: Bench
    ) -> None:
        await stored(bench, push(1, create("a")))
        await bench.store.user("bob")
        await bench.store.fork("ada", 1)
        await bench.store.user("cyd")
        for lost in ("lost", "lost-too"):
            taken_up = await bench.store.take_up("cyd", lost)
            assert taken_up.continues[-1] == Place(lost, 0)
        async for store in now_and_after(bench):
            found = [(await store.user(name)).history for name in ("ada", "bob", "cyd")]
            assert [history.has_lost_all for history in found] == [False, False, True]
            assert found[2].continues == (Place("lost", 0), Place("lost-too", 0))
            assert (await store.user(f"new-{id(store)}")).history.has_lost_all

    async def test_a_history_that_was_forked_is_forked_again(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")), push(2, create("b")))
        first = (await bench.store.user("ada")).history.log_id
        second = (await bench.store.fork("ada", 1)).log_id
        third = await bench.store.fork("ada", 2)
        assert third.continues == (Place(second, 2), Place(first, 1))
        assert len({first, second, third.log_id}) == 3
        assert (await (await bench.crash()).user("ada")).history == third

    async def test_a_fork_that_fails_leaves_the_history_as_it_was(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")))
        before = (await bench.store.user("ada")).history
        bench.break_commits()
        with pytest.raises(StoreFailed):
            await bench.store.fork("ada", 1)
        async for store in now_and_after(bench):
            assert (await store.user("ada")).history == before
