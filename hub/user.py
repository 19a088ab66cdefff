"""One user: the lock, the head, the pushes that wait, the live devices and the broadcast.

The lock is held while a run of the user's pushes is decided, stored and handed out, and while a
device comes in or becomes live. So whoever holds it knows that everything stored was handed out.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final, Protocol

import msgspec

from hub.auth import Grant
from hub.epochs import NO_STARTS, Epochs
from hub.frames import changes_frame
from hub.lock import UserLock
from hub.rates import Bucket, Buckets
from hub.states import State
from hub.store.interface import Incoming, Store, Stored
from protocol import closing
from protocol.closing import Closing
from protocol.history import History

STORE_FAILED: Final = "the store failed; try again later"
"""What a device is told whose connection ends for that."""


class Pusher(Protocol):
    """Who brought a push, and is told what became of it."""

    @property
    def grant(self) -> Grant | None:
        """What the token gives that it is here by."""

    @property
    def device(self) -> str:
        """Which of the user's devices it is."""

    def settled(self, waiting: "Waiting", stored: Stored | None, /) -> None:
        """The push is stored, and was handed out; None: it had been stored before."""

    def failed(self, waiting: "Waiting", /) -> None:
        """The store failed: the push was not stored."""


class Waiting(msgspec.Struct, frozen=True):
    """A push that waits to be stored; `size` is in bytes, as it came; `came` says when it did."""

    incoming: Incoming
    pusher: Pusher
    size: int
    came: float = msgspec.field(default_factory=monotonic)


class Receiver(Pusher, Protocol):
    """A connected device of a user."""

    @property
    def state(self) -> State:
        """Whether it is live, or on its way there."""

    def hear(self, clock: int, frame: bytes) -> None:
        """Take the next clock, another device's push."""

    def acknowledge(self, stored: Stored) -> None:
        """Take the next clock, which is this device's own push."""

    def end(self, reason: Closing, message: str) -> None:
        """Tell the device why, and close."""


class User:
    """What all connections of one user share."""

    def __init__(
        self,
        name: str,
        submit: Callable[["User"], None],
        on_idle: Callable[["User"], None],
        bucket: Bucket | None = None,
    ) -> None:
        self.name = name
        self.bucket = bucket
        self.guests = 0
        self.history = History("")
        self.epochs = Epochs(NO_STARTS, ())
        self.refill = True
        self.head = 0
        self.line = 0
        self.devices: dict[str, Receiver] = {}
        self.live: dict[str, Receiver] = {}
        self.waiting: deque[Waiting] = deque()
        self.lock = UserLock(self._on_free)
        self._submit = submit
        self._on_idle = on_idle
        self._loaded = False

    async def load(self, store: Store) -> None:
        """Ask the store how the user stands, once; under the lock."""
        if not self._loaded:
            standing = await store.user(self.name)
            self.history, self.head, self.line, self.epochs, self.refill = standing
            self._loaded = True

    async def fork(self, store: Store, clock: int) -> None:
        """Go on under a new log id: the file was found to be an older copy; under the lock.

        Those who are connected hold this very line, by the old name: they learn the new one at
        their next hello.
        """
        self.history = await store.fork(self.name, clock)

    async def take_up(self, store: Store, lost: str) -> None:
        """Carry on a history of which nothing is here but what devices have; under the lock."""
        self.history = await store.take_up(self.name, lost)

    def enter(self, device: str, session: Receiver) -> Receiver | None:
        """Let a device in; the older connection that it replaces. Under the lock.

        What any older one still had under way is forgotten, be it gone already: nothing of that is
        stored after this (docs/protocol.md, section 6).
        """
        older = self.devices.get(device)
        self.devices[device] = session
        self.live.pop(device, None)
        self.waiting = deque(w for w in self.waiting if w.incoming.device != device)
        return older

    def leave(self, device: str, session: Receiver) -> None:
        """A device's connection is gone."""
        if self.devices.get(device) is session:
            del self.devices[device]

    def push(self, waiting: Waiting) -> None:
        """Let a push wait for its turn."""
        self.waiting.append(waiting)
        self._submit(self)

    def forget(self, pusher: Pusher) -> None:
        """Store nothing of what a pusher has waiting; under the lock.

        Invariant: behind a push of a device that was not stored, no later one of it is.
        """
        self.waiting = deque(w for w in self.waiting if w.pusher is not pusher)

    def drop(self, is_gone: Callable[[Pusher], bool]) -> None:
        """Store nothing of what some pushers have waiting, and tell them; under the lock.

        Of each of them all goes, for the reason of `forget`.
        """
        gone = {waiting.pusher for waiting in self.waiting if is_gone(waiting.pusher)}
        dropped = [waiting for waiting in self.waiting if waiting.pusher in gone]
        self.waiting = deque(w for w in self.waiting if w.pusher not in gone)
        for waiting in dropped:
            waiting.pusher.failed(waiting)

    def has_more_than(self, diffs: int) -> bool:
        """Whether more than so many diffs wait."""
        if len(self.waiting) == 1:  # as it nearly always is
            return len(self.waiting[0].incoming.diffs) > diffs
        waiting = iter(self.waiting)
        while diffs >= 0 and (push := next(waiting, None)) is not None:
            diffs -= len(push.incoming.diffs)
        return diffs < 0

    def next_run(self, diffs: int) -> Sequence[Waiting]:
        """Take pushes that wait, in the order in which they came; under the lock.

        Only the last of them may go beyond so many diffs, for a push has to be whole.
        """
        if len(self.waiting) == 1:  # as it nearly always is
            return [self.waiting.popleft()]
        run: list[Waiting] = []
        while self.waiting and diffs > 0:
            run.append(self.waiting.popleft())
            diffs -= len(run[-1].incoming.diffs)
        return run

    def hand_out(self, waiting: Waiting, stored: Stored | None) -> None:
        """Tell every live device what was just stored; under the lock, in the order of clocks.

        Neither the ack nor the pusher still being there is needed for the others to hear of it, and
        they hear of it first: for them it is news.
        """
        if stored is not None:
            self.head = stored.clock
            self._broadcast(waiting.pusher, stored)

    def _broadcast(self, pusher: Pusher, stored: Stored) -> None:
        frame, own = b"", None
        for receiver in tuple(self.live.values()):
            if receiver is pusher:
                own = receiver
            else:
                frame = frame or changes_frame(stored)
                receiver.hear(stored.clock, frame)
        if own is not None:
            own.acknowledge(stored)

    def part(self) -> None:
        """Let every live device go: of what was handed out to it, it has heard nothing."""
        for receiver in tuple(self.live.values()):
            receiver.end(closing.SERVER_BUSY, STORE_FAILED)

    def _on_free(self) -> None:
        if self.waiting:
            self._submit(self)
        elif not self.guests:
            self._on_idle(self)


class Users:
    """Every user that somebody is here for, or that has something under way."""

    def __init__(self, store: Store, submit: Callable[[User], None], buckets: Buckets) -> None:
        self._store = store
        self._submit = submit
        self.buckets = buckets
        self._users: dict[str, User] = {}
        self._gone: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._users)

    @property
    def waiting(self) -> int:
        """How many pushes wait to be stored."""
        return sum(len(user.waiting) for user in self._users.values())

    @asynccontextmanager
    async def visit(self, name: str) -> AsyncIterator[User]:
        """Keep a user in memory for as long as this lasts."""
        user = self._users.get(name)
        if user is None:
            bucket = self.buckets.of(name, asyncio.get_running_loop().time())
            user = self._users[name] = User(name, self._submit, self._retire, bucket)
        user.guests += 1
        try:
            async with user.lock:
                await user.load(self._store)
            yield user
        finally:
            user.guests -= 1
            self._retire(user)

    async def drop(self, is_gone: Callable[[Pusher], bool], name: str) -> None:
        """Store nothing more of some pushers of a user; without a name, of all users."""
        for user in tuple(self._users.values()):
            is_meant = name in ("", user.name)
            if is_meant and (user.waiting or user.lock.is_held):
                async with user.lock:
                    user.drop(is_gone)

    async def gone(self, name: str) -> None:
        """Wait until nobody is here for a user, and nothing of it waits to be stored."""
        while name in self._users:
            await self._gone.setdefault(name, asyncio.Event()).wait()

    def here(self) -> Iterator[User]:
        """Users of whom a device is connected."""
        return (user for user in self._users.values() if user.devices)

    def known(self, name: str) -> User | None:
        """A user that is in memory."""
        return self._users.get(name)

    def _retire(self, user: User) -> None:
        """Forget a user whom nobody visits, once nothing of it waits to be stored."""
        is_known = self._users.get(user.name) is user
        if is_known and not user.guests and not user.waiting and not user.lock.is_held:
            del self._users[user.name]
            if user.name in self._gone:
                self._gone.pop(user.name).set()
