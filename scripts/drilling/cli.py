"""The command line of `scripts/upgrade-drill`."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from scripts.benching.files import allow_files
from scripts.drilling.drill import Outcome, Plan, drill
from scripts.drilling.standin import MOBYNC_HUB
from scripts.loading.faults import LoadError
from scripts.loading.pushes import SMALLEST
from scripts.loading.stopping import run_until_stopped


@click.command(context_settings={"show_default": True})
@click.option("--users", type=click.IntRange(1, 5_000), default=500)
@click.option(
    "--listeners", type=click.IntRange(0, 20), default=1, help="Beside the one that writes."
)
@click.option("--rate", type=click.FloatRange(1, 10_000), default=250.0, help="Pushes/s in all.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, help="Before, and after.")
@click.option("--size", type=click.IntRange(SMALLEST, 200_000), default=200, help="Bytes a change.")
@click.option(
    "--then",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=MOBYNC_HUB,
    show_default=False,
    help="The mobync-hub that is started in the place of this one, e.g. of a newer checkout.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
def main(*, json_wanted: bool, **plan: object) -> None:
    """Restart a hub under load, and see what its devices feel of it.

    A stand-in for systemd holds the sockets. Devices connect (1,000 by default) and push; the hub
    is stopped, and another one started, while edits go on. Prints how long it took until all were
    level again, and whether anything was lost. A push that is not in the log, a connection that was
    refused or cut off, or a clock that did not come in order, makes the exit code 1.
    """
    found = run_until_stopped(_run(Plan(**plan)), "nothing was tried")  # type: ignore[arg-type]
    print(_as_json(found)) if json_wanted else _show(found)
    sys.exit(0 if found.is_good else 1)


async def _run(plan: Plan) -> Outcome:
    allow_files(2 * plan.devices)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="mobync-drill-") as folder:
        try:
            with console.status("a hub starts") as status:

                def say(words: str) -> None:
                    if console.is_terminal:
                        status.update(words)
                    else:
                        console.print(words, highlight=False, soft_wrap=True)

                return await drill(plan, Path(folder), say)
        except LoadError as error:
            log = Path(folder) / "hub.log"
            last = log.read_text()[-2_000:] if log.exists() else ""
            raise LoadError(f"{error}\n{last}".rstrip()) from error


def _as_json(found: Outcome) -> str:
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def _show(found: Outcome) -> None:
    """A table for a person, plain lines in a pipe."""
    title, rows = f"A restart with {found.devices} connected devices", _rows(found)
    if sys.stdout.isatty():
        table = Table(title=title, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
    else:
        print(title)
        for words, value in rows:
            print(f"{words}: {value}")
    for words in found.told:
        print(words)


def _rows(found: Outcome) -> Sequence[tuple[str, str]]:
    return (
        ("pushes, before it, meanwhile and after", f"{found.pushed}"),
        ("of them lost", f"{found.lost}"),
        ("connections refused", f"{found.refused}"),
        ("lines cut off, frames that should not be", f"{found.faults}"),
        ("seconds until a hub served again", f"{found.down_seconds:.2f}"),
        ("seconds until half of the devices were level", f"{found.half_level_seconds:.2f}"),
        ("seconds until all were level", f"{found.level_seconds:.2f}"),
    )


if __name__ == "__main__":
    main(prog_name="scripts/upgrade-drill")
