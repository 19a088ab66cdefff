"""The verbs that look: `users`, `devices`, `objects`, `log` and `why`."""

import os
from pathlib import Path
from typing import Final

import rich_click as click

from hub.cli.group import explained, text, with_data, with_help, with_json
from hub.loading import data_file

_USERS_FOOTER: Final = """\
Examples
  mobync-hub users --data hub.db
  mobync-hub users --json"""

_DEVICES_FOOTER: Final = """\
Examples
  mobync-hub devices alice --data hub.db"""

_OBJECTS_FOOTER: Final = """\
Examples
  mobync-hub objects alice --data hub.db
  mobync-hub objects alice tasks --json
  mobync-hub objects alice tasks --at 41"""

_LOG_FOOTER: Final = """\
Examples
  mobync-hub log alice --data hub.db
  mobync-hub log alice --after 41
  mobync-hub log alice --follow"""


_WHY_FOOTER: Final = """\
Examples
  mobync-hub why alice tasks t1 --data hub.db
  mobync-hub why alice tasks t1 --json"""


def file_of(data: str | None, config: str | None) -> Path:
    """The hub's file that the options, the environment and the settings file name."""
    return data_file({"data": data, "config": config}, os.environ)


@click.command()
@with_help(_USERS_FOOTER)
@with_data
@with_json
def users(data: str | None, config: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show all users: how much each has, and when somebody was here last.

    Of a hub that serves, too, as all verbs that look.
    """
    from hub.verbs import looking  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        looking.show_users(file_of(data, config), as_json=as_json)


@click.command()
@with_help(_DEVICES_FOOTER)
@click.argument("user", type=text)
@with_data
@with_json
def devices(user: str, data: str | None, config: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the devices of USER: how far each is behind, and when it was seen last.

    How far a device is, it says itself, now and then; one that polls never does. When it was seen
    is known within an hour.
    """
    from hub.verbs import looking  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        looking.show_devices(file_of(data, config), user, as_json=as_json)


@click.command()
@with_help(_OBJECTS_FOOTER)
@click.argument("user", type=text)
@click.argument("model", type=text, required=False)
@with_data
@click.option(
    "--at", type=click.IntRange(min=0), metavar="CLOCK", help="As they were when it was that clock."
)
@click.option("--deleted", is_flag=True, help="Those, too, whose deletion is still remembered.")
@with_json
def objects(
    user: str,
    model: str | None,
    data: str | None,
    config: str | None,
    at: int | None,
    deleted: bool,  # noqa: FBT001 - click gives it by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show the objects of USER, or those of one MODEL, as they stand.

    Or as they were at a clock, as far as the log tells; where it no longer does, that is an error.
    """
    from hub.verbs import looking  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        path = file_of(data, config)
        if at is None:
            looking.show_objects(path, user, model, deleted=deleted, as_json=as_json)
        elif deleted:
            raise click.UsageError("--deleted is of what is known now: give it without --at")
        else:
            looking.show_objects_at(path, user, model, at, as_json=as_json)


@click.command()
@with_help(_LOG_FOOTER)
@click.argument("user", type=text)
@with_data
@click.option(
    "--after", type=click.IntRange(min=0), default=0, metavar="CLOCK", help="Only what came later."
)
@click.option("--follow", is_flag=True, help="Go on with each push that comes, until Ctrl-C.")
@with_json
def log(
    user: str,
    data: str | None,
    config: str | None,
    after: int,
    follow: bool,  # noqa: FBT001 - click gives it by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show the pushes of USER, and what of them lost or was refused, as far as the log goes."""
    from hub.verbs import looking  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        looking.show_log(file_of(data, config), user, after, follow=follow, as_json=as_json)


@click.command()
@with_help(_WHY_FOOTER)
@click.argument("user", type=text)
@click.argument("model", type=text)
@click.argument("name", type=text, metavar="ID")
@with_data
@with_json
def why(
    user: str,
    model: str,
    name: str,
    data: str | None,
    config: str | None,
    as_json: bool,  # noqa: FBT001 - click gives it by name
) -> None:
    """Say why an object is as it is: who set each field and when, and what lost or was rejected.

    As far as the log goes, which --log-days and --log-rows say. A value that lost can be brought
    back with mobync-hub restore.
    """
    from hub.verbs import explaining  # noqa: PLC0415 - so that the help need not wait for it

    with explained():
        explaining.explain(file_of(data, config), user, (model, name), as_json=as_json)
