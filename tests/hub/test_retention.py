"""What devices see of it when the hub lets the log and tombstones go (sections 5, 6 and 9)."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from hub.http import polling
from hub.http.polling import PollRefused, poll
from hub.limits import Limits
from hub.retention import Retention
from hub.states import State
from hub.store.interface import Cursor, Page
from tests.hub.catching_up import clocks, comes, kinds, objects_in, writer_of
from tests.hub.fakes import (
    START,
    FakeLink,
    Site,
    a_hub,
    code,
    create,
    delete,
    in_virtual_time,
    settled,
    update,
)

DAY: Final = 86_400.0
ALL: Final = 10**9


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time knows nothing of threads."""
    monkeypatch.setattr(polling, "INLINE_BYTES", 2**40)


def a_short_memory(path: Path, **limits: Any) -> AbstractAsyncContextManager[Site]:
    """A hub that keeps nothing of the log that a device seen in 30 days does not need."""
    keeps = Retention(log_days=0, device_days=30, tombstone_days=90)
    return a_hub(path, retention=keeps, limits=Limits(**limits))


async def let_go(site: Site) -> None:
    """Let the hub note who is here, and let go what may go, as it does by itself."""
    await site.store._fold()
    while site.store._ledger.has_due:
        await site.store._retiring.retire()


async def received(link: FakeLink, clock: int) -> None:
    link.say("received", logical_clock=clock)
    await settled()


async def line(site: Site) -> int:
    return (await site.store.user("ada")).line


# Coming back


@in_virtual_time
async def test_a_device_from_before_the_log_gets_objects(tmp_path: Path) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a", n=1)], [update("a", base=1, n=2)])
        await received(laptop, 2)
        await let_go(site)
        assert await site.store.log("ada", 0, ALL) == []
        frames = await comes(site, "phone", 1)
        assert kinds(frames) == ["welcome", "snapshot", "ready"]
        assert objects_in(frames) == [{"id": "a", "n": 2}]


@in_virtual_time
async def test_a_device_seen_lately_hears_each_push_that_it_has_not_received(
    tmp_path: Path,
) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a", n=1)])
        phone = await site.live("phone", logical_clock=1, log_id="log-1")
        await received(phone, 1)
        phone.vanish()
        for push_id in range(2, 6):
            laptop.push(push_id, update("a", base=push_id, n=push_id))
        await settled()
        await received(laptop, 5)
        site.clock.advance(29 * DAY)
        await let_go(site)
        assert clocks(await comes(site, "phone", 1)) == [2, 3, 4, 5]


@in_virtual_time
async def test_a_device_below_the_line_begins_again_and_one_on_it_does_not(tmp_path: Path) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")], [create("b")], [delete("a")], [create("c")])
        await received(laptop, 4)
        await let_go(site)
        assert await line(site) == 3
        below = await comes(site, "phone", 2)
        assert (below[0]["reset"], objects_in(below)) == (True, [{"id": "b"}, {"id": "c"}])
        on_it = await comes(site, "tablet", 3)
        assert (on_it[0]["reset"], objects_in(on_it)) == (False, [{"id": "c"}])


@in_virtual_time
async def test_a_device_is_told_of_what_it_lost_though_the_push_is_gone_from_the_log(
    tmp_path: Path,
) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a", n=1)])
        phone = await site.live("phone", logical_clock=1, log_id="log-1")
        phone.push(1, update("nothing"))
        await settled()
        phone.vanish()
        await received(laptop, 2)
        site.clock.advance(40 * DAY)
        await let_go(site)
        assert await site.store.log("ada", 0, ALL) == []
        ready = (await comes(site, "phone", 1))[-1]
        assert (ready["type"], ready["last_push_id"]) == ("ready", 1)
        [outcome] = ready["outcomes"]
        assert (outcome["push_id"], outcome["rejected"][0]["code"]) == (1, "no_such_object")


# While they are connected


@pytest.mark.usefixtures("small_pages")
@in_virtual_time
async def test_a_device_that_is_being_told_the_log_gets_objects_when_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log's next rows were sent behind a hole, as if nothing had been between."""
    monkeypatch.setattr("hub.catchup.LAST_STEP", 1)
    async with a_short_memory(tmp_path / "hub.db", send_buffer_bytes=300) as site:
        laptop = await writer_of(site, *([create(f"o{n}", text="x" * 60)] for n in range(12)))
        await site.store._fold()
        phone = await site.greet("phone", logical_clock=1, log_id="log-1")
        await settled()
        assert site.session(phone).state is State.CATCHING_UP
        await received(laptop, 12)
        await let_go(site)
        assert await site.store.log("ada", 0, ALL) == []
        phone.take()
        frames = await phone.hear_until("ready")
        heard = clocks(frames)
        assert heard == list(range(2, 2 + len(heard)))
        assert 0 < len(heard) < 11
        got = {each["id"] for each in objects_in(frames)}
        assert got == {f"o{n}" for n in range(1 + len(heard), 12)}
        assert frames[-1]["logical_clock"] == 12


@pytest.mark.usefixtures("small_pages")
@in_virtual_time
async def test_a_device_on_its_way_below_the_line_is_closed_and_a_live_one_is_not(
    tmp_path: Path,
) -> None:
    async with a_short_memory(tmp_path / "hub.db", send_buffer_bytes=300, max_log_pushes=1) as site:
        laptop = await writer_of(site, *([create(f"o{n}", text="x" * 60)] for n in range(12)))
        await received(laptop, 12)
        phone = await site.greet("phone", logical_clock=1, log_id="log-1")
        await settled()
        laptop.push(13, delete("o11"))
        laptop.push(14, create("z"))
        await settled()
        await site.store._fold()
        site.clock.advance(100 * DAY)
        await received(laptop, 14)
        await let_go(site)
        assert await line(site) == 13
        assert code(phone) == 1012
        assert code(laptop) is None
        await laptop.heard_by_now()
        laptop.push(15, create("y"))
        assert (await laptop.hear_until("ack"))[-1]["logical_clock"] == 15
        again = await comes(site, "phone", 5)
        assert again[0]["reset"]
        assert "o11" not in {each["id"] for each in objects_in(again)}


@pytest.mark.usefixtures("small_pages")
@in_virtual_time
async def test_a_newcomer_half_way_when_its_deletions_went_begins_again(tmp_path: Path) -> None:
    """It holds what was deleted behind its back, and must not keep it."""
    async with a_short_memory(tmp_path / "hub.db", send_buffer_bytes=300) as site:
        laptop = await writer_of(site, *([create(f"o{n}", text="x" * 60)] for n in range(6)))
        await site.store._fold()
        phone = await site.greet("phone")
        page = await phone.take_one()
        phone.vanish()
        half = {"from": 0, "head": page["head"]}
        laptop.push(7, delete("o0"))
        await settled()
        await received(laptop, 7)
        await site.store._fold()
        site.clock.advance(40 * DAY)
        await let_go(site)
        assert await line(site) == 7
        again = await comes(site, "phone", page["logical_clock"], half=half)
        assert again[0]["reset"]
        assert {each["id"] for each in objects_in(again)} == {f"o{n}" for n in range(1, 6)}


@in_virtual_time
async def test_one_who_comes_between_the_announcement_and_the_end_of_a_tombstone_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")], [create("b")], [delete("a")])
        await received(laptop, 3)
        await site.store._fold()
        real, seen = site.store._retiring.tell, []

        def tell(user: str, line: int) -> None:
            real(user, line)
            link = site.connect()
            link.hello("phone", logical_clock=1, log_id="log-1")
            seen.append(link)

        monkeypatch.setattr(site.store._retiring, "tell", tell)
        await let_go(site)
        [phone] = seen
        assert (await phone.hear())["reset"]


@in_virtual_time
async def test_a_device_that_stays_connected_is_waited_for(tmp_path: Path) -> None:
    """It says nothing for weeks, and is nevertheless here."""
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")])
        phone = await site.live("phone", logical_clock=1, log_id="log-1")
        await received(phone, 1)
        hub = site.hub
        for number in range(2, 50):
            site.clock.advance(DAY)
            hub._sweep(site.session(phone), number * DAY, site.clock.now)
            laptop.push(number, update("a", base=number - 1, n=number))
            await settled()
            await received(laptop, number)
            await let_go(site)
        assert await site.store.first_clock("ada") == 2


# Polling clients


async def ask(site: Site, clock: int, *diffs: Any) -> Any:
    request = {"auth_token": "ada", "logical_clock": clock, "diffs": diffs}
    return json.loads((await poll(site.hub, json.dumps(request).encode())).body)


@in_virtual_time
async def test_a_poll_from_before_the_log_is_told_the_objects(tmp_path: Path) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(
            site, [create("a", n=1)], [update("a", base=1, n=2)], [create("b")]
        )
        await received(laptop, 3)
        await let_go(site)
        assert await site.store.log("ada", 0, ALL) == []
        answer = await ask(site, 1)
        told = [(each["type"], json.loads(each["json_data"])) for each in answer["diffs"]]
        assert told == [
            ("update", {"id": "a", "n": 2}),
            ("delete", {"id": "b"}),
            ("create", {"id": "b"}),
        ]
        mine = {
            "id": "p1", "owner": "x", "logical_clock": 0, "utc_timestamp": START + 1,
            "type": "update", "model": "tasks", "json_data": json.dumps({"id": "a", "n": 3}),
        }  # fmt: skip
        assert (await ask(site, 3, mine))["logical_clock"] == 4
        await let_go(site)
        assert (await ask(site, 3, mine))["logical_clock"] == 4, "sent twice, it is stored once"


@in_virtual_time
async def test_deletions_wait_for_a_polling_client_of_whom_the_hub_knows_no_clock(
    tmp_path: Path,
) -> None:
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")], [delete("a")])
        await ask(site, 1)
        await received(laptop, 2)
        await let_go(site)
        assert await line(site) == 0
        site.clock.advance(31 * DAY)
        laptop.say("ping")
        await let_go(site)
        assert await line(site) == 2
        with pytest.raises(PollRefused, match="start again") as caught:
            await ask(site, 1)
        assert caught.value.status == 409


@in_virtual_time
async def test_a_poll_that_looked_while_deletions_went_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the objects behind the end of a tombstone, and would have kept what was deleted."""
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")], [create("b")], [delete("a")])
        await received(laptop, 3)
        await site.live("tablet")
        await let_go(site)
        assert (await site.store.log("ada", 0, ALL), await line(site)) == ([], 0)
        page: Callable[..., Any] = site.store.page

        async def slow(user: str, cursor: Cursor, skip_deleted: int, max_bytes: int) -> Page:
            site.clock.advance(100 * DAY)
            await let_go(site)
            found: Page = await page(user, cursor, skip_deleted, max_bytes)
            return found

        monkeypatch.setattr(site.store, "page", slow)
        with pytest.raises(PollRefused, match="start again"):
            await ask(site, 1)
        assert await line(site) == 3


@in_virtual_time
async def test_a_new_polling_client_is_served_whatever_the_hub_has_forgotten(
    tmp_path: Path,
) -> None:
    """Its clock is 0, which is below any line; told to start again with clock 0, it never could."""
    async with a_short_memory(tmp_path / "hub.db") as site:
        laptop = await writer_of(site, [create("a")], [create("b", n=1)], [delete("a")])
        await received(laptop, 3)
        await let_go(site)
        assert await line(site) == 3
        answer = await ask(site, 0)
        told = [(each["type"], json.loads(each["json_data"])) for each in answer["diffs"]]
        assert ("create", {"id": "b", "n": 1}) in told
        assert not [each for each in told if each[1]["id"] == "a" and each[0] != "delete"]
        assert answer["logical_clock"] == 3
