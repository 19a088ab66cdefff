"""The store on the bench: in this process and on threads, folded after each push and not at all.

`loop`: a commit waits for the disk on the loop's thread.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.server import HOLD_UPS
from hub.store import retiring, sqlite
from hub.store.executor import on_thread
from tests.hub.fakes import inline
from tests.hub.store.sqlite_bench import SqliteBench


@pytest.fixture(
    params=[
        (on_thread, "thread", True),
        (on_thread, "thread", False),
        (on_thread, "loop", True),
        (on_thread, "loop", False),
        (inline, "thread", True),
        (inline, "thread", False),
    ],
    ids=[
        *("thread-folded", "thread-unfolded", "loop-folded", "loop-unfolded"),
        *("inline-folded", "inline-unfolded"),
    ],
)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqliteBench]:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "PAUSE_SECONDS", 0.0)
    open_executor, wait, folds = request.param
    hold_ups = HOLD_UPS[wait]()
    bench = SqliteBench(tmp_path, open_executor, folds=folds, hold_ups=hold_ups)
    await bench.open()
    yield bench
    await bench.store.close()
