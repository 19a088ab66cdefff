"""The verbs `serve` and `settings`."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

import orjson
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.cli.group import explained, with_help, with_settings
from hub.errors import SettingsError
from hub.loading import Loaded, load
from hub.settings import DEFINITIONS, GROUPS, Definition

_WIDEST_DEFAULT: Final = 12
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


@click.command()
@with_help(_SERVE_FOOTER)
@with_settings
def serve(**flags: object) -> None:
    """Serve devices until SIGTERM or Ctrl-C.

    Every setting may be given as a flag, as a variable in the environment (its name stands in
    brackets) or as a key of the TOML file named with --config (named like the flag, with _ for -;
    others in the tables [edge], [limits], [metrics], [rates], [retention] and [tokens]). The flag
    counts before the variable, the variable before the file.

    Exactly one of --dev, --token-secret-file, --token-key-file and --token-jwks says whose tokens
    count.

    When it serves, one line on standard output says so: ready ws://... http://...; the log goes
    to standard error.

    On SIGHUP it reads the settings again: limits, rates, keys and logs change at once, all else
    with the next start.
    """
    with explained():
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


@click.command()
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
