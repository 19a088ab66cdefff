"""The fault walk: each sync, write and truncation of the hub's file fails once, and for ever.

Nothing is acked that is not stored, the hub goes on or ends with a message, and its file is sound.
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.crash.faults import CALLS, ERRORS, walk
from tests.crash.processes import WAITS
from tests.crash.tracing import can_trace

STRIDES: Final = {"fdatasync": 7, "pwrite64": 60, "ftruncate": 2}
"""In the normal run each so many-th call fails. `scripts/faults` walks through all of them."""


@pytest.mark.long
@pytest.mark.parametrize(("call", "error", "wait"), list(itertools.product(CALLS, ERRORS, WAITS)))
def test_nothing_acked_is_lost_whichever_call_fails(
    tmp_path: Path, call: str, error: str, wait: str
) -> None:
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    for for_ever in (False, True):
        seen = list(walk(call, error, tmp_path, for_ever=for_ever, stride=STRIDES[call], wait=wait))
        ends = Counter("ended" if one.ended else "went on" for one in seen)
        mode = "for ever" if for_ever else "once"
        print(f"\n{call}, {error}, {mode}: {len(seen)} faults, {dict(ends)}")
        assert seen, "no call failed"
        assert ends["ended"] == (len(seen) if call == "fdatasync" else 0)
