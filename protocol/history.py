"""Histories of a user, and which of them carries on which (docs/protocol.md, sections 6 and 10).

A history is a line of pushes with a name, the log id. A hub that was restored from a copy, or whose
file somebody put back to an older copy, goes on in a new one, which shares its beginning with the
one before it. What lies behind that in the old one only devices know, and they give it back.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol.diffs import MAX_INTEGER, Place

MOST_CONTINUED: Final = 16
"""Older histories that are remembered; under one before those a device is in no known history."""


class History(msgspec.Struct, frozen=True):
    """The present history of a user; what it continues, newest first.

    `opened` is when it began to differ from the one before, in ms by the hub's clock; 0: there was
    none before. Invariant: no clock in `continues` is above the one before it in the list.

    Of a user whom the copy lacked `opened` is set though it continues nothing yet: which histories
    were lost, only devices can tell.
    """

    log_id: str
    continues: tuple[Place, ...] = ()
    opened: int = 0

    @property
    def branched_at(self) -> int:
        """Up to this clock all who ever had this history's name are one."""
        return self.continues[0].logical_clock if self.continues else 0

    def carried_on(self, log_id: str, clock: int, now: int) -> "History":
        """The history that carries this one on from a clock, under a new name.

        What is shared with the older ones stays shared: they branched off at or below
        `branched_at`, and so does nobody below that.
        """
        shared = Place(self.log_id, max(clock, self.branched_at))
        return History(log_id, (shared, *self.continues)[:MOST_CONTINUED], now)

    @property
    def has_lost_all(self) -> bool:
        """Whether there may have been histories of which nothing at all is here."""
        return self.opened > 0 and self.branched_at == 0 and len(self.continues) < MOST_CONTINUED

    def with_lost(self, log_id: str) -> "History":
        """The same, which carries on another one from nothing."""
        return History(self.log_id, (*self.continues, Place(log_id, 0)), self.opened)

    def as_told_to(
        self, log_id: str | None, most: int, *, is_in_line: bool = False
    ) -> tuple[Place, ...]:
        """What it continues, for a device of one of those, which shares no more than `most`.

        One that is in the line holds a part of this very history by that name, and shares all.
        """
        return tuple(
            Place(log_id, most if is_in_line else min(most, each.logical_clock))
            if each.log_id == log_id
            else each
            for each in self.continues
        )

    def parted_from(self, log_id: str, via: Place | None) -> int | None:
        """Up to which clock another history is the same as this one; None: it is unrelated.

        `via` is where its device says that the two parted: on a history that this one carries on.
        Of a user whom the copy lacked any other history is a lost one, of which nothing is here.
        """
        ways = (Place(log_id, MAX_INTEGER), via) if via is None or via.log_id != log_id else (via,)
        clocks = (parted(place, self.continues) for place in ways if place is not None)
        unknown = 0 if self.opened and not self.branched_at else None
        return next((clock for clock in clocks if clock is not None), unknown)


def parted(place: Place, continues: Sequence[Place]) -> int | None:
    """Up to which clock a history, known up to `place`, is one with another; None: it is not."""
    clocks = (
        min(place.logical_clock, each.logical_clock)
        for each in continues
        if each.log_id == place.log_id
    )
    return next(clocks, None)


NO_HISTORY: Final = History("")
