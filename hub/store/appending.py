"""The pushes of one commit, on their way into the log."""

import sqlite3
from typing import Any, Final

from hub.store.interface import Stored
from hub.store.memory import DeviceEntry, UserEntry
from hub.store.rows import leftovers_of
from protocol.merge import Outcome
from protocol.messages import encode_diffs

_APPEND: Final = """
INSERT INTO log (seq, user_no, clock, device_no, push_id, stored_at, diffs, refused)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class LogPage:
    """Rows for the log, all decided at the moment `now` (ms); `bytes` are in their columns."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.now = now
        self.bytes = 0
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []

    def append(
        self, seq: int, user: UserEntry, device: DeviceEntry, push_id: int, outcome: Outcome
    ) -> Stored:
        """Add the user's newest push."""
        diffs, refused = encode_diffs(outcome.diffs), leftovers_of(outcome)
        self.bytes += len(diffs) + len(refused or "")
        place = seq, user.number, user.head, device.number, push_id, self.now
        self._rows.append((*place, diffs.decode(), refused))
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
        if self._rows:
            self._connection.executemany(_APPEND, self._rows)
            self._rows.clear()
        return self._connection
