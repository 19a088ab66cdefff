"""The pushes of one commit, on their way into the log.

They are written by few statements of many rows: each statement gives Python's lock away, and may
have to wait for it while the loop hands out the group before.
"""

import sqlite3
from typing import Any, Final

from hub.store.interface import Stored
from hub.store.memory import DeviceEntry, UserEntry
from hub.store.rows import leftovers_of
from protocol.merge import Outcome
from protocol.messages import encode_diffs

COLUMNS: Final = 8
_INSERT: Final = """
INSERT INTO log (seq, user_no, clock, device_no, push_id, stored_at, diffs, refused) VALUES
"""
_APPEND: Final = {
    rows: f"{_INSERT}{', '.join(['(?, ?, ?, ?, ?, ?, ?, ?)'] * rows)}" for rows in (64, 16, 4, 1)
}


class LogPage:
    """Rows for the log, all decided at the moment `now` (ms); `bytes` are those of their diffs."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.now = now
        self.bytes = 0
        self._connection = connection
        self._values: list[Any] = []

    def append(
        self, seq: int, user: UserEntry, device: DeviceEntry, push_id: int, outcome: Outcome
    ) -> Stored:
        """Add the user's newest push."""
        diffs = encode_diffs(outcome.diffs)
        place = seq, user.number, user.head, device.number, push_id, self.now
        self._values += (*place, diffs.decode(), leftovers_of(outcome))
        self.bytes += len(diffs)
        return Stored(
            user.head,
            device.name,
            push_id,
            diffs,
            outcome.lost,
            outcome.rejected,
            outcome.differs,
        )

    def write(self) -> sqlite3.Connection:
        """Write what was added since the last time; the connection, to read it by."""
        start = 0
        for rows, statement in _APPEND.items():
            step = rows * COLUMNS
            while len(self._values) - start >= step:
                self._connection.execute(statement, self._values[start : start + step])
                start += step
        self._values.clear()
        return self._connection
