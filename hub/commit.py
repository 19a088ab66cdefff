"""Group commit: everything that waits, of all users, goes into the next transaction.

One task, the only one that commits, and no session ever cancels it. Users take turns: a user
whose pushes did not all fit into a group goes to the end of the line.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import structlog

from hub.store.errors import StoreFailed
from hub.store.interface import Store, Stored
from hub.user import User, Waiting

MOST_PER_USER: Final = 64
"""Pushes of one user in one group, so that nobody waits long behind a busy one."""
MOST_PER_GROUP: Final = 512

logger: Final = structlog.get_logger("commit")


class Turn(NamedTuple):
    """A user whose lock is held, and those of its pushes that are in this group."""

    user: User
    run: Sequence[Waiting]


class GroupCommit:
    """Takes what waits, commits it, hands it out, and begins again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._line: dict[User, None] = {}
        self._something_waits = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, user: User) -> None:
        """A user has pushes that wait."""
        self._line[user] = None
        self._idle.clear()
        self._something_waits.set()

    async def run(self) -> None:
        """Commit until cancelled; what is under way then is committed but not handed out."""
        while True:
            await self._something_waits.wait()
            self._something_waits.clear()
            turns = list(self._take_turns())
            if turns:
                await self._commit(turns)
            if not self._line:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing waits to be stored."""
        await self._idle.wait()

    def _take_turns(self) -> Iterator[Turn]:
        """Take the users in line whose lock is free; the others come back when theirs is."""
        room = MOST_PER_GROUP
        line = deque(self._line)
        while line and room > 0:
            user = line.popleft()
            del self._line[user]
            if user.lock.try_acquire():
                run = list(user.next_run(min(room, MOST_PER_USER)))
                room -= len(run)
                yield Turn(user, run)
        if self._line:
            self._something_waits.set()

    async def _commit(self, turns: Sequence[Turn]) -> None:
        try:
            stored = iter(await self._stored(turns))
            for user, run in turns:
                for waiting in run:
                    user.hand_out(waiting, next(stored))
        except StoreFailed as error:
            logger.warning("commit failed", error=str(error))
            for _user, run in turns:
                for waiting in run:
                    waiting.pusher.failed(waiting)
        finally:
            for user, _run in turns:
                user.lock.release()

    async def _stored(self, turns: Sequence[Turn]) -> Sequence[Stored | None]:
        group = [waiting.incoming for turn in turns for waiting in turn.run]
        return await self._store.commit(group)
