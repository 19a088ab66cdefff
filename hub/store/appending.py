"""The pushes of one commit, on their way into the log."""

import sqlite3
from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from hub.store.interface import Stored
from hub.store.memory import DeviceEntry, UserEntry
from hub.store.rows import leftovers_of
from protocol.merge import Outcome
from protocol.messages import encode_diffs

_WHOLE: Final = """
INSERT INTO log (seq, user_no, clock, device_no, push_id, stored_at, diffs)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_WITH_REFUSED: Final = """
INSERT INTO log (seq, user_no, clock, device_no, push_id, stored_at, diffs, refused)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
# A column that is not named costs nothing; None as its value, some 2 µs: `sqlite3` asks for its
# adapter first.
_APPEND: Final[Mapping[int, str]] = {7: _WHOLE, 8: _WITH_REFUSED}
"""What appends a row of so many columns."""


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
        diffs = encode_diffs(outcome.diffs)
        refused = leftovers_of(outcome) if outcome.differs else None
        self.bytes += len(diffs) + len(refused or "")
        row = seq, user.number, user.head, device.number, push_id, self.now, diffs.decode()
        self._rows.append(row if refused is None else (*row, refused))
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
        for columns, rows in groupby(self._rows, len):
            self._connection.executemany(_APPEND[columns], rows)
        self._rows.clear()
        return self._connection
