"""The command itself, and what its verbs share; options are settings, defined elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Never

import rich_click as click
from rich.console import Console
from rich.text import Text

from hub.errors import HubError, SettingsError, Unauthorized
from hub.names import printable
from hub.settings import DEFINITIONS, GROUPS, Definition

FAILED: Final = 1
REFUSED: Final = 2

_BEGIN_FOOTER: Final = """\
Try it on this machine:   mobync-hub serve --dev
All that can be set:      mobync-hub serve --help"""


def with_help(footer: str) -> Callable[[Any], Any]:
    """How the help of a command looks: settings by group, a blank line between paragraphs."""
    groups: list[Any] = [
        {"name": group, "options": [item.flag for item in DEFINITIONS if item.group == group]}
        for group in GROUPS
    ]
    return click.rich_config(
        help_config=click.RichHelpConfiguration(
            option_groups={"* serve": groups, "* doctor": groups},
            text_paragraph_linebreaks="\n\n",
            footer_text=footer,
        )
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@with_help(_BEGIN_FOOTER)
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


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """All settings as options."""
    for item in reversed(DEFINITIONS):
        command = _option(item)(command)
    return command


def with_data(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that works on the data file alone."""
    for name in ("config", "data"):
        command = _option(next(item for item in DEFINITIONS if item.name == name))(command)
    return command


with_json = click.option("--json", "as_json", is_flag=True, help="JSON Lines, as in a pipe.")


def text(value: str) -> str:
    """What names a user, a model, an object or a field: any text, but text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not UTF-8, and no name is like that") from None
    return value


@contextmanager
def explained() -> Iterator[None]:
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
    console.print(Text.assemble(("mobync-hub: ", "bold red"), printable(problem)))
    for name, value in more.items():
        console.print(Text.assemble((f"  {name}: ", "dim"), printable(value)))
    sys.exit(code)
