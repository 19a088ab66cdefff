"""Histories in the hub's file: each user's own, and how another one is opened.

A fork opens one for a single user whose file is found to have been put back; a restore opens one
for everybody, before the file is served (docs/protocol.md, section 6).
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

from hub.store.memory import UserEntry
from hub.store.rows import continues_column, read_history
from hub.store.schema import in_one_transaction

_WRITE: Final = "UPDATE users SET log_id = ?, continues = ?, opened = ? WHERE user_no = ?"
_UNFOLDED: Final = """
INSERT INTO temp.unfolded
SELECT user_no, max(clock) FROM log WHERE seq > (SELECT folded FROM hub) GROUP BY user_no
"""
_CARRY_ALL_ON: Final = """
UPDATE users SET log_id = new_log_id(), opened = :now, continues = carried_on(
  log_id, continues, opened, max(head, coalesce(
    (SELECT clock FROM temp.unfolded WHERE unfolded.user_no = users.user_no), 0)))
"""
_RESTORED: Final = "UPDATE hub SET restored = 1"


def write_history(connection: sqlite3.Connection, user: UserEntry) -> None:
    """Write down which history a user has; who has a second one says that the file lacks some."""
    history = user.history
    row = history.log_id, continues_column(history), history.opened, user.number
    connection.execute(_WRITE, row)
    connection.execute(_RESTORED)


def carry_all_on(connection: sqlite3.Connection, new_log_id: Callable[[], str], now: int) -> int:
    """Give each user a history that carries on the present one; how many users there are.

    It is for a file that nobody serves, and one transaction: all of it or nothing.
    """
    connection.create_function("new_log_id", 0, new_log_id)
    connection.create_function("carried_on", 4, _carried_on)
    connection.execute("CREATE TEMP TABLE unfolded (user_no INTEGER PRIMARY KEY, clock INTEGER)")
    return in_one_transaction(connection, partial(_write_all, now))


def _write_all(now: int, connection: sqlite3.Connection) -> int:
    connection.execute(_UNFOLDED)
    users = connection.execute(_CARRY_ALL_ON, {"now": now}).rowcount
    connection.execute(_RESTORED)
    return users


def _carried_on(log_id: str, continues: str | None, opened: int, head: int) -> str | None:
    return continues_column(read_history(log_id, continues, opened).carried_on("", head, 0))
