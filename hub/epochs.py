"""The starts of the hub, by which it knows a device that has seen more than the file holds.

Each start is an *epoch* with a name of its own, which a device is told and says again. A file that
somebody put back to an older copy does not know the epochs that came after the copy, and of the one
in which it was made it knows less than there was: so whoever names one of those, or more of that
one, has seen pushes that the file has not (docs/protocol.md, section 6).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec


class Starts(NamedTuple):
    """The epochs that are still known, by name with their rising numbers; the last one runs."""

    numbers: Mapping[str, int]
    current: str
    oldest: int
    newest: int


NO_STARTS = Starts({}, "", 0, 0)
"""A file that never served."""


class Epochs(msgspec.Struct, frozen=True):
    """The hub's starts as one user went through them.

    `began` has at which clock the user was when an epoch began, in the order of their numbers: of
    those in which it pushed, and of the one that runs.
    """

    starts: Starts
    began: Sequence[tuple[int, int]]

    def end(self, name: str, head: int) -> int | None:
        """The user's clock when an epoch ended, `head` if it runs; None: it is not known."""
        number = self.starts.numbers.get(name)
        if number is None:
            return None
        return next((clock for later, clock in self.began if later > number), head)

    def is_forgotten(self, name: str) -> bool:
        """Whether an epoch is not known because it was long ago, as its number says."""
        number = name.partition("-")[0]
        return number.isdecimal() and int(number) < self.starts.oldest
