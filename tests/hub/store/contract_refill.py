"""What a store promises about what devices give back to it (docs/protocol.md, section 10)."""

from typing import Any

from hub.store.interface import Store
from protocol.diffs import Object, Place, Refilled, Tombstone, Was
from tests.hub.fakes import START, Frame, create, delete, update
from tests.hub.store.bench import ALL, KEYS, Bench, now_and_after, pages, push, stored, told, whole


def offer(diff: Frame, log_id: str, clock: int, created: int = 0) -> Frame:
    return {**diff, "was": {"log_id": log_id, "logical_clock": clock, "created": created}}


async def forked(bench: Bench, clock: int) -> str:
    """Let the history of ada go on under a new name; the old one."""
    old = (await bench.store.user("ada")).history.log_id
    await bench.store.fork("ada", clock)
    return old


async def versions(store: Store) -> dict[str, tuple[int, int, Any]]:
    """Of each object on a first page its timestamp, its birth and what it was."""
    [page] = await pages(store, 0, 0, ALL)
    return {
        told(entry)["id"]: (entry.utc_timestamp, entry.created, entry.was) for entry in page.objects
    }


class RefillContract:
    """Offers."""

    async def test_what_was_given_back_is_there_now_and_after_a_crash(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a", n=1), create("b")))
        old = await forked(bench, 1)
        given = offer(create("a", base=1, n=5), old, 7, 1), offer(delete("b", base=1), old, 8, 1)
        await stored(bench, push(2, *given), push(3, update("a", base=2, m=3)))
        before = await whole(bench.store, KEYS)
        async for store in now_and_after(bench):
            held = await store.objects("ada", KEYS)
            a, b = held["tasks", "a"], held["tasks", "b"]
            assert isinstance(a, Object)
            assert (a.created, a.fields) == (1, {"id": "a", "n": 5, "m": 3})
            assert (a.stamps["n"].device, a.stamps["m"].device) == ("", "phone")
            assert a.refilled == Refilled(old, 7, 1, at=2)
            assert b == Tombstone(2, START, "", Refilled(old, 8, 1, at=2))
            assert await whole(store, KEYS) == before

    async def test_an_offer_counts_once_whoever_makes_it(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a", n=1)))
        old = await forked(bench, 1)
        given = offer(create("a", base=1, n=5), old, 7, 1)
        older = offer(create("a", base=1, n=4), old, 6, 1)
        await stored(bench, push(2, given))
        for push_id, late in enumerate((given, older), start=1):
            store = await bench.crash()
            [answer] = await store.commit([push(push_id, late, device="laptop")])
            assert answer is not None
            assert (answer.diffs, list(answer.rejected)) == (b"[]", [])
        assert (await bench.store.objects("ada", KEYS))["tasks", "a"].clock == 2

    async def test_what_a_create_and_a_delete_had_seen_is_kept(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a")))
        old = await forked(bench, 1)
        seen = {"seen": {"log_id": old, "logical_clock": 5}}
        await stored(bench, push(2, {**create("b", base=1), **seen}, {**delete("a", 1), **seen}))
        async for store in now_and_after(bench):
            held = await store.objects("ada", KEYS)
            assert [held["tasks", name].seen for name in "ab"] == [Place(old, 5)] * 2

    async def test_pages_say_which_version_an_object_still_is(self, bench: Bench) -> None:
        await stored(bench, push(1, create("a"), create("b"), create("c", n=1)))
        old = await forked(bench, 1)
        given = [offer(create(name, base=1, at=START - 9, n=5), old, 7, 1) for name in "ab"]
        await stored(bench, push(2, *given), push(3, update("b", base=2, at=START + 9, n=6)))
        await bench.fold()
        async for store in now_and_after(bench):
            assert await versions(store) == {
                "a": (START - 9, 1, Was(old, 7, 1)),
                "b": (START + 9, 1, None),
                "c": (START, 1, None),
            }

    async def test_a_hub_that_takes_nothing_back_says_so(self, bench: Bench) -> None:
        assert (await bench.store.user("ada")).refill is True
