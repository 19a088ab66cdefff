"""The hub itself, free of sockets: who is connected, and what watches over them.

`Hub` is given its store, its clock and its authority, and serves whatever links it is handed, so
that it runs the same under a real server, in another program, or in a simulation.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars

from hub import exports
from hub.addresses import Addresses
from hub.auth import Authority, Now
from hub.commit import GroupCommit
from hub.counts import Counts
from hub.door import Door
from hub.endless import Endless
from hub.exports import Line
from hub.forwarded import NO_PROXIES, Proxies
from hub.gate import Gate
from hub.limits import Limits
from hub.link import Link
from hub.rates import NO_RATES, Buckets, Rates
from hub.revoking import BeingMoved, Revocation, Revocations
from hub.session import CLOSE_SECONDS, STRANGERS_CLOSE_SECONDS, Services, Session
from hub.states import State
from hub.store.errors import StoreFailed
from hub.store.interface import Imported, Store
from hub.user import Pusher, Users
from protocol import closing
from protocol.closing import Closing

SWEEP_SECONDS: Final = 1.0
LEAVING_SECONDS: Final = 2 * CLOSE_SECONDS + SWEEP_SECONDS
"""How long connections may take to end that were told to."""
SEEN_SECONDS: Final = 7200.0
"""How often the store is told of a device that stays connected."""

STOPS: Final = "the hub stops; come back soon"

logger: Final = structlog.get_logger("hub")


class Hub:
    """All connections, all users, one writer."""

    def __init__(
        self,
        store: Store,
        authority: Authority,
        limits: Limits,
        now: Now,
        rates: Rates = NO_RATES,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.store = store
        self.limits = limits
        self.rates = rates
        self.now = now
        self.counts = Counts()
        self.gate = Gate()
        self.commits = GroupCommit(store, self.counts, self.gate)
        buckets = Buckets(rates.user_rate, rates.user_burst)
        self.users = Users(store, self.commits.submit, buckets)
        self.addresses = Addresses(limits, rates, proxies)
        self.revocations = Revocations()
        self.door = Door(authority, self.revocations, self.counts)
        self.sessions: dict[Session, None] = {}
        self.stopping = False
        self._revoking = asyncio.Lock()
        self._ungreeted: set[Session] = set()
        self._services = Services(
            store,
            self.users,
            self.door,
            limits,
            rates.patience_seconds,
            now,
            self._greeted,
            self.counts,
        )
        self._progress: dict[Session, tuple[int, float]] = {}
        self._noted: dict[Session, float] = {}
        store.on_line(self._raise_line)

    @asynccontextmanager
    async def running(self, give_up: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Commit and watch over the sessions for as long as this lasts.

        `give_up` is called when a bug has ended that; the end of this then raises it.
        """
        for revocation in await self.store.revocations():
            self.revocations.add(revocation)
        tasks = Endless(give_up)
        tasks.start(self.commits.run(), "commit")
        tasks.start(self._keep_sweeping(), "sweep")
        try:
            yield
        finally:
            await tasks.stop()

    async def serve(self, link: Link) -> None:
        """Serve one connection until it is closed, in a task of its own.

        What is logged in that task's context, and in those that it starts, names the connection.
        """
        address = self.addresses.enter(link.address, asyncio.get_running_loop().time())
        self.counts.connections += 1
        session = Session(link, self._services, address, self.counts.connections)
        bind_contextvars(connection=session.number)
        logger.debug("connected", address=link.address)
        self._ungreeted.add(session)
        self.sessions[session] = None
        if self.stopping:
            self._turn_away(session, closing.SHUTTING_DOWN, STOPS)
        elif not self._has_room():
            self._turn_away(session, closing.SERVER_BUSY, "too many connections; try again later")
        elif not self.addresses.has_room(address):
            words = "too many connections from this address"
            self._turn_away(session, closing.TOO_MANY_REQUESTS, words)
        try:
            await session.run()
        finally:
            self._greeted(session)
            self.addresses.leave(address)
            self.sessions.pop(session, None)
            self._progress.pop(session, None)
            self._noted.pop(session, None)

    async def keep_to(self, limits: Limits, rates: Rates) -> None:
        """Have these from now on; a device that is here keeps to the limits it was told of."""
        await self.store.keep_to(limits)
        self.limits, self.rates = limits, rates
        self.addresses.keep_to(limits, rates)
        self.users.buckets.keep_to(rates.user_rate, rates.user_burst)
        self._services = self._services._replace(limits=limits, patience=rates.patience_seconds)

    async def stop(self) -> None:
        """Let what is under way finish, then tell everybody; the links close by themselves."""
        self.stopping = True
        await self.commits.drain()
        for session in tuple(self.sessions):
            session.end(closing.SHUTTING_DOWN, STOPS)

    async def revoke(self, revocation: Revocation) -> int:
        """Turn somebody away, and end their connections; how many those were.

        It is durable, and nothing of theirs is stored any more, when this returns.
        """
        here = [each for each in self.sessions if _came_by(revocation, each)]
        revocation = revocation.kept_until(each.grant for each in here)
        async with self._revoking:
            await self.store.revoke(revocation)
            self.revocations.add(revocation)
        gone = [each for each in self.sessions if _came_by(revocation, each) and not each.is_closed]
        for session in gone:
            session.turn_away(revocation.refusal)
        await self.users.drop(partial(_came_by, revocation), revocation.user)
        logger.warning("revoked", who=revocation.words, connections=len(gone))
        return len(gone)

    async def reinstate(self, revocation: Revocation) -> bool:
        """Let somebody in again; whether they were turned away."""
        async with self._revoking:
            was_revoked = await self.store.reinstate(revocation)
            self.revocations.remove(revocation)
        logger.warning("reinstated", who=revocation.words)
        return was_revoked

    async def import_user(
        self, user: exports.User, lines: AsyncIterator[Line], *, replace: bool
    ) -> Imported:
        """Bring a whole user in. Who was connected as that user comes back, and begins again.

        Raises:
            NotAnExport, UserExists, BeingMoved, StoreFailed: nobody was brought in.

        """
        async with self._without(user.name):
            imported = await self.store.import_user(user, lines, replace=replace)
        logger.warning("user imported", user=user.name, objects=imported.objects)
        return imported

    async def delete_user(self, name: str) -> bool:
        """Turn a user away for good, and erase all that there is of it; whether the WAL's, too.

        They stay revoked: a device that is let in again brings its own edits with it.

        Raises:
            BeingMoved, StoreFailed: something may be left; it is to be done again.

        """
        await self.revoke(Revocation("user", name))
        async with self._without(name):
            is_cut = await self.store.delete_user(name)
        logger.warning("user deleted", user=name)
        return is_cut

    @asynccontextmanager
    async def _without(self, user: str) -> AsyncIterator[None]:
        """Nobody of a user is here, and nothing of it under way, for as long as this lasts."""
        with self.revocations.moving(user):
            for session in tuple(self.sessions):
                if session.user_name == user and not session.is_closed:
                    session.turn_away(BeingMoved())
            await self.users.drop(lambda pusher: pusher.grant is not None, user)
            try:
                async with asyncio.timeout(LEAVING_SECONDS):
                    await self.users.gone(user)
            except TimeoutError:
                raise StoreFailed("the user's connections do not end; try again") from None
            yield

    def _turn_away(self, session: Session, reason: Closing, message: str) -> None:
        session.end(reason, message)
        self._greeted(session)

    def _greeted(self, session: Session) -> None:
        """The session's device is known, or it will never be."""
        if session in self._ungreeted:
            self._ungreeted.discard(session)
            self.addresses.greeted(session.address)

    def _has_room(self) -> bool:
        """Whether there is, for the one that was added last, too."""
        return (
            len(self.sessions) <= self.limits.max_connections
            and len(self._ungreeted) <= self.limits.max_ungreeted
        )

    def _raise_line(self, name: str, line: int) -> None:
        """Before deletions are forgotten, let nobody be on their way who has not heard of them."""
        user = self.users.known(name)
        if user is not None:
            user.line = max(user.line, line)
            for session in tuple(user.devices.values()):
                if isinstance(session, Session):
                    session.stay_above(line)

    async def _keep_sweeping(self) -> None:
        """One clock for all deadlines, so that an idle device costs no timer of its own."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_SECONDS
            await asyncio.sleep(SWEEP_SECONDS)
            now, wall = loop.time(), self.now()
            self.counts.loop_lag_seconds.add(max(now - due, 0.0))
            for session in tuple(self.sessions):
                self._sweep(session, now, wall)

    def _sweep(self, session: Session, now: float, wall: int) -> None:
        if session.closing_since is not None:
            patience = CLOSE_SECONDS if session.grant else STRANGERS_CLOSE_SECONDS
            if now - session.closing_since > patience:
                session.link.abort()
            return
        self._note_seen(session, now)
        grant = session.grant
        if grant is not None and grant.expires is not None and grant.expires <= wall:
            self.counts.unauthorized["expired"] += 1
            session.end(closing.UNAUTHORIZED, "the token has run out")
        elif self._is_stalled(session, now):
            self.counts.stalled += 1
            logger.info("cut off", **session.who, why="stalled")
            session.link.abort()

    def _note_seen(self, session: Session, now: float) -> None:
        """Say now and then of a device that stays connected that it is here."""
        if session.state is State.GREETING:
            return
        if now - self._noted.setdefault(session, now) > SEEN_SECONDS:
            self._noted[session] = now
            session.note_seen()

    def _is_stalled(self, session: Session, now: float) -> bool:
        """Whether the peer has taken nothing at all for too long, though there was something."""
        taken, since = self._progress.get(session, (-1, now))
        if session.link.buffered == 0 or session.link.taken > taken:
            self._progress[session] = (session.link.taken, now)
            return False
        return now - since > self.limits.stall_seconds


def _came_by(revocation: Revocation, pusher: Pusher) -> bool:
    """Whether somebody is here by what is revoked; a push may outlive the one who brought it."""
    return pusher.grant is not None and revocation.covers(pusher.grant, pusher.device)
