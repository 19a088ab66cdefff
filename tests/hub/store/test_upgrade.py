"""A hub file of every format there was is brought up to today's, in place, with a copy first."""

import asyncio
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from hub.store import retiring, sqlite, upgrade
from hub.store.errors import StoreFailed
from hub.store.schema import VERSION, connect
from hub.store.upgrade import backup_of
from protocol.history import History
from tests.hub.fakes import START, FakeClock, inline, rules, update
from tests.hub.store.asking import asked
from tests.hub.store.bench import ALL, pages, push, told
from tests.hub.store.sqlite_bench import SqliteBench

FILES: Final = Path(__file__).parent / "files"
VERSIONS: Final = range(1, VERSION)
LATER: Final = START + 10**9


@pytest.fixture(autouse=True)
def nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS", 3600.0)
    monkeypatch.setattr(retiring, "RETIRE_SECONDS", 3600.0)


@pytest.fixture(params=VERSIONS, ids=[f"format-{version}" for version in VERSIONS])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    """An old file, and its format."""
    version: int = request.param
    return taken_out(version, tmp_path), version


def taken_out(version: int, folder: Path) -> Path:
    """A file of this format, where a hub will look for it."""
    return Path(shutil.copy(FILES / f"hub-{version}.sqlite", folder / "hub.db"))


class Upgraded(SqliteBench):
    """A store on a file that was there before it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, inline, folds=False)
        self._rules = rules(FakeClock(LATER))


async def opened(path: Path) -> SqliteBench:
    bench = Upgraded(path.parent)
    await bench.open()
    return bench


def contents(path: Path) -> dict[str, list[Any]]:
    """What every format knows."""
    return {
        "users": asked(path, "SELECT user_no, name, log_id, line FROM users"),
        "log": asked(path, "SELECT * FROM log"),
        "devices": asked(path, "SELECT device_no, user_no, name FROM devices"),
    }


async def check(bench: SqliteBench) -> None:
    """What lies in every old file: tests/hub/store/files/make.py says how it came there."""
    store = bench.store
    assert (await store.user("ada"))[:3] == (History("log-1"), 9, 0)
    assert (await store.user("bob"))[:3] == (History("log-2"), 2, 0)
    assert [row.clock for row in await store.log("ada", 0, ALL)] == list(range(1, 10))
    assert [row.clock for row in await store.log("bob", 0, ALL)] == [1, 2]
    assert await store.first_clock("ada") == 1
    standings = {name: await store.device("ada", name) for name in ("phone", "laptop", "tablet")}
    assert {name: tuple(s)[:2] for name, s in standings.items()} == {
        "phone": (4, 6),
        "laptop": (4, 2),
        "tablet": (1, 0),
    }
    assert [outcome.push_id for outcome in standings["laptop"].outcomes] == [3, 4]
    found = [each for page in await pages(store, 0, 0, ALL) for each in page.objects]
    assert [told(each) for each in found] == [
        "bread",
        "tea",
        {"id": "milk", "title": "Oat milk", "done": False},
    ]


async def test_an_old_file_is_brought_up_to_date_and_nothing_of_it_is_lost(
    old: tuple[Path, int],
) -> None:
    path, version = old
    before = contents(path)
    bench = await opened(path)
    await check(bench)
    assert contents(path) == before
    await bench.reopen()
    await check(bench)
    await bench.crash()
    await check(bench)
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]
    assert asked(path, "PRAGMA user_version") == [(VERSION,)]
    await bench.store.close()
    assert asked(backup_of(path, version), "PRAGMA user_version") == [(version,)]
    assert contents(backup_of(path, version)) == before
    assert asked(backup_of(path, version), "PRAGMA integrity_check") == [("ok",)]


async def test_an_upgraded_file_is_laid_out_as_a_new_one(
    old: tuple[Path, int], tmp_path: Path
) -> None:
    path, _version = old
    (tmp_path / "new").mkdir()
    for each in (path, tmp_path / "new" / "hub.db"):
        bench = await opened(each)
        await bench.store.close()

    def layout(file: Path) -> dict[str, list[Any]]:
        names = [name for (name,) in asked(file, "SELECT name FROM sqlite_schema ORDER BY name")]
        described = {f"{n}: columns": asked(file, f"PRAGMA table_xinfo({n})") for n in names}
        indexes = {n: asked(file, f"PRAGMA index_xinfo({n})") for n in names}
        pragmas = {n: asked(file, f"PRAGMA {n}") for n in ("auto_vacuum", "application_id")}
        return described | indexes | pragmas

    assert layout(path) == layout(tmp_path / "new" / "hub.db")
    assert asked(path, "PRAGMA auto_vacuum") == [(2,)]


async def test_an_upgraded_hub_goes_on_where_the_old_one_was(old: tuple[Path, int]) -> None:
    bench = await opened(old[0])
    [stored] = await bench.store.commit([push(5, update("milk", base=9, n=1))])
    assert stored is not None
    assert stored.clock == 10
    [again] = await bench.store.commit([push(4, update("milk", base=9, n=2))])
    assert again is None
    await bench.crash()
    held = await bench.store.objects("ada", [("tasks", "milk")])
    assert [getattr(each, "clock", None) for each in held.values()] == [10]
    await bench.store.close()


async def test_what_has_no_time_in_a_file_of_format_1_counts_from_the_upgrade(
    tmp_path: Path,
) -> None:
    """What lies in the unfolded log has a time, which is that of the log."""
    path = taken_out(1, tmp_path)
    bench = await opened(path)
    seen = asked(path, "SELECT DISTINCT name, seen FROM devices ORDER BY name")
    folded, unfolded = {"laptop", "mobync"}, {"phone", "tablet"}
    assert dict(seen) == dict.fromkeys(folded, LATER) | dict.fromkeys(unfolded, START)
    assert asked(path, "SELECT id, deleted_at FROM objects WHERE deleted_at IS NOT NULL") == [
        ("bread", LATER),
        ("tea", START),
    ]
    await bench.store.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_upgrade_may_end_at_any_statement_and_the_next_start_finishes_it(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = upgrade.STEPS
    script = steps[version]
    statements = [part for part in script.split(";") if part.strip()]
    for count in range(len(statements)):
        folder = tmp_path / str(count)
        folder.mkdir()
        path = taken_out(version, folder)
        before = contents(path)
        broken = ";".join([*statements[:count], "SELECT no_such_function()", ""])
        monkeypatch.setattr(upgrade, "STEPS", {**steps, version: broken})
        with pytest.raises(StoreFailed, match=r"cannot upgrade .* it is as it was"):
            await opened(path)
        assert asked(path, "PRAGMA user_version") == [(version,)]
        assert contents(path) == before
        monkeypatch.setattr(upgrade, "STEPS", steps)
        bench = await opened(path)
        await check(bench)
        await bench.store.close()


KILLED: Final = """
import os, signal, sqlite3, sys
from pathlib import Path
from hub.store import upgrade
from hub.store.schema import connect

moment, path = sys.argv[1], Path(sys.argv[2])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "in the copy":
    upgrade.sync = die
elif moment == "behind the copy":
    upgrade._take_step = die
elif moment == "in the step":
    upgrade.STEPS = {each: step + "SELECT die();" for each, step in upgrade.STEPS.items()}
elif moment == "before it is written anew":
    upgrade._rebuild = die
connection = connect(path)
connection.create_function("die", 0, die)
if moment == "while it is written anew":
    rebuild = upgrade._rebuild

    def watched(*anything):
        connection.set_progress_handler(die, 100)
        rebuild(*anything)

    upgrade._rebuild = watched
upgrade.upgrade(connection, path, 1_790_001_000_000)
"""
MOMENTS: Final = (
    "in the copy",
    "behind the copy",
    "in the step",
    "before it is written anew",
    "while it is written anew",
)


@pytest.mark.parametrize(
    ("version", "moment"),
    [(1, moment) for moment in MOMENTS]
    + [(version, moment) for version in (2, 3) for moment in MOMENTS[:3]],
)
async def test_an_upgrade_that_was_killed_is_finished_by_the_next_start(
    tmp_path: Path, version: int, moment: str
) -> None:
    path = taken_out(version, tmp_path)
    before = contents(path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, moment, str(path), stderr=asyncio.subprocess.PIPE
    )
    _out, errors = await process.communicate()
    assert process.returncode == -9, errors.decode()
    bench = await opened(path)
    await check(bench)
    await bench.store.close()
    assert asked(path, "PRAGMA user_version") == [(VERSION,)]
    assert asked(path, "PRAGMA auto_vacuum") == [(2,)]
    assert contents(backup_of(path, version)) == before


async def test_a_copy_that_cannot_be_written_leaves_the_file_as_it_was(
    old: tuple[Path, int],
) -> None:
    path, version = old
    before = path.read_bytes()
    backup_of(path, version).mkdir()
    with pytest.raises(StoreFailed, match="cannot upgrade"):
        await opened(path)
    assert path.read_bytes() == before


async def test_a_file_that_cannot_be_written_anew_is_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = taken_out(1, tmp_path)
    real = upgrade._rebuild

    def refused(_connection: sqlite3.Connection, path: Path) -> None:
        with closing(connect(path)) as other:
            other.execute("BEGIN")  # in which SQLite refuses it
            real(other, path)

    monkeypatch.setattr(upgrade, "_rebuild", refused)
    bench = await opened(path)
    await check(bench)
    await bench.store.close()
    assert asked(path, "PRAGMA auto_vacuum") == [(0,)]
    monkeypatch.setattr(upgrade, "_rebuild", real)
    bench = await opened(path)
    await check(bench)
    await bench.store.close()
    assert asked(path, "PRAGMA auto_vacuum") == [(2,)]


async def test_a_new_file_and_one_of_today_are_not_copied(tmp_path: Path) -> None:
    for _turn in range(2):
        bench = await opened(tmp_path / "hub.db")
        await bench.store.commit([push(1, update("milk"))])
        await bench.store.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["hub.db", "hub.db-lock"]
