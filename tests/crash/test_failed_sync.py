"""After a sync that failed: nothing is built on what the disk may have lost."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.crash.disk import CALLS, Disk
from tests.crash.forked import FOLDS_AT_ONCE, a_forked_hub, wait_until_ready
from tests.crash.processes import WAITS, a_hub_process
from tests.crash.tracing import can_trace, traced
from tests.crash.writer import Went, Writer, check_file, wait_until_folded

PUSHES: Final = 6


def push_and_let_fold(data: Path, url: str, writer: Writer, until: int = PUSHES) -> None:
    """Push until the hub is gone, and let each push be folded before the next."""
    for push_id in range(len(writer.acked) + 1, until + 1):
        if asyncio.run(writer.push(url, push_id)) is not Went.DONE:
            return
        assert wait_until_folded(data, writer), "the hub does not fold"


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("wait", WAITS)
def test_what_is_acked_after_a_sync_failed_survives_a_power_cut(
    tmp_path: Path, failing: int, wait: str
) -> None:
    """A fold's frames lie in the WAL, not synced on their own. The sync of the next commit fails:
    the commit is rolled back, and the kernel forgets that it had the fold's pages to write. The
    device pushes again, the next sync says success, and is acked. Then the power goes. On the disk
    the WAL has a hole where the fold was, SQLite reads up to it, and the acked push is gone.
    """
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    data, trace, cut = tmp_path / "hub.db", tmp_path / "trace", tmp_path / "cut"
    writer = Writer()
    with a_forked_hub(data, "--disk-wait", wait, changes=FOLDS_AT_ONCE) as (hub, output):
        url = wait_until_ready(output)
        push_and_let_fold(data, url, writer, 1)
        disk = Disk(tmp_path, data.name, f"{data.name}-wal")
        fault = f"inject=fdatasync:error=EIO:when={failing}"
        with traced(hub.pid, trace, "-e", f"trace={CALLS}", "-e", fault):
            push_and_let_fold(data, url, writer)
            hub.join(30)
            assert hub.exitcode == 1
    assert "See to the disk" in data.with_suffix(".log").read_text()
    disk.replay(trace)
    cut.mkdir()
    disk.write_to(cut)
    assert disk.failed_syncs == 1
    check_file(cut / data.name, writer)
    go_on(data, writer)


def go_on(data: Path, writer: Writer) -> None:
    """The next start has all that was acked, and takes the rest."""
    with a_forked_hub(data) as (hub, output):
        assert asyncio.run(writer.push(wait_until_ready(output), PUSHES)) is Went.DONE
        hub.terminate()
        hub.join(30)
        assert hub.exitcode == 0
    check_file(data, writer)


def test_a_start_after_a_failed_sync_makes_the_wal_whole_before_it_builds_on_it(
    tmp_path: Path,
) -> None:
    """The hub that lost a sync has ended, and systemd starts it again. The kernel shows the new one
    the whole WAL, and has yet forgotten to write a part of it: whatever is synced behind that is
    lost with the power, unless the start writes it all once more.
    """
    if reason := can_trace(tmp_path):
        pytest.skip(reason)
    data, traces, cut = (
        tmp_path / "hub.db",
        [tmp_path / "first", tmp_path / "second"],
        tmp_path / "cut",
    )
    writer = Writer()
    with a_forked_hub(data, changes=FOLDS_AT_ONCE) as (hub, output):
        url = wait_until_ready(output)
        push_and_let_fold(data, url, writer, 1)
        disk = Disk(tmp_path, data.name, f"{data.name}-wal")
        fault = "inject=fdatasync:error=EIO:when=2"
        with traced(hub.pid, traces[0], "-e", f"trace={CALLS}", "-e", fault):
            push_and_let_fold(data, url, writer)
            hub.join(30)
    prefix = ["strace", "-f", "-D", "-y", "-s", "100000", "-e", "signal=none"]
    prefix += ["-e", f"trace={CALLS}", "-o", str(traces[1])]
    with a_hub_process(data, prefix=prefix) as second:
        assert asyncio.run(writer.push(second.url, PUSHES)) is Went.DONE
        second.kill()
    for trace in traces:
        disk.replay(trace)
    cut.mkdir()
    disk.write_to(cut)
    check_file(cut / data.name, writer)
