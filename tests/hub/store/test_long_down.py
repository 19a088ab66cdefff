"""A hub that comes back after weeks: what its log holds is as old as it is."""

from pathlib import Path
from typing import Any

from hub.retention import Retention
from hub.store.sqlite import SqliteStore
from tests.hub.fakes import FakeClock, create, delete, inline, rules
from tests.hub.store.asking import asked
from tests.hub.store.bench import push

DAY = 86_400.0
KEEPS = Retention(log_days=2, device_days=10, tombstone_days=30)
LEFT = "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM objects WHERE fields IS NULL)"


async def test_what_was_unfolded_when_the_hub_went_down_goes_as_if_it_had_stayed_up(
    tmp_path: Path,
) -> None:
    """The start folded it, and took its rows, deletions and devices for those of that moment.

    So all of it stayed for as long again: the log for two days more, the deletion for thirty (the
    machine found it, by a hub that was restored from a copy of 40 days ago).
    """
    path, clock = tmp_path / "hub.db", FakeClock()
    chosen: dict[str, Any] = {"retention": KEEPS}
    store = SqliteStore(path, rules(clock, **chosen), inline)
    await store.open()
    await store.commit([push(1, create("a")), push(2, delete("a", base=1))])
    assert store._ledger.unfolded == 2
    await store._tasks.stop()
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(
            path.with_name(path.name + suffix).read_bytes()
        )
    await store.close()

    clock.advance(40 * DAY)
    store = SqliteStore(copy, rules(clock, **chosen), inline)
    await store.open()
    while store._ledger.has_due:
        await store._retiring.retire()
    await store.close()
    assert asked(copy, LEFT) == [(0, 0)]
