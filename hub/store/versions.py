"""Which SQLite the hub runs on, and what that allows.

All versions before 3.51.3 (but 3.50.7 and 3.44.6 up, in their lines) may damage a file with a WAL
when one connection commits while another checkpoints twice in a row (sqlite.org/wal.html,
walresetbug). The hub's one writer does both, so alone it is safe on any of them.
"""

import sqlite3
from typing import Final

import structlog

from hub.store.errors import StoreFailed

OLDEST: Final = (3, 38, 0)
"""The first that knows all that the hub asks of it: STRICT, and -> for JSON."""
SOUND: Final = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""The first sound version of each line; of any other line only one above the last."""

Version = tuple[int, ...]
SQLITE: Final = sqlite3.sqlite_version
"""The version that Python brings."""

logger: Final = structlog.get_logger("store")


def check_sqlite(*, checkpoints: bool, version: Version = sqlite3.sqlite_version_info) -> None:
    """Look at the SQLite that Python brings; `checkpoints`: the hub makes its own.

    Raises:
        StoreFailed: it is too old to serve with.

    """
    if version < OLDEST:
        raise StoreFailed(
            f"SQLite is {_text(version)}, and the hub needs {_text(OLDEST)} or newer: "
            "run it with a newer Python, or with a newer libsqlite3"
        )
    if not checkpoints and not is_sound(version):
        logger.warning(
            "old SQLite beside Litestream",
            sqlite=_text(version),
            wanted=_text(SOUND[-1]),
            risk="with two programs at one WAL such a version was reported to damage the file",
            remedy="update SQLite; until then, see to it that Litestream is 0.5.17 or newer, whose "
            "own SQLite is sound, for it alone checkpoints",
        )


def is_sound(version: Version) -> bool:
    """Whether another program may checkpoint beside this version."""
    return version >= SOUND[-1] or any(
        version[:2] == first[:2] and version >= first for first in SOUND
    )


def _text(version: Version) -> str:
    return ".".join(map(str, version))
