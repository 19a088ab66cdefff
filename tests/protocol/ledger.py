"""One user's hub in a few lines: the product decides, and what it says is kept in a dictionary."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from protocol.diffs import Held, Key, Object, StoredDiff, Tombstone
from protocol.merge import Outcome, Terms, apply, decide
from protocol.messages import encode_diffs

NOW = 1_790_000_000_000
MINUTE = 60_000
T1 = ("tasks", "t1")

_numbers = itertools.count(1)


def edit(
    kind: str, fields: dict[str, Any] | None = None, *, base: int = 0, at: int = NOW, name: str = ""
) -> dict[str, Any]:
    """A diff of the task t1 as it comes from a device."""
    return {
        "id": name or f"edit-{next(_numbers)}",
        "logical_clock": base,
        "utc_timestamp": at,
        "type": kind,
        "model": "tasks",
        "json_data": {"id": "t1", **(fields or {})},
    }


class Ledger:
    """The log as bytes, and the objects that it made.

    `terms` go into every decision; those of one push can be given to `push`.
    """

    def __init__(self, **terms: Any) -> None:
        self.head = 0
        self.held: dict[Key, Held] = {}
        self.log: list[tuple[int, str, bytes]] = []
        self.ids: dict[int, frozenset[str]] = {}
        self.last_push_ids: dict[str, int] = {}
        self.terms = terms

    def push(
        self,
        device: str,
        push_id: int,
        diffs: list[Any],
        *,
        now: int = NOW,
        again: bool = False,
        polled: bool = False,
        **terms: Any,
    ) -> Outcome | None:
        """Decide and keep a push; None if it was stored before."""
        if not polled:
            if push_id <= self.last_push_ids.get(device, 0):
                return None
            self.last_push_ids[device] = push_id
        usual = {
            "user": "alice",
            "device": device,
            "clock": self.head + 1,
            "latest": now + MINUTE,
            "again": again,
            "polled": polled,
            "first_clock": self.log[0][0] if self.log else self.head + 1,
            "stored_ids": frozenset().union(*self.ids.values() if again else ()),
        }
        outcome = decide(diffs, self.held.get, Terms(**{**usual, **self.terms, **terms}))
        self.head += 1
        self.held.update(outcome.objects)
        self.log.append((self.head, device, encode_diffs(outcome.diffs)))
        self.ids[self.head] = frozenset(outcome.ids)
        return outcome

    def send(self, device: str, *diffs: Any, **how: Any) -> Outcome:
        """Push under the next id of this device."""
        outcome = self.push(device, self.last_push_ids.get(device, 0) + 1, list(diffs), **how)
        assert outcome is not None
        return outcome

    def task(self) -> dict[str, Any]:
        """The fields of t1 beside its id."""
        held = self.held[T1]
        assert isinstance(held, Object)
        return {name: value for name, value in held.fields.items() if name != "id"}


def folded(
    log: list[tuple[int, str, bytes]], held: dict[Key, Held] | None = None
) -> dict[Key, Held]:
    """What a hub makes of its log after a crash, from the objects that it had written by then."""
    objects = dict(held or {})
    for clock, device, diffs in log:
        for diff in msgspec.json.decode(diffs, type=list[StoredDiff]):
            objects[diff.key] = apply(objects.get(diff.key), diff, clock, device)
    return objects


def without_sizes(held: dict[Key, Held]) -> dict[Key, Any]:
    """Objects but for their size, of which a fold knows only an upper bound."""
    return {
        key: what if isinstance(what, Tombstone) else msgspec.structs.replace(what, size=0)
        for key, what in held.items()
    }
