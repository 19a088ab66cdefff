"""An application that gives out tokens of a short life, badly, and devices that live by them."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from client import Device
from hub.auth import Grant, Secret, make_token
from hub.server import serving
from hub.settings import Settings

PACE: Final = 0.02
"""Seconds from one edit of a device to its next."""


class BadIssuer:
    """What a device asks for its token: at times it fails, at times it gives one that is old.

    `life` is how long a token lives, in seconds. Of its answers the share `bad` fails, and as many
    are the token before, which may have run out. Once it has given `most` fresh ones, which is
    `enough`, it behaves.
    """

    def __init__(
        self,
        secret: Secret,
        chance: Random,
        life: tuple[float, float],
        most: int,
        bad: float,
    ) -> None:
        self.asked: Counter[str] = Counter()
        self.enough = asyncio.Event()
        self._secret = secret
        self._chance = chance
        self._life = life
        self._most = most
        self._bad = bad
        self._given: list[str] = []

    async def __call__(self) -> str:
        draw = 1.0 if self.enough.is_set() else self._chance.random()
        if draw < self._bad:
            self.asked["failed"] += 1
            raise OSError("the login page is down")
        if draw < 2 * self._bad and self._given:
            self.asked["old"] += 1
            return self._given[-1]
        self.asked["fresh"] += 1
        if self.asked["fresh"] >= self._most:
            self.enough.set()
        return self._fresh()

    def _fresh(self) -> str:
        expires = time.time_ns() // 1_000_000 + round(self._chance.uniform(*self._life) * 1000)
        self._given.append(make_token(self._secret, Grant("ada", expires=expires)))
        return self._given[-1]


class Editor(NamedTuple):
    """A device that edits, and who gives it its tokens."""

    device: Device
    issuer: BadIssuer

    async def edit(self) -> int:
        """Make edits until there were tokens enough, creates and updates; how many objects."""
        number = 0
        while not self.issuer.enough.is_set():
            name = f"{self.device.name}-{number}"
            await self.device.create("tasks", {"id": name, "n": 0})
            await self.device.update("tasks", {"id": name, "n": number})
            number += 1
            await asyncio.sleep(PACE)
        return number


@asynccontextmanager
async def editors_of(
    folder: Path, names: Sequence[str], life: tuple[float, float], most: int, bad: float
) -> AsyncIterator[Sequence[Editor]]:
    """Devices of one user at a hub over real sockets, each with an issuer of its own."""
    chance, editors = Random(6), []
    async with a_hub(folder) as (url, secret), AsyncExitStack() as devices:
        for name in names:
            issuer = BadIssuer(secret, chance, life, most, bad)
            device = Device(url, token=issuer, path=folder / f"{name}.db", name=name)
            editors.append(Editor(await devices.enter_async_context(device), issuer))
        yield editors


@asynccontextmanager
async def a_hub(folder: Path) -> AsyncIterator[tuple[str, Secret]]:
    """A hub with a secret of its own; its address, and the secret."""
    secret = Secret("HS256", os.urandom(48).hex().encode())
    path = folder / "token.secret"
    path.write_bytes(secret.material)
    path.chmod(0o600)
    data = folder / "hub.db"
    async with serving(Settings(token_secret_file=path, port=0, http_port=0, data=data)) as urls:
        yield urls[0], secret
