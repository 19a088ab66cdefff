"""What the hub asks of a store. `tests/hub/store/contract.py` holds every store to it.

A store decides (`protocol.merge`) and keeps in one durable transaction. It may write the objects
behind the log, as long as what it answers, also after a crash, is what the log says.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from hub import exports
from hub.epochs import Epochs
from hub.exports import Line
from hub.limits import Limits
from hub.revoking import Revocation
from protocol.diffs import Held, Key
from protocol.history import History
from protocol.messages import Lost, PushOutcome, Rejected, SnapshotObject

LAST_NUMBER: Final = 2**63 - 1


class UserStanding(NamedTuple):
    """A user's history, the clock of its last push, the newest tombstone dropped, the epochs.

    `refill`: whether devices may give back what the history lacks.
    """

    history: History
    head: int
    line: int
    epochs: Epochs
    refill: bool = True


class DeviceStanding(NamedTuple):
    """A device's last stored push, how far it has `received`, and outcomes since then.

    Of a device that was never seen: how many `others` of its user were seen lately.
    """

    last_push_id: int
    received: int
    outcomes: Sequence[PushOutcome]
    others: int = 0


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A push as it comes to the store, its diffs still any JSON.

    A `polled` push (section 9) has no push id; diffs that the log after their base already holds
    are left out of it, and it is not stored if none is left.
    """

    user: str
    device: str
    push_id: int
    diffs: Sequence[Any]
    again: bool = False
    read_only: bool = False
    polled: bool = False


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A push as the log holds it. `diffs` is JSON, spliced into frames and never parsed.

    `differs`: the effective push is not what was sent; always true for one read from the log.
    """

    clock: int
    device: str
    push_id: int
    diffs: bytes
    lost: Sequence[Lost] = ()
    rejected: Sequence[Rejected] = ()
    differs: bool = True


class Cursor(NamedTuple):
    """Where paging through the objects stands: behind the object `number` changed at `clock`."""

    clock: int
    number: int = LAST_NUMBER

    @property
    def finished(self) -> int:
        """The last clock of which no object is left over."""
        return self.clock if self.number == LAST_NUMBER else self.clock - 1


class Imported(NamedTuple):
    """A user that was brought in: how many objects, and how many bytes of JSON they have."""

    objects: int
    bytes: int


class Page(NamedTuple):
    """Objects in the order of their last change.

    `clock` is the last one that the pages so far finish. `head` is the clock up to which the
    objects were folded when this page was read. `cursor` is None when nothing is left over.
    """

    objects: Sequence[SnapshotObject]
    clock: int
    head: int
    cursor: Cursor | None


class StoreCounts(NamedTuple):
    """What a store counts, since it was opened: what retention let go, and what it did beside."""

    rows: int
    tombstones: int
    folds: int
    checkpoints: int
    unfolded: int
    """Rows of the log that wait to be folded now."""


class Sizes(NamedTuple):
    """How large a store is on the disk, in bytes; `free` is what the file could give back."""

    file: int
    wal: int
    free: int


Meanwhile = Callable[[Sequence[Stored | None]], None]
"""What is done with a group while the disk still writes it."""


def nothing(_stored: Sequence[Stored | None]) -> None:
    """Nobody has anything to do meanwhile."""


class Store(Protocol):
    """One hub's data. Every method that waits raises `StoreFailed`.

    Behind the log it lets go what its `Retention` no longer keeps: the oldest pushes of a user's
    log, and tombstones, with which the user's line rises.
    """

    async def open(self) -> None:
        """Open, or make, the data, and bring it to where its log says it is."""

    async def close(self) -> None:
        """Finish what is under way and let go of the data."""

    async def user(self, name: str) -> UserStanding:
        """How a user stands; one seen for the first time gets a new log id."""

    async def fork(self, user: str, clock: int) -> History:
        """Open a history for a user that carries on the present one from a clock; it is durable.

        The caller sees to it that nothing of the user is committed meanwhile.
        """

    async def take_up(self, user: str, lost: str) -> History:
        """Have a user's history carry on a lost one, of which nothing is here; it is durable."""

    async def device(self, user: str, name: str) -> DeviceStanding:
        """How a device stands; one never seen has all zeros."""

    async def commit(
        self, group: Sequence[Incoming], meanwhile: Meanwhile = nothing
    ) -> Sequence[Stored | None]:
        """Decide and store these pushes, in this order, in one durable transaction.

        None stands for a push that was stored before. When this returns, all of it survives a
        power cut; when it raises, nothing of it was stored, or, with SyncFailed, nobody knows.

        `meanwhile` is told what will be stored, perhaps while the disk still writes, once, and
        behind it nobody else goes on before this returns or raises. Nothing of what it makes
        may leave the process before this has returned.
        """

    async def log(self, user: str, after: int, max_bytes: int) -> Sequence[Stored]:
        """Pushes with the clocks after + 1, after + 2, …, at least one unless there is none.

        Where the log no longer goes back that far, they begin at its first clock.
        """

    async def first_clock(self, user: str) -> int:
        """The first clock that the log still holds; head + 1 if it holds none."""

    async def page(self, user: str, cursor: Cursor, skip_deleted: int, max_bytes: int) -> Page:
        """Objects changed behind the cursor, deleted ones only if later than `skip_deleted`."""

    async def count(self, user: str, after: int) -> int:
        """How many objects changed after a clock: an estimate for a progress bar."""

    async def objects(self, user: str, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """Objects as they stand at the head, less those never heard of."""

    async def revocations(self) -> Sequence[Revocation]:
        """All that is revoked now."""

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation from now on, in the place of one of the same subject; it is durable."""

    async def reinstate(self, revocation: Revocation) -> bool:
        """Keep no revocation of this subject, durably; whether there was one."""

    async def import_user(
        self, user: exports.User, lines: AsyncIterator[Line], *, replace: bool
    ) -> Imported:
        """Bring a whole user in, durably, in a history and a log of its own; or nothing of it.

        The caller sees to it that nothing of a user of that name is committed meanwhile.

        Raises:
            NotAnExport: the lines are not those of a user.
            UserExists: there is one of that name, who is not to be replaced.

        """

    async def delete_user(self, name: str) -> bool:
        """Erase a user, durably, and all bytes of it in the file; whether also in its WAL.

        The caller sees to it that nothing of the user is committed, or noted, any more.
        """

    async def compact(self) -> bool:
        """Let go at once all that may go by now, and give its space back; whether the WAL's, too.

        What goes is what would have gone in time, and what was kept only not to cut so often.
        """

    def received(self, user: str, device: str, clock: int) -> None:
        """Note that a device is here, and how far: 0 if it has not said so on this connection.

        Stored soon, and lost without harm.
        """

    async def keep_to(self, limits: Limits) -> None:
        """Have every push that is decided from now on keep to these limits."""

    @property
    def counts(self) -> StoreCounts:
        """What it has done so far."""

    async def sizes(self) -> Sizes:
        """How large it is; a small read."""

    def on_line(self, tell: Callable[[str, int], None]) -> None:
        """Tell of each line (user, clock) before any tombstone up to it goes.

        Whoever asks for the user from then on is given that line. What was read before may lack
        no deletion above the old line, and what is read later none above this one.
        """
