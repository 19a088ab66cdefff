"""Who moves the WAL into the file, and on which SQLite that is safe (docs/operating.md)."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.store import ledger, wal
from hub.store.errors import StoreFailed
from hub.store.sqlite import SqliteStore
from hub.store.versions import check_sqlite, is_sound
from tests.hub.fakes import create, inline, rules
from tests.hub.store.bench import push


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is due after each commit."""
    monkeypatch.setattr(ledger, "CHECKPOINT_BYTES", 1)


async def five_pushes(path: Path, *, checkpoints: bool) -> tuple[int, int]:
    """The sizes of the data file while it is served, and of the WAL that is left behind."""
    store = SqliteStore(path, rules(checkpoints=checkpoints), inline)
    await store.open()
    for number in range(1, 6):
        await store.commit([push(number, create(f"a{number}", text="x" * 5000))])
        await store._fold()
    size = path.stat().st_size
    await store.close()
    left = path.with_name("hub.db-wal")
    return size, left.stat().st_size if left.exists() else 0


async def test_the_hub_moves_its_wal_into_the_file_and_leaves_one_file(tmp_path: Path) -> None:
    size, left = await five_pushes(tmp_path / "hub.db", checkpoints=True)
    assert size > 25_000
    assert left == 0


async def test_beside_litestream_the_hub_never_does_not_even_when_it_closes(
    tmp_path: Path,
) -> None:
    size, left = await five_pushes(tmp_path / "hub.db", checkpoints=False)
    assert size < 25_000
    assert left > 25_000
    with closing(sqlite3.connect(tmp_path / "hub.db")) as file:
        assert file.execute("SELECT count(*) FROM objects").fetchone() == (5,)


async def test_a_wal_that_nobody_moves_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as quiet:
        await five_pushes(tmp_path / "hub.db", checkpoints=False)
    monkeypatch.setattr(wal, "LONG_WAL", 20_000)
    with capture_logs() as logs:
        await five_pushes(tmp_path / "hub.db", checkpoints=False)
    assert "nobody checkpoints" not in [each["event"] for each in quiet]
    warning = next(each for each in logs if each["event"] == "nobody checkpoints")
    assert (warning["wal"], warning["log_level"]) == (f"{tmp_path}/hub.db-wal", "warning")
    assert "start Litestream" in warning["remedy"]


@pytest.mark.parametrize(
    ("version", "sound"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 3), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
    ],
)
def test_beside_litestream_an_old_sqlite_is_warned_of(
    version: tuple[int, ...], sound: bool
) -> None:
    assert is_sound(version) == sound
    for checkpoints in (True, False):
        with capture_logs() as logs:
            check_sqlite(checkpoints=checkpoints, version=version)
        warned = [each["event"] for each in logs] == ["old SQLite beside Litestream"]
        assert warned == (not checkpoints and not sound)


def test_an_sqlite_that_lacks_what_the_hub_asks_of_it_is_refused() -> None:
    with pytest.raises(StoreFailed, match=r"SQLite is 3\.37\.2, and the hub needs 3\.38\.0"):
        check_sqlite(checkpoints=True, version=(3, 37, 2))
