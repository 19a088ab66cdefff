"""Real devices that were away for longer than the hub keeps deletions, over real sockets.

What they edited meanwhile is not lost, and what others deleted meanwhile does not come back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from client import Device
from client.errors import LinkFailed
from client.link import Connect, Link, websocket
from hub.auth import DevAuthority
from hub.hub import Hub
from hub.limits import Limits
from hub.retention import Retention
from hub.server import listener_for
from hub.settings import Settings
from hub.store import retiring, sqlite
from hub.store.executor import on_thread
from hub.store.sqlite import SqliteStore
from protocol.messages import Snapshot, decode_from_hub
from protocol.records import RejectedEdit
from tests.hub.fakes import FakeClock, rules

DAY: Final = 86_400.0
DEADLINE: Final = 20.0
KEEPS: Final = Retention(log_days=1, device_days=30, tombstone_days=90)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens within seconds otherwise happens at once."""
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 0.01)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 0.01)
    monkeypatch.setattr("client.conversation.REPORT_INTERVAL", 0.01)


class Home:
    """A hub whose clock is the test's, and where its devices keep their files."""

    def __init__(self, url: str, store: SqliteStore, clock: FakeClock, folder: Path) -> None:
        self.url = url
        self.store = store
        self.clock = clock
        self._folder = folder

    def device(self, name: str, connect: Connect | None = None) -> Device:
        path = self._folder / f"{name}.db"
        return Device(self.url, token="ada", path=path, name=name, connect=connect)

    async def pass_days(self, days: float) -> None:
        """Let time pass in which nobody but those who are connected is seen."""
        await eventually(self._noted)
        self.clock.advance(days * DAY)

    async def gone(self, clock: int) -> None:
        """Wait until deletions up to a clock are forgotten."""

        async def is_gone() -> bool:
            return (await self.store.user("ada")).line >= clock

        await eventually(is_gone)

    async def _noted(self) -> bool:
        return not self.store._received and not self.store._ledger.unfolded


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with at_home(tmp_path) as home:
        yield home


@asynccontextmanager
async def at_home(folder: Path) -> AsyncIterator[Home]:
    clock = FakeClock()
    store = SqliteStore(folder / "hub.db", rules(clock, retention=KEEPS), on_thread)
    await store.open()
    hub = Hub(store, DevAuthority(), Limits(), clock)
    listener = listener_for(hub, Settings(dev=True))
    async with hub.running(), listener.listening("127.0.0.1", 0) as (host, port):
        yield Home(f"ws://{host}:{port}/sync", store, clock, folder)
        await hub.stop()
        await listener.served()
    await store.close()


class Cut:
    """Lines on which nothing is heard any more once they are `mute`, or behind so many `pages`."""

    def __init__(self, url: str, pages: int | None = None) -> None:
        self.mute = False
        self.pages = pages
        self.silent = asyncio.Event()
        self._open = websocket(url)

    async def connect(self) -> Link:
        return CutLink(await self._open(), self)


class CutLink:
    """One of them."""

    def __init__(self, link: Link, cut: Cut) -> None:
        self._link = link
        self._cut = cut
        self.send = link.send
        self.close = link.close

    async def receive(self) -> bytes:
        if self._cut.pages == 0:
            await self._be_silent()
        frame = await self._link.receive()
        if self._cut.mute:
            await self._be_silent()
        if self._cut.pages is not None and isinstance(decode_from_hub(frame), Snapshot):
            self._cut.pages -= 1
        return frame

    async def _be_silent(self) -> None:
        self._cut.silent.set()
        await asyncio.Event().wait()


async def offline() -> Link:
    raise LinkFailed("there is no network here")


async def titles(device: Device) -> dict[str, Any]:
    return {each["id"]: each.get("title") for each in await device.read("tasks")}


async def write(device: Device, **titles: str) -> None:
    for name, title in titles.items():
        await device.create("tasks", {"id": name, "title": title})
    await device.synchronize()


async def delete(device: Device, name: str) -> int:
    """Delete an object; the clock at which that is stored."""
    await device.delete("tasks", name)
    await device.synchronize()
    return device.status.clock


async def test_a_device_beyond_the_line_loses_no_edit_and_brings_nothing_back(home: Home) -> None:
    async with home.device("phone") as phone, home.device("laptop") as laptop:
        await write(phone, milk="Milk", bread="Bread", tea="Tea")
        await laptop.synchronize()
    async with home.device("phone", offline) as phone:
        await phone.update("tasks", {"id": "milk", "title": "Oat milk"})
        await phone.update("tasks", {"id": "bread", "title": "Rye"})
        await phone.create("tasks", {"id": "jam", "title": "Jam"})
        await phone.delete("tasks", "tea")
    async with home.device("laptop") as laptop:
        deleted = await delete(laptop, "milk")
        await laptop.update("tasks", {"id": "tea", "title": "Green tea"})
        await laptop.synchronize()
    await home.pass_days(40)
    async with home.device("laptop") as laptop:
        await laptop.synchronize()
        await home.gone(deleted)
        async with home.device("phone") as phone:
            await phone.synchronize()
            await laptop.synchronize()
            expected = {"bread": "Rye", "jam": "Jam"}
            assert await titles(phone) == await titles(laptop) == expected
            [setback] = phone.setbacks.values()
            assert isinstance(setback, RejectedEdit)
            assert setback.code == "no_such_object"
            assert setback.diff is not None
            assert setback.diff.json_data["title"] == "Oat milk"


async def test_a_push_stored_but_never_acked_is_not_stored_again_months_later(
    home: Home,
) -> None:
    """Its object was deleted since, and nothing in the log tells of either."""
    cut = Cut(home.url)
    async with home.device("phone", cut.connect) as phone:
        await phone.synchronize()
        cut.mute = True
        await phone.create("tasks", {"id": "milk", "title": "Milk"})

        async def is_stored() -> bool:
            return (await home.store.user("ada")).head == 1

        await eventually(is_stored)
        assert phone.status.pending == 1
    async with home.device("laptop") as laptop:
        await laptop.synchronize()
        deleted = await delete(laptop, "milk")
    await home.pass_days(200)
    async with home.device("laptop") as laptop:
        await laptop.synchronize()
        await home.gone(deleted)
        async with home.device("phone") as phone:
            await phone.synchronize()
            assert await titles(phone) == await titles(laptop) == {}
            assert phone.status.pending == 0
            assert (await home.store.user("ada")).head == 2


async def test_a_device_cut_off_half_way_forgets_what_was_deleted_meanwhile(home: Home) -> None:
    async with home.device("laptop") as laptop:
        names = {f"t{number}": "x" * 5_000 for number in range(60)}
        await write(laptop, **names)

        async def folded() -> bool:
            return await home.store.count("ada", 0) == 60

        await eventually(folded)
        home.clock.advance(60)
        cut = Cut(home.url, pages=1)
        async with home.device("phone", cut.connect) as phone:
            await asyncio.wait_for(cut.silent.wait(), DEADLINE)
            held = await titles(phone)
            assert 0 < len(held) < 60
            await phone.update("tasks", {"id": "t0", "title": "mine"})
            await phone.update("tasks", {"id": "t1", "title": "mine"})
        assert "t0" in held
        deleted = await delete(laptop, "t0")
        await home.pass_days(40)
        await laptop.update("tasks", {"id": "t2", "title": "later"})
        await laptop.synchronize()
        await home.gone(deleted)
        async with home.device("phone") as phone:
            await phone.synchronize()
            await laptop.synchronize()
            found = await titles(phone)
            assert found == await titles(laptop)
            assert "t0" not in found
            assert (found["t1"], found["t2"], len(found)) == ("mine", "later", 59)
            [setback] = phone.setbacks.values()
            assert isinstance(setback, RejectedEdit)
            assert setback.code == "no_such_object"
