"""A user's objects as they were at an earlier clock, by undoing what the log tells came later.

An object of which no later push is told stands as it stood. Of the others the log itself says what
they were, where it still has their creation; or their fields do, each with the clock at which it
was set. What neither tells is not guessed: then there is no answer.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hub.store.beside import known
from hub.store.errors import NotKnown
from hub.store.looking import FIRST, ObjectRow, object_row, pushes, standing
from hub.store.reading import first_clock, head_of, read_objects
from protocol.diffs import Held, Key, Object, Stamp, StoredDiff, stamps_of
from protocol.merge import apply
from protocol.messages import decode_diffs

_SHOWN: Final = 3


def objects_at(
    connection: sqlite3.Connection, name: str, model: str | None, clock: int, behind: Key = FIRST
) -> Iterator[ObjectRow]:
    """A user's objects behind a key as they were at a clock, by model and id.

    Raises:
        NotKnown: the log no longer tells, or not yet.

    """
    user = known(connection, name)
    first = first_clock(connection, user)
    _check_clock(connection, user, clock, first)
    later = _later(connection, user, model, clock)
    lives = {key: _Life(is_known=first == 1) for key in later}
    _live_through(connection, user, clock, lives)
    now = read_objects(connection, user, list(later))
    for key, life in lives.items():
        life.learn(later[key], now.get(key), clock)
    _check_known(lives, clock)
    then = sorted(
        (key, life.held)
        for key, life in lives.items()
        if key > behind and isinstance(life.held, Object)
    )
    rest = (each for each in standing(connection, user, model, behind) if each[0] not in lives)
    return (
        object_row(key, held)
        for key, held in heapq.merge(rest, then, key=lambda each: each[0])
        if isinstance(held, Object)
    )


@dataclass
class _Later:
    """What became of an object behind a clock: the first edit, and whether all were updates."""

    first: StoredDiff
    is_updates: bool = True

    def take(self, diff: StoredDiff) -> None:
        self.is_updates = self.is_updates and diff.type == "update" and diff.was is None


@dataclass
class _Life:
    """What is known of an object as the log is read on: all of it, or the fields that were set."""

    is_known: bool
    held: Held | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)

    def take(self, clock: int, device: str, diff: StoredDiff) -> None:
        """Take in the next edit.

        One that creates or deletes tells all; one that was given back tells nothing to whoever does
        not know what it met.
        """
        if self.is_known or (diff.was is None and diff.type != "update"):
            self.is_known, self.held = True, apply(self.held, diff, clock, device)
        elif diff.was is not None:
            self.fields.clear()
            self.stamps.clear()
        else:
            self.fields.update(diff.json_data)
            self.stamps.update(stamps_of(diff.json_data, Stamp(clock, diff.utc_timestamp, device)))

    def learn(self, later: _Later, now: Held | None, clock: int) -> None:
        """Learn from what came later what is not known from before."""
        if self.is_known:
            return
        if later.first.type == "create" and later.first.was is None:
            self.is_known = True
        elif isinstance(now, Object) and later.is_updates:
            self.look_back(now, clock)

    def look_back(self, now: Object, clock: int) -> None:
        """Take what a later life of nothing but updates left as it was, if that is all."""
        stamps = {
            name: stamp if stamp.clock <= clock else self.stamps.get(name)
            for name, stamp in now.stamps.items()
        }
        fields = {
            name: value if name not in now.stamps or now.stamps[name].clock <= clock else None
            for name, value in now.fields.items()
        }
        self.is_known = None not in stamps.values()
        known = {name: stamp for name, stamp in stamps.items() if stamp is not None}
        last = max((stamp.clock for stamp in known.values()), default=now.created)
        self.held = Object(now.created, last, {**fields, **self.fields}, known, now.size)


def _later(
    connection: sqlite3.Connection, user: int, model: str | None, clock: int
) -> Mapping[Key, _Later]:
    """What became of objects behind a clock; of a long log no more than that is kept."""
    later: dict[Key, _Later] = {}
    for push in pushes(connection, user, clock):
        for diff in decode_diffs(push.diffs):
            if model in (None, diff.model):
                later.setdefault(diff.key, _Later(diff)).take(diff)
    return later


def _live_through(
    connection: sqlite3.Connection, user: int, clock: int, lives: Mapping[Key, _Life]
) -> None:
    """Take in the edits up to a clock of objects that were edited behind it, too."""
    for push in pushes(connection, user, 0):
        if push.clock > clock:
            break
        for diff in decode_diffs(push.diffs):
            if diff.key in lives:
                lives[diff.key].take(push.clock, push.device, diff)


def _check_clock(connection: sqlite3.Connection, user: int, clock: int, first: int) -> None:
    if clock < first - 1:
        raise NotKnown(
            f"the log goes back to clock {first}, so what was at clock {clock} is not known any "
            f"more; the earliest that may be known is {first - 1}"
        )
    head = head_of(connection, user)
    if clock > head:
        raise NotKnown(f"the user has come to clock {head}, and not yet to {clock}")


def _check_known(lives: Mapping[Key, _Life], clock: int) -> None:
    unknown = sorted(key for key, life in lives.items() if not life.is_known)
    if unknown:
        some = ", ".join(f"{model!r} {name!r}" for model, name in unknown[:_SHOWN])
        raise NotKnown(
            f"what {len(unknown)} of the objects were at clock {clock} is not known any more: they "
            f"have been edited since, and the log begins behind what they were ({some}). A later "
            "clock, or another model, may be known"
        )
