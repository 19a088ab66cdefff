"""The verbs that copy the hub's file, and `refills`, which shows what came of that."""

from pathlib import Path
from typing import Final

import rich_click as click

from hub.cli.group import explained, with_data, with_help, with_json

_BACKUP_FOOTER: Final = """\
Examples
  mobync-hub backup /backups/hub-monday.db --data hub.db
  mobync-hub backup --force /backups/hub.db"""

_RESTORE_FOOTER: Final = """\
Examples
  mobync-hub restore /backups/hub-monday.db --data hub.db"""

_REFILLS_FOOTER: Final = """\
Examples
  mobync-hub refills --data hub.db
  mobync-hub refills --data hub.db --json"""


@click.command()
@with_help(_BACKUP_FOOTER)
@click.argument("target", type=Path)
@with_data
@click.option("--force", is_flag=True, help="Replace the target if it is there.")
def backup(target: Path, data: str | None, config: str | None, force: bool) -> None:  # noqa: FBT001
    """Copy the hub's file to TARGET, while the hub serves.

    The copy is one file, true of one moment, checked, and on the disk when this ends.
    """
    from hub import copies  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        copies.back_up(target, data, config, force=force)


@click.command()
@with_help(_RESTORE_FOOTER)
@click.argument("copy", metavar="BACKUP", type=Path)
@with_data
def restore(copy: Path, data: str | None, config: str | None) -> None:
    """Put BACKUP in the place of the hub's file; the hub must be stopped.

    What was there is kept beside it. Each user gets a new history that carries on the one in the
    backup, so that devices which have seen more find out, and begin again.
    """
    from hub import copies  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        copies.restore(copy, data, config)


@click.command()
@with_help(_REFILLS_FOOTER)
@with_data
@with_json
def refills(data: str | None, config: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show what devices have given back to the hub after it was restored, and which.

    As far back as the log goes; of a hub that serves, too.
    """
    from hub import refills as report  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        report.show(data, config, as_json=as_json)
