"""What happened to an object, and what a push is, as the model tells it."""

from __future__ import annotations

from typing import Any, NamedTuple

Key = tuple[str, str]
"""The model and the id of an object."""


class Event(NamedTuple):
    """Something that happened to an object: `kind` is "created", "set" or "deleted".

    `timestamp` is the one that the hub compared; `fields` are what was created or set. `was` is the
    version that an offer gave back, `seen` what was seen of another history, `born` the clock at
    which an object counts as created.
    """

    kind: str
    clock: int
    timestamp: int
    device: str
    fields: dict[str, Any]
    was: dict[str, Any] | None = None
    seen: dict[str, Any] | None = None
    born: int = 0


class Push(NamedTuple):
    """The push being decided; `deleted` names the objects that a diff of it has deleted so far.

    `continues` are the histories that the hub's own carries on, with the clocks up to which they
    are one; `opened` is when they parted.
    """

    clock: int
    device: str
    latest_timestamp: int
    again: bool
    polled: bool
    deleted: set[Key]
    continues: tuple[tuple[str, int], ...] = ()
    opened: int = 0

    @property
    def knows_its_own(self) -> bool:
        """Whether what this same device wrote earlier counts as known to it (section 4, rule 1)."""
        return not self.again and not self.polled


class Outcome(NamedTuple):
    """Of one diff: what goes out, None if it has no effect, and the fields that lost."""

    diff: dict[str, Any] | None
    lost: dict[str, int]


NO_EFFECT = Outcome(None, {})


class Rejected(Exception):
    """The hub refuses one diff; the argument is the code."""
