"""Pushes as they happen, for those who watch: some of each second, and how many were left out.

Invariant: what a watcher has not taken is bounded, and nobody waits for a watcher. The task that
commits hands each group to those who watch; with nobody there it does nothing for them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import msgspec

from hub.commit import GroupCommit
from hub.store.interface import Stored
from hub.user import Waiting

A_SECOND: Final = 20
"""Pushes of a second that one watcher is told of."""
OBJECTS: Final = 5
"""Objects of a push that are named."""
MOST_WATCHERS: Final = 8
_LONGEST: Final = 300
"""Characters of a name that are shown; those that the protocol takes are shorter."""


class TooManyWatch(Exception):
    """So many watch already that nobody else can."""

    def __init__(self) -> None:
        super().__init__(f"{MOST_WATCHERS} pages watch this hub already; close one of them")


class Touched(msgspec.Struct, frozen=True):
    """An object that a push is about, and what kind of edit it is."""

    model: str
    id: str
    type: str


class Seen(msgspec.Struct, frozen=True):
    """A stored push: who made it, its clock, the first of its objects, and what came of it.

    `diffs` is how many it came with, of which `lost` lost fields and `rejected` were refused.
    """

    user: str
    device: str
    clock: int
    diffs: int
    lost: int
    rejected: int
    objects: tuple[Touched, ...]


class Pushes(msgspec.Struct, frozen=True):
    """What a watcher was not told yet, in the order of the groups; some more were `left_out`."""

    pushes: Sequence[Seen]
    left_out: int


class Watch:
    """One watcher, of one user's pushes or, without a name, of all."""

    def __init__(self, user: str = "") -> None:
        self._user = user
        self._room = A_SECOND
        self._seen: list[Seen] = []
        self._left_out = 0

    def hear(self, run: Sequence[Waiting], stored: Sequence[Stored | None]) -> None:
        """Take a group that was stored, as far as there is room."""
        if not self._user and not self._room:
            self._left_out += len(stored) - stored.count(None)
            return
        for waiting, each in zip(run, stored, strict=True):
            if each is not None and self._user in ("", waiting.incoming.user):
                self._take(waiting, each)

    def _take(self, waiting: Waiting, stored: Stored) -> None:
        if self._room:
            self._room -= 1
            self._seen.append(seen(waiting, stored))
        else:
            self._left_out += 1

    def taken(self) -> Pushes | None:
        """What was heard since this was asked last; None: nothing."""
        if not self._seen and not self._left_out:
            return None
        told = Pushes(self._seen, self._left_out)
        self._seen, self._left_out = [], 0
        return told

    def make_room(self) -> None:
        """A second is over, and its watcher took what it was told."""
        self._room = A_SECOND


class Watchers:
    """All who watch one hub, and no more than it can do with."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self.are_to_leave = False

    @contextmanager
    def watching(self, user: str) -> Iterator[Watch]:
        """Watch for as long as this lasts.

        Raises:
            TooManyWatch: there is no room.

        """
        if len(self._commits.onlookers) >= MOST_WATCHERS:
            raise TooManyWatch
        watch = Watch(user)
        self._commits.onlookers[watch] = None
        try:
            yield watch
        finally:
            del self._commits.onlookers[watch]

    def leave(self) -> None:
        """Have all of them leave soon: the hub stops."""
        self.are_to_leave = True


def seen(waiting: Waiting, stored: Stored) -> Seen:
    """A push as it is shown; no value of it is."""
    incoming = waiting.incoming
    return Seen(
        incoming.user,
        incoming.device,
        stored.clock,
        len(incoming.diffs),
        len(stored.lost),
        len(stored.rejected),
        tuple(map(touched, islice(incoming.diffs, OBJECTS))),
    )


def touched(diff: Any) -> Touched:
    """Which object a diff is about, as far as what came says so: it may be any JSON."""
    edit = diff if isinstance(diff, dict) else {}
    fields = edit.get("json_data")
    name = fields.get("id") if isinstance(fields, dict) else None
    return Touched(*(_text(each) for each in (edit.get("model"), name, edit.get("type"))))


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
