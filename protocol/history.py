"""Histories of a user, and which of them carries on which (docs/protocol.md, section 6).

A history is a line of pushes with a name, the log id. A hub that was restored from a copy, or whose
file somebody put back to an older copy, goes on in a new one, which shares its beginning with the
one before it. Up to which clock is all that a device needs to know of it.
"""

from typing import Final

import msgspec

from protocol.diffs import Integer

MOST_CONTINUED: Final = 16
"""Older histories that are remembered; under one before those a device is in no known history."""


class Continued(msgspec.Struct, frozen=True):
    """An older history, which is shared up to this clock and not beyond."""

    log_id: str
    logical_clock: Integer


class History(msgspec.Struct, frozen=True):
    """The present history of a user; what it continues, newest first.

    `opened` is when it began to differ from the one before, in ms by the hub's clock; 0: there was
    none before. Invariant: no clock in `continues` is above the one before it in the list.
    """

    log_id: str
    continues: tuple[Continued, ...] = ()
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
        shared = Continued(self.log_id, max(clock, self.branched_at))
        return History(log_id, (shared, *self.continues)[:MOST_CONTINUED], now)

    def as_told_to(self, log_id: str | None, most: int) -> tuple[Continued, ...]:
        """What it continues, for a device of one of those, which shares no more than `most`."""
        return tuple(
            Continued(log_id, min(most, each.logical_clock)) if each.log_id == log_id else each
            for each in self.continues
        )


def shared_clock(continues: tuple[Continued, ...], log_id: str | None) -> int | None:
    """Up to which clock one of these histories is shared; None: it is not among them."""
    clocks = (each.logical_clock for each in continues if each.log_id == log_id)
    return next(clocks, None)
