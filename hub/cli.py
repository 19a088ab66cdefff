"""The command `mobync-hub`: its options are the settings, whose one definition is elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

import orjson
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.errors import HubError, SettingsError, Unauthorized
from hub.loading import Loaded, load
from hub.settings import DEFINITIONS, GROUPS, Definition

if TYPE_CHECKING:
    from hub.auth import Secret, SigningKey

FAILED: Final = 1
REFUSED: Final = 2

_WIDEST_DEFAULT: Final = 12
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_BEGIN_FOOTER: Final = """\
Try it on this machine:   mobync-hub serve --dev
All that can be set:      mobync-hub serve --help"""

_SERVE_FOOTER: Final = """\
Examples
  To try it on this machine, a token being simply the user's name:
    mobync-hub serve --dev
  In production, behind a proxy that speaks TLS:
    openssl rand -base64 48 > secret.txt; chmod 600 secret.txt
    mobync-hub serve --token-secret-file secret.txt --data hub.db
  A token to try that one with:
    mobync-hub token --secret-file secret.txt --user alice

Exit codes
  0  stopped as asked; all that was acknowledged is stored
  1  could not start or go on; the message says why
  2  a setting is wrong; the message says which, and how to mend it"""

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

_REVOKE_FOOTER: Final = """\
Examples
  mobync-hub revoke user alice --data hub.db
  mobync-hub revoke device alice phone
  mobync-hub revoke token 6f1c-77 --expires 1h
  mobync-hub revoke --undo user alice
  mobync-hub revoke --list"""

_MAKING_FOOTER: Final = """\
Examples
  mobync-hub token --secret-file secret.txt --user alice
  mobync-hub token --key-file private.pem --user alice --expires 30d"""


def _help(footer: str) -> Callable[[Any], Any]:
    """How the help of a command looks: settings by group, a blank line between paragraphs."""
    groups: list[Any] = [
        {"name": group, "options": [item.flag for item in DEFINITIONS if item.group == group]}
        for group in GROUPS
    ]
    return click.rich_config(
        help_config=click.RichHelpConfiguration(
            option_groups={"* serve": groups},
            text_paragraph_linebreaks="\n\n",
            footer_text=footer,
        )
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@_help(_BEGIN_FOOTER)
@click.version_option(package_name="mobync-hub", prog_name="mobync-hub")
def main() -> None:
    """Keeps every device of a user in step, and loses nothing."""


def _option(item: Definition) -> Callable[[Any], Any]:
    """The option that a setting's definition makes; what it is given is checked with the rest."""
    flag = f"{item.flag}/--no-{item.flag[2:]}" if item.is_switch else item.flag
    shown = "" if item.is_switch else item.shown_default
    default = f", default {shown}" if shown else ""
    return click.option(
        flag,
        item.name,
        default=None,
        type=bool if item.is_switch else str,
        metavar=item.metavar or None,
        help=f"{item.help} [{item.env}{default}]",
    )


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for item in reversed(DEFINITIONS):
        command = _option(item)(command)
    return command


@main.command()
@_help(_SERVE_FOOTER)
@_with_settings
def serve(**flags: object) -> None:
    """Serve devices until SIGTERM or Ctrl-C.

    Every setting may be given as a flag, as a variable in the environment (its name stands in
    brackets) or as a key of the TOML file named with --config (named like the flag, with _ for -;
    others in the tables [edge], [limits], [retention] and [tokens]). The flag counts before the
    variable, the variable before the file.

    Exactly one of --dev, --token-secret-file, --token-key-file and --token-jwks says whose tokens
    count.

    When it serves, one line on standard output says so: ready ws://... http://...; the log goes
    to standard error.

    On SIGHUP it reads the settings again: limits, rates, keys and logs change at once, all else
    with the next start.
    """
    with _explained():
        sys.exit(_run(partial(load, flags, dict(os.environ))))


def _run(read: Callable[[], Loaded]) -> int:
    from hub import logs, server  # noqa: PLC0415 - so that the help need not wait for them

    loaded = read()
    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format)
    try:
        return server.run(settings, lambda: read().settings)
    except SettingsError as error:
        error.place(loaded.places)
        raise


def _with_data(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that works on the data file alone."""
    for name in ("config", "data"):
        command = _option(next(item for item in DEFINITIONS if item.name == name))(command)
    return command


@main.command()
@_help(_BACKUP_FOOTER)
@click.argument("target", type=Path)
@_with_data
@click.option("--force", is_flag=True, help="Replace the target if it is there.")
def backup(target: Path, data: str | None, config: str | None, force: bool) -> None:  # noqa: FBT001
    """Copy the hub's file to TARGET, while the hub serves.

    The copy is one file, true of one moment, checked, and on the disk when this ends.
    """
    from hub import copies  # noqa: PLC0415 - so that the help need not wait for it

    with _explained():
        copies.back_up(target, data, config, force=force)


@main.command()
@_help(_RESTORE_FOOTER)
@click.argument("copy", metavar="BACKUP", type=Path)
@_with_data
def restore(copy: Path, data: str | None, config: str | None) -> None:
    """Put BACKUP in the place of the hub's file; the hub must be stopped.

    What was there is kept beside it. Each user gets a new history that carries on the one in the
    backup, so that devices which have seen more find out, and begin again.
    """
    from hub import copies  # noqa: PLC0415 - so that the help need not wait for it

    with _explained():
        copies.restore(copy, data, config)


@main.command()
@_help(_REFILLS_FOOTER)
@_with_data
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, as in a pipe.")
def refills(data: str | None, config: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show what devices have given back to the hub after it was restored, and which.

    As far back as the log goes; of a hub that serves, too.
    """
    from hub import refills as report  # noqa: PLC0415 - so that the help need not wait for it

    with _explained():
        report.show(data, config, as_json=as_json)


@main.command()
@_help(_REVOKE_FOOTER)
@click.argument("names", metavar="[user USER | device USER DEVICE | token ID]", nargs=-1)
@_with_data
@click.option("--undo", is_flag=True, help="Let them in again.")
@click.option("--list", "as_list", is_flag=True, help="Show who is revoked.")
@click.option(
    "--expires", metavar="TIME", help="When the token runs out, as in 15m or 30d: kept until then."
)
def revoke(
    names: tuple[str, ...],
    data: str | None,
    config: str | None,
    undo: bool,  # noqa: FBT001 - click gives it by name
    as_list: bool,  # noqa: FBT001
    expires: str | None,
) -> None:
    """Turn away a user, a device of a user, or the token of an id (jti).

    At once and durably: their connections end, and they do not come in again. It works beside a
    hub that serves, and on the file of one that is stopped.
    """
    from hub import revoke as command  # noqa: PLC0415 - so that the help need not wait for it

    until = None if expires is None else time.time_ns() // 1_000_000 + _milliseconds(expires)
    with _explained():
        path = command.file_of(data, config)
        if as_list:
            command.show(path)
        else:
            command.change(names, path, until, undo=undo)


@main.command()
@_help(_MAKING_FOOTER)
@click.option("--secret-file", type=Path, metavar="FILE", help="The hub's token secret (HS256).")
@click.option(
    "--key-file", type=Path, metavar="FILE", help="The private key (PEM) to the hub's public one."
)
@click.option("--user", required=True, help="Whose token it is.")
@click.option("--device", help="The only device that may use it; without it, any.")
@click.option(
    "--expires", default="1h", show_default=True, metavar="TIME", help="As in 90s, 15m, 1h or 30d."
)
@click.option("--read-only", is_flag=True, help="A token that changes nothing.")
@click.option("--audience", help="The hub's --token-audience, if it has one.")
@click.option("--issuer", help="The hub's --token-issuer, if it has one.")
@click.option("--key-id", help="The name (kid) of the key in the hub's --token-jwks.")
@click.option("--id", "token_id", help="The token's own id (jti), by which it can be revoked.")
def token(
    secret_file: Path | None,
    key_file: Path | None,
    user: str,
    device: str | None,
    expires: str,
    read_only: bool,  # noqa: FBT001 - click gives it by name
    audience: str | None,
    issuer: str | None,
    key_id: str | None,
    token_id: str | None,
) -> None:
    """Print a token, to try a hub with; applications make their own."""
    from hub import auth  # noqa: PLC0415 - so that the help need not wait for it

    until = time.time_ns() // 1_000_000 + _milliseconds(expires)
    grant = auth.Grant(user, device, until, read_only, token_id)
    with _explained():
        key = _key(secret_file, key_file)
        click.echo(auth.make_token(key, grant, audience, issuer, key_id))


def _key(secret_file: Path | None, key_file: Path | None) -> "Secret | SigningKey":
    from hub import auth  # noqa: PLC0415 - so that the help need not wait for it

    if secret_file is not None and key_file is None:
        return auth.read_secret(secret_file)
    if key_file is not None and secret_file is None:
        return auth.read_private_key(key_file)
    raise click.UsageError("give exactly one of --secret-file and --key-file")


def _milliseconds(time_text: str) -> int:
    number, unit = time_text[:-1], time_text[-1:]
    if not (number.isdecimal() and unit in _UNITS):
        raise click.BadParameter("a number and s, m, h or d, as in 15m", param_hint="--expires")
    return int(number) * _UNITS[unit] * 1_000


@main.command()
def settings() -> None:
    """List every setting: a table on a terminal, JSON in a pipe."""
    if sys.stdout.isatty():
        Console().print(_table())
    else:
        click.echo(orjson.dumps([_row(item) for item in DEFINITIONS], option=orjson.OPT_INDENT_2))


def _row(item: Definition) -> dict[str, str | None]:
    return {
        "name": item.name,
        "group": item.group,
        "flag": item.flag,
        "env": item.env,
        "toml": item.key,
        "default": item.shown_default or None,
        "value": item.wanted,
        "help": item.help,
    }


def _table() -> Table:
    table = Table(title="Settings")
    table.add_column("Flag, environment, TOML", no_wrap=True)
    table.add_column("Default", max_width=_WIDEST_DEFAULT, overflow="fold")
    table.add_column("What it is for")
    for group in GROUPS:
        table.add_section()
        table.add_row(Text(group, style="bold"))
        for item in DEFINITIONS:
            if item.group == group:
                table.add_row(_names(item), item.shown_default, Text(item.help))
    return table


def _names(item: Definition) -> Text:
    return Text.assemble((item.flag, "cyan"), f"\n{item.env}", f"\n{item.key}" if item.key else "")


@contextmanager
def _explained() -> Iterator[None]:
    """What went wrong becomes a message for a person and an exit code; a bug stays a traceback."""
    try:
        yield
    except SettingsError as error:
        _stop(REFUSED, error.problem, {**error.places, "to mend it": error.remedy})
    except Unauthorized as error:
        _stop(REFUSED, str(error), {})
    except HubError as error:
        _stop(FAILED, str(error), {})


def _stop(code: int, problem: str, more: dict[str, str]) -> Never:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("mobync-hub: ", "bold red"), problem))
    for name, value in more.items():
        console.print(Text.assemble((f"  {name}: ", "dim"), value))
    sys.exit(code)
