"""The verbs that copy the hub's file, and `refills`, which shows what came of that."""

from pathlib import Path
from typing import Final

import rich_click as click

from hub.cli.group import explained, text, with_data, with_help, with_json

_BACKUP_FOOTER: Final = """\
Examples
  mobync-hub backup /backups/hub-monday.db --data hub.db
  mobync-hub backup --force /backups/hub.db"""

_RESTORE_FOOTER: Final = """\
Examples
  mobync-hub restore /backups/hub-monday.db --data hub.db
  mobync-hub restore alice tasks t1 title --clock 41"""

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
@click.argument("words", metavar="BACKUP | USER MODEL ID FIELD", nargs=-1, type=text)
@with_data
@click.option(
    "--clock",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="The push that has the lost value of FIELD, as mobync-hub why shows it.",
)
@with_json
def restore(
    words: tuple[str, ...],
    data: str | None,
    config: str | None,
    clock: int | None,
    as_json: bool,  # noqa: FBT001 - click gives it by name
) -> None:
    """Put BACKUP in the place of the hub's file, or bring one lost value back.

    restore BACKUP: the hub must be stopped. What was there is kept beside it. Each user gets a new
    history that carries on the one in the backup, so that devices which have seen more find out,
    and begin again.

    restore USER MODEL ID FIELD --clock NUMBER: the value that FIELD lost in that push, or was set
    to, is there again, by a new push, which every device gets. It works beside a hub that serves,
    and on the file of one that is stopped.
    """
    with explained():
        match words, clock:
            case [copy], None:
                _restore_copy(Path(copy), data, config)
            case [user, model, name, field], int():
                from hub.restoring import Lost  # noqa: PLC0415
                from hub.verbs import restoring  # noqa: PLC0415

                lost = Lost(user, model, name, field, clock)
                restoring.restore(lost, data, config, as_json=as_json)
            case _:
                raise click.UsageError(
                    "name a BACKUP, or USER MODEL ID FIELD and --clock NUMBER for one lost value"
                )


def _restore_copy(copy: Path, data: str | None, config: str | None) -> None:
    from hub import copies  # noqa: PLC0415 - so that the help need not wait for it

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
