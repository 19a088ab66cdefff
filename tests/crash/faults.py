"""One run of a hub whose n-th system call of a kind fails, and what must hold of it.

The calls are counted from when the hub serves, in each of its threads.
"""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.crash.forked import MOVES_ITS_WAL, a_forked_hub, wait_until_ready
from tests.crash.tracing import traced
from tests.crash.writer import Went, Writer, check_file, wait_until_folded

CALLS: Final = ("fdatasync", "pwrite64", "ftruncate")
ERRORS: Final = ("EIO", "ENOSPC")
INJECTED: Final = "(INJECTED)"
PUSHES: Final = 8
MORE: Final = 3
"""Pushes when the fault is over."""
FOLD_SECONDS: Final = 0.1
"""A fold takes 10 ms, if it can."""
STOP_SECONDS: Final = 30.0


class Fault(NamedTuple):
    """The `nth` call fails, and for ever: all behind it, too."""

    call: str
    error: str
    nth: int
    for_ever: bool
    wait: str = "thread"
    """Where the hub waits for its disk, at a commit."""

    @property
    def option(self) -> str:
        """How strace is told."""
        when = f"{self.nth}{'+' if self.for_ever else ''}"
        return f"inject={self.call}:error={self.error}:when={when}"


class Seen(NamedTuple):
    """What a fault did: how many calls failed, how often 1013 was said, whether the hub ended."""

    failed: int
    refusals: int
    ended: bool

    @property
    def went_on(self) -> bool:
        return not self.ended


class Run:
    """One hub, a writer, and another device of its user that only reads."""

    def __init__(self, fault: Fault, folder: Path) -> None:
        self.fault = fault
        self.data = folder / "hub.db"
        self.trace = folder / "trace"
        self.writer = Writer()
        self.reader = self.writer
        self.ended = False

    def through(self) -> Seen:
        """Push through the fault, then without it, and look at the file."""
        wait = "--disk-wait", self.fault.wait
        with a_forked_hub(self.data, *wait, changes=MOVES_ITS_WAL) as (hub, output):
            url = wait_until_ready(output)
            self.push_each(url, 1)
            self.reader = self.writer.twin("reader")
            options = "-e", f"trace={self.fault.call}", "-e", self.fault.option
            with traced(hub.pid, self.trace, *options):
                went = self.push_each(url, PUSHES)
                self.ended = went is Went.GONE or not self.reads_on(url)
                if self.ended or not self.fault.for_ever:
                    self.see_it_end(hub)
            if hub.is_alive():
                self.push_on(url)
                self.see_it_end(hub)
        self.start_again()
        check_file(self.data, self.writer)
        return Seen(self.trace.read_text().count(INJECTED), self.writer.refusals, self.ended)

    def push_each(self, url: str, until: int) -> Went:
        """Push one by one, and give the fold and the checkpoints their time between."""
        for push_id in range(len(self.writer.acked) + 1, until + 1):
            went = asyncio.run(self.writer.push(url, push_id))
            if went is not Went.DONE:
                return went
            wait_until_folded(self.data, self.writer, FOLD_SECONDS)
        return Went.DONE

    def reads_on(self, url: str) -> bool:
        """Whether a device still hears all that was acked; else the hub must have ended."""
        went = asyncio.run(self.reader.push(url, 0))
        if went is Went.DONE:
            assert len(self.reader.heard) >= len(self.writer.heard)
        return went is Went.DONE

    def push_on(self, url: str) -> None:
        """Without the fault, unless that was the last thing that the hub met, in a fold."""
        went = asyncio.run(self.writer.push(url, PUSHES + MORE))
        has_failed = self.fault.call == "fdatasync" and INJECTED in self.trace.read_text()
        if went is Went.GONE and has_failed:
            self.ended = True
            return
        assert went is Went.DONE, f"{self.fault} is over, and the hub says {went}"

    def push_all(self, url: str) -> None:
        """Without the fault all comes back by itself."""
        went = asyncio.run(self.writer.push(url, PUSHES + MORE))
        assert went is Went.DONE, f"{self.fault} is over, and the hub says {went}"

    def see_it_end(self, hub: Any) -> None:
        """Ask it to stop, if it has not; it ends in order, or says what it means."""
        if not self.ended:
            hub.terminate()
        hub.join(STOP_SECONDS)
        log = self.data.with_suffix(".log").read_text()
        if hub.exitcode == 1:
            self.ended = True
            assert "See to the disk" in log
        else:
            assert hub.exitcode == 0, f"{self.fault}: the hub ended with {hub.exitcode}"
        assert "Traceback" not in log, f"{self.fault}: see {self.data.with_suffix('.log')}"

    def start_again(self) -> None:
        """The next start has all that was acked, and takes what is left."""
        with a_forked_hub(self.data) as (hub, output):
            self.push_all(wait_until_ready(output))
            hub.terminate()
            hub.join(STOP_SECONDS)
            assert hub.exitcode == 0


def walk(
    call: str, error: str, folder: Path, *, for_ever: bool, stride: int, wait: str
) -> Iterator[Seen]:
    """Fail the first call, then further ones, until none is left that could fail."""
    for nth in itertools.count(1, stride):
        fault = Fault(call, error, nth, for_ever, wait)
        here = folder / f"{call}-{error}-{nth}-{for_ever}-{wait}"
        here.mkdir()
        seen = Run(fault, here).through()
        if not seen.failed:
            return
        yield seen
