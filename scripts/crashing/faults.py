"""The command line of `scripts/faults`: the whole fault walk, with a bar."""

import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.crash.faults import CALLS, ERRORS, Seen, walk
from tests.crash.tracing import can_trace


@click.command(context_settings={"show_default": True})
@click.option("--stride", type=click.IntRange(min=1), default=1, help="Fail each so many-th call.")
@click.option("--call", "calls", type=click.Choice(CALLS), multiple=True, help="Only these calls.")
def main(*, stride: int, calls: tuple[str, ...]) -> None:
    """Fail each sync, write and truncation of a hub's file, once and for ever, by EIO and ENOSPC.

    A run that breaks a promise stops the walk and says which fault it was. Some 0.5 s a fault.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if reason := can_trace(folder):
            raise click.ClickException(reason)
        _walk(folder, calls or CALLS, stride)


def _walk(folder: Path, calls: tuple[str, ...], stride: int) -> None:
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}: {task.completed} faults")
    began = time.monotonic()
    table = Table("call", "error", "fails", "faults", "went on", "ended", "1013")
    progress = Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    with progress:
        for call, error, for_ever in itertools.product(calls, ERRORS, (False, True)):
            mode = "for ever" if for_ever else "once"
            task = progress.add_task(f"{call} {error} {mode}", total=None)
            seen = []
            for one in walk(call, error, folder, for_ever=for_ever, stride=stride):
                seen.append(one)
                progress.advance(task)
            progress.update(task, total=len(seen))
            table.add_row(call, error, mode, *_figures(seen))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    print(f"nothing acked was lost, in {time.monotonic() - began:.0f} s")


def _figures(seen: list[Seen]) -> tuple[str, ...]:
    ended = Counter(one.ended for one in seen)
    numbers = len(seen), ended[False], ended[True], sum(one.refusals for one in seen)
    return tuple(map(str, numbers))


if __name__ == "__main__":
    main()
