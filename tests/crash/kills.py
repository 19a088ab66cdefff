"""Rounds of `kill -9` of a hub, of real devices with files of their own, or of both at once."""

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from client import Device, World
from tests.crash.forked import a_forked_hub, processes, wait_until_ready
from tests.crash.processes import WAITS

DEVICES: Final = ("phone", "laptop", "tablet")
LEVEL_SECONDS: Final = 60.0
MOST_SECONDS: Final = 0.4
"""From when all write until the first of them dies."""
SETTLED: Final = 0.7
"""In this part of the rounds all have begun to write; else they die on their way there."""
FLAGS: Final = ("--log-level", "warning")
EDIT_SECONDS: Final = 0.002
"""Between two edits, so that the devices are not only ahead of the hub."""


async def sleep_little(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.05))


HURRIED: Final = World(sleep=sleep_little)


def write(url: str, path: Path, name: str, output: Connection) -> None:
    """A device that counts up in an object of its own, and says each number once it is saved."""
    asyncio.run(_write(url, path, name, output.fileno()))


async def _write(url: str, path: Path, name: str, output: int) -> None:
    async with Device(url, token="ada", name=name, path=path, world=HURRIED) as device:
        number = max((o["n"] for o in await device.read("counters") if o["id"] == name), default=0)
        os.write(output, f"found {number}\n".encode())
        if not number:
            await device.create("counters", {"id": name, "n": 0})
        while True:
            number += 1
            await device.update("counters", {"id": name, "n": number})
            os.write(output, f"saved {number}\n".encode())
            await asyncio.sleep(EDIT_SECONDS)


class Phone:
    """One device over its lives, and the last number that it was told is saved."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.path = folder / f"{name}.db"
        self.said = 0

    @contextmanager
    def living(self, url: str) -> Iterator[Any]:
        """One life of it; what it said in it is looked at when it has ended."""
        ours, theirs = processes.Pipe(duplex=False)
        self._output = ours
        process = processes.Process(target=write, args=(url, self.path, self.name, theirs))
        process.start()
        theirs.close()
        try:
            yield process
        finally:
            process.kill()
            process.join(LEVEL_SECONDS)
            process.close()
            with ours:
                self._listen(ours.fileno())

    def wait_until_it_writes(self) -> None:
        """Wait until it has opened its file and said what it found."""
        assert self._output.poll(LEVEL_SECONDS), f"{self.name} does not begin to write"

    def _listen(self, output: int) -> None:
        said = b""
        while read := os.read(output, 65536):
            said += read
        for line in said.decode().splitlines():
            what, _, number = line.partition(" ")
            assert what != "found" or int(number) >= self.said, f"{self.name} lost a saved edit"
            self.said = max(self.said, int(number))


class Kills:
    """A hub and its devices, killed again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.data = folder / "hub.db"
        self.phones = [Phone(name, folder) for name in DEVICES]
        self._chance = random.Random(seed)

    def round(self) -> None:
        """Let all live for a while; some devices die before the hub, some with it."""
        with ExitStack() as stack:
            wait = "--disk-wait", self._chance.choice(WAITS)
            hub, output = stack.enter_context(a_forked_hub(self.data, *FLAGS, *wait))
            url = wait_until_ready(output)
            living = [stack.enter_context(phone.living(url)) for phone in self.phones]
            if self._chance.random() < SETTLED:
                for phone in self.phones:
                    phone.wait_until_it_writes()
            time.sleep(self._chance.uniform(0, MOST_SECONDS))
            first = self._chance.choice([hub, *living])
            first.kill()
            time.sleep(self._chance.uniform(0, 0.1))

    def check(self) -> int:
        """All are level in the end, and nothing that was saved is missing; the last clock."""
        with a_forked_hub(self.data, *FLAGS) as (hub, output):
            asyncio.run(self._all_agree(wait_until_ready(output)))
            hub.terminate()
            hub.join(LEVEL_SECONDS)
            assert hub.exitcode == 0
        return self._check_log()

    async def _all_agree(self, url: str) -> None:
        for _turn in range(2):
            seen = [await self._look(phone, url) for phone in self.phones]
        assert all(objects == seen[0] for objects in seen)
        for phone in self.phones:
            assert seen[0].get(phone.name, 0) >= phone.said, f"{phone.name} lost a saved edit"

    async def _look(self, phone: Phone, url: str) -> dict[str, int]:
        name, path = phone.name, phone.path
        async with Device(url, token="ada", name=name, path=path, world=HURRIED) as device:
            await device.synchronize(LEVEL_SECONDS)
            return {str(o["id"]): int(str(o["n"])) for o in await device.read("counters")}

    def _check_log(self) -> int:
        file = sqlite3.connect(self.data)
        rows = file.execute("SELECT clock, device_no, push_id FROM log ORDER BY clock").fetchall()
        let_go: int = file.execute("SELECT dropped FROM users").fetchone()[0]
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        file.close()
        clocks = [clock for clock, _device, _push in rows]
        last = let_go + len(clocks)
        assert clocks == list(range(let_go + 1, last + 1)), "the log has a hole"
        assert len({row[1:] for row in rows}) == len(rows), "a push is stored twice"
        return last
