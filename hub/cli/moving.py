"""The verbs that move what is there: `export`, `import`, `delete-user`, `compact`, and `bundle`."""

from pathlib import Path
from typing import Final

import rich_click as click

from hub.cli.group import explained, text, with_data, with_help, with_json
from hub.cli.looking import file_of

_EXPORT_FOOTER: Final = """\
Examples
  mobync-hub export alice --data hub.db > alice.jsonl
  mobync-hub export > all.jsonl"""

_IMPORT_FOOTER: Final = """\
Examples
  mobync-hub import alice.jsonl --data hub.db
  mobync-hub import --replace alice.jsonl"""

_DELETE_FOOTER: Final = """\
Examples
  mobync-hub delete-user alice --data hub.db
  mobync-hub delete-user alice --yes"""

_COMPACT_FOOTER: Final = """\
Examples
  mobync-hub compact --data hub.db"""


_BUNDLE_FOOTER: Final = """\
Examples
  mobync-hub bundle for-support.jsonl --user alice --data hub.db"""


@click.command()
@with_help(_EXPORT_FOOTER)
@click.argument("user", type=text, required=False)
@with_data
def export(user: str | None, data: str | None, config: str | None) -> None:
    """Write all of USER, or of all users, to standard output, as JSON Lines.

    All of it is true of one moment, while the hub serves or not. Let it go to a file: until it is
    written the hub's WAL grows.
    """
    from hub.verbs import exporting  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        exporting.write_export(file_of(data, config), user)


@click.command("import")
@with_help(_IMPORT_FOOTER)
@click.argument("source", metavar="FILE", type=Path)
@with_data
@click.option("--replace", is_flag=True, help="Put them in the place of users who are there.")
@with_json
def bring(
    source: Path,
    data: str | None,
    config: str | None,
    replace: bool,  # noqa: FBT001 - click gives it by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring in the users of an export, each whole or not at all.

    Each begins a new history, with an empty log: their devices begin again from the objects, and
    send what they had not yet sent. A user who is there stays, unless --replace says otherwise.
    """
    from hub.verbs import importing  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        importing.bring(source, data, config, replace=replace, as_json=as_json)


@click.command("delete-user")
@with_help(_DELETE_FOOTER)
@click.argument("user", type=text)
@with_data
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@with_json
def delete_user(
    user: str,
    data: str | None,
    config: str | None,
    is_sure: bool,  # noqa: FBT001 - click gives it by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Delete all that there is of USER, for good.

    The log, objects, deletions and devices go, and their bytes in the file. USER is revoked, for a
    device with a good token would bring its own edits back: that name stays in the list of those
    who are turned away, until mobync-hub revoke --undo.
    """
    from hub.verbs import deleting  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        deleting.delete(user, data, config, is_sure=is_sure, as_json=as_json)


@click.command()
@with_help(_COMPACT_FOOTER)
@with_data
@with_json
def compact(data: str | None, config: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Let go at once what retention would let go in time, and give its space back.

    What is kept, and for how long, is said by the settings under Retention; a stopped hub's are
    read from the settings file and the environment.
    """
    from hub.verbs import compacting  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        compacting.compact(data, config, as_json=as_json)


@click.command()
@with_help(_BUNDLE_FOOTER)
@click.argument("target", type=Path)
@click.option("--user", type=text, required=True, help="Whose log it is about.")
@with_data
def bundle(target: Path, user: str, data: str | None, config: str | None) -> None:
    """Write what helps to understand a divergence to TARGET, and nothing that a user wrote.

    The versions, the settings without names, files and secrets, the metrics of a hub that serves,
    and all of USER with each name and value replaced by another of its kind and size, the same by
    the same; so it merges as the true one does. A developer replays it with scripts/replay-bundle.
    """
    from hub.verbs import bundling  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        bundling.write_bundle(target, user, data, config)
