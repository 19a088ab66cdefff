"""One start of a hub whose n-th system call of a kind fails, and what must hold of it.

The file is none, one that a killed hub left with its WAL, or one of format 1. The calls are counted
from the process's first step, in all of its threads, until it serves or has ended.
"""

import asyncio
import copy
import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from hub.store.schema import VERSION
from hub.store.upgrade import backup_of
from tests.crash.faults import STOP_SECONDS, Fault
from tests.crash.forked import FOLDS_AT_ONCE, a_forked_hub, ready_or_ended, wait_until_ready
from tests.crash.tracing import traced
from tests.crash.writer import Went, Writer, check_file, wait_until_folded
from tests.hub.store.asking import asked

CALLS: Final = ("fdatasync", "fsync", "pwrite64", "ftruncate")
OLD: Final = Path(__file__).parents[1] / "hub" / "store" / "files" / "hub-1.sqlite"
PUSHES: Final = 4
FIRST: Final = 1
"""The format of the old file."""


class Seen(NamedTuple):
    """What a fault did: how many calls failed, whether the hub served all the same."""

    failed: int
    went_on: bool
    refusals: int = 0


class Start:
    """What lies in `folder` before a start; of it a copy is started each time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.writer = Writer()

    def check(self, data: Path, writer: Writer) -> None:
        """All that was acked is there, and once."""
        check_file(data, writer)

    def check_between(self, data: Path) -> None:
        """What a start that failed may leave."""


class Fresh(Start):
    """There is no file."""


class WithWal(Start):
    """A hub was killed, its last pushes in its WAL, some of them not folded."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        data = folder / "hub.db"
        with a_forked_hub(data, changes=FOLDS_AT_ONCE) as (hub, output):
            url = wait_until_ready(output)
            asyncio.run(self.writer.push(url, PUSHES))
            assert wait_until_folded(data, self.writer), "the hub does not fold"
            asyncio.run(self.writer.push(url, PUSHES + 1))
            hub.kill()
            hub.join(STOP_SECONDS)
        assert (folder / "hub.db-wal").stat().st_size


class OfFormat1(Start):
    """The file of an older version, with a history of two users."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copy(OLD, folder / "hub.db")
        self.before = contents(OLD)
        self.writer = Writer(user="eve")

    def check(self, data: Path, writer: Writer) -> None:
        super().check(data, writer)
        rows = contents(data)["log"]
        assert rows[: len(self.before["log"])] == self.before["log"]
        assert asked(data, "PRAGMA user_version") == [(VERSION,)]
        self._check_copy(backup_of(data, FIRST))

    def check_between(self, data: Path) -> None:
        """A file of the copy's name is a whole copy, and without it the file is the old one."""
        backup = backup_of(data, FIRST)
        if backup.exists():
            self._check_copy(backup)
        else:
            assert contents(data) == self.before

    def _check_copy(self, backup: Path) -> None:
        assert contents(backup) == self.before
        assert asked(backup, "PRAGMA integrity_check") == [("ok",)]


STARTS: Final[Mapping[str, Callable[[Path], Start]]] = {
    "fresh": Fresh,
    "with a WAL": WithWal,
    "of format 1": OfFormat1,
}


def contents(path: Path) -> dict[str, list[Any]]:
    """What format 1 knew of users and their pushes."""
    queries = {"users": "SELECT user_no, name, log_id FROM users", "log": "SELECT * FROM log"}
    return {name: asked(path, query) for name, query in queries.items()}


class Run:
    """A start with a fault, and the next one without."""

    def __init__(self, start: Start, fault: Fault, folder: Path) -> None:
        # A hub that was killed leaves its control socket, of which there is nothing to copy.
        shutil.copytree(start.folder, folder, ignore=shutil.ignore_patterns("*-control"))
        self.start = start
        self.fault = fault
        self.data = folder / "hub.db"
        self.log = folder / "run.log"
        self.trace = folder / "trace"
        self.writer = copy.deepcopy(start.writer)

    def through(self) -> Seen:
        """Start, and see what comes of it; then start again."""
        served = self._start_with_the_fault()
        self.start.check_between(self.data)
        with a_forked_hub(self.data, log=self.log) as (hub, output):
            self._push_and_stop(hub, wait_until_ready(output))
        self.start.check(self.data, self.writer)
        return Seen(self.trace.read_text().count("(INJECTED)"), served)

    def _start_with_the_fault(self) -> bool:
        gate, opening = multiprocessing.Pipe(duplex=False)
        options = "-e", f"trace={self.fault.call}", "-e", self.fault.option
        with a_forked_hub(self.data, log=self.log, gate=gate) as (hub, output), gate, opening:
            with traced(hub.pid, self.trace, *options):
                opening.send_bytes(b"go")
                url = ready_or_ended(output)
                if url is None:
                    hub.join(STOP_SECONDS)
            if url is None:
                self._check_message(hub.exitcode)
            else:
                self._push_and_stop(hub, url)
        return url is not None

    def _push_and_stop(self, hub: Any, url: str) -> None:
        """The fault is over: it takes pushes, and stops in good order."""
        next_push = max(self.writer.acked, default=0) + 1
        went = asyncio.run(self.writer.push(url, next_push))
        assert went is Went.DONE, f"{self.fault} is over, and the hub says {went}"
        hub.terminate()
        hub.join(STOP_SECONDS)
        assert hub.exitcode == 0, f"{self.fault}: the hub ended with {hub.exitcode}"
        assert "Traceback" not in self.log.read_text(), f"{self.fault}: see {self.log}"

    def _check_message(self, code: int) -> None:
        log = self.log.read_text()
        assert code == 1, f"{self.fault}: the hub ended with {code}: {log}"
        assert "Traceback" not in log, f"{self.fault}: {log}"
        message = log[log.rfind("mobync-hub: ") :]
        assert self.data.name in message or "See to the disk" in message, f"{self.fault}: {log}"


def walk_starts(
    start: Start, call: str, error: str, folder: Path, *, for_ever: bool, stride: int = 1
) -> Iterator[Seen]:
    """Fail the first call, then further ones, until none is left that could fail."""
    for nth in itertools.count(1, stride):
        fault = Fault(call, error, nth, for_ever)
        here = folder / f"{start.folder.name}-{call}-{error}-{nth}-{for_ever}"
        seen = Run(start, fault, here).through()
        if not seen.failed:
            return
        yield seen
