"""The command line of `scripts/replay-bundle`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.errors import HubError
from hub.exports import Bundle, Line, read_line
from hub.names import printable
from scripts.bundling.replaying import Verdict, read_bundle, replay


@click.command()
@click.argument("bundle", metavar="FILE", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(*, bundle: Path, as_json: bool) -> None:
    """Decide all pushes of a bundle (mobync-hub bundle) once more, with this checkout's merge.

    What comes out otherwise than on the hub, at a push or of an object in the end, is shown. The
    exit code is 1 if there is any of that.
    """
    try:
        told = read_bundle(_lines(bundle))
        verdict = replay(told)
    except HubError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")
    else:
        _print(verdict, told.bundle)
    sys.exit(1 if verdict.differences else 0)


def _lines(bundle: Path) -> Iterator[Line]:
    with bundle.open("rb") as file:
        for number, text in enumerate(file, 1):
            yield read_line(text, number)


def _print(verdict: Verdict, bundle: Bundle | None) -> None:
    console = Console()
    if bundle is not None:
        for name, value in (*bundle.versions.items(), *bundle.settings.items()):
            console.print(Text(printable(f"{name}: {value}")))
        console.print(f"the hub {bundle.hub}: {len(bundle.metrics)} lines of metrics in the bundle")
    found = "all as on the hub"
    if verdict.differences:
        found = f"{len(verdict.differences):,} differences"
        table = Table("Where", "Here", "On the hub")
        for each in verdict.differences:
            table.add_row(
                *(Text(printable(str(part))) for part in (each.where, each.here, each.hub))
            )
        console.print(table)
    console.print(f"{verdict.pushes:,} pushes, {verdict.objects:,} objects: {found}")


if __name__ == "__main__":
    main()
