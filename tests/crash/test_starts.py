"""The fault walk of a start: a file is made, a WAL made sound, an upgrade done on a failing disk.

The hub serves, or ends with a message; nothing acked is lost, and the next start is sound.
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.crash.faults import Fault
from tests.crash.starts import STARTS, Run, walk_starts
from tests.crash.tracing import can_trace

STRIDES: Final = {
    "fresh": {"fdatasync": 4, "pwrite64": 60},
    "with a WAL": {"fsync": 1, "pwrite64": 60},
    "of format 1": {"fdatasync": 6, "fsync": 2, "pwrite64": 80},
}
"""In the normal run each so many-th call fails. `scripts/faults` walks through all of them."""


@pytest.mark.parametrize(
    ("name", "call", "nth"), [("fresh", "fsync", 1), ("of format 1", "fdatasync", 8)]
)
def test_a_hub_does_not_serve_on_what_its_start_could_not_sync(
    tmp_path: Path, name: str, call: str, nth: int
) -> None:
    """SQLite does not look whether its folder was synced; and a file that could not be written anew
    was served, though the sync of it had failed."""
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    start = STARTS[name](tmp_path / "before")
    seen = Run(start, Fault(call, "EIO", nth, for_ever=False), tmp_path / "after").through()
    assert seen.failed == 1
    assert not seen.went_on


@pytest.mark.long
@pytest.mark.parametrize("name", STARTS)
def test_a_start_on_a_disk_that_fails_loses_nothing(tmp_path: Path, name: str) -> None:
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    start = STARTS[name](tmp_path / "before")
    errors = itertools.cycle(["EIO", "ENOSPC"])
    for (call, stride), for_ever in itertools.product(STRIDES[name].items(), (False, True)):
        error = next(errors)
        seen = list(walk_starts(start, call, error, tmp_path, for_ever=for_ever, stride=stride))
        served = Counter("served" if one.went_on else "ended" for one in seen)
        mode = "for ever" if for_ever else "once"
        print(f"\n{name}: {call}, {error}, {mode}: {len(seen)} faults, {dict(served)}")
        assert seen, "no call failed"
