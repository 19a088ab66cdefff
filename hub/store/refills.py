"""What devices have given back to a hub that was restored, as its log tells."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hub.store.errors import StoreFailed
from hub.store.schema import check, connect

_REFILLS: Final = """
SELECT users.name, devices.name, offer.value -> 'was' ->> 'log_id',
  min(stored_at), max(stored_at),
  sum(offer.value ->> 'type' = 'create'), sum(offer.value ->> 'type' = 'delete'),
  max(offer.value -> 'was' ->> 'logical_clock')
FROM log JOIN users USING (user_no) JOIN devices USING (device_no),
  json_each(log.diffs) AS offer
WHERE instr(log.diffs, '"was":') AND offer.value -> 'was' IS NOT NULL
GROUP BY log.user_no, log.device_no, 3 ORDER BY 4, 1, 2
"""


class Refill(NamedTuple):
    """What one device gave back of one history: `first` and `last` when, in ms.

    `clock` is the greatest clock of that history that came.
    """

    user: str
    device: str
    log_id: str
    first: int
    last: int
    objects: int
    deletions: int
    clock: int


def read_refills(path: Path) -> Sequence[Refill]:
    """All refills that the log still tells of, also of a hub that serves.

    Raises:
        StoreFailed: there is no file, or it cannot be read.

    """
    if not path.exists():
        raise StoreFailed(f"{path} is not there: name the hub's file with --data")
    check(path)
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            return [Refill(*row) for row in connection.execute(_REFILLS)]
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot read {path}: {error}") from None
