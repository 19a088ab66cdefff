"""Hub files: an empty one, copies of one, and a copy that begins another history."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hub.store.histories import carry_all_on
from hub.store.schema import connect, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.record import Record


class Backup(NamedTuple):
    """The hub's file, what had happened by then, and how far each device had said it was."""

    path: Path
    records: dict[str, Record]
    reported: dict[tuple[str, str], int]


def carry_histories_on(path: Path, new_log_id: Callable[[], str], now: int) -> None:
    """Begin another history of each user, as a restore does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        carry_all_on(connection, new_log_id, now)


@cache
def empty_file() -> bytes:
    """A hub file without anything in it: making one costs more than copying it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        connection = connect(path)
        prepare(connection, path)
        connection.close()
        return path.read_bytes()
