"""One user's history, of which the hub may forget some, and a power cut may bring it back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.machine.record import Record, _seen, _seen_in_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.store.interface import Incoming, Stored
    from protocol.diffs import Key


class History(Record):
    """`line` and `dropped` are those of the hub's file, `announced` a line that may yet come."""

    def __init__(self, max_object_bytes: int, happened: Counter[str]) -> None:
        super().__init__(max_object_bytes, happened)
        self.line = 0
        self.announced = 0
        self.dropped = 0
        self._forgotten: dict[Key, tuple[int, list[Any]]] = {}

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
