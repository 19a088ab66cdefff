"""The servers under load: child processes of ours, or one that runs already."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.loading.faults import LoadError

STARTING: Final = 20.0
"""Seconds that a server may take to print its `ready` line."""

STOPPING: Final = 15.0
"""Seconds that a server may take to stop after SIGTERM."""

_READY: Final = re.compile(r"^ready (ws://\S+)")
_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""
# Loaded here, for between fork and exec nothing should be that takes a lock.
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_BESIDE_PYTHON: Final = Path(sys.executable).parent
_SCRIPTS: Final = Path(__file__).resolve().parent.parent
ROOT: Final = _SCRIPTS.parent


class Server(msgspec.Struct, frozen=True):
    """A running server. Of one that is not our child nothing is known but its address."""

    name: str
    url: str
    pid: int | None = None

    def cpu_seconds(self) -> float | None:
        """CPU seconds used so far, all threads; None where the system does not tell."""
        stat = self._proc("stat")
        if stat is None:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int | None:
        """Resident memory; None where the system does not tell."""
        match = re.search(r"VmRSS:\s+(\d+) kB", self._proc("status") or "")
        return int(match[1]) * 1024 if match else None

    def _proc(self, name: str) -> str | None:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text() if self.pid else None
        except OSError:
            return None


def command(name: str, folder: Path, programs: Path = _BESIDE_PYTHON) -> list[str]:
    """Return the command line that starts a server on a free port, its data in `folder`.

    `programs` is where the hub is that is meant: by default that of our own environment.
    """
    if name == "relay":
        return [sys.executable, str(_SCRIPTS / "relay"), "--port", "0"]
    if name == "floor":
        return [*command("relay", folder), "--journal", str(folder / "floor.journal")]
    if name == "afternoon":
        data = str(folder / "afternoon.db")
        return [sys.executable, str(_SCRIPTS / "afternoon"), "--port", "0", "--data", data]
    listen = ["--dev", "--host", "127.0.0.1", "--port", "0", "--http-port", "0"]
    return [str(programs / "mobync-hub"), "serve", *listen, "--data", str(folder / "hub.db")]


@contextlib.asynccontextmanager
async def started(
    name: str, folder: Path, cores: "Cores | None", line: Sequence[str] | None = None
) -> AsyncIterator[Server]:
    """Start a server, by `command` or `line`, and stop it at the end.

    Its log is `folder`/`name`.log meanwhile.
    """
    log = folder / f"{name}.log"
    birth = asyncio.create_task(_spawn(line or command(name, folder), log, cores))
    try:
        process = await asyncio.shield(birth)  # cancelled half-way it would leave an orphan
        yield Server(name, await _ready(process, name, log), process.pid)
    finally:
        await _stop(await birth)
    if process.returncode:
        raise LoadError(f"the {name} stopped with {process.returncode}{_end_of(log)}")


async def _spawn(
    line: Sequence[str], log: Path, cores: "Cores | None"
) -> asyncio.subprocess.Process:
    if cores:
        os.sched_setaffinity(0, {cores.server})  # which the child, and its threads, inherit
    try:
        with log.open("wb") as errors:
            return await asyncio.create_subprocess_exec(
                *line,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                preexec_fn=_end_with_us,
            )
    except OSError as error:
        raise LoadError(f"{line[0]} cannot be started: {error}. Has it been installed?") from error
    finally:
        if cores:
            os.sched_setaffinity(0, {cores.load})


def _end_with_us() -> None:
    """In the child, before it is the server: have it stopped when we end, were it by SIGKILL."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _ready(process: asyncio.subprocess.Process, name: str, log: Path) -> str:
    out = process.stdout or asyncio.StreamReader()
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STARTING):
            line = await out.readline()
    match = _READY.match(line.decode())
    if match is None:
        raise LoadError(f"the {name} did not say that it is ready{_end_of(log)}")
    return match[1]


def _end_of(log: Path) -> str:
    text = log.read_text(errors="replace")[-2_000:].strip()
    return f"; the end of its log:\n{text}" if text else ", and logged nothing"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOPPING):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class Cores(msgspec.Struct, frozen=True):
    """Which core is the server's and which the load's."""

    server: int
    load: int


def pin() -> Cores:
    """Keep this process on one core, and name another for the servers."""
    if not hasattr(os, "sched_setaffinity"):
        raise LoadError("--pin is for systems with sched_setaffinity (Linux); leave it out")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise LoadError("--pin needs two cores and this process may use only one; leave it out")
    os.sched_setaffinity(0, {cores[1]})
    return Cores(server=cores[0], load=cores[1])
