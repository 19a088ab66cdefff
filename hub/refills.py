"""The command `mobync-hub refills`: what was given back to a restored hub, and by whom."""

import os
from collections.abc import Sequence

import orjson
import rich_click as click
from rich.console import Console

from hub.loading import data_file
from hub.store.refills import Refill, read_refills
from hub.verbs.output import is_for_programs, moment
from hub.verbs.tables import Cells, Rows


def show(data: str | None, config: str | None, *, as_json: bool) -> None:
    """A table for people, JSON Lines for programs."""
    refills = read_refills(data_file({"data": data, "config": config}, os.environ))
    if is_for_programs(as_json=as_json):
        for refill in refills:
            click.echo(orjson.dumps(refill._asdict()).decode())
        return
    Console().print(table_of(refills) if refills else "No device has given anything back.")


def table_of(refills: Sequence[Refill]) -> Rows:
    """One row a device and history."""
    heads = "User", "Device", "When", "Objects", "Deletions", "Of history", "Up to clock"
    return Rows(heads, map(_cells, refills))


def _cells(each: Refill) -> Cells:
    counts = f"{each.objects:,}", f"{each.deletions:,}"
    when = f"{moment(each.first)} to {moment(each.last)}"
    return each.user, each.device, when, *counts, each.log_id, f"{each.clock:,}"
