"""`kill -9` while many devices of several users push without waiting for their acks.

Beside what tests/crash/test_kill.py asks of real devices: the hub is killed on its way up, too,
groups hold pushes of several users, every device hears of every clock once over all the kills,
and the objects are in the end what the log makes of them.
"""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop
from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.crash.forked import a_forked_hub, wait_until_ready
from tests.crash.processes import PlainDevice, a_device
from tests.hub.fakes import Frame

ROUNDS: Final = 25
USERS: Final = ("ada", "bob", "cyd")
WRITERS: Final = ("phone", "laptop")
WINDOW: Final = 8
"""Pushes of one device under way."""
FLAGS: Final = ("--max-log-pushes", "1000000", "--log-level", "warning")
"""Every device hears of every push one by one, however long it was away."""


class Device:
    """A device of a user: it notes every clock, and a writer pushes as fast as it may."""

    def __init__(self, user: str, name: str, *, writes: bool) -> None:
        self.user = user
        self.name = name
        self.writes = writes
        self.log_id: str | None = None
        self.heard: list[tuple[str, int]] = []
        """Which push each clock is, from 1 on."""
        self.acked: dict[int, int] = {}
        self.counter = 0
        self.pending: dict[int, Frame] = {}

    async def be_there(self, url: str, everybody: asyncio.Barrier) -> None:
        """Catch up, then push and listen until the line breaks."""
        with contextlib.suppress(ConnectionClosed, InvalidMessage, OSError):
            async with a_device(
                url, self.name, self.user, clock=len(self.heard), log_id=self.log_id
            ) as device:
                await self._catch_up(device)
                await everybody.wait()
                if self.writes:
                    await self._send(device, self.pending)
                    await self._fill_the_window(device)
                while True:
                    self._take(await device.hear())
                    if self.writes:
                        await self._fill_the_window(device)

    async def _catch_up(self, device: PlainDevice) -> None:
        welcome = await device.hear()
        assert welcome["reset"] is False
        assert welcome["logical_clock"] >= len(self.heard)
        assert welcome["last_push_id"] >= max(self.acked, default=0)
        self.log_id = welcome["log_id"]
        while (frame := await device.hear())["type"] != "ready":
            self._take(frame)
        assert frame["logical_clock"] == len(self.heard)
        stored = [push_id for push_id in self.pending if push_id <= welcome["last_push_id"]]
        assert not stored, f"{stored} are stored, and nobody has said so"

    async def _fill_the_window(self, device: PlainDevice) -> None:
        while len(self.pending) < WINDOW:
            self.counter += 1
            push = {"push_id": self.counter, "diffs": [self._diff()]}
            self.pending[self.counter] = push
            await self._send(device, [self.counter])

    async def _send(self, device: PlainDevice, push_ids: Any) -> None:
        for push_id in list(push_ids):
            await device.say("push", **self.pending[push_id])

    def _diff(self) -> Frame:
        return {
            "id": f"{self.name}:{self.counter}",
            "logical_clock": len(self.heard),
            "utc_timestamp": time.time_ns() // 1_000_000,
            "type": "create",
            "model": "things",
            "json_data": {"id": f"{self.name}-{self.counter % 40}", "n": self.counter},
        }

    def _take(self, frame: Frame) -> None:
        assert frame["logical_clock"] == len(self.heard) + 1, "a clock came twice, or was left out"
        if frame["type"] == "ack":
            self.heard.append((self.name, frame["push_id"]))
            self.acked[frame["push_id"]] = frame["logical_clock"]
            del self.pending[frame["push_id"]]
        else:
            assert frame["type"] == "changes"
            self.heard.append((frame["device"], int(frame["diffs"][0]["id"].partition(":")[2])))


async def write_until_killed(devices: Sequence[Device], url: str, hub: Any, seconds: float) -> None:
    everybody = asyncio.Barrier(len(devices) + 1)
    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(device.be_there(url, everybody))
        async with asyncio.timeout(30):
            await everybody.wait()
        await asyncio.sleep(seconds)
        hub.kill()


def rows_of(data: Path) -> dict[str, list[tuple[str, int]]]:
    """The log of each user as the file has it: which push each clock is, from 1 on."""
    file = sqlite3.connect(data)
    query = """
        SELECT users.name, clock, devices.name, push_id FROM log
        JOIN users USING (user_no) JOIN devices USING (device_no) ORDER BY users.name, clock
    """
    logs: dict[str, list[tuple[str, int]]] = {user: [] for user in USERS}
    for user, clock, device, push_id in file.execute(query):
        logs[user].append((device, push_id))
        assert clock == len(logs[user]), "the log has a hole"
    file.close()
    return logs


def objects_of(data: Path) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The objects as the table has them, and as the log makes them."""
    file = sqlite3.connect(data)
    table = {
        (user, name): json.loads(fields)
        for user, name, fields in file.execute("SELECT user_no, id, fields FROM objects")
    }
    folded: dict[Any, Any] = {}
    for user, diffs in file.execute("SELECT user_no, diffs FROM log ORDER BY seq"):
        for diff in json.loads(diffs):
            folded.setdefault((user, diff["json_data"]["id"]), {}).update(diff["json_data"])
    file.close()
    return table, folded


def check(devices: Sequence[Device], data: Path) -> None:
    """Every acked push is in the log once, at the clock that was acked."""
    logs = rows_of(data)
    for log in logs.values():
        assert len(log) == len(set(log)), "a push was stored twice"
    for device in devices:
        log = logs[device.user]
        assert device.heard == log[: len(device.heard)]
        for push_id, clock in device.acked.items():
            assert log[clock - 1] == (device.name, push_id)


@pytest.mark.long
def test_nothing_acked_is_lost_and_no_clock_comes_twice_in_25_kills(tmp_path: Path) -> None:
    data = tmp_path / "hub.db"
    chance = random.Random(25)
    devices = [
        *(Device(user, name, writes=True) for user in USERS for name in WRITERS),
        *(Device(user, "reader", writes=False) for user in USERS),
    ]
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for number in range(ROUNDS):
            if number % 5 == 0:
                with a_forked_hub(data, *FLAGS):
                    time.sleep(chance.uniform(0, 0.1))  # Killed on its way up, wherever that is.
            with a_forked_hub(data, *FLAGS) as (hub, output):
                url = wait_until_ready(output)
                seconds = chance.uniform(0.05, 0.4)
                runner.run(write_until_killed(devices, url, hub, seconds))
            if number % 5 == 4:
                check(devices, data)
    with a_forked_hub(data, *FLAGS) as (hub, output):
        wait_until_ready(output)
        hub.terminate()
        hub.join(30)
        assert hub.exitcode == 0
    check(devices, data)
    table, folded = objects_of(data)
    assert table == folded
    acked = sum(len(device.acked) for device in devices)
    stored = sum(len(log) for log in rows_of(data).values())
    took = time.monotonic() - began
    print(f"{ROUNDS} kills in {took:.0f} s: {acked} pushes acked, {stored} stored, none lost")
    assert acked > ROUNDS * 10
