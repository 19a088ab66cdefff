"""Staying connected: opens one link after another, and decides from each end what comes next."""

import asyncio
import logging
from typing import Final

from client.backoff import Backoff
from client.conversation import Conversation, Ending
from client.errors import (
    DeviceClosed,
    DeviceStopped,
    LinkFailed,
    StorageFailed,
    StorageForeign,
    TokenFailed,
)
from client.link import Connect, Link
from client.local import LocalCopy
from client.states import Event, Standing, State
from client.tokens import Tokens
from client.waiting import first_of
from client.world import World
from protocol.closing import FORBIDDEN, REPLACED, Comeback, comeback

STEADY: Final = 10.0
"""Seconds of being live after which earlier failures no longer count."""
OPEN_TIMEOUT: Final = 20.0
"""Seconds in which a link must be open, whoever opens it."""

log: Final = logging.getLogger("mobync.client")


class Connection:
    """The device's one connection at a time: nothing of an old link is taken after a new hello."""

    def __init__(
        self, name: str, local: LocalCopy, tokens: Tokens, connect: Connect, world: World
    ) -> None:
        self.standing = Standing(local.bell)
        self._name = name
        self._local = local
        self._tokens = tokens
        self._connect = connect
        self._world = world
        self._backoff = Backoff(world.chance)
        self._conversation: Conversation | None = None
        self._shown = ""
        self._is_leaving = False

    async def run(self) -> None:
        """Stay connected until cancelled, or until the storage fails."""
        self.standing.step(Event.DUE)
        try:
            await self._run_until_failure()
        except asyncio.CancelledError:
            self.standing.step(Event.LEFT)
            raise

    def leave(self) -> None:
        """The device is being closed, and `run` will be cancelled.

        Said beforehand, for a cancellation that comes while the line breaks is forgotten: a
        TaskGroup, one of whose tasks fails just then, raises the failure instead (Python 3.11).
        """
        self._is_leaving = True

    async def _run_until_failure(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected())
                tasks.create_task(self._local.journal.raise_failure())
        except* StorageFailed as group:
            self.standing.step(Event.FAILED, str(group.exceptions[0]))
            self._local.end()

    async def _stay_connected(self) -> None:
        while True:
            ending = await self._attempt()
            if self._is_leaving:
                raise asyncio.CancelledError
            await self._after(ending, self._delay(ending))
            self.standing.step(Event.DUE)

    async def echo(self) -> None:
        """Wait until everything that the hub has stored by now has come.

        Raises:
            DeviceStopped: the hub turned the device away.
            DeviceClosed: the application left.
            StorageFailed: the storage failed.

        """
        while True:
            conversation = await self._live()
            if await conversation.echo() and conversation.is_live:
                return

    async def _live(self) -> Conversation:
        while True:
            conversation = self._conversation
            if conversation is not None and conversation.is_live:
                return conversation
            self.check_hope()
            await self._local.bell.heard()

    def check_hope(self) -> None:
        """Raise if waiting for the hub is of no use; raises as `echo`."""
        if self._local.failure is not None:
            raise StorageFailed(str(self._local.failure))
        if self.standing.state is State.OFFLINE:
            raise DeviceClosed("the device was closed meanwhile")
        if self.standing.state is State.STOPPED and not self._tokens.replaced.is_set():
            raise DeviceStopped(f"{self.standing.trouble}. Edits are still kept")

    async def _attempt(self) -> Ending:
        try:
            self._shown = await self._tokens.ask()
            link = await self._opened()
        except (TokenFailed, LinkFailed) as failed:
            return Ending(None, str(failed))
        self.standing.step(Event.OPENED)
        hello = self._local.replica.hello(self._shown, self._name)
        self._conversation = Conversation(
            link, self._local, self.standing, self._tokens, self._world
        )
        try:
            return await self._conversation.run(hello)
        except StorageForeign as wrong:
            return Ending(FORBIDDEN.code, str(wrong))
        finally:
            self._conversation = None

    async def _opened(self) -> Link:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                return await self._connect()
        except TimeoutError:
            raise LinkFailed(f"no connection within {OPEN_TIMEOUT:.0f} s") from None

    async def _after(self, ending: Ending, delay: float | None) -> None:
        await self._local.stored()
        if delay is None:
            log.warning("%s: %s; stopped", self._name, ending.reason)
            self.standing.step(Event.TURNED_AWAY, ending.reason)
            await self._tokens.replaced.wait()
            return
        log.info("%s: %s; again in %.1f s", self._name, ending.reason, delay)
        self.standing.step(Event.LOST, ending.reason)
        await first_of(self._world.sleep(delay), self._tokens.replaced.wait())

    # What comes next

    def _delay(self, ending: Ending) -> float | None:
        """Seconds until the next attempt; None: not by itself."""
        standing = self.standing
        lasted = asyncio.get_running_loop().time() - standing.since
        if standing.state is State.LIVE and lasted > STEADY:
            self._backoff.reset()
        match comeback(ending.code):
            case Comeback.SOON:
                return self._soon()
            case Comeback.LATER:
                return self._backoff.delay()
            case Comeback.WITH_TOKEN:
                return self._with_token()
            case Comeback.WITHOUT_THE_PUSH:
                return self._without_the_push(ending)
            case Comeback.NEVER:
                return self._never(ending)

    def _soon(self) -> float:
        """All was well until now. If it never gets so far again, the hub is asked ever later."""
        if self.standing.state is State.LIVE:
            self._backoff.reset()
        return self._backoff.delay()

    def _with_token(self) -> float | None:
        """The token ran out, or does not count. If one at a time is refused, later and later."""
        return self._soon() if self._tokens.has_other_than(self._shown) else None

    def _without_the_push(self, ending: Ending) -> float | None:
        set_aside = self._local.set_aside(ending.push_id, ending.error, ending.reason)
        return self._backoff.delay() if set_aside else None

    def _never(self, ending: Ending) -> float | None:
        """Replaced: a device that alone holds its storage may come back, later (section 6)."""
        return self._backoff.longest() if ending.code == REPLACED.code else None
