"""Invented users, who came some days ago, and whose devices now edit, go away and come back."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import hub.server
from client import Device
from hub.embedded import Hub
from hub.endless import meanwhile
from hub.settings import Settings

DAY_MS: Final = 86_400_000
NAMES: Final = (
    *("ada", "ben", "cyd", "dora", "eli", "fay", "gus", "hana", "ivo", "juno", "kai", "lena"),
    *("milo", "nia", "otto", "pia", "quin", "rosa", "sam", "tess"),
)
TITLES: Final = ("Milk", "Oat milk", "Bread", "Call the plumber", "Tickets", "Apples", "Read on")
CAME_BEFORE_DAYS: Final = (19, 3)
"""When the tablets were here, and when the first objects were made behind them."""


@asynccontextmanager
async def lively_hub(settings: Settings) -> AsyncIterator[Hub]:
    """A hub with a past, and a present that goes on for as long as this lasts."""
    for days in CAME_BEFORE_DAYS:
        await _some_days_ago(settings, days)
    async with Hub(settings) as here, AsyncExitStack() as stack:
        for number, name in enumerate(NAMES):
            for device in ("phone", "laptop")[: 1 + number % 2]:
                one = await stack.enter_async_context(Device(here.url, token=name, name=device))
                work = _edit(one, random.Random(f"{name} {device}"))
                await stack.enter_async_context(meanwhile(work, f"{name}'s {device}"))
        yield here


async def _some_days_ago(settings: Settings, days: int) -> None:
    """What happened then, by a hub whose clock showed it."""
    now = hub.server.now
    hub.server.now = lambda: now() - days * DAY_MS
    try:
        async with Hub(settings) as then:
            for name in NAMES[:: 1 if days == CAME_BEFORE_DAYS[0] else 2]:
                await _came(then.url, name, "tablet" if days == CAME_BEFORE_DAYS[0] else "tv")
    finally:
        hub.server.now = now


async def _came(url: str, user: str, device: str) -> None:
    async with Device(url, token=user, name=device) as one:
        for number in range(4):
            await one.create("tasks", {"id": f"{device}-{number}", "title": TITLES[number]})
        await one.synchronize()


async def _edit(device: Device, chance: random.Random) -> None:
    """Edit now and then, sometimes much."""
    made = 0
    while True:
        await asyncio.sleep(chance.expovariate(0.35))
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            made += 1
            title = chance.choice(TITLES)
            if made < 4:
                await device.create("tasks", {"id": f"t{made}", "title": title, "done": False})
            else:
                await device.update("tasks", {"id": f"t{chance.randint(1, 3)}", "title": title})


def settings_in(folder: Path) -> Settings:
    """For trying, at ports that are free."""
    return Settings(dev=True, port=0, http_port=0, data=folder / "hub.db")
