"""Makes the hub file that a released version of the hub leaves behind when it is killed.

Each `hub-N.sqlite` beside this was made by the code of the time when N was the format, with

    python -m tests.hub.store.files.make tests/hub/store/files/hub-N.sqlite

and is never made again: a file that today's code writes says nothing about yesterday's. What lies
in it is written down in `HISTORY` and `UNFOLDED`, and in tests/hub/store/test_upgrade.py.
"""

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from hub.store import sqlite
from hub.store.interface import Incoming
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import START, inline, rules


def edit(name: str, kind: str, thing: str, base: int = 0, at: int = 0, **fields: Any) -> Any:
    """A diff; `at` in ms after the beginning."""
    return {
        "id": name,
        "logical_clock": base,
        "utc_timestamp": START + at,
        "type": kind,
        "model": "tasks",
        "json_data": {"id": thing, **fields},
    }


def _push(user: str, device: str, push_id: int, *diffs: Any, **more: Any) -> Incoming:
    return Incoming(user, device, push_id, diffs, **more)


HISTORY: Final[Sequence[Incoming]] = (
    _push("ada", "phone", 1, edit("a1", "create", "milk", title="Milk", done=False)),
    _push("bob", "phone", 1, edit("b1", "create", "milk", title="Bob's")),
    _push(
        "ada",
        "laptop",
        1,
        edit("a2", "create", "bread", at=1, title="Bread"),
        edit("a3", "update", "nothing", at=2, title="Nowhere"),
    ),
    _push("ada", "phone", 2, edit("a4", "update", "milk", 1, at=50, title="Oat milk")),
    _push("ada", "laptop", 3, edit("a5", "update", "milk", 1, at=9, title="Soy", done=True)),
    _push("ada", "phone", 3, edit("a6", "delete", "bread", 4, at=60)),
    _push("ada", "laptop", 4, edit("a7", "update", "bread", 2, at=61, title="Rye")),
    _push("ada", "mobync", 0, edit("a8", "create", "tea", at=70, title="Tea"), polled=True),
)
"""Ada's clocks 1 to 7: one object deleted, a lost field and two rejected diffs of the laptop."""

UNFOLDED: Final[Sequence[Incoming]] = (
    _push("bob", "phone", 2, edit("b2", "update", "milk", 1, at=80, title="Bob's own")),
    _push("ada", "phone", 4, edit("a9", "delete", "tea", 7, at=90)),
    _push("ada", "tablet", 1, edit("a10", "update", "milk", 7, at=95, done=False)),
)
"""Stored, and not yet folded when the hub was killed: Bob's clock 2, Ada's clocks 8 and 9."""

RECEIVED: Final = (("ada", "phone", 6), ("ada", "laptop", 2))


async def make(target: Path) -> None:
    """Write the file."""
    sqlite.FOLD_SECONDS = 3600.0  # type: ignore[misc]  # nothing is folded but when it is told to
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = SqliteStore(folder / "hub.db", rules(), inline)
        await store.open()
        for incoming in HISTORY:
            await store.commit([incoming])
        for user, device, clock in RECEIVED:
            store.received(user, device, clock)
        await store._fold()
        for incoming in UNFOLDED:
            await store.commit([incoming])
        for suffix in ("", "-wal"):
            shutil.copy(folder / f"hub.db{suffix}", folder / f"killed{suffix}")
        await store.close()
        with closing(sqlite3.connect(folder / "killed")) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        shutil.copy(folder / "killed", target)


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
