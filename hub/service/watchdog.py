"""Signs of life: given while the loop runs and the store's writer does its work, and not otherwise.

A loop that is stuck gives none by itself. The writer is asked for something small, behind all that
waits for it: where a disk no longer takes anything, the answer does not come, and neither does the
sign. Whoever runs the hub then starts it anew.
"""

import asyncio
import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from hub.hub import Hub
from hub.service.notifier import Notifier

PATIENCE: Final = "WATCHDOG_USEC"
WHOSE: Final = "WATCHDOG_PID"
STATUS_SECONDS: Final = 10.0
"""How often it is said how many are connected."""
SHARE: Final = 3
"""Signs of life in the time after which one is missed."""
NOBODY: Final = ""
"""A name that no user has."""

logger: Final = structlog.get_logger("hub.service")


def patience_from(env: MutableMapping[str, str]) -> float | None:
    """Seconds without a sign of life after which the hub is given up; None: nobody waits for it."""
    text, whose = env.pop(PATIENCE, ""), env.pop(WHOSE, "")
    if not text.isdecimal() or int(text) == 0:
        return None
    return int(text) / 1e6 if whose in ("", str(os.getpid())) else None


class Watchdog:
    """Looks after one hub, for whoever runs it."""

    def __init__(self, hub: Hub, notifier: Notifier, patience: float | None) -> None:
        self._hub = hub
        self._notifier = notifier
        self._is_wanted = patience is not None
        self._pause = STATUS_SECONDS if patience is None else min(STATUS_SECONDS, patience / SHARE)
        self._question: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._is_troubled = False

    def status(self) -> str:
        """How the hub is, for people."""
        count = len(self._hub.sessions)
        return f"Serving {count} connection{'' if count == 1 else 's'}"

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Give signs of life for as long as this lasts."""
        if not self._notifier.is_wanted:
            yield
            return
        watching = asyncio.create_task(self._watch(), name="watchdog")
        try:
            yield
        finally:
            tasks = [watching, *([self._question] if self._question else ())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(self._pause)

    async def _look(self) -> None:
        """Ask the writer, unless it has not even answered the last time; one question at a time."""
        now = asyncio.get_running_loop().time()
        if self._question is None:
            self._asked = now
            self._question = asyncio.create_task(self._ask(), name="pulse")
        done, _ = await asyncio.wait([self._question], timeout=self._pause)
        if not done:
            self._complain(
                f"the store has not answered for {now + self._pause - self._asked:.0f} s"
            )
            return
        answered, self._question = self._question, None
        if answered.exception() is not None:
            self._complain("the store fails")
        else:
            self._is_troubled = False
            tell = self._notifier.alive if self._is_wanted else self._notifier.say
            tell(self.status())

    async def _ask(self) -> None:
        await self._hub.store.device(NOBODY, NOBODY)

    def _complain(self, trouble: str) -> None:
        if not self._is_troubled:
            self._is_troubled = True
            logger.warning("no sign of life", why=trouble)
        self._notifier.say(f"{self.status()}; {trouble}")
