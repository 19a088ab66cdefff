"""The commands that copy the hub's file: `mobync-hub backup` and `mobync-hub restore`."""

import os
from pathlib import Path
from typing import Final

import rich_click as click

from hub.loading import data_file
from hub.progress import for_whom_it_is, quarters
from hub.verbs.output import size

NICENESS: Final = 10
"""How far a backup stands back behind the hub that serves meanwhile."""


def back_up(target: Path, data: str | None, config: str | None, *, force: bool) -> None:
    """Copy the hub's file to a target."""
    from hub.store import copying  # noqa: PLC0415 - so that the help need not wait for it

    source = data_file({"data": data, "config": config}, os.environ)
    os.nice(NICENESS)
    with for_whom_it_is(quarters)() as tell:
        copied = copying.back_up(source, target, tell, force=force)
    click.echo(f"{target}: {size(copied.bytes)}, checked, up to row {copied.last_row} of the log")


def restore(copy: Path, data: str | None, config: str | None) -> None:
    """Put a copy in the place of the hub's file."""
    from hub.server import new_log_id, now  # noqa: PLC0415
    from hub.store import copying  # noqa: PLC0415

    target = data_file({"data": data, "config": config}, os.environ)
    with for_whom_it_is(quarters)() as tell:
        restored = copying.restore(copy, target, tell, new_log_id, now())
    click.echo(f"{target}: restored from {copy}; each of {restored.users} users has a new history")
    if restored.aside is not None:
        click.echo(f"{restored.aside}: what was there before, to be removed when you like")
    if not restored.is_revoked_as_before:
        click.echo(
            "The file before could not be read, so only what the copy knows is revoked: "
            "see mobync-hub revoke --list"
        )
    click.echo(
        "Start the hub. Devices that have seen more than the copy holds begin again from it, give "
        "back what it lacks, and send what they had not yet sent; all others go on."
    )
