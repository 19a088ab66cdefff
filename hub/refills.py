"""The command `mobync-hub refills`: what was given back to a restored hub, and by whom."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.loading import data_file
from hub.logs import printable
from hub.store.refills import Refill, read_refills


def show(data: str | None, config: str | None, *, as_json: bool) -> None:
    """A table for people, JSON Lines for programs."""
    refills = read_refills(data_file({"data": data, "config": config}, os.environ))
    if as_json or not sys.stdout.isatty():
        for refill in refills:
            click.echo(orjson.dumps(refill._asdict()).decode())
        return
    Console().print(table_of(refills) if refills else "No device has given anything back.")


def table_of(refills: Sequence[Refill]) -> Table:
    """One row a device and history."""
    table = Table("User", "Device", "When", "Objects", "Deletions", "Of history", "Up to clock")
    for each in refills:
        counts = f"{each.objects:,}", f"{each.deletions:,}"
        when = f"{_time(each.first)} to {_time(each.last)}"
        who = Text(printable(each.user)), Text(printable(each.device))
        table.add_row(*who, when, *counts, each.log_id, f"{each.clock:,}")
    return table


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
