"""However a measurement ends, its servers end, too."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 60.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a server hears of its parent's death on Linux alone"
)

WAITING: Final = """
import asyncio, sys
from pathlib import Path
from scripts.loading.servers import started

async def main():
    async with started("hub", Path(sys.argv[1]), None):
        print("serving", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def measuring(*command: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def first_server(pid: int) -> int:
    """The hub that this process has started, once it is there and is a hub."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for child in children(pid):
            if b"mobync-hub" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.02)
    raise AssertionError("it starts no hub")


def ends(pidfd: int) -> bool:
    """Whether the process ends in time."""
    return bool(select.select([pidfd], [], [], SECONDS)[0])


def test_a_bench_that_is_told_to_stop_leaves_no_hub_behind(tmp_path: Path) -> None:
    small = ("--only", "throughput", "--targets", "hub", "--rounds", "1", "--share", "0.01")
    files = ("--json", str(tmp_path / "bench.json"), "--charts", str(tmp_path))
    with measuring("scripts/bench", *small, "--seconds", "60", *files) as bench:
        pidfd = os.pidfd_open(first_server(bench.pid))
        bench.send_signal(signal.SIGTERM)
        _out, errors = bench.communicate(timeout=SECONDS)
        assert bench.returncode == 1, errors
        assert "stopped before the end" in errors
        assert ends(pidfd), "the hub goes on"
    os.close(pidfd)


def test_a_measurement_that_is_killed_leaves_no_hub_behind(tmp_path: Path) -> None:
    """`timeout -k`, or a second SIGTERM, left a hub that ran for hours."""
    with measuring("-c", WAITING, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        pidfd = os.pidfd_open(first_server(process.pid))
        process.kill()
        assert ends(pidfd), "the hub goes on"
    os.close(pidfd)
