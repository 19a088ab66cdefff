"""Group commit: everything that waits, of all users, goes into the next transaction.

One task, the only one that commits, and no session ever cancels it. Users take turns: a user
whose pushes did not all fit into a group goes to the end of the line. What fits is counted in
diffs, for a push of a hundred takes the time of dozens. Whoever has much to store lets those with
little go first, once: their group is short, and they need not wait for his.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Final, Protocol

import msgspec
import structlog

from hub.counts import Counts
from hub.gate import Gate
from hub.store.errors import StoreFailed
from hub.store.interface import Store, Stored
from hub.user import User, Waiting

MOST_PER_USER: Final = 64
"""Diffs from which on a user's turn is over, so that nobody waits long behind a busy one."""
MOST_PER_GROUP: Final = 512
"""Diffs from which on a group takes no more users."""
MUCH: Final = 32
"""Diffs above which a turn is a long one."""

logger: Final = structlog.get_logger("commit")


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A user whose lock is held, and those of its pushes that are in this group."""

    user: User
    run: Sequence[Waiting]


class Onlooker(Protocol):
    """Somebody who looks on at what is stored. Nobody waits for an onlooker, and none may fail."""

    def hear(self, run: Sequence[Waiting], stored: Sequence[Stored | None], /) -> None:
        """A group was stored and handed out; None: that push had been stored before."""


class GroupCommit:
    """Takes what waits, commits it, hands it out, and begins again.

    A group is handed out before the next is taken, and what has come by then is let in: those who
    waited for it push again, and share the next sync with those who came meanwhile. To hand one
    out beside the next one's sync made groups of half the size, and cost more than it hid.
    """

    def __init__(self, store: Store, counts: Counts, gate: Gate) -> None:
        self._store = store
        self._counts = counts
        self._gate = gate
        self.onlookers: dict[Onlooker, None] = {}
        self._line: dict[User, None] = {}
        self._let_others_go: set[User] = set()
        self._something_waits = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._takes_more = True

    def submit(self, user: User) -> None:
        """A user has pushes that wait. Invariant: with somebody in line, the task will go round."""
        if not self._takes_more:
            return
        if not self._line:
            self._idle.clear()
            self._something_waits.set()
        self._line[user] = None

    async def run(self) -> None:
        """Commit until cancelled."""
        try:
            while True:
                await self._something_waits.wait()
                await _let_arrive()
                self._something_waits.clear()
                await self._go_round()
        finally:
            self._idle.set()

    async def _go_round(self) -> None:
        turns = list(self._take_turns())
        if turns:
            await self._commit(turns)
        if not self._line:
            self._idle.set()

    async def drain(self) -> None:
        """Take no more, and wait until all that was taken is stored and handed out."""
        self._takes_more = False
        await self._idle.wait()

    def _take_turns(self) -> Iterator[Turn]:
        """Take the users in line whose lock is free; the others come back when theirs is."""
        room = MOST_PER_GROUP
        for user in self._those_who_go():
            if room <= 0:
                self._something_waits.set()
                return
            del self._line[user]
            if user.lock.try_acquire():
                run = user.next_run(min(room, MOST_PER_USER))
                room -= sum([len(waiting.incoming.diffs) for waiting in run])
                yield Turn(user, run)

    def _those_who_go(self) -> Sequence[User]:
        """All in line; but who has much lets those with little go first, and then goes himself."""
        line = tuple(self._line)
        if len(line) == 1:
            return line
        much = {user for user in line if user.has_more_than(MUCH)} - self._let_others_go
        if not much or len(much) == len(line):
            self._let_others_go.clear()
            return line
        self._let_others_go = much
        self._something_waits.set()
        return [user for user in line if user not in much]

    async def _commit(self, turns: Sequence[Turn]) -> None:
        """Have a group stored, and handed out meanwhile: the gate opens when it is durable."""
        group = [waiting.incoming for turn in turns for waiting in turn.run]
        began = monotonic()
        try:
            stored = await self._store.commit(group, partial(self._hand_out, turns))
            self._gate.open()
        except StoreFailed as error:
            logger.warning("commit failed", error=str(error))
            self._fail(turns)
            return
        finally:
            self._gate.drop()  # After a bug, too: who is parted with then is told so.
            self._counts.commit_seconds.add(monotonic() - began)
        self._settle(turns, stored)

    def _hand_out(self, turns: Sequence[Turn], stored: Sequence[Stored | None]) -> None:
        began = monotonic()
        self._gate.shut()
        _hand_out(turns, stored)
        self._counts.broadcast_seconds.add(monotonic() - began)

    def _fail(self, turns: Sequence[Turn]) -> None:
        """Nothing was stored, or nobody knows: devices come back, and push again."""
        if self._gate.held is not None:
            self._gate.drop()
            for turn in turns:
                turn.user.part()
        for turn in turns:
            for waiting in turn.run:
                turn.user.forget(waiting.pusher)
                waiting.pusher.failed(waiting)
            turn.user.lock.release()
            self._counts.failed += len(turn.run)

    def _settle(self, turns: Sequence[Turn], stored: Sequence[Stored | None]) -> None:
        """Tell those who pushed, and count, when no device waits for that."""
        now, each = monotonic(), iter(stored)
        for turn in turns:
            for waiting in turn.run:
                waiting.pusher.settled(waiting, next(each))
            turn.user.lock.release()
        run = [waiting for turn in turns for waiting in turn.run]
        if run:
            self._counts.handed_out(run, stored, now)
            for onlooker in self.onlookers:
                onlooker.hear(run, stored)


async def _let_arrive() -> None:
    """Let the loop read what has already come: once to find it, once to take it in."""
    for _turn in range(2):
        await asyncio.sleep(0)


def _hand_out(turns: Sequence[Turn], stored: Sequence[Stored | None]) -> None:
    each = iter(stored)
    for turn in turns:
        for waiting in turn.run:
            turn.user.hand_out(waiting, next(each))
