"""The command line of `scripts/faults`: the whole fault walks, while a hub serves or starts."""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import rich_click as click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.crash import starts
from tests.crash.faults import CALLS, ERRORS, Seen, walk
from tests.crash.processes import WAITS
from tests.crash.starts import STARTS, walk_starts
from tests.crash.tracing import can_trace

SERVING: Final = "serving"


class Faulty(NamedTuple):
    """One row of the table: faults of one kind, and what came of them."""

    when: str
    call: str
    error: str
    for_ever: bool
    faults: int
    went_on: int
    refusals: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The row as it is printed."""
        mode = "for ever" if self.for_ever else "once"
        ended = self.faults - self.went_on
        numbers = self.faults, self.went_on, ended, self.refusals
        return self.when, self.call, self.error, mode, *map(str, numbers)


@click.command(context_settings={"show_default": True})
@click.option("--stride", type=click.IntRange(min=1), default=1, help="Fail each so many-th call.")
@click.option(
    "--call", "calls", type=click.Choice(starts.CALLS), multiple=True, help="Only these calls."
)
@click.option(
    "--when",
    type=click.Choice([SERVING, *STARTS]),
    multiple=True,
    help="Only of a hub that serves, or of one that starts so.",
)
def main(*, stride: int, calls: Sequence[str], when: Sequence[str]) -> None:
    """Fail each sync, write and truncation of a hub's file, once and for ever, by EIO and ENOSPC.

    Of a hub that serves, and of one that starts: on no file, on one with a WAL, on one of format 1.
    A run that breaks a promise stops the walk and says which fault it was. Some 0.5 s a fault.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if reason := can_trace(folder):
            raise click.ClickException(reason)
        _walk(folder, when or [SERVING, *STARTS], calls or starts.CALLS, stride)


def _walk(folder: Path, when: Sequence[str], calls: Sequence[str], stride: int) -> None:
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}: {task.completed} faults")
    began = time.monotonic()
    table = Table("hub", "call", "error", "fails", "faults", "went on", "ended", "1013")
    progress = Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    with progress:
        for each in when:
            for row in _rows(folder, each, calls, stride, progress):
                table.add_row(*row.columns)
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    print(f"nothing acked was lost, in {time.monotonic() - began:.0f} s")


def _rows(
    folder: Path, when: str, calls: Sequence[str], stride: int, progress: Progress
) -> Iterator[Faulty]:
    start = None if when == SERVING else STARTS[when](folder / when)
    waits = WAITS if start is None else ("",)
    for call, error, wait, for_ever in itertools.product(calls, ERRORS, waits, (False, True)):
        hub = f"{when}, {wait}" if wait else when
        task = progress.add_task(f"{hub}: {call} {error}", total=None)
        walking: Iterator[Seen | starts.Seen]
        if start is not None:
            walking = walk_starts(start, call, error, folder, for_ever=for_ever, stride=stride)
        elif call in CALLS:
            walking = walk(call, error, folder, for_ever=for_ever, stride=stride, wait=wait)
        else:
            continue
        seen = []
        for one in walking:
            seen.append(one)
            progress.advance(task)
        progress.update(task, total=len(seen))
        if seen:
            yield _row(hub, call, error, seen, for_ever=for_ever)


def _row(
    when: str, call: str, error: str, seen: Sequence[Seen | starts.Seen], *, for_ever: bool
) -> Faulty:
    went_on = sum(one.went_on for one in seen)
    refusals = sum(one.refusals for one in seen)
    return Faulty(when, call, error, for_ever, len(seen), went_on, refusals)


if __name__ == "__main__":
    main()
