"""Whether a hub has at the end of a soak what it had at the start."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from hub.store.memory import MAX_USERS
from scripts.soaking.devices import Account
from scripts.soaking.reading import Reading

MIB: Final = 1024 * 1024


class Bound(msgspec.Struct, frozen=True):
    """How much more of something there may be at the end: a part of it, so much, and for users."""

    name: str
    words: str
    share: float = 0.0
    more: int = 0
    a_user: int = 0
    """For each who came for the first time: the store keeps 20,000 whom it has seen."""

    def most(self, start: Reading, users: int) -> int:
        """The most that is no growth, if so many users were new."""
        before: int = getattr(start, self.name)
        return int(before * (1 + self.share)) + self.more + self.a_user * min(users, MAX_USERS)


BOUNDS: Final[Sequence[Bound]] = (
    Bound("tasks", "tasks"),
    # Of a user with a device and an object that is folded 4.9 are counted.
    Bound("objects", "Python objects", share=0.02, more=2_000, a_user=5),
    Bound("threads", "threads"),
    Bound("files", "file descriptors"),
    # What the allocators keep for the next burst comes and goes by some MiB.
    Bound("memory_bytes", "memory", share=0.1, more=16 * MIB),
    # It is written over from its start and keeps the length that it once had.
    Bound("wal_bytes", "WAL", more=4 * MIB),
)


class Soak(msgspec.Struct, frozen=True):
    """What a soak found. `largest` is of each figure the largest of the readings under load."""

    minutes: float
    rate: float
    start: Reading
    largest: Reading
    end: Reading
    account: Account
    faults: int
    first_faults: list[str]

    @property
    def troubles(self) -> list[str]:
        """All that is not as it must be, in words."""
        return [*self._growth(), *self._losses()]

    def most(self, bound: Bound) -> int:
        """The most that there may be of something at the end."""
        return bound.most(self.start, self.account.visitors)

    def grew(self, bound: Bound) -> bool:
        """Whether there is more."""
        return bool(getattr(self.end, bound.name) > self.most(bound))

    def _growth(self) -> Iterator[str]:
        for bound in filter(self.grew, BOUNDS):
            before, after = (getattr(each, bound.name) for each in (self.start, self.end))
            yield (
                f"{bound.words} grew from {before:,} to {after:,}, "
                f"and {self.most(bound):,} would be none"
            )

    def _losses(self) -> Iterator[str]:
        if self.faults:
            yield f"{self.faults:,} faults, of which the first: {'; '.join(self.first_faults)}"
        if self.account.acked != self.account.pushed:
            yield f"{self.account.pushed:,} pushes, and {self.account.acked:,} acks"


def largest_of(readings: Sequence[Reading]) -> Reading:
    """Of each figure the largest."""
    rows = [msgspec.structs.astuple(reading) for reading in readings]
    return Reading(*(max(column) for column in zip(*rows, strict=True)))
