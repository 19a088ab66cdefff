"""One user's history, of which the hub may forget some, and a power cut may bring it back.

Where the hub is restored, another begins, which is the same up to the copy. The lost one is kept:
devices have been a part of it, and what they say of it is held to it.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tests.machine.record import Record, _seen, _seen_in_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hub.store.interface import Incoming, Stored
    from protocol.diffs import Key


class History(Record):
    """`line` and `dropped` are those of the hub's file, `announced` a line that may yet come.

    By device: `levels` is how far it has been level with this history, `taken` what it said to have
    received, `arrived` what of its edits the hub has decided. `acked` has pushes by their clocks,
    `log_ids` the names under which devices know this history; `before` was lost when it began.
    """

    def __init__(self, max_object_bytes: int, happened: Counter[str]) -> None:
        super().__init__(max_object_bytes, happened)
        self.line = 0
        self.announced = 0
        self.dropped = 0
        self.handed_out = 0
        self.levels: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.arrived: dict[str, set[str]] = defaultdict(set)
        self.acked: dict[int, tuple[str, int]] = {}
        self.log_ids: set[str] = set()
        self.before: History | None = None
        self._met: set[str] = set()
        self._forgotten: dict[Key, tuple[int, list[Any]]] = {}

    # Where the hub is restored

    def copy(self) -> History:
        """As it is now. What is in the books is never changed, so that it may be shared."""
        shared = (self.happened, self.before, *self.states, *self.changed, *self.model.log)
        return copy.deepcopy(self, {id(one): one for one in shared})

    def restored(self, lost: History) -> History:
        """The history that goes on from this copy, in the place of the one that is lost."""
        after = self.copy()
        after.before = lost
        after.levels.clear()
        after._met.clear()
        return after

    def meet(self, device: str, unsettled: set[str]) -> None:
        """A device comes for the first time: what it has not yet seen settled has yet to arrive."""
        if device not in self._met:
            self._met.add(device)
            if self.before is not None:
                self.arrived[device] |= self.before._ever_arrived(device) - unsettled

    def _ever_arrived(self, device: str) -> set[str]:
        """Here, or before this began, where the device was not here since."""
        if device in self._met or self.before is None:
            return self.arrived[device]
        return self.arrived[device] | self.before._ever_arrived(device)

    def shared_with(self, other: History) -> int:
        """Up to which clock another history is the same as this one."""
        pairs = zip(self.lineage, other.lineage, strict=False)
        return next(
            (at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), self._least(other)
        )

    def _least(self, other: History) -> int:
        return min(self.head, other.head)

    def lost_ones(self) -> Iterator[History]:
        """The histories of the user that were lost, newest first."""
        lost = self.before
        while lost is not None:
            yield lost
            lost = lost.before

    # What retention lets go

    def kept(self, line: int, dropped: int) -> None:
        """The hub's file has forgotten so much: more than before, or less, after a power cut."""
        self.happened["tombstones forgotten"] += line > self.line
        self.happened["log dropped"] += dropped > self.dropped
        if line > self.line:
            self._forget(line)
        elif line < self.line:
            self._remember(line)
        self.line, self.dropped = line, dropped

    def _forget(self, line: int) -> None:
        for key, tombstone in self.model.tombstones().items():
            clock = tombstone["logical_clock"]
            if clock <= line:
                self._forgotten[key] = clock, self.model._history[key]
        self.model.forget_tombstones(line)

    def _remember(self, line: int) -> None:
        """Nothing made anew is lost with them: that was synced, and all before it with it."""
        for key, (clock, events) in self._forgotten.items():
            if clock > line:
                self.model._history.setdefault(key, events)

    def _left_to_decide(self, incoming: Incoming) -> list[int]:
        """Of what a polling client sends again the hub knows no more than its log does."""
        if not incoming.polled:
            return super()._left_to_decide(incoming)
        base = max(min(diff["logical_clock"] for diff in incoming.diffs), self.dropped)
        known = {name for ids in self._ids[base + 1 :] for name in ids}
        return [at for at, diff in enumerate(incoming.diffs) if diff["id"] not in known]

    def check_log_rows(self, rows: Sequence[Stored]) -> None:
        """The log is the model's, but for what retention has dropped."""
        expected = self.model.log[self.dropped :]
        assert [_seen(row) for row in rows] == [_seen_in_model(push) for push in expected]
