"""The commands that copy the hub's file: `mobync-hub backup` and `mobync-hub restore`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import rich_click as click
from rich.console import Console
from rich.progress import Progress

from hub.settings import data_file

LINES: Final = 4
"""How often a pipe is told how far a copy is."""
NICENESS: Final = 10
"""How far a backup stands back behind the hub that serves meanwhile."""

Report = Callable[[int, int], None]


def back_up(target: Path, data: str | None, config: str | None, *, force: bool) -> None:
    """Copy the hub's file to a target."""
    from hub.store import copying  # noqa: PLC0415 - so that the help need not wait for it

    source = data_file({"data": data, "config": config}, os.environ)
    os.nice(NICENESS)
    with _progress(f"copying {source}") as report:
        copied = copying.back_up(source, target, report, force=force)
    click.echo(f"{target}: {_size(copied.bytes)}, checked, up to row {copied.last_row} of the log")


def restore(copy: Path, data: str | None, config: str | None) -> None:
    """Put a copy in the place of the hub's file."""
    from hub.server import new_log_id, now  # noqa: PLC0415
    from hub.store import copying  # noqa: PLC0415

    target = data_file({"data": data, "config": config}, os.environ)
    with _progress(f"restoring {target}") as report:
        restored = copying.restore(copy, target, report, new_log_id, now())
    click.echo(f"{target}: restored from {copy}; each of {restored.users} users has a new history")
    if restored.aside is not None:
        click.echo(f"{restored.aside}: what was there before, to be removed when you like")
    click.echo(
        "Start the hub. Devices that have seen more than the copy holds begin again from it, give "
        "back what it lacks, and send what they had not yet sent; all others go on."
    )


@contextmanager
def _progress(what: str) -> Iterator[Report]:
    """A bar for people on a terminal, and a few lines in a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, console)
        return
    with Progress(console=console) as progress:
        task = progress.add_task(what)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(what: str, console: Console) -> Report:
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        part = LINES * done // max(total, 1)
        if part > told:
            told = part
            console.print(f"{what}: {100 * part // LINES} %", highlight=False, soft_wrap=True)

    return report


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MB"
