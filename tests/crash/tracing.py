"""`strace` on a hub that runs: what it asks of the system, and system calls that fail."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ATTACH: Final = ("strace", "-f", "-y", "-s", "100000", "-e", "signal=none")
DETACH_SECONDS: Final = 30.0


def can_trace(folder: Path) -> str | None:
    """Why processes cannot be traced here; None: they can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed; it is needed to count what is synced"
    trying = [strace, "-o", str(folder / "try"), "true"]
    done = subprocess.run(trying, check=False, capture_output=True, text=True)
    return done.stderr.strip() or "strace may not trace here" if done.returncode else None


@contextmanager
def traced(pid: int, trace: Path, *options: str) -> Iterator[None]:
    """Trace all threads of a process for as long as this lasts; nothing of it is missed."""
    command = [*ATTACH, *options, "-o", str(trace), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        assert "attached" in said, said
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(DETACH_SECONDS)
        tracer.stderr.close()
