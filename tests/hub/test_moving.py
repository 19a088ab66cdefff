"""While a user is moved nobody of them is here, and nobody comes; all others are served."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.exports import EndOfUser, Line, User
from hub.http.polling import PollRefused, poll
from hub.restoring import Lost, restore_live
from hub.revoking import BeingMoved
from tests.hub.fakes import a_hub, code, create, in_virtual_time, settled
from tests.hub.store.asking import asked

ADA = User(name="ada", log_id="old", clock=7, line=0)
BODY = b'{"auth_token": "ada", "logical_clock": 0, "diffs": []}'


async def lines() -> AsyncIterator[Line]:
    yield EndOfUser(devices=0, objects=0, deletions=0)


@in_virtual_time
async def test_while_a_user_is_moved_nobody_of_them_comes_and_others_are_served(
    tmp_path: Path,
) -> None:
    async with a_hub(tmp_path / "hub.db") as site:
        phone, bob = await site.live("phone"), await site.live("tab", "bob")
        phone.push(1, create("a"))
        await phone.hear_until("ack")
        arrived, let_go = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[Line]:
            arrived.set()
            await let_go.wait()
            async for line in lines():
                yield line

        moving = asyncio.create_task(site.hub.import_user(ADA, slow(), replace=True))
        await arrived.wait()
        assert (code(phone), len(site.hub.sessions)) == (1013, 1)
        late = site.connect()
        late.hello("phone")
        await settled()
        assert code(late) == 1013
        with pytest.raises(PollRefused, match="server_busy"):
            await poll(site.hub, BODY)
        with pytest.raises(BeingMoved):
            await restore_live(site.hub, Lost("ada", "tasks", "a", "n", 1), 5)
        with pytest.raises(BeingMoved):
            await site.hub.import_user(ADA, lines(), replace=True)
        bob.push(1, create("b"))
        await bob.hear_until("ack")
        let_go.set()
        await moving
        again = await site.live("phone")
        assert (await site.store.user("ada")).head == 7
        again.push(1, create("c"))
        ack = (await again.hear_until("ack"))[-1]
        assert ack["logical_clock"] == 8


@in_virtual_time
async def _deleted(path: Path) -> None:
    async with a_hub(path) as site:
        phone, bob = await site.live("phone"), await site.live("tab", "bob")
        site.store.hold()
        phone.push(1, create("never stored"))
        await site.store.reached()
        phone.push(2, create("nor this"))
        deleting = asyncio.create_task(site.hub.delete_user("ada"))
        await settled()
        site.store.let_go()
        await deleting
        assert code(phone) == 4403
        assert not site.hub.users.known("ada")
        bob.push(1, create("b"))
        await bob.hear_until("ack")
        await asyncio.sleep(10)
        assert (await site.store.user("bob")).head == 1


def test_what_a_deleted_user_had_under_way_is_not_stored_behind_it(tmp_path: Path) -> None:
    _deleted(tmp_path / "hub.db")
    assert asked(tmp_path / "hub.db", "SELECT name FROM users") == [("bob",)]
    assert asked(tmp_path / "hub.db", "SELECT count(*) FROM log") == [(1,)]
