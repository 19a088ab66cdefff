"""The gate: no device hears of what a power cut could still undo."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.gate import Gate
from hub.server import HOLD_UPS
from hub.store.errors import SyncFailed
from hub.store.wal import WalFile
from tests.hub.fakes import Frame, Site, a_hub, create, in_virtual_time, settled
from tests.hub.websocket.wire import Peer, text


class Way:
    """Writes down what leaves."""

    def __init__(self) -> None:
        self.left: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        self.left.append(data)


def test_what_was_held_goes_where_it_was_to_go_in_the_order_in_which_it_came() -> None:
    gate, way = Gate(), Way()
    gate.shut()
    assert gate.held is not None
    gate.held.extend((way, data) for data in (b"a", b"b", b"c"))
    assert way.left == []
    gate.open()
    assert way.left == [b"a", b"b", b"c"]
    assert gate.held is None


def test_what_was_dropped_never_goes() -> None:
    gate, way = Gate(), Way()
    gate.shut()
    assert gate.held is not None
    gate.held.append((way, b"a"))
    gate.drop()
    gate.shut()
    gate.open()
    assert way.left == []


async def test_whatever_a_link_sends_waits_at_the_gate_behind_what_came_before() -> None:
    peer = Peer()
    peer.gate.shut()
    peer.link.send(b"first")
    peer.link.send_all([b"second", b"third"])
    peer.link.ping()
    peer.link.close(1012, "over")
    assert peer.transport.writes == 0
    peer.gate.open()
    sent = [bytes(frame.data) for frame in peer.frames()]
    assert sent == [b"first", b"second", b"third", b"", (1012).to_bytes(2) + b"over"]


# In the hub


class Watching(WalFile):
    """Has somebody look on before each sync, who may make it fail."""

    def __init__(self, path: Path, look_on: Callable[[], None]) -> None:
        super().__init__(path)
        self._look_on = look_on

    def sync(self) -> None:
        self._look_on()
        super().sync()


@asynccontextmanager
async def a_hub_that_waits(path: Path, look_on: Callable[[], None]) -> AsyncIterator[Site]:
    """One whose commits wait for the disk on the loop's thread."""
    async with a_hub(path) as site:
        site.store._hold_ups = HOLD_UPS["loop"]()
        site.store._wal, before = Watching(path, look_on), site.store._wal
        try:
            yield site
        finally:
            site.store._wal.close()
            site.store._wal = before


class Device(Peer):
    """A device of ada's, over a link as it is in the hub that listens."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(gate=site.hub.gate)
        self.name = name
        self.served = asyncio.create_task(site.hub.serve(self.link))

    def say(self, **message: Any) -> None:
        self.send(text(orjson.dumps(message).decode(), masked=True))

    async def come(self) -> None:
        await settled()
        self.say(type="hello", token="ada", device=self.name, logical_clock=0)
        await settled()
        assert [frame["type"] for frame in self.hear()] == ["welcome", "ready"]

    def hear(self) -> list[Frame]:
        """What it was told since the last time, less what closes its connection."""
        return [orjson.loads(frame.data) for frame in self.frames() if frame.data[:1] == b"{"]

    async def leave(self) -> None:
        self.link.connection_lost(None)
        await self.served


@in_virtual_time
async def test_nobody_hears_of_a_push_before_the_disk_has_synced_it(tmp_path: Path) -> None:
    devices: list[Device] = []
    seen: list[list[Frame]] = []

    def look_on() -> None:
        seen.extend(device.hear() for device in devices)

    async with a_hub_that_waits(tmp_path / "hub.db", look_on) as site:
        devices += [Device(site, "phone"), Device(site, "laptop")]
        for device in devices:
            await device.come()
        devices[0].say(type="push", push_id=1, diffs=[create("a")])
        await settled()
        assert seen == [[], []]
        assert [[frame["type"] for frame in device.hear()] for device in devices] == [
            ["ack"], ["changes"],
        ]  # fmt: skip
        for device in devices:
            await device.leave()


@in_virtual_time
async def test_of_a_group_whose_sync_failed_nobody_hears_but_that_the_store_failed(
    tmp_path: Path,
) -> None:
    """The frames were made while the disk wrote. Sent, they would tell of a clock that a power cut
    takes back, and that the next push gets again."""

    def fail() -> None:
        raise SyncFailed

    async with a_hub_that_waits(tmp_path / "hub.db", fail) as site:
        devices = [Device(site, "phone"), Device(site, "laptop")]
        for device in devices:
            await device.come()
        devices[0].say(type="push", push_id=1, diffs=[create("a")])
        await settled()
        heard = [device.hear() for device in devices]
        assert [[frame["type"] for frame in frames] for frames in heard] == [["error"], ["error"]]
        assert {frame["code"] for frames in heard for frame in frames} == {"server_busy"}
        assert site.hub.counts.failed == 1
        with pytest.raises(SyncFailed):  # nor of what a read may have met that was not synced
            await site.store.log("ada", 0, 1000)
        for device in devices:
            await device.leave()
        site.store._syncs.has_failed = False  # so that the file can be closed
