"""Histories of a user's log, and how one carries on another (docs/protocol.md, section 10).

A hub that was restored writes a new history, which shares with the one before it all clocks up to
the one at which the copy was made. What lies behind that clock in the old history only devices
know, and they give it back.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol.diffs import MAX_INTEGER, Place


class History(msgspec.Struct, frozen=True):
    """A user's present history, and those that it carries on, each up to the clock they share.

    `opened` is when it began to differ from them, in ms by the hub's clock. `refill`: whether
    devices may give back what it lacks.
    """

    log_id: str = ""
    continues: Sequence[Place] = ()
    opened: int = 0
    refill: bool = True

    def parted_from(self, log_id: str, via: Place | None = None) -> int | None:
        """Up to which clock another history is the same as this one; None: it is unrelated."""
        return parted(Place(log_id, MAX_INTEGER), (via,) if via else (), self.continues)


def parted(here: Place, theirs: Sequence[Place], continues: Sequence[Place]) -> int | None:
    """Up to which clock one history is the same as another; None: they are unrelated.

    `here` is the last clock of the one, `theirs` and `continues` what either carries on. A hub that
    is restored twice from one copy knows nothing of the history between.
    """
    both = (
        min(mine.logical_clock, place.logical_clock)
        for mine in (here, *theirs)
        for place in continues
        if place.log_id == mine.log_id
    )
    return next(both, None)


NO_HISTORY: Final = History()
