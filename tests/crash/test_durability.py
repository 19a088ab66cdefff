"""Durability counted, not believed: the system calls of a hub under `strace`.

A killed process cannot tell a synced file from one in the page cache; only the calls can.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.crash.hub_process import hub_process
from tests.crash.processes import WAITS

CALLS: Final = "fdatasync,fsync,write,writev,sendto,sendmsg"
PUSHES: Final = 20
ID_SPACE: Final = 1000
"""Device number n counts its pushes from n times this, so that an ack tells whose it is."""

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (apt-get install strace)"
)


class Seen(NamedTuple):
    """What the hub did, in order: the number of a push that it acked, or None for a sync."""

    events: Sequence[int | None]

    @property
    def acks(self) -> list[int]:
        return [event for event in self.events if event is not None]

    @property
    def syncs(self) -> int:
        return len(self.events) - len(self.acks)


async def push_in_a_closed_loop(url: str, number: int, pushes: int) -> None:
    """Push again only when the last push was acked."""
    async with connect(url, subprotocols=[Subprotocol("mobync.v1")], proxy=None) as socket:
        hello = {"type": "hello", "token": f"user-{number}", "device": "d", "logical_clock": 0}
        await socket.send(json.dumps(hello))
        while json.loads(await socket.recv())["type"] != "ready":
            pass
        for push_id in range(number * ID_SPACE + 1, number * ID_SPACE + 1 + pushes):
            fields = {"id": "t1", "n": push_id}
            diff = {"id": f"e{push_id}", "logical_clock": 0, "utc_timestamp": push_id}
            diff |= {"type": "create", "model": "tasks", "json_data": fields}
            await socket.send(json.dumps({"type": "push", "push_id": push_id, "diffs": [diff]}))
            ack = json.loads(await socket.recv())
            assert (ack["type"], ack["push_id"]) == ("ack", push_id)


def read_trace(trace: str, wal: str) -> Seen:
    """Acks at the start of the call that sends them, syncs of the WAL at the end of theirs."""
    events: list[int | None] = []
    syncing: set[str] = set()
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if re.match(r"f(data)?sync\(", call) and wal in call:
            if call.endswith("= 0"):
                events.append(None)
            else:
                syncing.add(thread)
        elif re.match(r"<\.\.\. f(data)?sync resumed>", call) and thread in syncing:
            syncing.discard(thread)
            assert call.endswith("= 0"), line
            events.append(None)
        elif "resumed>" not in call:
            acks = re.findall(r'\\"type\\":\\"ack\\",\\"push_id\\":(\d+)', call)
            events += [int(push_id) for push_id in acks]
    return Seen(events)


async def traced(tmp_path: Path, devices: int, wait: str) -> Seen:
    trace, data = tmp_path / "trace", tmp_path / "hub.db"
    strace = ["strace", "-f", "-y", "-s", "65536", "-e", f"trace={CALLS}", "-o", str(trace)]
    async with hub_process(data, before=strace, flags=("--disk-wait", wait)) as hub:
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            for number in range(1, devices + 1):
                tasks.create_task(push_in_a_closed_loop(hub.url, number, PUSHES))
        children = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children")
        (served,) = children.read_text().split()
        await (await asyncio.create_subprocess_exec("kill", "-TERM", served)).wait()
        assert await hub.process.wait() == 0
    return read_trace(trace.read_text(errors="replace"), f"{data.name}-wal")


def check_each_ack_has_a_sync_before_it(seen: Seen) -> None:
    """In a closed loop a push is sent after the ack before it, so a sync must lie between them."""
    syncs, at_last_ack = 0, dict[int, int]()
    for event in seen.events:
        if event is None:
            syncs += 1
        else:
            device = event // ID_SPACE
            assert syncs > at_last_ack.get(device, 0), f"push {event} was acked unsynced"
            at_last_ack[device] = syncs


@needs_strace
@pytest.mark.parametrize("wait", WAITS)
async def test_each_ack_of_one_device_comes_after_a_sync_of_its_own(
    tmp_path: Path, wait: str
) -> None:
    seen = await traced(tmp_path, 1, wait)
    assert len(seen.acks) == PUSHES
    check_each_ack_has_a_sync_before_it(seen)
    print(f"\none device: {len(seen.acks)} acks, {seen.syncs} syncs of the WAL")


@needs_strace
@pytest.mark.parametrize("wait", WAITS)
async def test_many_devices_share_a_sync_and_no_ack_comes_before_it(
    tmp_path: Path, wait: str
) -> None:
    devices = 20
    seen = await traced(tmp_path, devices, wait)
    assert sorted(seen.acks) == sorted(
        number * ID_SPACE + push
        for number in range(1, devices + 1)
        for push in range(1, PUSHES + 1)
    )
    check_each_ack_has_a_sync_before_it(seen)
    assert seen.syncs < len(seen.acks)
    print(f"\n{devices} devices: {len(seen.acks)} acks, {seen.syncs} syncs of the WAL")


def test_an_ack_without_a_sync_is_seen() -> None:
    """The check itself: a hub that acks first would not pass."""
    trace = "\n".join(
        [
            '7 write(9<socket>, "\\201~{\\"type\\":\\"ack\\",\\"push_id\\":1001}", 40) = 40',
            "8 fdatasync(5</hub.db-wal> <unfinished ...>",
            "8 <... fdatasync resumed>)          = 0",
        ]
    )
    seen = read_trace(trace, "hub.db-wal")
    assert list(seen.events) == [1001, None]
    with pytest.raises(AssertionError, match="unsynced"):
        check_each_ack_has_a_sync_before_it(seen)
