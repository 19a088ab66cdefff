"""What the device holds itself, whether or not there is a hub: edits and frames go in here."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from weakref import WeakSet

from client.batch import Draft
from client.clock import DeviceClock, SkewReport
from client.errors import StorageFailed, StorageForeign
from client.journal import Journal
from client.storage.interface import Identity, Kept, Storage
from client.waiting import Bell
from client.watch import Watch
from client.world import World
from protocol.diffs import Key
from protocol.hubtime import is_date
from protocol.messages import FromHub, Pong, Welcome
from protocol.records import Position
from protocol.replica import Replica

_TELL_TIME: Final = (Welcome, Pong)

log: Final = logging.getLogger("mobync.client")


class LocalCopy:
    """The replica, the storage behind it, and those who watch it.

    Invariant: whatever changes the replica goes through here, so that the watchers hear of it and
    the next save has it. `pushable` is set whenever there may be something to push, `bell` rings
    when something has been stored that came from the hub or was done here.
    """

    def __init__(self, kept: Kept, name: str, storage: Storage, world: World) -> None:
        self.replica = Replica(kept.saved)
        self.limits: Mapping[str, int] = {}
        self.pushable = asyncio.Event()
        self.bell = Bell()
        self.journal = Journal(self.replica, storage, kept.identity)
        self.journal.identity = Identity(name, kept.identity.user)
        self._world = world
        self._clock = DeviceClock(world)
        self._skew_report = SkewReport(name)
        self.replica.begin(self._clock.now())
        self._watches: WeakSet[Watch] = WeakSet()

    @property
    def safe(self) -> Position:
        """Where the storage stands."""
        return self.journal.position

    @property
    def failure(self) -> StorageFailed | None:
        """Why nothing is stored any more; None: it is."""
        return self.journal.failure

    async def stored(self) -> None:
        """Wait until all that is held now is stored."""
        await self.journal.stored()

    def edit(self, drafts: Sequence[Draft]) -> None:
        """Make these edits; several of them are pushed together.

        Raises:
            InvalidDiff: the one edit is not well formed; several were checked before.

        """
        batch = self.replica.position.edits + 1 if len(drafts) > 1 else 0
        self.look_at_the_clock()
        now, new_id = self._clock.now(), self._world.new_id
        self._tell(
            [
                self.replica.edit(kind, model, fields, diff_id=new_id(), now=now, batch=batch)
                for kind, model, fields in drafts
            ]
        )
        self.pushable.set()

    def look_at_the_clock(self) -> None:
        """Note by how much it was set: edits go on in the hub's time, over a restart too."""
        by = self._clock.set_by()
        if by:
            self.replica.clock_set(by)

    def hub_now(self) -> int:
        """What the hub's clock shows now (ms), as far as it is known."""
        return self._clock.now() + self.replica.position.skew

    def take(self, message: FromHub, trip: int = 0) -> None:
        """Take what the hub says; `trip` (ms) after it was asked for that.

        Raises:
            ProtocolError: it does not fit what came before.

        """
        if isinstance(message, _TELL_TIME):
            self.look_at_the_clock()
        self._tell(self.replica.take(message, self._clock.now(), max(trip, 0)))
        if isinstance(message, Welcome):
            self.limits = message.limits
        if isinstance(message, _TELL_TIME):
            self._report_skew(message.server_time)

    def set_aside(self, push_id: int | None, code: str, message: str) -> bool:
        """The hub hung up over a push; False if none was under way."""
        touched = self.replica.set_aside(push_id, code, message)
        self._tell(touched or ())
        return touched is not None

    def take_setback(self, number: int) -> None:
        """The application has dealt with it."""
        self.replica.take_setback(number)

    def belong_to(self, user: str) -> None:
        """Note the user of the first welcome, and keep to that one.

        Raises:
            StorageForeign: another user's token; what is still to be pushed would become theirs.

        """
        device, owner = self.journal.identity.device, self.journal.identity.user
        if owner not in (None, user):
            raise StorageForeign(
                f"this device holds the data of {owner}, and the token is {user}'s: "
                "give each user a path of their own"
            )
        self.journal.identity = Identity(device, user)

    def watch(self, model: str) -> Watch:
        """Tell of each change of a model from now on."""
        watch = Watch(model, self.replica.shown(model), self.replica.show)
        self._watches.add(watch)
        return watch

    def end(self) -> None:
        """Tell those who watch that nothing more will come; after a failure, why."""
        for watch in self._watches:
            watch.end(self.failure)
        self.bell.ring()

    def _report_skew(self, server_time: int) -> None:
        if not is_date(server_time):
            log.warning("the hub says that its time is %d ms; not followed", server_time)
        self._skew_report.look(self.replica.position.skew)

    def _tell(self, keys: Iterable[Key]) -> None:
        if self._watches:
            touched = list(keys)
            for watch in self._watches:
                watch.touch(touched)
