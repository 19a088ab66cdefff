"""The verb `why`: who set each field of an object, and what else was tried."""

from pathlib import Path
from typing import Final

from rich.console import Console

from hub.progress import for_whom_it_is, silent
from hub.store.beside import looking
from hub.store.explaining import EditRow, FieldRow, Why, why
from hub.verbs.output import (
    became,
    is_for_programs,
    line,
    moment,
    value,
    values,
    write_line,
)
from hub.verbs.tables import Cells, Rows
from protocol.diffs import Key

_FIELD: Final = ("Field", "Value", "Clock", "Device", "Edited", "Stored")
_EDIT: Final = ("Clock", "Device", "Stored", "Edit", "Became", "Values")


def explain(data: Path, user: str, key: Key, *, as_json: bool) -> None:
    """Say why an object is as it is."""
    with looking(data) as file, for_whom_it_is(silent)() as tell:
        found = why(file, user, key, tell)
    if is_for_programs(as_json=as_json):
        write_line(found)
    else:
        print_why(found, Console())


def print_why(found: Why, console: Console) -> None:
    """Show a person why: the fields, then the edits in the order of the log."""
    console.print(line(_headline(found), "bold"))
    if found.fields:
        console.print(Rows(_FIELD, (_field_cells(row, found) for row in found.fields)))
    if found.edits:
        console.print()
        console.print(Rows(_EDIT, map(_edit_cells, found.edits)))
    if found.first_clock > 1:
        console.print(
            f"The log goes back to clock {found.first_clock:,}; what was tried before is gone."
        )


def _headline(found: Why) -> str:
    name = f"{found.model} {found.id}"
    if found.is_deleted:
        return f"{name}: deleted at clock {found.clock:,}"
    if not found.clock:
        return f"{name}: not there"
    return f"{name}: created at clock {found.created:,}, last changed at {found.clock:,}"


def _field_cells(row: FieldRow, found: Why) -> Cells:
    stored = moment(row.stored_at)
    if row.stored_at is None:
        stored = "before the log" if row.clock < found.first_clock else ""
    by = row.device or "given back"
    return row.name, value(row.value), f"{row.clock:,}", by, moment(row.utc_timestamp), stored


def _edit_cells(row: EditRow) -> Cells:
    return (
        f"{row.clock:,}",
        row.device,
        moment(row.stored_at),
        row.type,
        became(row),
        values(row.fields),
    )
