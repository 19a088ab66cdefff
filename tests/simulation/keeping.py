"""What retention may let go (docs/design.md, What goes, and when), said once more, in other words.

Asked in the moment in which the hub has found out what may go, of what it has found.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.store.retention import Horizon, Visit

PUT_BACK_MS = 3_600_000
"""Where the hub's clock was put back, the log is not quite in its order."""
_NEAR = "SELECT name, received FROM devices WHERE user_no = ? AND seen + ? > ?"
_STORED_AT = "SELECT stored_at FROM log WHERE seq = ?"
_DELETED = """
SELECT clock, deleted_at FROM objects WHERE user_no = ? AND deleted_at IS NOT NULL AND clock <= ?
"""


def check_visit(
    visit: Visit,
    horizon: Horizon,
    head: int,
    said: Mapping[str, int],
    connection: sqlite3.Connection,
) -> None:
    """`said`: how far each device of the user has ever told the hub that it is."""
    seen = (visit.number, horizon.keeps.device_ms, horizon.now)
    near = dict(connection.execute(_NEAR, seen).fetchall())
    _check_rows(
        visit, horizon, head, [said.get(name, 0) for name in near if near[name]], connection
    )
    _check_line(visit, horizon, [said.get(name, 0) for name in near], connection)


def _check_rows(
    visit: Visit, horizon: Horizon, head: int, near: list[int], connection: sqlite3.Connection
) -> None:
    """Old, or too many; folded; and a device seen lately has it, or it is far too many."""
    keeps = horizon.keeps
    for row in visit.rows:
        (stored_at,) = connection.execute(_STORED_AT, (row.seq,)).fetchone()
        old = stored_at <= horizon.now - keeps.log_ms + PUT_BACK_MS
        assert old or row.clock <= head - keeps.log_rows, f"{row.clock} goes too early"
        assert row.clock <= visit.folded, f"{row.clock} goes unfolded"
        free = row.clock <= min(near, default=head) or row.clock <= head - keeps.held_log_rows
        assert free, f"{row.clock} goes, and a device needs it"


def _check_line(
    visit: Visit, horizon: Horizon, near: list[int], connection: sqlite3.Connection
) -> None:
    """Everybody who was seen lately has passed it, or it is old."""
    old = horizon.now - horizon.keeps.tombstone_ms
    for clock, deleted_at in connection.execute(_DELETED, (visit.number, visit.line)):
        known = clock <= min(near, default=clock)
        assert known or deleted_at <= old, f"the tombstone of {clock} goes, and a device needs it"
