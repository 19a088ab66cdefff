"""Group commit: who goes into which group, what fails together, and what never does."""

import asyncio
from pathlib import Path

import pytest

from hub import commit
from hub.limits import Limits
from tests.hub.fakes import FakeLink, Site, a_hub, create, in_virtual_time, settled, update


async def live(site: Site, *users: str) -> list[FakeLink]:
    return [await site.live("phone", user) for user in users]


@in_virtual_time
async def test_all_that_waits_while_one_group_is_written_goes_into_the_next(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        devices = await live(site, "ada", "bob", "cyd", "dan")
        site.store.hold()
        devices[0].push(1, create("a"))
        await site.store.reached()
        for device in devices[1:]:
            device.push(1, create("a"))
            device.push(2, create("b"))
        site.store.let_go()
        for device, last in zip(devices, (1, 2, 2, 2), strict=True):
            acks = [await device.hear() for _ in range(last)]
            assert [ack["push_id"] for ack in acks] == list(range(1, last + 1))
        assert [len(group) for group in site.store.groups] == [1, 6]


async def all_of_a_busy_user_is_stored(site: Site, pushes: int, diffs: int) -> None:
    """All of it waits behind a first group, and one push of another user behind it."""
    first, busy, other = await live(site, "first", "busy", "other")
    site.store.hold()
    first.push(1, create("a"))
    await site.store.reached()
    for push_id in range(1, pushes + 1):
        busy.push(push_id, *(create(f"o{push_id}-{n}") for n in range(diffs)))
    await settled()
    other.push(1, create("a"))
    await settled()
    site.store.let_go()
    while (await busy.hear())["push_id"] < pushes:
        pass


@in_virtual_time
async def test_a_busy_user_does_not_keep_another_waiting_for_more_than_its_share(
    tmp_path: Path,
) -> None:
    limits = Limits(max_pushes_under_way=1000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        await all_of_a_busy_user_is_stored(site, pushes=200, diffs=1)
        users = [[push.user for push in group] for group in site.store.groups[1:]]
        assert users[0] == ["other"], "who has little goes first"
        assert sum(group.count("busy") for group in users) == 200
        assert max(group.count("busy") for group in users) == commit.MOST_PER_USER


@in_virtual_time
async def test_a_user_of_large_pushes_has_no_longer_turns_than_one_of_small_ones(
    tmp_path: Path,
) -> None:
    """Turns were counted in pushes: 64 of them with 1,000 edits each kept others for seconds."""
    limits = Limits(max_pushes_under_way=1000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        await all_of_a_busy_user_is_stored(site, pushes=40, diffs=50)
        turns = [
            sum(len(push.diffs) for push in group if push.user == "busy")
            for group in site.store.groups[2:]
        ]
        assert turns == [100] * 20
        assert [push.user for push in site.store.groups[1]] == ["other"]


@in_virtual_time
async def test_who_has_much_to_store_lets_others_go_first_but_only_once(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        first, busy, *others = await live(site, "first", "busy", *(f"user-{n}" for n in range(4)))
        site.store.hold()
        first.push(1, create("a"))
        await site.store.reached()
        busy.push(1, *(create(f"o{n}") for n in range(commit.MUCH + 1)))
        for other in others:
            other.push(1, create("a"))
            await settled()
            site.store.let_go()
            site.store.hold()
            await site.store.reached()
        site.store.let_go()
        await busy.hear()
        groups = [[push.user for push in group] for group in site.store.groups]
        assert groups[:3] == [["first"], ["user-0"], ["busy", "user-1"]]


@in_virtual_time
async def test_users_who_do_not_fit_into_a_group_are_in_the_next(tmp_path: Path) -> None:
    limits = Limits(max_pushes_under_way=1000)
    async with a_hub(tmp_path / "hub.db", limits=limits) as site:
        devices = await live(site, "first", *(f"user-{n}" for n in range(12)))
        site.store.hold()
        devices[0].push(1, create("a"))
        await site.store.reached()
        for device in devices[1:]:
            for push_id in range(1, 51):
                device.push(push_id, create(f"o{push_id}"))
        await settled()
        site.store.let_go()
        for device in devices[1:]:
            assert [(await device.hear())["push_id"] for _ in range(50)] == list(range(1, 51))
        assert max(len(group) for group in site.store.groups) == commit.MOST_PER_GROUP
        assert sum(len(group) for group in site.store.groups) == 601


@in_virtual_time
async def test_a_failed_commit_fails_each_push_in_it_and_none_after_it(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        first, ada, bob, cyd = await live(site, "first", "ada", "bob", "cyd")
        site.store.hold()
        first.push(1, create("a"))
        await site.store.reached()
        for device in (ada, bob):
            device.push(1, create("a"))
        await settled()
        site.store.let_go()
        site.store.hold()
        await site.store.reached()
        site.store.failures = 1
        cyd.push(1, create("a"))
        await settled()
        site.store.let_go()
        for device in (ada, bob):
            assert [frame["code"] for frame in await device.hear_all()] == ["server_busy"]
            assert device.closed is not None
            assert device.closed[0] == 1013
        assert [(await device.hear())["push_id"] for device in (first, cyd)] == [1, 1]
        heads = [(await site.store.user(name)).head for name in ("first", "ada", "bob", "cyd")]
        assert heads == [1, 0, 0, 1]


@in_virtual_time
async def test_behind_a_push_that_was_not_stored_no_later_one_of_its_device_is(
    tmp_path: Path,
) -> None:
    """The disk was full for one commit, and an edit was gone.

    A device had push 1 in the group that failed, and 2 and 3 waiting behind it. They were stored
    a moment later, by when there was room again; so the hub had heard of push 3, and when the
    device came back it took push 1, which nobody had, for stored.
    """
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = [await site.live(device) for device in ("phone", "laptop")]
        site.store.hold()
        site.store.failures = 1
        phone.push(1, create("a"))
        await site.store.reached()
        phone.push(2, create("b"))
        phone.push(3, update("a", title="Milk"))
        await settled()
        site.store.let_go()
        assert [frame["type"] for frame in await phone.hear_all()] == ["error"]

        phone = site.connect()
        phone.hello("phone")
        welcome = await phone.hear()
        assert (welcome["last_push_id"], welcome["logical_clock"]) == (0, 0)
        await phone.hear_until("ready")
        phone.push(1, create("a"))
        phone.push(2, create("b"))
        phone.push(3, update("a", title="Milk"))
        assert [(await phone.hear())["logical_clock"] for _ in range(3)] == [1, 2, 3]
        assert [(await laptop.hear())["logical_clock"] for _ in range(3)] == [1, 2, 3]


@in_virtual_time
async def test_a_failed_commit_lets_go_of_the_users_lock(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, laptop = [await site.live(device) for device in ("phone", "laptop")]
        site.store.failures = 1
        phone.push(1, create("a"))
        await phone.hear_all()
        laptop.push(1, create("a"))
        assert (await laptop.hear())["logical_clock"] == 1
        phone = await site.live("phone")
        phone.push(1, create("b"))
        assert (await phone.hear())["logical_clock"] == 2


@in_virtual_time
async def test_a_group_is_handed_out_before_the_next_one_is_written(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        ada, bob = await live(site, "ada", "bob")
        site.store.hold()
        ada.push(1, create("a"))
        await site.store.reached()
        bob.push(1, create("a"))
        await settled()
        site.store.let_go()
        site.store.hold()
        await site.store.reached()
        assert (await ada.hear())["push_id"] == 1
        assert await bob.heard_by_now() == []
        site.store.let_go()
        assert (await bob.hear())["push_id"] == 1


@in_virtual_time
async def test_draining_waits_for_what_is_being_written_and_takes_no_more(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        ada, bob, cyd = await live(site, "ada", "bob", "cyd")
        site.store.hold()
        ada.push(1, create("a"))
        await site.store.reached()
        bob.push(1, create("a"))
        await settled()
        draining = asyncio.create_task(site.hub.commits.drain())
        await settled()
        cyd.push(1, create("a"))
        await settled()
        assert not draining.done()
        site.store.let_go()
        await draining
        assert [frame["push_id"] for frame in await ada.heard_by_now()] == [1]
        assert [frame["push_id"] for frame in await bob.heard_by_now()] == [1]
        assert await cyd.heard_by_now() == []


@in_virtual_time
async def test_draining_a_hub_at_rest_takes_no_time(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.db") as site, asyncio.timeout(1):
        await live(site, "ada")
        await site.hub.commits.drain()


@pytest.mark.parametrize("pushes", [1, 5])
@in_virtual_time
async def test_what_is_under_way_when_the_writer_is_cancelled_is_stored_whole_or_not_at_all(
    tmp_path: Path, pushes: int
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone = await site.live("phone")
        site.store.hold()
        for push_id in range(1, pushes + 1):
            phone.push(push_id, create(f"o{push_id}"))
        await site.store.reached()
    async with a_hub(tmp_path / "hub.db") as site:
        head = (await site.store.user("ada")).head
        assert head == (await site.store.device("ada", "phone")).last_push_id
        assert len(await site.store.log("ada", 0, 10**6)) == head
