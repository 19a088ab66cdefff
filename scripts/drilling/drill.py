"""A restart under load: what devices feel of it, and whether anything is lost.

A stand-in for systemd holds the sockets. Devices connect and push; the hub is stopped by SIGTERM,
and as soon as it has ended another one is started, as `systemctl restart` does. Edits go on.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final, NamedTuple

import msgspec
from websockets.uri import parse_uri

from scripts.drilling.devices import Listener, Writer
from scripts.drilling.standin import MOBYNC_HUB, StandIn, Unheard, ended, standing_in
from scripts.loading.faults import Faults, LoadError
from scripts.loading.pushes import templates
from scripts.soaking.devices import Account

DATA: Final = "hub.db"
GIVEN_UP: Final = 120.0
"""Seconds after which devices that are not level count as lost."""
AT_ONCE: Final = 50
"""Devices that come together for the first time."""
OBJECTS: Final = 5
"""Of each user."""
GLANCE: Final = 0.01
TOLD: Final = 5
"""Of what went wrong, so many are told in words."""
TICKS: Final = 100
"""Times a second that pushes are made."""

_STORED: Final = """
SELECT users.name, count(*) FROM log JOIN users USING (user_no) GROUP BY users.name
"""

Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """What is tried: so many users, each with a device that writes and some that listen."""

    users: int
    listeners: int
    rate: float
    seconds: float
    size: int
    then: Path = MOBYNC_HUB
    """The program that takes the hub's place."""

    @property
    def devices(self) -> int:
        """How many there are in all."""
        return self.users * (1 + self.listeners)


class Outcome(msgspec.Struct, frozen=True):
    """What became of it; the times count from the signal to stop.

    `lost` are pushes that are not in the log in the end, `refused` attempts to connect that failed,
    `faults` lines that ended without the hub's goodbye, and frames that should not have come.
    """

    devices: int
    pushed: int
    lost: int
    refused: int
    faults: int
    down_seconds: float
    half_level_seconds: float
    level_seconds: float
    told: Sequence[str]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and nobody refused or cut off."""
        return not (self.lost or self.refused or self.faults)


class Crowd:
    """All users' devices, and the edits that they make."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.faults = Faults()
        self.writers: list[Writer] = []
        self.devices: list[Listener] = []
        uri, account = parse_uri(url), Account()
        for number in range(plan.users):
            user = f"user-{number}"
            frames = templates(user, OBJECTS, plan.size)
            self.writers.append(Writer(uri, user, "writer", self.faults, account, frames))
            for listener in range(plan.listeners):
                known = uri, user, f"listener-{listener}", self.faults, account
                self.devices.append(Listener(*known))
        self.devices += self.writers
        self._rate = plan.rate

    @asynccontextmanager
    async def here(self) -> AsyncIterator[None]:
        """Have all come in good order, and stay; in the end they say goodbye."""
        free = asyncio.Semaphore(AT_ONCE)

        async def come(device: Listener) -> None:
            async with free:
                await device.come()

        try:
            await asyncio.gather(*(come(device) for device in self.devices))
            async with _running(device.stay() for device in self.devices):
                yield
        finally:
            await asyncio.gather(*(device.leave() for device in self.devices))

    @asynccontextmanager
    async def pushing(self) -> AsyncIterator[None]:
        """Have edits made at an even rate, by one writer after the other."""
        async with _running([self._push()]):
            yield

    async def _push(self) -> None:
        began, made = time.monotonic(), 0
        while True:
            await asyncio.sleep(1 / TICKS)
            due = int((time.monotonic() - began) * self._rate)
            for number in range(made, due):
                self.writers[number % len(self.writers)].push()
            made = due

    @property
    def made(self) -> dict[str, int]:
        """How many edits each user has made."""
        return {writer.user: writer.made for writer in self.writers}

    async def level(self, wanted: dict[str, int], share: float = 1.0) -> None:
        """Wait until this share of the devices is connected, and has so many edits of its user.

        Raises:
            LoadError: they are not, for too long.

        """
        ends = time.monotonic() + GIVEN_UP
        # An event would have to be set with every frame.
        while (count := self._count_level(wanted)) < share * len(self.devices):
            if time.monotonic() > ends:
                raise LoadError(
                    f"{len(self.devices) - count} devices were not level after {GIVEN_UP:.0f} s; "
                    f"{self.faults.told}"
                )
            await asyncio.sleep(GLANCE)

    def _count_level(self, wanted: dict[str, int]) -> int:
        return sum(
            device.is_level and device.clock >= wanted[device.user] for device in self.devices
        )


@asynccontextmanager
async def _running(work: Iterable[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Have tasks run for as long as this lasts; one that fails says so at the end."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


class Times(NamedTuple):
    """Seconds from the signal to stop until somebody serves, half are level, all are level."""

    served: float
    half: float
    all: float


async def drill(plan: Plan, folder: Path, say: Say) -> Outcome:
    """Restart a hub under load.

    Raises:
        LoadError: it did not come up, or devices were never level again.

    """
    with standing_in(folder) as stand_in, contextlib.ExitStack() as hubs:
        crowd = Crowd(stand_in.url, plan)
        first = hubs.enter_context(ended(await _started(stand_in, MOBYNC_HUB)))
        say(f"{plan.devices} devices connect")
        async with crowd.here():
            async with crowd.pushing():
                say(f"{plan.rate:g} pushes a second for {plan.seconds:g} s")
                await asyncio.sleep(plan.seconds)
                say("restart")
                began = time.monotonic()
                await _stopped(first)
                second = hubs.enter_context(ended(await _started(stand_in, plan.then)))
                times = await _times(crowd, began)
                say("all are level")
                await asyncio.sleep(plan.seconds)
            await crowd.level(crowd.made)
        await _stopped(second)
    return _outcome(crowd, times, folder / DATA)


async def _started(stand_in: StandIn, program: Path) -> Popen[bytes]:
    """A hub that serves, for whoever sees to its end."""
    data = str(stand_in.folder / DATA)
    hub = stand_in.start("--dev", "--data", data, "--log-level", "warning", program=program)
    try:
        await asyncio.to_thread(stand_in.wait_for, "READY")
    except BaseException as error:
        with ended(hub):
            if isinstance(error, Unheard):
                raise LoadError(str(error)) from None
            raise
    return hub


async def _stopped(hub: Popen[bytes]) -> None:
    hub.terminate()
    code = await asyncio.to_thread(hub.wait, GIVEN_UP)
    if code != 0:
        raise LoadError(f"the hub stopped with exit code {code}")


async def _times(crowd: Crowd, began: float) -> Times:
    """How long it took until all had what had been made when the hub was back."""
    served, wanted = time.monotonic(), crowd.made
    await crowd.level(wanted, 0.5)
    half = time.monotonic()
    await crowd.level(wanted)
    return Times(served - began, half - began, time.monotonic() - began)


def _outcome(crowd: Crowd, times: Times, data: Path) -> Outcome:
    made, stored = crowd.made, _stored(data)
    refused = [words for device in crowd.devices for words in device.refused]
    return Outcome(
        devices=len(crowd.devices),
        pushed=sum(made.values()),
        lost=sum(abs(count - stored.get(user, 0)) for user, count in made.items()),
        refused=len(refused),
        faults=crowd.faults.count,
        down_seconds=round(times.served, 2),
        half_level_seconds=round(times.half, 2),
        level_seconds=round(times.all, 2),
        told=[*crowd.faults.told, *refused[:TOLD]],
    )


def _stored(data: Path) -> dict[str, int]:
    """How many pushes of each user the hub's log holds."""
    with contextlib.closing(sqlite3.connect(data)) as connection:
        return dict(connection.execute(_STORED).fetchall())
