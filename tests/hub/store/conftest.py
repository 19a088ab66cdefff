"""The store on the bench: in this process and on threads, folded after each push and not at all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.store import retiring, sqlite
from hub.store.executor import on_thread
from tests.hub.fakes import inline
from tests.hub.store.sqlite_bench import SqliteBench


@pytest.fixture(
    params=[(on_thread, True), (on_thread, False), (inline, True), (inline, False)],
    ids=["thread-folded", "thread-unfolded", "inline-folded", "inline-unfolded"],
)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqliteBench]:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "PAUSE_SECONDS", 0.0)
    open_executor, folds = request.param
    bench = SqliteBench(tmp_path, open_executor, folds=folds)
    await bench.open()
    yield bench
    await bench.store.close()
