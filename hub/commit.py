"""Group commit: everything that waits, of all users, goes into the next transaction.

One task, the only one that commits, and no session ever cancels it. Users take turns: a user
whose pushes did not all fit into a group goes to the end of the line. What fits is counted in diffs
as well as in pushes, for a push of a thousand takes the time of hundreds.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import structlog

from hub.store.errors import StoreFailed
from hub.store.interface import Store, Stored
from hub.user import User, Waiting

MOST_PER_USER: Final = 64
"""Pushes of one user in one group, so that nobody waits long behind a busy one."""
MOST_PER_GROUP: Final = 512
MOST_DIFFS_PER_USER: Final = 256
"""Diffs from which on a user's turn is over: about what a sync of the disk takes, or two."""
MOST_DIFFS_PER_GROUP: Final = 1024

logger: Final = structlog.get_logger("commit")


class Turn(NamedTuple):
    """A user whose lock is held, and those of its pushes that are in this group."""

    user: User
    run: Sequence[Waiting]


class Committed(NamedTuple):
    """A group that was committed: what became of each push; None if the store failed."""

    turns: Sequence[Turn]
    stored: Sequence[Stored | None] | None


class GroupCommit:
    """Takes what waits, commits it, hands it out, and begins again.

    A group is handed out before the next is taken, and what has come by then is let in: those who
    waited for it push again, and share the next sync with those who came meanwhile. To hand one
    out beside the next one's sync made groups of half the size, and cost more than it hid.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._line: dict[User, None] = {}
        self._something_waits = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._takes_more = True

    def submit(self, user: User) -> None:
        """A user has pushes that wait."""
        if not self._takes_more:
            return
        self._line[user] = None
        self._idle.clear()
        self._something_waits.set()

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._something_waits.wait()
            await _let_arrive()
            self._something_waits.clear()
            turns = list(self._take_turns())
            if turns:
                _hand_out(await self._commit(turns))
            if not self._line:
                self._idle.set()

    async def drain(self) -> None:
        """Take no more, and wait until all that was taken is stored and handed out."""
        self._takes_more = False
        await self._idle.wait()

    def _take_turns(self) -> Iterator[Turn]:
        """Take the users in line whose lock is free; the others come back when theirs is."""
        pushes, diffs = MOST_PER_GROUP, MOST_DIFFS_PER_GROUP
        for user in tuple(self._line):
            if pushes <= 0 or diffs <= 0:
                self._something_waits.set()
                return
            del self._line[user]
            if user.lock.try_acquire():
                run = user.next_run(min(pushes, MOST_PER_USER), min(diffs, MOST_DIFFS_PER_USER))
                pushes -= len(run)
                diffs -= sum(len(waiting.incoming.diffs) for waiting in run)
                yield Turn(user, run)

    async def _commit(self, turns: Sequence[Turn]) -> Committed:
        group = [waiting.incoming for turn in turns for waiting in turn.run]
        try:
            return Committed(turns, await self._store.commit(group))
        except StoreFailed as error:
            logger.warning("commit failed", error=str(error))
            return Committed(turns, None)


async def _let_arrive() -> None:
    """Let the loop read what has already come: once to find it, once to take it in."""
    for _turn in range(2):
        await asyncio.sleep(0)


def _hand_out(group: Committed) -> None:
    stored = iter(group.stored) if group.stored is not None else None
    for user, run in group.turns:
        for waiting in run:
            if stored is None:
                user.forget(waiting.pusher)
                waiting.pusher.failed(waiting)
            else:
                user.hand_out(waiting, next(stored))
        user.lock.release()
