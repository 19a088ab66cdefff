"""The verb `doctor`."""

import sys
from typing import Final

import rich_click as click

from hub.cli.group import explained, with_help, with_settings

_DOCTOR_FOOTER: Final = """\
Examples
  mobync-hub doctor --config hub.toml
  mobync-hub doctor --data hub.db --json

Exit codes
  0  all is well; there may be notes
  1  something is wrong; what to do is said
  2  a setting is wrong"""


@click.command()
@with_help(_DOCTOR_FOOTER)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@click.option("--skip-integrity", is_flag=True, help="Do not read the whole file.")
@with_settings
def doctor(*, as_json: bool, skip_integrity: bool, **flags: object) -> None:
    """Look for what may keep a hub from serving well, and say what to do.

    At the file, its permissions, its format, its pages, its WAL and what lies beside it; at the
    disk, the clock, the limits and SQLite; and at the settings, which are those of serve. It
    changes nothing, and leaves nothing behind, beside a hub that serves and on a stopped one.
    """
    from hub.doctor import report  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        sys.exit(report.show(flags, as_json=as_json, thoroughly=not skip_integrity))
